"""The invariant as a function: does every weight vector still hold exactly its initial values?"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from permtrain.core import live
from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
    check_rule,
    decide,
    named_tensors,
)
from permtrain.core.kinds import check_model, check_numbers
from permtrain.core.names import plain_state
from permtrain.core.profile import holding
from permtrain.core.vectors import vectors_of
from permtrain.errors import GranularityError, ProfileError, SettingError
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.optim.method import Method
from permtrain.optim.parameters import cuts_left


@dataclass(frozen=True)
class Verification:
    """The answer of `verify`, true where every vector is intact.

    Attributes:
        intact: per tensor, (V,) bool, whether each weight vector still holds its initial values.
            Tensors that weights cross stand together, under their names.
        is_before_first_step: whether a permuter was asked that has made no step, to which any
            weights are the initial ones; as of an optimizer that never was stepped.
        ended_at: the step after which permutation ended, where it did (`Rewiring`); the weights
            compared are those of that moment.
        changed_unseen: tensors that were written since the method was attached, which has seen no
            step: of their initial values nothing is known, so that the answer is no.
        only_in_layer: tensors of which nobody said how they were permuted, and whose values are
            the initial ones within the layer and not within each neuron.
    """

    intact: Mapping[str, Tensor]
    is_before_first_step: bool = False
    ended_at: int | None = None
    only_in_layer: tuple[str, ...] = ()
    changed_unseen: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.changed_unseen and all(
            bool(vectors.all()) for vectors in self.intact.values()
        )

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
        if self.changed_unseen:
            return (
                f"the initial values are not known: {self.changed_unseen[0]} was written after the "
                "method was attached, and the method has seen no step; reset_profile() makes the "
                "weights as they are the initial ones"
            )
        when = (
            "" if self.ended_at is None else f"at step {self.ended_at}, where permutation ended, "
        )
        num_changed = sum(len(vectors) for vectors in self.changed.values())
        if num_changed:
            where = ", ".join(
                f"{name} ({len(vectors)} of {len(self.intact[name])}, first {vectors[0]})"
                for name, vectors in self.changed.items()
            )
            return (
                f"{when}{num_changed} of {self.num_vectors} weight vectors hold other values: "
                f"{where}"
            )
        text = f"{when}all {self.num_vectors} weight vectors hold exactly their initial values"
        if self.only_in_layer:
            text += f"; of {', '.join(self.only_in_layer)} within the whole layer, not by neuron"
        if self.is_before_first_step:
            text += "; note: the permuter has not stepped yet, so this proves nothing"
        return text


def verify(
    model: nn.Module,
    initial: Method | Mapping[str, Tensor] | None = None,
    *,
    granularity: GranularityRule = "any",
    biases: Biases = "inner",
) -> Verification:
    """Compares the weights of a model with their initial values, vector by vector, bit for bit.

    Args:
        model: the model as it stands. In LaPerm's mid-period it is not a permutation, which is
            warned of; look at it inside `permuter.arranged()`, or after `synchronize()`.
        initial: where the initial values come from: the method that trains the model (`LaPerm`,
            `IndexOptimizer`, `SGPerm`, `Rewiring`), which knows what it permutes; `FrozenZeros`,
            whose zeros have to be zero, or `Supermask`, whose used weights have to be the fixed
            ones; or the model's state dict from before the training, copied, for its tensors are
            the model's own; or None for the record that `permtrain.initialize_` left on the model.
        granularity, biases: as in `LaPerm`; read only where no method is given. `"any"`: what the
            method had, which is left on the model it was given; of a model without
            such a note the finest of neuron and layer at which a tensor holds its values.

    Raises:
        KindError: no model, or one whose parameters hold no numbers.
        ProfileError: the initial values are not known, belong to another model, or are the model's
            own weights, which would always agree.
        SettingError: an unknown granularity, or one that leaves every parameter alone.
        GranularityError: a tensor has no vectors at the granularity asked for.
        NonFiniteError: NaN or infinity, where a method that made no step yet is given.

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
        >>> verify(model, before, granularity="neuron").changed
        {'weight': [1]}
    """
    check_model(model)
    if unarranged := live.unarranged_in(model):
        warnings.warn(
            f"{unarranged[0]} is in mid-period, where its weights are not a permutation; verify "
            "inside `with permuter.arranged():` or after permuter.synchronize()",
            stacklevel=2,
        )
    if isinstance(initial, Method):
        return _verify_method(model, initial)
    if not isinstance(initial, Mapping | None):
        raise ProfileError(
            f"initial is of type {type(initial).__name__}; allowed: a method such as LaPerm or "
            "SGPerm, a state dict from before the training, or None"
        )
    named = named_tensors(model)
    for tensor in named:
        check_numbers(tensor.name, tensor.parameter)
    weights = {tensor.name: tensor.parameter for tensor in named}
    if initial is not None:
        initial = plain_state(initial, weights)
    if granularity == "any" and biases == "apart":
        granularity = "neuron"
    if granularity == "any":
        cuts, in_rows = cuts_left(model)
        if not cuts:
            return _verify_finest(model, weights, initial)
    else:
        check_rule(granularity, weights)
        found = {
            tensor.name: decide(tensor, granularity, biases=biases, may_go_across=True).cut
            for tensor in named
        }
        cuts, in_rows = {name: cut for name, cut in found.items() if cut is not None}, {}
        if not cuts:
            raise SettingError(
                "granularity leaves every parameter of the model alone; nothing to compare"
            )
    return _verified(model, weights, initial, cuts, in_rows)


def verify_weights(
    weights: Mapping[str, Tensor],
    initial: Mapping[str, Tensor],
    cuts: Mapping[str, Cut],
    biases: Mapping[str, str] | None = None,
) -> Verification:
    """`verify` for tensors by name: each one that has a cut is compared with its initial values.

    Args:
        biases: from the names of weights to those of the biases in their vectors.

    Raises:
        ProfileError: initial values of another shape, or none.
    """
    for name, cut in cuts.items():
        if name in initial:
            check_numbers(name, initial[name])
        if name not in initial or tuple(initial[name].shape) != cut.shape:
            found = tuple(initial[name].shape) if name in initial else "nothing"
            raise ProfileError(
                f"{name}: initial values hold {found}; allowed: a tensor of shape {cut.shape}"
            )
    return Verification(
        holding(vectors_of(weights, cuts, biases), vectors_of(initial, cuts, biases))
    )


def _verified(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    initial: Mapping[str, Tensor] | None,
    cuts: Mapping[str, Cut],
    biases: Mapping[str, str],
) -> Verification:
    """Against a state dict, or against what the records of birth say, of which tied ones have two.

    A tied parameter holds the values of one of its names; which one is not known.
    """
    if initial is not None:
        _refuse_own_memory(weights, initial, cuts)
        return verify_weights(weights, initial, cuts, biases)
    verification: Verification | None = None
    for born in _births(model):
        again = verify_weights(weights, born, cuts, biases)
        verification = again if verification is None else _either(verification, again)
        if verification:
            break
    assert verification is not None
    return verification


def _verify_finest(
    model: nn.Module, weights: Mapping[str, Tensor], initial: Mapping[str, Tensor] | None
) -> Verification:
    """Each weight by neuron, or where that does not hold, as within a layer."""
    neurons, layers = {}, {}
    for tensor in named_tensors(model):
        if tensor.is_weight and tensor.parameter.numel() and not tensor.has_padding:
            layers[tensor.name] = tensor.cut.at("layer")
            try:
                neurons[tensor.name] = tensor.cut.at("neuron")
            except GranularityError:  # neurons of a single weight
                neurons[tensor.name] = layers[tensor.name]
    if not neurons:
        raise SettingError("the model has no weights of two or more dimensions; nothing to compare")
    by_neuron = _verified(model, weights, initial, neurons, {})
    by_layer = _verified(model, weights, initial, {n: layers[n] for n in by_neuron.changed}, {})
    held = {name: each for name, each in by_layer.intact.items() if bool(each.all())}
    return Verification({**by_neuron.intact, **held}, only_in_layer=tuple(held))


def _births(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The initial values by the records, then with each other record of a tied parameter."""
    yield recorded_initial_weights(model)
    yield recorded_initial_weights(model, of_last_name=True)


