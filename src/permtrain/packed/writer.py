"""Chooses how each tensor is stored, and writes the file once it reads back bit for bit.

NumPy and the coders only. The same tensors give the same bytes, whatever the machine.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from permtrain.core.cut import Cut
from permtrain.errors import PackedFileError
from permtrain.files import written_whole
from permtrain.initial.record import TensorRecord, initial_values
from permtrain.packed.checksums import crc32_of, digest_of
from permtrain.packed.coders import conditional_code, uniform_code
from permtrain.packed.container import packed_file
from permtrain.packed.entries import MAX_VECTOR_LENGTH, Alias, Piece, TensorEntry, count_bytes
from permtrain.packed.keys import Bits, bits_of_keys, bits_of_values, bytes_of, sort_keys
from permtrain.packed.multiset import levels_of, multisets_of
from permtrain.packed.plan import has_half_character, plan_to_text
from permtrain.packed.reader import PackedFile, check_threads

ORDER_CODERS = ("uniform", "conditional")
"""The coders of an order. Only a tensor with a record of its birth can have the second."""


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
    cuts: tuple[Cut, ...] = ()
    record: TensorRecord | None = None
    must_cut: bool = False


def packed_bytes(
    tensors: Sequence[TensorToPack | Alias],
    threads: int | None = None,
    coders: Sequence[str] = ORDER_CODERS,
) -> bytes:
    """The whole file, decoded once more and compared.

    Args:
        tensors: in the order of the model's state.
        threads: tensors worked on at a time; None chooses by the processors.
        coders: which of `ORDER_CODERS` may be used; of several the one with the shortest code.

    Raises:
        PackedFileError: a tensor cannot be stored, or did not read back (which would be our fault).
        SettingError: a number of threads below 1.
    """
    check_threads(threads)
    own = [tensor for tensor in tensors if isinstance(tensor, TensorToPack)]
    with ThreadPoolExecutor(threads) as pool:
        packed = dict(
            zip([t.name for t in own], pool.map(partial(_packed, coders=coders), own), strict=True)
        )
    entries = [each if isinstance(each, Alias) else packed[each.name][0] for each in tensors]
    body = b"".join(piece for _, pieces in packed.values() for piece in pieces)
    data = packed_file(plan_to_text(entries), body)
    num_weights = sum(
        packed[t.name if isinstance(t, TensorToPack) else t.same_as][0].num_weights for t in tensors
    )
    file = PackedFile(data, max_weights=num_weights, max_header=len(data))
    _check_reads_back(file, own, threads)
    return data


def write_packed(
    path: Path, tensors: Sequence[TensorToPack | Alias], threads: int | None = None
) -> None:
    """Writes a packed file, whole and durable or not at all.

    Raises:
        PackedFileError, SettingError: as `packed_bytes`.
        OSError: it could not be written; an older file of this name stays.
    """
    data = packed_bytes(tensors, threads)
    with written_whole(path) as file:
        file.write(data)


def _packed(tensor: TensorToPack, coders: Sequence[str]) -> tuple[TensorEntry, list[bytes]]:
    """How one tensor is stored, and its bytes."""
    if "\n" in tensor.name or has_half_character(tensor.name):
        raise PackedFileError(
            f"{tensor.name!r}: the name holds a line break or half a character; allowed: any other "
            "text"
        )
    if not tensor.cuts or not tensor.bits.size:
        return _stored(tensor)
    keys = sort_keys(tensor.bits)
    initial = None
    if tensor.record is not None and tensor.record.regenerable:
        initial = sort_keys(bits_of_values(initial_values(tensor.record), tensor.dtype))
        if np.array_equal(initial, keys):
            return _entry(tensor, "initial", record=tensor.record), []
        for cut in tensor.cuts:
            if _holds(keys, initial, cut):
                return _coded(tensor, keys, cut, initial, coders)
    if tensor.must_cut:
        return _coded(tensor, keys, tensor.cuts[0], None, coders)
    if _is_constant(tensor.bits):
        return _stored(tensor)
    num_levels = len(np.unique(keys))
    sizes = {cut: _size_with_profile(keys, cut, num_levels) for cut in tensor.cuts}
    best = min(sizes, key=sizes.__getitem__)
    if sizes[best] >= tensor.bits.nbytes:
        return _stored(tensor)
    coded, stored = _coded(tensor, keys, best, None, coders), _stored(tensor)
    return coded if _size(*coded) < _size(*stored) else stored


def _size(entry: TensorEntry, data: Sequence[bytes]) -> int:
    """Bytes of a tensor in the file, its line included."""
    return len(plan_to_text([entry])) + sum(map(len, data))


def _stored(tensor: TensorToPack) -> tuple[TensorEntry, list[bytes]]:
    """A tensor as it is, or as the one value it holds throughout."""
    is_constant = _is_constant(tensor.bits)
    data = bytes_of(tensor.bits.reshape(-1)[:1] if is_constant else tensor.bits)
    coder = "constant" if is_constant else "raw"
    return _entry(tensor, coder, pieces=(Piece(len(data)),)), [data]


def _is_constant(bits: Bits) -> bool:
    return bits.size > 1 and bool((bits == bits.flat[0]).all())


def _coded(
    tensor: TensorToPack, keys: Bits, cut: Cut, initial: Bits | None, coders: Sequence[str]
) -> tuple[TensorEntry, list[bytes]]:
    """A tensor as an order of its initial values, or of values stored with it."""
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
    data = [code]
    profile = "record"
    if initial is None:
        profile, stored = _stored_profile(profile_VL)
        data += stored
    pieces = tuple(Piece(len(each), crc32_of(each)) for each in data)
    record = tensor.record if initial is not None else None
    return _entry(tensor, coder, cut=cut, profile=profile, record=record, pieces=pieces), data


def _stored_profile(profile_VL: Bits) -> tuple[str, list[bytes]]:
    """Sorted values, or levels and counts: whichever takes fewer bytes."""
    profile_RL = profile_VL[:1] if (profile_VL == profile_VL[:1]).all() else profile_VL
    keys_K = np.unique(profile_RL)
    num_rows, length = profile_RL.shape
    size = count_bytes(length)
    if keys_K.nbytes + num_rows * len(keys_K) * size < profile_RL.nbytes:
        places = np.searchsorted(keys_K, profile_RL)
        places += np.arange(num_rows)[:, None] * len(keys_K)
        counts = np.bincount(places.ravel(), minlength=num_rows * len(keys_K))
        return "levels", [bytes_of(bits_of_keys(keys_K)), counts.astype(f"<u{size}").tobytes()]
    return "values", [bytes_of(bits_of_keys(profile_RL))]


def _holds(keys: Bits, initial: Bits, cut: Cut) -> bool:
    """Whether each vector holds its initial values; a few vectors are looked at first."""
    keys_VL, initial_VL = cut.to_vectors(keys), cut.to_vectors(initial)
    return all(
        np.array_equal(np.sort(keys_VL[part], axis=1), np.sort(initial_VL[part], axis=1))
        for part in (slice(8), slice(None))
    )


def _size_with_profile(keys: Bits, cut: Cut, num_levels: int) -> float:
    """About how many bytes an arrangement takes together with what `_stored_profile` writes."""
    if cut.vector_length > MAX_VECTOR_LENGTH:
        return math.inf
    profile_VL = np.sort(cut.to_vectors(keys), axis=1)
    multisets = multisets_of(profile_VL, cut.num_vectors)
    num_rows, length = len(multisets.keys_RK), cut.vector_length
    as_values = num_rows * length * keys.itemsize
    as_levels = num_levels * (keys.itemsize + num_rows * count_bytes(length))
    return multisets.limit_bits() / 8 + min(as_values, as_levels)


def _entry(
    tensor: TensorToPack,
    coder: str,
    *,
    cut: Cut | None = None,
    profile: str | None = None,
    record: TensorRecord | None = None,
    pieces: tuple[Piece, ...] = (),
) -> TensorEntry:
    return TensorEntry(
        name=tensor.name,
        shape=tensor.bits.shape,
        dtype=tensor.dtype,
        coder=coder,
        digest=digest_of(bytes_of(tensor.bits)),
        pieces=pieces,
        cut=cut,
        profile=profile,
        record=record,
    )


def _check_reads_back(
    file: PackedFile, tensors: Sequence[TensorToPack], threads: int | None
) -> None:
    read = file.all_bits(threads)
    for tensor in tensors:
        if not np.array_equal(read[tensor.name], tensor.bits):
            raise PackedFileError(f"{tensor.name}: does not read back as it was; nothing written")
