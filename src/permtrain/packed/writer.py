"""Chooses how each tensor is stored, and writes the file once it reads back bit for bit.

NumPy and the coders only. The same tensors give the same bytes, whatever the machine.
"""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from permtrain.errors import PackedFileError
from permtrain.files import written_whole
from permtrain.initial.record import TensorRecord, initial_values
from permtrain.initial.rows import Rows
from permtrain.packed import container
from permtrain.packed.coders import conditional_code, uniform_code
from permtrain.packed.entries import MAX_VECTOR_LENGTH, Alias, TensorEntry, entries_to_plain
from permtrain.packed.keys import (
    SAFETENSORS_DTYPES,
    Bits,
    bits_of_keys,
    bits_of_values,
    sort_keys,
)
from permtrain.packed.multiset import levels_of, multisets_of
from permtrain.packed.reader import FORMAT, VERSION, PackedFile, crc32_of, sha256_of

ARRANGING = ("uniform", "conditional")
"""The coders of arrangements. Without a record of its birth a tensor knows the first only."""

Sections = list[tuple[str, str, tuple[int, ...], bytes]]
"""Name, safetensors dtype, shape and bytes of each."""


@dataclass(frozen=True, eq=False)
class TensorToPack:
    """A tensor and what is known of it.

    Attributes:
        name, dtype: as in the file.
        bits: bit patterns, in the tensor's shape.
        cuts: ways to cut it into weight vectors, the preferred one first; empty for what is to be
            stored as it is.
        record: how it was born, if that is known.
        must_cut: whether it is stored as an arrangement even where that takes more bytes.
    """

    name: str
    dtype: str
    bits: Bits
    cuts: tuple[Rows, ...] = ()
    record: TensorRecord | None = None
    must_cut: bool = False


def packed_bytes(
    tensors: Sequence[TensorToPack | Alias],
    threads: int | None = None,
    coders: Sequence[str] = ARRANGING,
) -> bytes:
    """The whole file, decoded once more and compared.

    Args:
        tensors: in the order of the model's state.
        threads: tensors worked on at a time; None chooses by the processors.
        coders: which may be used for arrangements; of several the one with the shortest code.

    Raises:
        PackedFileError: a tensor cannot be stored, or did not read back (which would be our fault).
    """
    own = [tensor for tensor in tensors if isinstance(tensor, TensorToPack)]
    with ThreadPoolExecutor(threads) as pool:
        packed = dict(
            zip([t.name for t in own], pool.map(partial(_packed, coders=coders), own), strict=True)
        )
    entries = [each if isinstance(each, Alias) else packed[each.name][0] for each in tensors]
    sections = [section for _, own_sections in packed.values() for section in own_sections]
    # Wide numbers first, so that every section begins at a multiple of its numbers' width.
    sections.sort(key=lambda section: -container.ITEM_SIZES[section[1]])
    plan = json.dumps(entries_to_plain(entries), separators=(",", ":"), ensure_ascii=True)
    data = container.built(sections, {"format": FORMAT, "version": VERSION, "plan": plan})
    _check_reads_back(data, own, threads)
    return data


def write_packed(
    path: Path, tensors: Sequence[TensorToPack | Alias], threads: int | None = None
) -> None:
    """Writes a packed file, whole and durable or not at all.

    Raises:
        PackedFileError: as `packed_bytes`.
        OSError: it could not be written; an older file of this name stays.
    """
    data = packed_bytes(tensors, threads)
    with written_whole(path) as file:
        file.write(data)


def _packed(tensor: TensorToPack, coders: Sequence[str]) -> tuple[TensorEntry, Sections]:
    """How one tensor is stored."""
    if "#" in tensor.name:
        raise PackedFileError(f"{tensor.name}: the name holds '#'; allowed: any other character")
    if not tensor.cuts or not tensor.bits.size:
        return _raw(tensor)
    keys = sort_keys(tensor.bits)
    initial = None
    if tensor.record is not None and tensor.record.regenerable:
        initial = sort_keys(bits_of_values(initial_values(tensor.record), tensor.dtype))
        if np.array_equal(initial, keys):
            return _entry(tensor, "initial", record=tensor.record), []
        for cut in tensor.cuts:
            if _holds(keys, initial, cut):
                return _arranged(tensor, keys, cut, initial, coders)
    if tensor.must_cut:
        return _arranged(tensor, keys, tensor.cuts[0], None, coders)
    best = min(tensor.cuts, key=lambda cut: _size_with_profile(keys, cut))
    if _size_with_profile(keys, best) < tensor.bits.nbytes:
        return _arranged(tensor, keys, best, None, coders)
    return _raw(tensor)


def _raw(tensor: TensorToPack) -> tuple[TensorEntry, Sections]:
    data = tensor.bits.astype(tensor.bits.dtype.newbyteorder("<"), copy=False).tobytes()
    dtype = SAFETENSORS_DTYPES[tensor.dtype]
    return _entry(tensor, "raw"), [(tensor.name, dtype, tensor.bits.shape, data)]


