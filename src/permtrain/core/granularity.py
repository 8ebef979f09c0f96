"""Which tensors of a model are permuted, and at which granularity.

One function decides for every tensor, from its name, its shape and its module's type.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, TypeAlias, cast

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from permtrain.core.cut import ACROSS, GRANULARITIES, AnyGranularity, Cut
from permtrain.core.layouts import COMPUTED_FROM, kept_by
from permtrain.core.names import modules_of
from permtrain.errors import (
    GranularityError,
    LeftAloneWarning,
    NoVectorsError,
    SettingError,
)

Answer: TypeAlias = str | Cut | tuple[str | Cut | None, ...] | None
"""A granularity ("across" too), None for "leave alone", or several, the first that fits taken. A
`Cut` names the output axis where the module's type does not tell it: `Cut("neuron", 1)`."""

Biases: TypeAlias = Literal["inner", "apart", "row"]
"""What becomes of biases: left to the inner optimizer; each layer's is a vector of its own; each is
one more weight of its neuron's vector (SGPerm alone)."""

GranularityRule: TypeAlias = Answer | Mapping[str, Answer] | Callable[[str, Tensor], Answer]
"""One answer for all weights, answers by name pattern, or a function of name and parameter."""


@dataclass(frozen=True)
class NamedTensor:
    """A parameter with what rules see of it.

    Attributes:
        name: its first name in the model.
        parameter: the parameter itself.
        cut: into the weights of its output units, its neurons; it may have none of more than one.
        why_left: why plain rules leave it alone, in words; empty where it is a weight.
        is_known: whether it is a weight of a registered type of layer.
        is_embedding: whether it is the table of an embedding.
        bias_of: the weight that it is the bias of, if it is one.
        has_padding: whether a row of it must stay as it is: an embedding's `padding_idx`.
    """

    name: str
    parameter: Tensor
    cut: Cut
    why_left: str = ""
    is_known: bool = False
    is_embedding: bool = False
    bias_of: Tensor | None = None
    has_padding: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether plain rules concern it."""
        return not self.why_left


_LENGTHS = "what a parametrization scales a weight with"


def named_tensors(model: nn.Module) -> list[NamedTensor]:
    """All parameters of a model, once each (tied ones under their first name), in its own order.

    Names are those of the model inside wrappers (`core.names`).

    Raises:
        SettingError: a lazy layer's parameter, which has no shape before the first call.
    """
    found = []
    seen: set[int] = set()
    # What a parametrization computes a layer's weight from is held by a module of its own, which
    # comes after the layer: here are the layer and the weight's name there.
    owners: dict[int, tuple[nn.Module, str]] = {}
    padded = {
        id(parameter)
        for module in model.modules()
        if getattr(module, "padding_idx", None) is not None
        for parameter in (*module.parameters(recurse=False), *_originals(module).values())
    }  # tied to another module's too
    for module_name, module in modules_of(model):
        own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
        for name, parameter in _originals(module).items():
            owners[id(parameter)] = (module, name)
        beside = own | _originals(module)
        for name, parameter in own.items():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                full_name = f"{module_name}.{name}" if module_name else name
                _refuse_lazy(full_name, parameter)
                owner, own_name = owners.get(id(parameter), (module, name))
                is_length = isinstance(owner, ParametrizationList) or (
                    name.endswith("_g") and f"{name.removesuffix('_g')}_v" in own
                )
                kept = kept_by(owner, own_name, parameter, module_name)
                found.append(
                    NamedTensor(
                        full_name,
                        parameter,
                        kept.cut,
                        why_left=_LENGTHS if is_length else kept.why_left,
                        is_known=kept.is_known,
                        is_embedding=isinstance(owner, nn.Embedding | nn.EmbeddingBag),
                        bias_of=_weight_beside(name, beside),
                        has_padding=id(parameter) in padded,
                    )
                )
    return found


def _originals(module: nn.Module) -> dict[str, Tensor]:
    """What parametrizations compute a module's parameters from, by the names of those.

    Of several the largest: weight norm's directions, not its lengths.
    """
    if not is_parametrized(module):
        return {}
    assert isinstance(module.parametrizations, nn.ModuleDict)
    lists = module.parametrizations.items()
    held = {name: list(each.parameters(recurse=False)) for name, each in lists}
    return {name: max(each, key=Tensor.numel) for name, each in held.items() if each}


def _refuse_lazy(name: str, parameter: Tensor) -> None:
    if is_lazy(parameter):
        raise SettingError(f"{name} has no shape yet; allowed: run the model once before")


def unnamed_tensor(name: str, parameter: Tensor) -> NamedTensor:
    """A parameter of which no module is known.

    Raises:
        SettingError: it has no shape yet.
    """
    _refuse_lazy(name, parameter)
    kept = kept_by(None, name, parameter)
    return NamedTensor(name, parameter, kept.cut, kept.why_left)


def _weight_beside(name: str, own: Mapping[str, Tensor]) -> Tensor | None:
    """The weight of a module's bias: `weight` of `bias`, `weight_hh_l0` of `bias_hh_l0`."""
    if "bias" not in name or own[name].dim() != 1:
        return None
    stem = name.removesuffix("_orig").replace("bias", "weight")
    candidates = [stem + ending for ending in COMPUTED_FROM]
    if name == "in_proj_bias":  # attention with three weights
        candidates.append("q_proj_weight")
    weight = next((own[each] for each in candidates if each in own), None)
    return weight if weight is not None and weight.dim() >= 2 else None


