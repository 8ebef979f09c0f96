"""Packed files of torch models."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from permtrain.core import live
from permtrain.core.cut import GRANULARITIES, Cut
from permtrain.core.granularity import (
    GranularityRule,
    NamedTensor,
    check_rule,
    decide,
    named_tensors,
)
from permtrain.core.kinds import check_model, check_numbers
from permtrain.core.names import first_names, plain_state, unwrapped
from permtrain.errors import GranularityError, KindError, PackedFileError, SettingError
from permtrain.initial.initialize import records_of
from permtrain.initial.record import TensorRecord
from permtrain.packed.entries import Alias
from permtrain.packed.keys import SAFETENSORS_DTYPES, Bits, bits_type
from permtrain.packed.reader import PackedFile
from permtrain.packed.writer import TensorToPack, write_packed


def pack(
    model: nn.Module,
    path: Path | str,
    *,
    granularity: GranularityRule = "any",
    weights: Mapping[str, Tensor] | None = None,
    only: str | Sequence[str] | None = None,
    threads: int | None = None,
) -> None:
    """Writes a model's state as a seed and permutations; `unpack` gives every bit back.

    A tensor that holds its initial values, which `initialize_` left a record of, in each of its
    weight vectors is stored as their arrangement. Others are stored as they are, or as levels and
    an arrangement where that is smaller; so are those that exchanged values with other tensors
    (granularity "across", biases in their weights' rows). Buffers, and parameters that no rule cuts
    into vectors, are stored as they are. Tied tensors are stored once. docs/format.md describes the
    file.

    Args:
        model: its state is stored; in LaPerm's mid-period, which is warned of, inside
            `permuter.arranged()`. Of a wrapper (`torch.compile`, DDP) that of the model inside.
        path: written whole and durable or not at all, and only if the bytes read back.
        granularity: as in `LaPerm`, for weights whose vectors are to be these; what it cuts is
            stored as an arrangement even without a record, its sorted values beside. `"any"` takes
            for each tensor the finest granularity at which it holds its initial values.
        weights: the state to store, instead of the model's own; of its names and shapes. Of a
            wrapped model they have its names or those of the model inside.
        only: a name pattern (`fnmatch`) or several, of the tensors to store, as `"*lora_*"` of
            adapters; `load_state_dict(unpack(path), strict=False)` puts them in place.
        threads: tensors worked on at a time; None chooses by the processors.

    Raises:
        KindError: no model (a state dict is given as `weights`, beside its model).
        PackedFileError: a state that cannot be stored: what is no tensor, or of a dtype no file
            holds; weights of other names or shapes than the model's.
        SettingError, GranularityError: a granularity that does not fit, a pattern that matches
            nothing, or threads below 1.
        OSError: the file could not be written; an older one stays.

    Example:
        >>> import tempfile, permtrain
        >>> model = nn.Linear(784, 100)
        >>> _ = permtrain.initialize_(model, seed=1)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(model.weight.flip(1))
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> pack(model, file)
        >>> other = nn.Linear(784, 100)
        >>> other.load_state_dict(unpack(file))
        <All keys matched successfully>
        >>> torch.equal(other.weight, model.weight)
        True
        >>> PackedFile(file)["weight"].shape
        (100, 784)
    """
    check_model(model)
    if weights is None and (unarranged := live.unarranged_in(model)):
        warnings.warn(
            f"{unarranged[0]} is in mid-period, where its weights are not a permutation, and is "
            "stored as it is; pack inside `with permuter.arranged():` or after "
            "permuter.synchronize()",
            stacklevel=2,
        )
    write_packed(Path(path), tensors_of(model, granularity, weights, only), threads)


def pack_tensors(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Write tensors of anybody's model, of which nobody knows how they were born.

    Of each the way is taken that is smallest; `unpack` gives every bit back.

    Raises:
        PackedFileError, OSError: as `pack`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> pack_tensors({"fc.weight": torch.ones(3, 4), "type": torch.arange(2)}, file)
        >>> sorted((name, tuple(tensor.shape)) for name, tensor in unpack(file).items())
        [('fc.weight', (3, 4)), ('type', (2,))]
    """
    write_packed(Path(path), tensors_of(_module_of(tensors), "any", tensors), None)


def _module_of(tensors: Mapping[str, Tensor]) -> nn.Module:
    """Modules that hold these tensors under these names, and compute nothing."""
    model = nn.Module()
    for name, tensor in tensors.items():
        *parents, last = name.split(".")
        module = model
        for parent in parents:
            # Past `register_...`, which refuses names that modules have methods of.
            module = module._modules.setdefault(parent, nn.Module())  # type: ignore[assignment]
        if tensor.is_floating_point():
            module._parameters[last] = nn.Parameter(tensor, requires_grad=False)
        else:
            module._buffers[last] = tensor
    return model


def unpack(
    path: Path | str,
    *,
    threads: int | None = None,
    max_weights: int | None = None,
    max_header: int | None = None,
) -> dict[str, Tensor]:
    """A packed model's state, as `load_state_dict` takes it; tied tensors are one tensor.

    Args:
        path: a file that `pack` wrote.
        threads: tensors decoded at a time; None chooses by the processors.
        max_weights, max_header: as in `PackedFile`.

    Raises:
        PackedFileError: it is damaged, saying where, or no packed file.
        SettingError: threads below 1.

    Example: see `pack`. Without torch: `permtrain.packed.reader.PackedFile`.
    """
    packed = PackedFile(path, max_weights=max_weights, max_header=max_header)
    tensors: dict[str, Tensor] = {}
    for name, bits in packed.all_bits(threads).items():
        entry = packed.entry(name)
        if entry.name != name:
            tensors[name] = tensors[entry.name]
        else:
            tensors[name] = _tensor_of(bits, entry.dtype)
    return tensors


def tensors_of(
    model: nn.Module,
    granularity: GranularityRule,
    weights: Mapping[str, Tensor] | None,
    only: str | Sequence[str] | None = None,
) -> list[TensorToPack | Alias]:
    """A model's state with what is known of each tensor, in the state's order."""
    model = unwrapped(model)
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise PackedFileError(f"{name} has no shape yet; allowed: run the model once before")
    state = model.state_dict()
    chosen = list(state) if only is None else _matching(only, state)
    if weights is not None:
        weights = plain_state(weights, state)
        _check_names(weights, chosen, state)
    state = {name: (state if weights is None else weights)[name] for name in chosen}
    named = {tensor.name: tensor for tensor in named_tensors(model)}
    if granularity != "any":
        check_rule(granularity, named)
    records = records_of(model)
    first_name = first_names(model)
    found: list[TensorToPack | Alias] = []
    stored: dict[str, str] = {}
    for name, tensor in state.items():
        first = first_name.get(name, name)
        if first in stored:
            if not np.array_equal(_bits_of(tensor), _bits_of(state[stored[first]])):
                raise PackedFileError(
                    f"{name} is tied to {stored[first]} in the model, and differs from it in the "
                    "weights given; allowed: the same values"
                )
            found.append(Alias(name, stored[first]))
            continue
        stored[first] = name
        if not isinstance(tensor, Tensor):
            raise PackedFileError(
                f"{name} is a {type(tensor).__name__}; allowed: plain tensors (a module's extra "
                "state is none)"
            )
        try:
            check_numbers(name, tensor)
        except KindError as error:
            raise PackedFileError(str(error)) from None
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in SAFETENSORS_DTYPES:
            raise PackedFileError(f"{name} is {dtype}; allowed: {', '.join(SAFETENSORS_DTYPES)}")
        cuts: tuple[Cut, ...] = ()
        record = None
        if first in named and tensor.is_floating_point():
            cuts = _cuts(named[first], granularity, tuple(tensor.shape))
            record = _record_of(tensor, dtype, records.get(first))
        must_cut = granularity != "any"
        found.append(TensorToPack(name, dtype, _bits_of(tensor), cuts, record, must_cut))
    return found


def _matching(only: str | Sequence[str], names: Iterable[str]) -> list[str]:
    """The names that a pattern, or one of several, matches, in their order.

    Raises:
        SettingError: a pattern matches none.
    """
    patterns = [only] if isinstance(only, str) else list(only)
    names = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SettingError(f"only is {pattern!r}; allowed: what matches {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _check_names(state: Mapping[str, Any], chosen: Sequence[str], own: Mapping[str, Any]) -> None:
    """Refuses a state that the model could not load."""
    for problem, names in (
        ("hold no", [name for name in chosen if name not in state]),
        ("hold an unknown", [name for name in state if name not in own]),
    ):
        if names:
            raise PackedFileError(
                f"the weights given {problem} {names[0]}; allowed: the names of the model's state, "
                f"{', '.join(own)}"
            )


def _cuts(tensor: NamedTensor, rule: GranularityRule, shape: tuple[int, ...]) -> tuple[Cut, ...]:
    """Ways to cut a tensor: the rule's one, or all there are, the finest first.

    A single number without axes, as a learnt temperature, has no place to go to.
    """
    if tuple(tensor.parameter.shape) != shape:
        raise PackedFileError(
            f"{tensor.name} has shape {shape}; allowed: {tuple(tensor.parameter.shape)}"
        )
    if not shape:
        return ()
    if rule != "any":
        cut = decide(tensor, rule).cut
        return () if cut is None else (_stored(cut),)
    cuts = []
    for granularity in GRANULARITIES:
        try:
            cuts.append(_stored(tensor.cut.at(granularity)))
        except GranularityError:  # vectors of a single weight
            continue
    return tuple(cuts)


def _stored(cut: Cut) -> Cut:
    """The cut as a file says it: only kernels need their number of axes.

    A layer's one vector does not ask for the output axis; whoever looks for its output units does.
    """
    return cut if cut.granularity == "kernel" else replace(cut, num_kernel_axes=0)


def _record_of(tensor: Tensor, dtype: str, record: TensorRecord | None) -> TensorRecord | None:
    """The record, if it is of this tensor as it is now."""
    is_of_it = record is not None and (record.shape, record.dtype) == (tuple(tensor.shape), dtype)
    return record if is_of_it else None


def _bits_of(tensor: Tensor) -> Bits:
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    bits = tensor.detach().cpu().contiguous().view(width).numpy()
    return bits.view(bits_type(tensor.element_size()))


def _tensor_of(bits: Bits, dtype: str) -> Tensor:
    kind = getattr(torch, dtype)
    # torch cannot look at unsigned words of more than a byte as other numbers on all devices.
    signed = bits.view(bits.dtype.str.replace("u", "i")) if bits.itemsize > 1 else bits
    own = signed if signed.flags.writeable else signed.copy()
    return torch.from_numpy(own).view(kind)
