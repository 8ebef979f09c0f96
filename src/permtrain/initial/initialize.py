"""Draws a model's weights so that they can be made again anywhere, and remembers how."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from permtrain.core.aliases import refuse_aliases
from permtrain.core.cut import GRANULARITIES, Cut, Granularity
from permtrain.core.granularity import NamedTensor, named_tensors, refuse_patterns_after_all
from permtrain.core.kinds import check_model
from permtrain.core.names import modules_of, parameters_of
from permtrain.core.notes import RECORDS, leave_note, notes_of
from permtrain.errors import (
    GranularityError,
    LeftAloneWarning,
    NonFiniteError,
    ProfileError,
    SettingError,
)
from permtrain.initial.checks import as_integer, as_number, check_choice, nearest
from permtrain.initial.record import TensorRecord, initial_values, shuffled_values
from permtrain.initial.rules import DTYPES, Rule, fans
from permtrain.initial.structure import Structure

BiasBirth: TypeAlias = Literal["rule", "zero", "keep"]
_T = TypeVar("_T")


def initialize_(
    model: nn.Module,
    rule: str | Rule | Mapping[str, str | Rule] = Rule(),
    structure: Structure = Structure(),
    *,
    seed: int = 0,
    bias_values: BiasBirth | None = None,
) -> dict[str, TensorRecord]:
    """Draws the weights of a model in place; the same seed gives the same bytes everywhere.

    A parameter's values depend on the seed, on its name, shape and dtype and on the settings, not
    on other layers, the device, the machine or torch's version. The record of each parameter drawn
    gives its values again (`record.initial_values`, NumPy only). The records also stay with the
    model, as plain data (`records_of`); a state dict does not hold them.

    Drawn are the weights of linear, convolution, recurrent, attention and embedding layers, and of
    those that `register_layout` knows, and by `bias_values` the biases beside them. All else keeps
    its values: frozen parameters, norms, learned tokens, tables of positions, gains, embeddings
    with a `padding_idx`, whose row stays zero. Weights of unknown layers are left with a warning.
    A pattern in `rule` draws what it names: weights that are frozen or of unknown layers, and by
    its full name any parameter of two or more dimensions. A tied parameter is drawn once, under its
    first name and for its first module.

    Args:
        model: its parameters are float64, float32, float16 or bfloat16, on any device. Of
            a wrapper (`torch.compile`, DDP) the model inside, whose names count.
        rule: the distribution and its scale: a name in `rules.RULES`, or a `Rule`. Fans are those
            of `rules.fans`. `"shuffle"` moves the values that are there within each weight vector.
        structure: how values lie in weight vectors, and which weights are zero.
        seed: 0 to 2**64 - 1.
        bias_values: `"zero"` sets the biases of the weights drawn to 0; `"rule"` draws a bias by
            its weight's rule with its own length as fan-in and fan-out, as the papers' networks
            have it; `"keep"` leaves it; None: zero, but shuffled where its weight is. A bias never
            has a structure: it stays dense, and `"shuffle"` takes it as one vector.

    `rule`, and `granularity` and `sparsity` of the structure, also take a mapping from name
    patterns (`fnmatch`) to values. Patterns are held against the names of weights (a bias follows
    its weight); the first that matches counts; a weight that none matches gets the default. `"*"`
    is for all that would be drawn anyway.

    Returns: records by parameter name, in the model's order; none for parameters left alone.
    Randomness: Philox words keyed by seed and name; no global generator is touched.
    Cost: 20 to 80 ns a weight on one core; at peak some 24 bytes a weight of the largest tensor.
    Raises:
        KindError: no model.
        SettingError: a setting that is misspelt, out of range or does not go with another; a
            pattern that matches nothing; a parameter that cannot be drawn. Nothing is written then.
        NonFiniteError: `"shuffle"` of values that hold NaN or infinity.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> records = initialize_(
        ...     model, "kaiming_normal", Structure(levels=2, sparsity={"2.*": 0.5}), seed=7
        ... )
        >>> list(records)
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> model[0].weight.detach()
        tensor([[ 0.7071,  0.7071, -0.7071, -0.7071],
                [-0.7071,  0.7071,  0.7071, -0.7071],
                [ 0.7071,  0.7071, -0.7071, -0.7071]])
        >>> bool((torch.from_numpy(initial_values(records["0.bias"])) == model[0].bias).all())
        True
    """
    if bias_values is not None:
        check_choice("bias_values", bias_values, get_args(BiasBirth))
    if not isinstance(structure, Structure):
        raise SettingError(
            f"structure is {structure!r}; allowed: a Structure, as Structure(levels=2)"
        )
    check_model(model)
    seed = as_integer(seed)
    _refuse_undrawable(model)
    tensors = named_tensors(model)
    weights = [tensor for tensor in tensors if _is_drawn(tensor, rule)]
    if isinstance(rule, Mapping):
        _refuse_patterns_without_match("rule", rule, _drawable(tensors))
    if not weights:
        raise SettingError(
            "model has no weights to draw: none of a known layer that is trained and has no "
            "padding_idx; a pattern in rule names others: "
            + (", ".join(_drawable(tensors)) or "none")
        )

    names = [weight.name for weight in weights]
    rules: dict[str, str | Rule] = _by_pattern(rule, names, Rule())
    granularities: dict[str, Granularity] = _per_weight(
        "granularity", structure.granularity, names, Structure.granularity
    )
    sparsities: dict[str, float] = _per_weight(
        "sparsity", structure.sparsity, names, Structure.sparsity
    )
    if (cap := structure.first_layer_sparsity_cap) is not None:
        sparsities[names[0]] = min(sparsities[names[0]], cap)

    records: dict[str, TensorRecord] = {}
    by_id: dict[int, TensorRecord] = {}
    for weight in weights:
        own_rule = rules[weight.name]
        record = _weight_record(
            weight,
            own_rule if isinstance(own_rule, Rule) else Rule(own_rule),
            structure,
            granularities[weight.name],
            as_number(sparsities[weight.name]),
            seed,
        )
        by_id[id(weight.parameter)] = record
    for tensor in tensors:
        if (own := by_id.get(id(tensor.parameter))) is not None:
            records[tensor.name] = own
        elif (
            id(tensor.bias_of) in by_id and bias_values != "keep" and tensor.parameter.requires_grad
        ):
            of_weight = by_id[id(tensor.bias_of)]
            is_zero = (bias_values or ("zero" if of_weight.regenerable else "rule")) == "zero"
            is_zero = is_zero or of_weight.rule == "orthogonal"  # which says nothing of vectors
            records[tensor.name] = _bias_record(tensor, of_weight, is_zero)

    parameters = {tensor.name: tensor.parameter for tensor in tensors}
    for name, record in records.items():
        if not record.regenerable and not torch.isfinite(parameters[name]).all():
            raise NonFiniteError(f"{name} holds NaN or infinity; allowed: finite values to shuffle")
    refuse_aliases({name: parameters[name] for name in records}, parameters.items())
    with torch.no_grad():
        for name, record in records.items():
            _write(parameters[name], record)
            leave_note(model, RECORDS, name, record.to_dict())
    _warn_of_unknown(tensors, records)
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
    return notes_of(model, RECORDS)


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
    for module_name, module in modules_of(model):
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
    for name, parameter in parameters_of(model):
        if parameter.is_meta:
            raise SettingError(
                f"{name} is on the meta device; allowed: a device with memory "
                f"(model.to_empty(device=...))"
            )


def _is_drawn(tensor: NamedTensor, rule: str | Rule | Mapping[str, str | Rule]) -> bool:
    """Whether a weight is drawn: as a known layer's that is trained, or because a pattern names it.

    A pattern with wildcards names weights only; a full name any parameter of two or more axes.
    """
    if tensor.has_padding or tensor.parameter.dim() < 2:
        return False
    if isinstance(rule, Mapping):
        pattern = next((each for each in rule if fnmatchcase(tensor.name, each)), "*")
        if pattern != "*" and (tensor.is_weight or pattern == tensor.name):
            return True
    return tensor.is_weight and tensor.is_known and tensor.parameter.requires_grad


def _drawable(tensors: list[NamedTensor]) -> list[str]:
    """What a pattern may name."""
    return [each.name for each in tensors if each.parameter.dim() >= 2 and not each.has_padding]


def _warn_of_unknown(tensors: list[NamedTensor], records: Mapping[str, TensorRecord]) -> None:
    left = [
        tensor.name
        for tensor in tensors
        if tensor.is_weight
        and not tensor.is_known
        and tensor.parameter.requires_grad
        and tensor.name not in records
    ]
    if left:
        warnings.warn(
            f"initialize_ left these weights of unknown layers as they are: {', '.join(left)}; "
            f"register_layout makes a layer known, and a name in rule draws one, as in "
            f"{{{left[0]!r}: ...}}",
            LeftAloneWarning,
            stacklevel=3,
        )


def _refuse_patterns_without_match(
    setting: str, given: Mapping[str, Any], names: list[str]
) -> None:
    refuse_patterns_after_all(setting, given)
    for pattern in given:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SettingError(
                f"{setting} pattern {pattern!r} matches no weight; there are: "
                f"{', '.join(names)}{nearest(pattern, names)}"
            )


def _per_weight(
    setting: str, given: _T | Mapping[str, _T], names: list[str], default: Any
) -> dict[str, _T]:
    """The setting's value for each weight."""
    if isinstance(given, Mapping):
        _refuse_patterns_without_match(setting, given, names)
    return _by_pattern(given, names, default)


