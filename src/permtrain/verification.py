"""The invariant as a function: does every weight vector still hold exactly its initial values?"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from permtrain.core.across import joined
from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    GranularityRule,
    NamedTensor,
    check_rule,
    cut_by_rule,
    named_tensors,
    uncompiled,
)
from permtrain.core.profile import holds_profile
from permtrain.errors import ProfileError, SettingError
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.optim.permuted_tensor import PermutedTensor, initial_profile
from permtrain.optim.permuter import Permuter


@dataclass(frozen=True)
class Verification:
    """The answer of `verify`, true where every vector is intact.

    Attributes:
        intact: per tensor, (V,) bool, whether each weight vector still holds its initial values.
            Tensors that weights cross stand together, under their names.
        is_before_first_step: whether a permuter was asked that has made no step, to which any
            weights are the initial ones; as of an optimizer that never was stepped.
    """

    intact: Mapping[str, Tensor]
    is_before_first_step: bool = False

    def __bool__(self) -> bool:
        return all(bool(vectors.all()) for vectors in self.intact.values())

    @property
    def changed(self) -> dict[str, list[int]]:
        """Per tensor with any, the vectors that hold other values."""
        return {
            name: (~vectors).nonzero().flatten().tolist()
            for name, vectors in self.intact.items()
            if not bool(vectors.all())
        }

    @property
    def num_vectors(self) -> int:
        return sum(len(vectors) for vectors in self.intact.values())

    def __str__(self) -> str:
        num_changed = sum(len(vectors) for vectors in self.changed.values())
        if not num_changed:
            text = f"all {self.num_vectors} weight vectors hold exactly their initial values"
            if self.is_before_first_step:
                text += ", which any do as long as the permuter has made no step"
            return text
        where = ", ".join(
            f"{name} ({len(vectors)} of {len(self.intact[name])}, first {vectors[0]})"
            for name, vectors in self.changed.items()
        )
        return f"{num_changed} of {self.num_vectors} weight vectors hold other values: {where}"


def verify(
    model: nn.Module,
    initial: Permuter | Mapping[str, Tensor] | None = None,
    granularity: GranularityRule = "neuron",
    *,
    permute_biases: bool = False,
) -> Verification:
    """Compares the weights of a model with their initial values, vector by vector, bit for bit.

    Args:
        model: the model as it stands. In LaPerm's mid-period it is not a permutation; look at it
            inside `permuter.arranged()`, or after `synchronize()`.
        initial: where the initial values come from: the `LaPerm` or `IndexOptimizer` attached to
            the optimizer, which knows what it permutes; or the model's state dict from before the
            training, copied, for its tensors are the model's own; or None for the record that
            `permtrain.initialize_` left on the model.
        granularity, permute_biases: as in `LaPerm`; read only where no permuter is given.

    Raises:
        ProfileError: the initial values are not known, belong to another model, or are the model's
            own weights, which would always agree.
        SettingError: an unknown granularity, or one that leaves every parameter alone.
        GranularityError: a tensor has no vectors at the granularity asked for.
        NonFiniteError: NaN or infinity, where a permuter that made no step yet is given.

    Example:
        >>> import torch
        >>> model = nn.Linear(3, 2)
        >>> before = {name: w.clone() for name, w in model.state_dict().items()}
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(model.weight.flip(1))
        >>> print(verify(model, before))
        all 2 weight vectors hold exactly their initial values
        >>> with torch.no_grad():
        ...     model.weight[1, 2] += 1
        >>> verify(model, before).changed
        {'weight': [1]}
    """
    if initial is None:
        model = uncompiled(model)  # as its record
    parameters = {tensor.name: tensor for tensor in named_tensors(model)}
    if isinstance(initial, Permuter):
        return _verify_permuter(initial, parameters)
    if not isinstance(initial, Mapping | None):
        raise ProfileError(
            f"initial is of type {type(initial).__name__}; allowed: a LaPerm or an IndexOptimizer, "
            "a state dict from before the training, or None"
        )
    if initial is None:
        initial = recorded_initial_weights(model)
    check_rule(granularity, parameters)
    cuts = {
        name: cut
        for name, tensor in parameters.items()
        if (
            cut := cut_by_rule(
                tensor, granularity, permute_biases=permute_biases, may_go_across=True
            )
        )
        is not None
    }
    if not cuts:
        raise SettingError(
            "granularity leaves every parameter of the model alone; nothing to compare"
        )
    by_name = {name: tensor.parameter for name, tensor in parameters.items()}
    for name in cuts:
        if name in initial and _is_same_memory(initial[name], by_name[name]):
            raise ProfileError(
                f"{name}: the initial values are the model's own weights, not a copy; allowed: "
                "{name: w.clone() for name, w in model.state_dict().items()} from before the "
                "training"
            )
    return verify_weights(by_name, initial, cuts)


def verify_weights(
    weights: Mapping[str, Tensor], initial: Mapping[str, Tensor], cuts: Mapping[str, Cut]
) -> Verification:
    """`verify` for tensors by name: each one that has a cut is compared with its initial values.

    Raises:
        ProfileError: initial values of another shape, or none.
    """
    intact = {}
    for name, cut in cuts.items():
        if name not in initial or tuple(initial[name].shape) != cut.shape:
            found = tuple(initial[name].shape) if name in initial else "nothing"
            raise ProfileError(
                f"{name}: initial values hold {found}; allowed: a tensor of shape {cut.shape}"
            )
    initial, _ = joined(initial, cuts)
    weights, cuts = joined(weights, cuts)
    for name, cut in cuts.items():
        now = weights[name].detach()
        then = initial[name].detach().to(now.device)
        intact[name] = holds_profile(cut.to_vectors(now), cut.to_vectors(then))
    return Verification(intact)


def _verify_permuter(permuter: Permuter, parameters: Mapping[str, NamedTensor]) -> Verification:
    """Against the profiles that the permuter holds."""
    if permuter.num_steps and all(tensor.profile is None for tensor in permuter.tensors):
        raise ProfileError(
            "the permuter keeps no initial values any more, for Rewiring has gone on without it; "
            "compare the weights that it left, `Rewiring.rewired`"
        )
    weights, profiles, cuts = {}, {}, {}
    for permuted in permuter.tensors:
        profile = permuted.profile
        if profile is None:  # before the first step the weights are the initial ones
            with permuted.named_errors():
                profile = initial_profile(permuted.parameter, permuted.cut)
        now = _weights_of(permuted, parameters)
        weights[permuted.name] = now
        profiles[permuted.name] = profile.to(now.device)
        cuts[permuted.name] = permuted.cut
    if across := [name for name, cut in cuts.items() if cut.is_across]:
        profiles[", ".join(across)] = torch.cat([profiles[name] for name in across], dim=1)
    weights, cuts = joined(weights, cuts)
    return Verification(
        {
            name: holds_profile(cut.to_vectors(weights[name].detach()), profiles[name])
            for name, cut in cuts.items()
        },
        is_before_first_step=all(tensor.profile is None for tensor in permuter.tensors),
    )


def _is_same_memory(left: Tensor, right: Tensor) -> bool:
    return left.numel() > 0 and left.data_ptr() == right.data_ptr()


def _weights_of(permuted: PermutedTensor, parameters: Mapping[str, NamedTensor]) -> Tensor:
    """The model's tensor that a permuter permutes: the same object, or one of its name."""
    for tensor in parameters.values():
        if tensor.parameter is permuted.parameter:
            return tensor.parameter
    named = parameters.get(permuted.name)
    if named is None or tuple(named.parameter.shape) != permuted.cut.shape:
        raise ProfileError(
            f"{permuted.name}: the permuter's tensor of shape {permuted.cut.shape} is not in the "
            "model; allowed: the model whose optimizer it is attached to, or a copy of it"
        )
    return named.parameter