def _either(one: Verification, other: Verification) -> Verification:
    return Verification(
        {name: vectors | other.intact[name] for name, vectors in one.intact.items()}
    )


def _verify_method(model: nn.Module, method: Method) -> Verification:
    """Against what the method itself knows, or of one that has ended and knows no more, records."""
    weights = method.weights_to_verify(_weights_of(model, method))
    if method.has_begun or method.ended_at is None:
        intact = method.intact(weights)
    else:
        initial = recorded_initial_weights(model)
        intact = holding(method.vectors(weights), method.vectors(initial))
    return Verification(
        intact,
        not method.has_begun,
        method.ended_at,
        changed_unseen=tuple(method.changed_unseen),
    )


def _weights_of(model: nn.Module, method: Method) -> dict[str, Tensor]:
    """The model's tensors that a method acts on: the same objects, or those of their names."""
    named = {tensor.name: tensor.parameter for tensor in named_tensors(model)}
    own = {id(parameter) for parameter in named.values()}
    found = dict(named)
    for name, parameter in method.parameters.items():
        if id(parameter) in own:
            found[name] = parameter
        elif name not in named or named[name].shape != parameter.shape:
            raise ProfileError(
                f"{name}: the method's tensor of shape {tuple(parameter.shape)} is not in the "
                "model; allowed: the model whose optimizer it is attached to, or a copy of it"
            )
    return found


def _refuse_own_memory(
    weights: Mapping[str, Tensor], initial: Mapping[str, Tensor], cuts: Mapping[str, Cut]
) -> None:
    for name in cuts:
        if name in initial and _is_same_memory(initial[name], weights[name]):
            raise ProfileError(
                f"{name}: the initial values are the model's own weights, not a copy; allowed: "
                "{name: w.clone() for name, w in model.state_dict().items()} from before the "
                "training"
            )


def _is_same_memory(left: Tensor, right: Tensor) -> bool:
    return left.numel() > 0 and left.data_ptr() == right.data_ptr()
