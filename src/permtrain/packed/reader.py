"""Reads packed files: NumPy only, tensors when they are asked for, nothing trusted.

Every size is compared with the file's before memory is taken, every section with its checksum
before it is used, every tensor with its digest before it is given away.
"""

import hashlib
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import PackedFileError
from permtrain.initial.record import initial_values
from permtrain.packed.coders import conditional_levels, uniform_levels
from permtrain.packed.container import (
    ITEM_SIZES,
    Header,
    Section,
    header_length,
    parsed,
    strict_json,
)
from permtrain.packed.entries import Alias, TensorEntry, entries_from_plain
from permtrain.packed.keys import (
    SAFETENSORS_DTYPES,
    Bits,
    bits_of_keys,
    bits_of_values,
    bits_type,
    sort_keys,
    values_of_bits,
)
from permtrain.packed.multiset import Levels, Multisets, levels_of, multisets_of

FORMAT = "permtrain-packed"
VERSION = "1"

FREE_WEIGHTS = 1 << 20
WEIGHTS_PER_BYTE = 1 << 12
"""A file may claim `FREE_WEIGHTS`, and so many weights for each of its bytes, unless told so."""


class PackedFile(Mapping[str, NDArray[Any]]):
    """A packed model file: arrays by tensor name, each decoded when it is asked for.

    bfloat16 tensors come as float32 arrays of the same values (`bits` gives their 16 bits).

    Args:
        source: the file, or its bytes.
        use_plain: decode in plain Python, without numba; slow.
        max_weights: weights that all tensors together may have. None allows some 4,000 for each of
            the file's bytes, far more than a trained net needs.

    Raises:
        PackedFileError: it is no packed file, or its header is damaged. A damaged tensor raises
            when it is asked for.

    Example: see `permtrain.pack`.
    """

    def __init__(
        self,
        source: Path | str | bytes,
        *,
        use_plain: bool = False,
        max_weights: int | None = None,
    ) -> None:
        self._source = Path(source) if isinstance(source, str) else source
        self._use_plain = use_plain
        self.file_size = (
            len(self._source) if isinstance(self._source, bytes) else os.stat(self._source).st_size
        )
        length = header_length(self._read(0, min(8, self.file_size)), self.file_size)
        self.header: Header = parsed(self._read(0, 8 + length), self.file_size)
        self.entries: dict[str, TensorEntry | Alias] = {
            entry.name: entry for entry in _entries_of(self.header)
        }
        self._check_sections()
        self._check_sizes(max_weights)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return values_of_bits(self.bits(name), self.entry(name).dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def entry(self, name: str) -> TensorEntry:
        """What the header says of a tensor; of a tied one, what it says under its first name."""
        entry = self.entries[name]
        if isinstance(entry, Alias):
            return self.entry(entry.same_as)
        return entry

    def bits(self, name: str) -> Bits:
        """A tensor's bit patterns, unsigned integers of its width, in its shape.

        Raises:
            PackedFileError: a checksum does not fit, or the code is not one that is ever written.
            KeyError: no tensor of this name.
        """
        entry = self.entry(name)
        bits = np.ascontiguousarray(self._decoded(entry)).reshape(entry.shape)
        digest = sha256_of(bits)
        if digest != entry.sha256:
            raise PackedFileError(
                f"{entry.name}: damaged, the weights' sha256 is {digest}; allowed: {entry.sha256}"
            )
        return bits

    def all_bits(self, threads: int | None = None) -> dict[str, Bits]:
        """`bits` of every tensor, several at a time; tied ones are one array.

        Args:
            threads: None takes one for each processor.
        """
        names = [name for name, entry in self.entries.items() if isinstance(entry, TensorEntry)]
        largest_first = sorted(names, key=lambda name: -math.prod(self.entry(name).shape))
        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            found = dict(zip(largest_first, pool.map(self.bits, largest_first), strict=True))
        return {name: found[self.entry(name).name] for name in self.entries}

    def multisets(self, name: str) -> Multisets:
        """What values each weight vector of an arranged tensor holds."""
        entry = self.entry(name)
        assert entry.rows is not None
        return multisets_of(self._profile(entry, self._initial_keys(entry)), entry.rows.num_vectors)

    def num_bytes_of(self, name: str) -> dict[str, int]:
        """Bytes of a tensor's sections, by what they hold: `raw`, `code`, `profile`, ..."""
        entry = self.entry(name)
        sections = [self.header.sections[each] for each in entry.section_names]
        return {
            section.name.removeprefix(entry.name).lstrip("#") or "raw": section.end - section.begin
            for section in sections
        }

    def _read(self, begin: int, end: int) -> bytes:
        if isinstance(self._source, bytes):
            return self._source[begin:end]
        with open(self._source, "rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
        if len(data) != end - begin:
            raise PackedFileError(f"{self._source}: became shorter while it was read")
        return data

    def _section(self, entry: TensorEntry, number: int) -> bytes:
        section = self.header.sections[entry.section_names[number]]
        begin = self.header.data_begin
        data = self._read(begin + section.begin, begin + section.end)
        if entry.crc32 and crc32_of(data) != entry.crc32[number]:
            raise PackedFileError(
                f"section {section.name!r}: damaged, its crc32 is {crc32_of(data)}; "
                f"allowed: {entry.crc32[number]}"
            )
        return data

    def _decoded(self, entry: TensorEntry) -> Bits:
        if entry.coder == "raw":
            data = np.frombuffer(self._section(entry, 0), dtype=bits_type(_item_size(entry)))
            return data.reshape(entry.shape)
        initial = self._initial_keys(entry)
        if entry.coder == "initial":
            assert initial is not None
            return bits_of_keys(initial)
        assert entry.rows is not None
        multisets = multisets_of(self._profile(entry, initial), entry.rows.num_vectors)
        try:
            levels_VL = self._levels(entry, multisets, initial)
        except PackedFileError as error:
            raise PackedFileError(f"{entry.name}: {error}") from None
        return entry.rows.to_tensor(bits_of_keys(multisets.keys_of(levels_VL)))

    def _levels(self, entry: TensorEntry, multisets: Multisets, initial: Bits | None) -> Levels:
        code = self._section(entry, 0)
        if entry.coder == "uniform":
            return uniform_levels(code, multisets, use_plain=self._use_plain)
        assert entry.rows is not None
        assert initial is not None
        keys_VL = entry.rows.to_vectors(initial)
        initial_VL = levels_of(keys_VL, np.sort(keys_VL, axis=1))
        assert initial_VL is not None
        return conditional_levels(
            code, initial_VL, multisets, entry.rows, use_plain=self._use_plain
        )

    def _initial_keys(self, entry: TensorEntry) -> Bits | None:
        """Sort keys of the initial values, in the tensor's shape; None where they are not known."""
        if entry.record is None:
            return None
        return sort_keys(bits_of_values(initial_values(entry.record), entry.dtype))

    def _profile(self, entry: TensorEntry, initial: Bits | None) -> Bits:
        """The sort keys of each vector in ascending order, (V, L) or (1, L)."""
        rows = entry.rows
        assert rows is not None
        if entry.profile == "record":
            assert initial is not None
            return np.sort(rows.to_vectors(initial), axis=1)
        kind = bits_type(_item_size(entry))
        keys = sort_keys(np.frombuffer(self._section(entry, 1), dtype=kind))
        if entry.profile == "values":
            profile_RL = keys.reshape(-1, rows.vector_length)
            if (profile_RL[:, 1:] < profile_RL[:, :-1]).any():
                raise PackedFileError(f"{entry.name}: the profile is not in ascending order")
            return profile_RL
        section = self.header.sections[entry.section_names[2]]
        data = self._section(entry, 2)
        counts_RK = np.frombuffer(data, dtype=bits_type(ITEM_SIZES[section.dtype]))
        counts_RK = counts_RK.reshape(section.shape).astype(np.int64)
        is_fine = counts_RK.shape[1] == len(keys) and bool((keys[1:] > keys[:-1]).all())
        if not is_fine or (counts_RK.sum(axis=1) != rows.vector_length).any():
            raise PackedFileError(
                f"{entry.name}: allowed are ascending levels, and as many counts in each row, "
                f"{rows.vector_length} together"
            )
        in_order = np.tile(keys, len(counts_RK))
        return np.repeat(in_order, counts_RK.ravel()).reshape(-1, rows.vector_length)

    def _check_sections(self) -> None:
        """Refuses sections that are missing, that no tensor needs, or of another type or shape."""
        needed: dict[str, TensorEntry] = {}
        for entry in self.entries.values():
            if isinstance(entry, TensorEntry):
                needed |= dict.fromkeys(entry.section_names, entry)
        for problem, names in (
            ("misses", needed.keys() - self.header.sections.keys()),
            ("has unknown", self.header.sections.keys() - needed.keys()),
        ):
            if names:
                raise PackedFileError(f"the file {problem} sections {', '.join(sorted(names))}")
        for name, entry in needed.items():
            section = self.header.sections[name]
            if not _fits(section, entry):
                raise PackedFileError(
                    f"section {name!r} is {section.dtype} {list(section.shape)}; allowed: what "
                    f"fits a tensor {entry.dtype} {list(entry.shape)}"
                )

    def _check_sizes(self, max_weights: int | None) -> None:
        """Refuses to rebuild more weights than a file of this size can be expected to hold."""
        claimed = sum(
            math.prod(entry.shape)
            for entry in self.entries.values()
            if isinstance(entry, TensorEntry) and entry.coder != "raw"
        )
        limit = FREE_WEIGHTS + WEIGHTS_PER_BYTE * self.file_size
        if max_weights is not None:
            limit = max_weights
        if claimed > limit:
            raise PackedFileError(
                f"the file has {self.file_size} bytes and claims {claimed} weights; allowed: "
                f"{limit}, or more with max_weights"
            )


def sha256_of(bits: Bits) -> str:
    """32 hexadecimal digits of the SHA-256 of an array's bytes, little endian in C order."""
    return hashlib.sha256(_little_endian(bits).data).hexdigest()[:32]


def crc32_of(data: bytes) -> str:
    """CRC-32 as 8 hexadecimal digits."""
    return f"{zlib.crc32(data):08x}"


def _little_endian(bits: Bits) -> NDArray[Any]:
    contiguous = np.ascontiguousarray(bits, dtype=bits.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8)


def _item_size(entry: TensorEntry) -> int:
    return ITEM_SIZES[SAFETENSORS_DTYPES[entry.dtype]]


def _entries_of(header: Header) -> list[TensorEntry | Alias]:
    metadata = header.metadata
    if set(metadata) != {"format", "version", "plan"} or metadata["format"] != FORMAT:
        raise PackedFileError(f"header: metadata is not that of format {FORMAT}")
    if metadata["version"] != VERSION:
        raise PackedFileError(f"version is {metadata['version']!r:.80}; allowed: {VERSION}")
    return entries_from_plain(strict_json(metadata["plan"].encode(), "plan"))


def _fits(section: Section, entry: TensorEntry) -> bool:
    """Whether a section has the dtype and shape that its tensor's entry asks for."""
    what = section.name.removeprefix(entry.name)
    dtype = SAFETENSORS_DTYPES[entry.dtype]
    if what == "":
        return section.dtype == dtype and section.shape == entry.shape
    rows = entry.rows
    assert rows is not None
    if what == "#code":
        return section.dtype == "U8" and len(section.shape) == 1
    one_or_all = (1, rows.num_vectors)
    if what == "#profile":
        return section.dtype == dtype and section.shape in [
            (num_rows, rows.vector_length) for num_rows in one_or_all
        ]
    if what == "#levels":
        return section.dtype == dtype and len(section.shape) == 1 and section.shape[0] > 0
    return (
        section.dtype in ("U8", "U16", "U32")
        and len(section.shape) == 2
        and section.shape[0] in one_or_all
        and section.shape[1] > 0
    )