def refuse_patterns_after_all(setting: str, patterns: Iterable[str]) -> None:
    """Refuses name patterns that come after "*", for the first that matches counts.

    Raises:
        SettingError: naming the first of them.
    """
    patterns = list(patterns)
    if "*" in patterns[:-1]:
        dead = patterns[patterns.index("*") + 1]
        raise SettingError(
            f"{setting} pattern {dead!r} comes after '*', which matches all, and the first that "
            "matches counts; allowed: '*' as the last"
        )


def check_rule(rule: GranularityRule, names: Iterable[str]) -> None:
    """Refuses misspelt granularities, and name patterns that match nothing or too late.

    Raises:
        SettingError: naming the value and what is allowed.
    """
    if isinstance(rule, Mapping):
        names = list(names)
        refuse_patterns_after_all("granularity", rule)
        for pattern, answer in rule.items():
            if not any(fnmatchcase(name, pattern) for name in names):
                raise SettingError(
                    f"granularity pattern {pattern!r} matches no parameter; "
                    f"there are: {', '.join(names)}"
                )
            _check_answer(answer)
    elif not callable(rule):
        _check_answer(rule)


_ALL = (*GRANULARITIES, ACROSS)


def _check_answer(answer: object) -> None:
    if answer == ():
        raise SettingError(f"granularity is (); allowed: {', '.join(_ALL)}, None")
    for choice in answer if isinstance(answer, tuple) else (answer,):
        name = choice.granularity if isinstance(choice, Cut) else choice
        if name is not None and name not in _ALL:
            close = difflib.get_close_matches(str(name), _ALL, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise SettingError(f"granularity is {name!r}{hint}; allowed: {', '.join(_ALL)}, None")


class Decision(NamedTuple):
    """What a rule says of a tensor.

    Attributes:
        cut: how it is cut; None where it is left alone.
        why: in words, why it is left alone; empty where it is cut.
        is_unfit: whether the rule meant it, as one of many, and it has no vectors.
    """

    cut: Cut | None
    why: str = ""
    is_unfit: bool = False


def decide(
    tensor: NamedTensor,
    rule: GranularityRule,
    *,
    biases: Biases = "inner",
    may_go_across: bool = False,
) -> Decision:
    """The weight vectors of one tensor under a rule, or why it is left alone.

    A single answer concerns weights (`core.layouts.kept_by`); norm parameters are left alone,
    and biases too (the authors' setting on CIFAR-10) unless they are `"apart"`: each layer's bias a
    vector of its own (their `skip_bias=False` on MNIST). So does the pattern `"*"`, which stands
    for all other weights. Other patterns, and functions, concern every parameter; what no pattern
    matches is left alone.

    A tensor that has no vectors at the granularity asked for is refused where a name or a function
    asked for it, and left alone where a rule for many did: neurons of a single weight, an embedding
    with a padding row. Kernels are refused in any case to layers that have none.

    Raises:
        GranularityError: naming the tensor, if it has no vectors at any granularity of the answer;
            if each process holds a part of it; if one of its rows must stay zero; or if they go
            across tensors, which the caller does not know of.
    """
    is_for_many = not callable(rule)
    if callable(rule):
        answer = rule(tensor.name, tensor.parameter)
        _check_answer(answer)
    elif isinstance(rule, Mapping):
        pattern = next((each for each in rule if fnmatchcase(tensor.name, each)), None)
        if pattern is None:
            return Decision(None, "no pattern matches it")
        if pattern == "*" and not tensor.is_weight:
            return Decision(None, tensor.why_left)
        answer = rule[pattern]
        is_for_many = any(letter in pattern for letter in "*?[")
    elif tensor.is_weight:
        answer = rule
    elif biases == "apart" and tensor.bias_of is not None:
        answer = "layer"
    else:
        return Decision(None, tensor.why_left)
    try:
        cut = _first_that_fits(tensor, answer)
    except NoVectorsError as error:
        if not is_for_many or (tensor.is_weight and _insists(answer)):
            raise
        return Decision(None, tensor.why_left or _reason(error, tensor), tensor.is_weight)
    if cut is None:
        return Decision(None, "the rule says None")
    refuse_sharded(tensor)
    if tensor.has_padding:
        if is_for_many:
            return Decision(None, "the row of its padding_idx must stay zero", True)
        raise GranularityError(
            f"{tensor.name}: the embedding has a padding_idx, whose row must stay zero, and a "
            f"permutation would move values into it; allowed: None, as in {{{tensor.name!r}: None}}"
        )
    if cut.is_across and not may_go_across:
        raise GranularityError(
            f"{tensor.name}: granularity is {ACROSS!r}; allowed here: {', '.join(GRANULARITIES)} "
            "(LaPerm, IndexOptimizer and verify know of vectors across tensors)"
        )
    return Decision(cut)


def warn_of_unfit(decisions: Mapping[str, Decision]) -> None:
    """Say once which weights a rule for many meant and left alone, by name."""
    unfit = {name: decision.why for name, decision in decisions.items() if decision.is_unfit}
    if unfit:
        warnings.warn(
            "left to the inner optimizer, for they have no weight vectors: "
            + "; ".join(f"{name} ({why})" for name, why in unfit.items())
            + ". To silence this, give them None by name, as in "
            f"{{{next(iter(unfit))!r}: None, '*': ...}}",
            LeftAloneWarning,
            stacklevel=2,
        )


def _insists(answer: Answer) -> bool:
    """Whether an answer asks for what few tensors have: kernels alone, or an axis by number."""
    choices = answer if isinstance(answer, tuple) else (answer,)
    return set(choices) == {"kernel"} or any(isinstance(choice, Cut) for choice in choices)


def _reason(error: NoVectorsError, tensor: NamedTensor) -> str:
    said = str(error).removeprefix(f"{tensor.name}: ")
    return said.partition(", but ")[2].partition(", nothing to permute")[0] or said


def refuse_sharded(tensor: NamedTensor) -> None:
    """Refuses a tensor of which each process holds a part only.

    Raises:
        GranularityError: naming it.
    """
    # By name: torch.distributed may be missing, and importing it takes time.
    if any(each.__name__ == "DTensor" for each in type(tensor.parameter).__mro__):
        raise GranularityError(
            f"{tensor.name} is a DTensor, of which each process holds a part (FSDP, tensor "
            "parallel); allowed: tensors that each process holds whole, as under "
            "DistributedDataParallel"
        )


def _first_that_fits(tensor: NamedTensor, answer: Answer) -> Cut | None:
    choices = answer if isinstance(answer, tuple) else (answer,)
    refusals = []
    for choice in choices:
        if choice is None:
            return None
        try:
            return _bound(tensor, choice)
        except GranularityError as error:
            refusals.append(str(error))
    fallback = "" if len(choices) > 1 else f"; a fallback can be named: ({choices[0]!r}, 'layer')"
    raise NoVectorsError(f"{tensor.name}: {'; '.join(refusals)}{fallback}")


def _bound(tensor: NamedTensor, choice: str | Cut) -> Cut:
    """A choice, of this tensor."""
    if not isinstance(choice, Cut):
        return tensor.cut.at(cast(AnyGranularity, choice))
    kernels = choice.num_kernel_axes or tensor.cut.num_kernel_axes
    return replace(choice, num_kernel_axes=kernels).of(tuple(tensor.parameter.shape))
