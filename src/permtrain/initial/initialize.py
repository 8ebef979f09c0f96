"""Draws a model's weights so that they can be made again anywhere, and remembers how."""

import difflib
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from permtrain.core.cut import GRANULARITIES, Granularity
from permtrain.core.granularity import NamedTensor, named_tensors, uncompiled
from permtrain.core.notes import leave_note, notes_of
from permtrain.errors import GranularityError, NonFiniteError, ProfileError, SettingError
from permtrain.initial.record import TensorRecord, initial_values, shuffled_values
from permtrain.initial.rules import DTYPES, check_rule, fans

Biases: TypeAlias = Literal["rule", "zero", "keep"]
SparsityBy: TypeAlias = Literal["exact", "bernoulli", "magnitude"]

_DEFAULTS: dict[str, Any] = {"rule": "kaiming_uniform", "granularity": "neuron", "sparsity": 0.0}
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Options:
    """Settings that hold for every weight, in the record's own names."""

    seed: int
    share: bool
    quantiles: bool
    pairwise: bool
    levels: int | None
    sparsity_by: str
    sparse_fans: bool


def initialize_(
    model: nn.Module,
    rule: str | Mapping[str, str] = "kaiming_uniform",
    seed: int = 0,
    *,
    granularity: Granularity | Mapping[str, Granularity] = "neuron",
    value: float | None = None,
    share: bool = False,
    quantiles: bool = False,
    pairwise: bool = False,
    levels: int | None = None,
    sparsity: float | Mapping[str, float] = 0.0,
    sparsity_by: SparsityBy = "exact",
    first_layer_sparsity_cap: float | None = None,
    sparse_fans: bool = False,
    biases: Biases = "rule",
) -> dict[str, TensorRecord]:
    """Draws the weights of a model in place; the same seed gives the same bytes everywhere.

    A parameter's values depend on the seed, on its name, shape and dtype and on the settings, not
    on other layers, the device, the machine or torch's version. The record of each parameter drawn
    gives its values again (`record.initial_values`, NumPy only). The records also stay with the
    model, as plain data (`records_of`); a state dict does not hold them.

    Drawn are weights, that is parameters of two or more dimensions, frozen ones too, and by
    `biases` the biases beside them. Norm layers, embeddings with a `padding_idx`, whose row stays
    zero, and one-dimensional parameters that are no weight's bias keep their values. A tied
    parameter is drawn once, under its first name and for its first module.

    Args:
        model: its parameters are float64, float32, float16 or bfloat16, on any device. Of
            `torch.compile(model)` the model inside, whose names count.
        rule: a name in `rules.RULES`. Fans are those of `rules.fans`. `"shuffle"`
            moves the values that are there within each weight vector.
        seed: 0 to 2**64 - 1.
        granularity: `"kernel"`, `"neuron"` or `"layer"`: what a weight vector is, for `share`,
            `quantiles`, `pairwise`, `levels` and `"shuffle"`; without them it changes no value.
            Where a vector would be a single weight, the next coarser one is taken and recorded.
        value: the value of rule `"constant"`.
        share: all vectors of a tensor hold the same values, each in a random order of its own.
        quantiles: a vector's values are the distribution's quantiles at (i + 1/2) / L, i from 0 to
            L - 1, in a random order.
        pairwise: a vector holds +v and -v for each of its values, and one 0 if L is odd, in a
            random order. Quantiles and levels are in pairs as they are (but for a middle place).
            Source: Cai, Chen, Qiao, arXiv 2407.01033, random and equidistant pairs (`quantiles` of
            a uniform rule are equidistant).
        levels: K, 2 to L: a vector's values are K equally frequent ones (`record.level_of_places`),
            the quantiles at (j + 1/2) / K scaled to the distribution's standard deviation (root
            mean square of the K), in a random order; `quantiles` adds nothing to them.
        sparsity: fraction of each weight tensor that becomes 0.0, in [0, 1). Biases stay dense.
        sparsity_by: which weights become zero. `"exact"`: round(sparsity x n) of the tensor's n, at
            random positions. `"bernoulli"`: each with this probability (the code of Train by
            Reconnect's authors). `"magnitude"`: the round(sparsity x n) smallest magnitudes, by
            chance among equal ones (index optimizer, section 5.1). Zeros may break pairs and make
            vectors differ, but with `share`: then round(sparsity x L) zeros are part of the one
            profile, and pairs, quantiles and levels are those of the other L - round(sparsity x L)
            values (`"magnitude"`: of all L); `"bernoulli"` is refused.
        first_layer_sparsity_cap: the first weight tensor, in the model's order, gets at most this
            sparsity (Train by Reconnect, section 5.4: 0.2).
        sparse_fans: fans count the part 1 - sparsity only, at least 1: the scale of a dense layer
            with as many inputs as are left.
        biases: `"rule"` draws a bias by its weight's rule with its own length as fan-in and
            fan-out, as Keras does and the papers' networks have it; `"zero"` sets it to 0;
            `"keep"` leaves it. A bias never has the structure of `share`, `quantiles`, `pairwise`,
            `levels` or `sparsity`; `"shuffle"` takes it as one vector.

    `rule`, `granularity` and `sparsity` also take a mapping from name patterns (`fnmatch`) to
    values. Patterns are held against the names of weights (a bias follows its weight); the first
    that matches counts; a weight that none matches gets the default.

    Returns: records by parameter name, in the model's order; none for parameters left alone.
    Randomness: Philox words keyed by seed and name; no global generator is touched.
    Cost: 20 to 80 ns a weight on one core; at peak some 24 bytes a weight of the largest tensor.
    Raises:
        SettingError: a setting that is misspelt, out of range or does not go with another; a
            pattern that matches nothing; a parameter that cannot be drawn. Nothing is written then.
        NonFiniteError: `"shuffle"` of values that hold NaN or infinity.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> records = initialize_(model, "kaiming_normal", seed=7, levels=2, sparsity={"2.*": 0.5})
        >>> list(records)
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> model[0].weight.detach()
        tensor([[ 0.7071,  0.7071, -0.7071, -0.7071],
                [-0.7071,  0.7071,  0.7071, -0.7071],
                [ 0.7071,  0.7071, -0.7071, -0.7071]])
        >>> bool((torch.from_numpy(initial_values(records["0.bias"])) == model[0].bias).all())
        True
    """
    if biases not in get_args(Biases):
        raise SettingError(f"biases is {biases!r}; allowed: {', '.join(get_args(Biases))}")
    cap = _as_number(first_layer_sparsity_cap)
    if cap is not None and not (isinstance(cap, float) and 0 <= cap <= 1):
        raise SettingError(
            f"first_layer_sparsity_cap is {first_layer_sparsity_cap!r}; allowed: 0 to 1"
        )
    options = _Options(
        seed=_as_integer(seed),
        share=share,
        quantiles=quantiles,
        pairwise=pairwise,
        levels=_as_integer(levels),
        sparsity_by=sparsity_by,
        sparse_fans=sparse_fans,
    )
    model = uncompiled(model)
    _refuse_undrawable(model)
    tensors = named_tensors(model)
    weights = [tensor for tensor in tensors if tensor.is_weight and not tensor.has_padding]
    if not weights:
        raise SettingError(
            "model has no parameter of two or more dimensions, but of norms and embeddings with a "
            "padding_idx; nothing to draw"
        )

    names = [weight.name for weight in weights]
    rules = _per_weight("rule", rule, names)
    granularities: dict[str, Granularity] = _per_weight("granularity", granularity, names)
    sparsities = _per_weight("sparsity", sparsity, names)
    if cap is not None:
        sparsities[names[0]] = _capped(sparsities[names[0]], cap)
    for each in rules.values():
        check_rule(each)
    _check_value(value, rules)

    records: dict[str, TensorRecord] = {}
    by_id: dict[int, TensorRecord] = {}
    for weight in weights:
        record = _weight_record(
            weight,
            rules[weight.name],
            value,
            granularities[weight.name],
            _as_number(sparsities[weight.name]),
            options,
        )
        by_id[id(weight.parameter)] = record
    for tensor in tensors:
        if (own := by_id.get(id(tensor.parameter))) is not None:
            records[tensor.name] = own
        elif id(tensor.bias_of) in by_id and biases != "keep":
            of_weight = by_id[id(tensor.bias_of)]
            records[tensor.name] = _bias_record(tensor, of_weight, biases == "zero")

    parameters = {tensor.name: tensor.parameter for tensor in tensors}
    for name, record in records.items():
        if not record.regenerable and not torch.isfinite(parameters[name]).all():
            raise NonFiniteError(f"{name} holds NaN or infinity; allowed: finite values to shuffle")
    with torch.no_grad():
        for name, record in records.items():
            _write(parameters[name], record)
            leave_note(model, "permtrain_records", name, record.to_dict())
    return records