def _by_pattern(given: _T | Mapping[str, _T], names: list[str], default: Any) -> dict[str, _T]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    return {
        name: next((each for pattern, each in given.items() if fnmatchcase(name, pattern)), default)
        for name in names
    }


def _weight_record(
    weight: NamedTensor,
    rule: Rule,
    structure: Structure,
    granularity: Granularity,
    sparsity: float,
    seed: int,
) -> TensorRecord:
    """The weight's record; granularity and sparsity are what the structure says of this weight."""
    shape = tuple(weight.parameter.shape)
    own_granularity, cut = _that_fits(weight, granularity)
    fan_in, fan_out = _fans_of(weight)
    if rule.sparse_fans:
        fan_in, fan_out = (max(1, round((1 - sparsity) * fan)) for fan in (fan_in, fan_out))
    fan_in, fan_out = rule.num_branches * fan_in, rule.num_branches * fan_out
    return TensorRecord(
        name=weight.name,
        shape=shape,
        dtype=_dtype_of(weight),
        rule=rule.name,
        seed=seed,
        fan_in=fan_in,
        fan_out=fan_out,
        granularity=own_granularity,
        output_axis=cut.output_axis,
        num_kernel_axes=cut.num_kernel_axes,
        groups=cut.groups,
        value=as_number(rule.value),
        share=structure.share,
        quantiles=structure.quantiles,
        pairwise=structure.pairwise,
        levels=as_integer(structure.levels),
        sparsity=sparsity,
        sparsity_by=structure.sparsity_by,
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


def _fans_of(weight: NamedTensor) -> tuple[int, int]:
    """Counted as `fans` does, in one layer of a stack, whatever axis its output units are on."""
    cut, shape = weight.cut, list(weight.parameter.shape)
    axis = cut.output_axis
    if cut.is_stack:
        shape, axis = shape[1:], axis - 1
    is_transposed = axis == 1 and cut.num_kernel_axes > 0
    if not is_transposed and not weight.is_embedding:
        shape.insert(0, shape.pop(axis))
    return fans(tuple(shape), transposed=is_transposed, groups=cut.groups)


def _that_fits(weight: NamedTensor, granularity: Granularity) -> tuple[Granularity, Cut]:
    """This granularity, or the next coarser one whose vectors are more than a single weight.

    And a cut that has its layout.
    """
    coarser = GRANULARITIES[GRANULARITIES.index(granularity) :]
    for each in coarser[:-1]:
        try:
            cut = weight.cut.at(each)
        except GranularityError:
            continue
        return each, cut
    cut = weight.cut.at("layer")
    granularity_there: Any = cut.granularity  # a stack's layers are its neurons
    return granularity_there, cut


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