def _arranged(
    tensor: TensorToPack, keys: Bits, cut: Rows, initial: Bits | None, coders: Sequence[str]
) -> tuple[TensorEntry, Sections]:
    """A tensor as an arrangement of its initial values, or of values stored beside."""
    if cut.vector_length > MAX_VECTOR_LENGTH:
        raise PackedFileError(
            f"{tensor.name}: a vector has {cut.vector_length} weights; allowed: {MAX_VECTOR_LENGTH}"
        )
    keys_VL = cut.to_vectors(keys)
    profile_VL = np.sort(keys_VL if initial is None else cut.to_vectors(initial), axis=1)
    levels_VL = levels_of(keys_VL, profile_VL)
    if levels_VL is None:  # _holds said otherwise
        raise PackedFileError(f"{tensor.name}: does not hold its initial values")
    multisets = multisets_of(profile_VL, cut.num_vectors)
    codes = {}
    if "uniform" in coders or initial is None:
        codes["uniform"] = uniform_code(levels_VL, multisets)
    if "conditional" in coders and initial is not None:
        initial_VL = levels_of(cut.to_vectors(initial), profile_VL)
        assert initial_VL is not None
        codes["conditional"] = conditional_code(levels_VL, initial_VL, multisets, cut)
    coder, code = min(codes.items(), key=lambda item: len(item[1]))
    sections: Sections = [(f"{tensor.name}#code", "U8", (len(code),), code)]
    profile = "record"
    if initial is None:
        profile, stored = _stored_profile(tensor, profile_VL)
        sections += stored
    crc32 = tuple(crc32_of(data) for _, _, _, data in sections)
    record = tensor.record if initial is not None else None
    return _entry(tensor, coder, rows=cut, profile=profile, record=record, crc32=crc32), sections


def _stored_profile(tensor: TensorToPack, profile_VL: Bits) -> tuple[str, Sections]:
    """Sorted values, or levels and counts: whichever takes fewer bytes."""
    profile_RL = profile_VL[:1] if (profile_VL == profile_VL[:1]).all() else profile_VL
    dtype = SAFETENSORS_DTYPES[tensor.dtype]
    kind = profile_RL.dtype.newbyteorder("<")
    keys_K = np.unique(profile_RL)
    length = profile_RL.shape[1]
    count_type, count_bytes = next(
        (name, size)
        for name, size in (("U8", 1), ("U16", 2), ("U32", 4))
        if length < 1 << (8 * size)
    )
    num_rows = len(profile_RL)
    if keys_K.nbytes + num_rows * len(keys_K) * count_bytes < profile_RL.nbytes:
        places = np.searchsorted(keys_K, profile_RL)
        places += np.arange(num_rows)[:, None] * len(keys_K)
        counts = np.bincount(places.ravel(), minlength=num_rows * len(keys_K))
        return "levels", [
            (
                f"{tensor.name}#levels",
                dtype,
                keys_K.shape,
                bits_of_keys(keys_K).astype(kind).tobytes(),
            ),
            (
                f"{tensor.name}#counts",
                count_type,
                (num_rows, len(keys_K)),
                counts.astype(f"<u{count_bytes}").tobytes(),
            ),
        ]
    data = bits_of_keys(profile_RL).astype(kind).tobytes()
    return "values", [(f"{tensor.name}#profile", dtype, profile_RL.shape, data)]


def _holds(keys: Bits, initial: Bits, cut: Rows) -> bool:
    """Whether each vector holds its initial values; a few vectors are looked at first."""
    keys_VL, initial_VL = cut.to_vectors(keys), cut.to_vectors(initial)
    return all(
        np.array_equal(np.sort(keys_VL[part], axis=1), np.sort(initial_VL[part], axis=1))
        for part in (slice(8), slice(None))
    )


def _size_with_profile(keys: Bits, cut: Rows) -> float:
    """About how many bytes an arrangement takes together with its sorted values."""
    profile_VL = np.sort(cut.to_vectors(keys), axis=1)
    multisets = multisets_of(profile_VL, cut.num_vectors)
    num_rows, num_levels = multisets.keys_RK.shape
    stored = min(num_rows * cut.vector_length, num_levels + num_rows * num_levels)
    return multisets.limit_bits() / 8 + float(stored * keys.itemsize)


def _entry(
    tensor: TensorToPack,
    coder: str,
    *,
    rows: Rows | None = None,
    profile: str | None = None,
    record: TensorRecord | None = None,
    crc32: tuple[str, ...] = (),
) -> TensorEntry:
    return TensorEntry(
        name=tensor.name,
        shape=tensor.bits.shape,
        dtype=tensor.dtype,
        coder=coder,
        sha256=sha256_of(tensor.bits),
        crc32=crc32,
        rows=rows,
        profile=profile,
        record=record,
    )


def _check_reads_back(data: bytes, tensors: Sequence[TensorToPack], threads: int | None) -> None:
    num_weights = sum(math.prod(tensor.bits.shape) for tensor in tensors)
    read = PackedFile(data, max_weights=num_weights).all_bits(threads)
    for tensor in tensors:
        if not np.array_equal(read[tensor.name], tensor.bits):
            raise PackedFileError(f"{tensor.name}: does not read back as it was; nothing written")