def records_of(model: nn.Module) -> dict[str, TensorRecord]:
    """The records that `initialize_` left with a model, by parameter name; empty if it never ran.

    They tell how the parameters were born, not what they hold now. Copying and pickling the model
    keeps them, loading a state dict does not change them. Each record stays with the module that
    has the parameter, so that a model knows how its parts were drawn, and a part how it was drawn
    with the whole. Values depend on `record.name`, which is the name that the parameter had then.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> records_of(model)
        {}
        >>> records = initialize_(model)
        >>> records_of(model) == records
        True
    """
    return {name: TensorRecord.from_dict(notes[0][1]) for name, notes in _notes(model).items()}


def _notes(model: nn.Module) -> dict[str, list[tuple[str, Any]]]:
    return notes_of(model, "permtrain_records")


def recorded_initial_weights(model: nn.Module, *, of_last_name: bool = False) -> dict[str, Tensor]:
    """The values that `initialize_` gave this model's parameters, drawn anew, on the CPU.

    Args:
        of_last_name: where parameters were tied after they were drawn, take the record of the last
            of a parameter's names in place of the first.

    Raises:
        ProfileError: it left no record, or the values cannot be made again from it (`"shuffle"`).

    Example:
        >>> model = nn.Linear(4, 3)
        >>> _ = initialize_(model, seed=3)
        >>> torch.equal(recorded_initial_weights(model)["weight"], model.weight.detach())
        True
    """
    place = -1 if of_last_name else 0
    records = {n: TensorRecord.from_dict(each[place][1]) for n, each in _notes(model).items()}
    if not records:
        raise ProfileError(
            "the model's initial values are not known: permtrain.initialize_ left no record on it; "
            "give the permuter, or a state dict from before the training"
        )
    weights = {}
    for name, record in records.items():
        if not record.regenerable:
            raise ProfileError(
                f"{name}: rule {record.rule!r} shuffled values that no record holds; give the "
                "permuter, or a state dict from before the training"
            )
        dtype = getattr(torch, record.dtype)
        weights[name] = torch.from_numpy(initial_values(record)).to(dtype)
    return weights


def _refuse_undrawable(model: nn.Module) -> None:
    for module_name, module in model.named_modules():
        if isinstance(module, ParametrizationList):
            raise SettingError(
                f"{module_name} is a parametrization; allowed: plain parameters (initialize before "
                f"parametrizing)"
            )
        own = dict(module.named_parameters(module_name, recurse=False))
        for name in own:
            if name.endswith("_g") and f"{name[:-2]}_v" in own:
                raise SettingError(
                    f"{name} are the lengths of a weight norm; allowed: plain parameters "
                    f"(initialize before normalizing)"
                )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise SettingError(
                f"{name} is on the meta device; allowed: a device with memory "
                f"(model.to_empty(device=...))"
            )


def _per_weight(setting: str, given: _T | Mapping[str, _T], names: list[str]) -> dict[str, _T]:
    """The setting's value for each weight."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    for pattern in given:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingError(
                f"{setting} pattern {pattern!r} matches no weight; there are: "
                f"{', '.join(names)}{hint}"
            )
    return {
        name: next(
            (each for pattern, each in given.items() if fnmatchcase(name, pattern)),
            _DEFAULTS[setting],
        )
        for name in names
    }


def _check_value(value: float | None, rules: dict[str, str]) -> None:
    constant = [name for name, rule in rules.items() if rule == "constant"]
    if constant and value is None:
        raise SettingError("value is None; allowed: a finite number, with rule 'constant'")
    if not constant and value is not None:
        raise SettingError(f"value is {value!r}; allowed: None, except with rule 'constant'")


def _capped(sparsity: float, cap: float) -> float:
    # What is not a number is refused later, by its own name.
    return min(sparsity, cap) if isinstance(sparsity, numbers.Real) else sparsity


def _weight_record(
    weight: NamedTensor,
    rule: str,
    value: float | None,
    granularity: Granularity,
    sparsity: Any,
    options: _Options,
) -> TensorRecord:
    shape = tuple(weight.parameter.shape)
    if granularity not in GRANULARITIES:
        near = difflib.get_close_matches(str(granularity), GRANULARITIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingError(
            f"granularity is {granularity!r}; allowed: {', '.join(GRANULARITIES)}{hint}"
        )
    cut = weight.cut
    is_transposed = cut.output_axis == 1 and cut.num_kernel_axes > 0
    fan_in, fan_out = fans(shape, transposed=is_transposed, groups=cut.groups)
    if options.sparse_fans and isinstance(sparsity, float) and 0 <= sparsity < 1:
        fan_in, fan_out = (max(1, round((1 - sparsity) * fan)) for fan in (fan_in, fan_out))
    return TensorRecord(
        name=weight.name,
        shape=shape,
        dtype=_dtype_of(weight),
        rule=rule,
        seed=options.seed,
        fan_in=fan_in,
        fan_out=fan_out,
        granularity=_granularity_that_fits(weight, granularity),
        output_axis=cut.output_axis,
        num_kernel_axes=cut.num_kernel_axes,
        groups=cut.groups,
        value=_as_number(value) if rule == "constant" else None,
        share=options.share,
        quantiles=options.quantiles,
        pairwise=options.pairwise,
        levels=options.levels,
        sparsity=sparsity,
        sparsity_by=options.sparsity_by,
    )


def _bias_record(bias: NamedTensor, of_weight: TensorRecord, is_zero: bool) -> TensorRecord:
    shape = tuple(bias.parameter.shape)
    fan_in, fan_out = fans(shape)
    record = TensorRecord(
        name=bias.name,
        shape=shape,
        dtype=_dtype_of(bias),
        rule=of_weight.rule,
        seed=of_weight.seed,
        fan_in=fan_in,
        fan_out=fan_out,
        granularity="layer",
        value=of_weight.value,
    )
    return replace(record, rule="constant", value=0.0) if is_zero else record


def _granularity_that_fits(weight: NamedTensor, granularity: Granularity) -> Granularity:
    """This granularity, or the next coarser one whose vectors are more than a single weight."""
    coarser = GRANULARITIES[GRANULARITIES.index(granularity) :]
    for each in coarser[:-1]:
        try:
            weight.cut.at(each)
        except GranularityError:
            continue
        return each
    return "layer"


def _dtype_of(tensor: NamedTensor) -> str:
    dtype = str(tensor.parameter.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise SettingError(f"{tensor.name} is {dtype}; allowed: {', '.join(DTYPES)}")
    return dtype


def _write(parameter: Tensor, record: TensorRecord) -> None:
    if record.regenerable:
        values = initial_values(record)
    else:
        now = parameter.detach().cpu()
        # NumPy has no bfloat16; float32 holds all its values.
        now = now.float() if now.dtype == torch.bfloat16 else now
        values = shuffled_values(record, now.numpy())
    parameter.copy_(torch.from_numpy(values))


def _as_integer(number: Any) -> Any:
    """NumPy's integers as Python's; anything else as it is, to be refused by its name."""
    is_integer = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    return int(number) if is_integer else number


def _as_number(number: Any) -> Any:
    """Real numbers as Python's float; anything else as it is, to be refused by its name."""
    is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
    return float(number) if is_number else number
