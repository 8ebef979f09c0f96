"""Reads packed files: NumPy only, tensors when they are asked for, nothing trusted.

Every size is compared with the file's before memory is taken, every section with its checksum
before it is used, every tensor with its digest before it is given away.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import KindError, PackedFileError, SettingError
from permtrain.files import require_file
from permtrain.initial.record import initial_values
from permtrain.packed.checksums import crc32_of, digest_of
from permtrain.packed.coders import conditional_levels, uniform_levels
from permtrain.packed.container import Header, header_length, parsed
from permtrain.packed.entries import Alias, TensorEntry, count_bytes
from permtrain.packed.keys import (
    Bits,
    bits_of_keys,
    bits_of_values,
    bits_type,
    bytes_of,
    sort_keys,
    values_of_bits,
)
from permtrain.packed.multiset import Levels, Multisets, levels_of, multisets_of
from permtrain.packed.plan import plan_from_text

FREE_WEIGHTS = 1 << 24
WEIGHTS_PER_BYTE = 1 << 6
"""A file may claim `FREE_WEIGHTS`, and so many weights for each of its bytes, unless told so."""


def most_weights(file_size: int, max_weights: int | None = None) -> int:
    """How many weights a file of this size may claim; as many as a user says, if one does."""
    return FREE_WEIGHTS + WEIGHTS_PER_BYTE * file_size if max_weights is None else max_weights


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Let errors of a packed file name it: it may have got its bytes alone.

    Example:
        >>> with naming(Path("model")):
        ...     PackedFile(b"no packed file")
        Traceback (most recent call last):
        permtrain.errors.PackedFileError: model: header length is ...
    """
    try:
        yield
    except PackedFileError as error:
        raise PackedFileError(f"{file}: {error}") from error


class PackedFile(Mapping[str, NDArray[Any]]):
    """A packed model file: arrays by tensor name, each decoded when it is asked for.

    bfloat16 tensors come as float32 arrays of the same values (`bits` gives their 16 bits).

    Args:
        source: the file, or its bytes.
        max_weights: weights that all tensors together may have, tied ones under each name; raw
            ones count under further names only. None allows 16,777,216, and 64 more for each of the
            file's bytes. Reading takes some 50 bytes for each.
        max_header: bytes that the header may have. None allows 1,048,576. Parsing takes up to some
            400 bytes of memory and 20 us for each; 10 s are the most for a file of few bytes.

    Raises:
        PackedFileError: it is no packed file, or its header is damaged. A damaged tensor raises
            when it is asked for.
        KindError: neither a path nor bytes.
        OSError: it cannot be read, or is no regular file.

    Example: see `permtrain.pack`.
    """

    def __init__(
        self,
        source: Path | str | bytes,
        *,
        max_weights: int | None = None,
        max_header: int | None = None,
    ) -> None:
        if not isinstance(source, str | bytes | os.PathLike):  # a number is an open file
            raise KindError(f"source is of type {type(source).__name__}; allowed: a path, or bytes")
        self._source = source if isinstance(source, bytes) else Path(source)
        if not isinstance(self._source, bytes):
            require_file(self._source)
        self.file_size = (
            len(self._source) if isinstance(self._source, bytes) else os.stat(self._source).st_size
        )
        first = self._read(0, min(8, self.file_size))
        length = header_length(first, self.file_size, max_header)
        self.header: Header = parsed(self._read(0, 8 + length), self.file_size)
        self.entries: dict[str, TensorEntry | Alias] = {
            entry.name: entry for entry in plan_from_text(self.header.plan)
        }
        self._begins = self._placed()
        self._check_sizes(max_weights)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return values_of_bits(self.bits(name), self.entry(name).dtype)

    def __contains__(self, name: object) -> bool:
        return name in self.entries  # else the tensor would be decoded for an answer

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
        digest = digest_of(bytes_of(bits))
        if digest != entry.digest:
            raise PackedFileError(
                f"{entry.name}: damaged, the weights' digest is {digest}; allowed: {entry.digest}"
            )
        return bits

    def all_bits(self, threads: int | None = None) -> dict[str, Bits]:
        """`bits` of every tensor, several at a time; tied ones are one array.

        Args:
            threads: None takes one for each processor.

        Raises:
            SettingError: a number of threads below 1.
            PackedFileError: as `bits`.
        """
        check_threads(threads)
        names = [name for name, entry in self.entries.items() if isinstance(entry, TensorEntry)]
        largest_first = sorted(names, key=lambda name: -self.entry(name).num_weights)
        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            found = dict(zip(largest_first, pool.map(self.bits, largest_first), strict=True))
        return {name: found[self.entry(name).name] for name in self.entries}

    def multisets(self, name: str) -> Multisets:
        """What values each weight vector of an arranged tensor holds."""
        entry = self.entry(name)
        assert entry.cut is not None
        return multisets_of(self._profile(entry, self._initial_keys(entry)), entry.cut.num_vectors)

    def fixed_bits(self, name: str) -> Bits:
        """What a tensor was before it was arranged: its initial values, else the sorted ones.

        As `bits`; the same as `bits` for what is no arrangement.
        """
        entry = self.entry(name)
        if entry.cut is None:
            return self.bits(name)
        initial = self._initial_keys(entry)
        if initial is not None:
            return bits_of_keys(initial)
        profile_RL = self._profile(entry, None)
        profile_VL = np.broadcast_to(profile_RL, (entry.cut.num_vectors, profile_RL.shape[1]))
        return entry.cut.to_tensor(bits_of_keys(profile_VL))

    def places_of(self, name: str) -> dict[str, tuple[int, int]]:
        """Where in the file a tensor's bytes begin and end, by what they hold: `code`, ..."""
        entry = self.entry(name)
        places = {}
        begin = self._begins[entry.name]
        for what, piece in zip(entry.piece_names, entry.pieces, strict=True):
            places[what] = (begin, begin + piece.size)
            begin += piece.size
        return places

    def _read(self, begin: int, end: int) -> bytes:
        if isinstance(self._source, bytes):
            return self._source[begin:end]
        with open(self._source, "rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
        if len(data) != end - begin:
            raise PackedFileError(f"{self._source}: became shorter while it was read")
        return data

    def _piece(self, entry: TensorEntry, what: str) -> bytes:
        data = self._read(*self.places_of(entry.name)[what])
        allowed = entry.pieces[entry.piece_names.index(what)].crc32
        if allowed is not None and crc32_of(data) != allowed:
            raise PackedFileError(
                f"{entry.name}: {what}: damaged, its crc32 is {crc32_of(data)}; allowed: {allowed}"
            )
        return data

    def _numbers(self, entry: TensorEntry, what: str) -> Bits:
        return np.frombuffer(self._piece(entry, what), dtype=bits_type(entry.item_size))

    def _decoded(self, entry: TensorEntry) -> Bits:
        if entry.coder == "raw":
            return self._numbers(entry, "numbers")
        if entry.coder == "constant":
            return np.repeat(self._numbers(entry, "value"), entry.num_weights)
        initial = self._initial_keys(entry)
        if entry.coder == "initial":
            assert initial is not None
            return bits_of_keys(initial)
        assert entry.cut is not None
        multisets = multisets_of(self._profile(entry, initial), entry.cut.num_vectors)
        code = self._piece(entry, "code")
        try:
            levels_VL = self._levels(entry, code, multisets, initial)
        except PackedFileError as error:
            raise PackedFileError(f"{entry.name}: {error}") from None
        return entry.cut.to_tensor(bits_of_keys(multisets.keys_of(levels_VL)))

    def _levels(
        self, entry: TensorEntry, code: bytes, multisets: Multisets, initial: Bits | None
    ) -> Levels:
        if entry.coder == "uniform":
            return uniform_levels(code, multisets)
        assert entry.cut is not None
        assert initial is not None
        keys_VL = entry.cut.to_vectors(initial)
        initial_VL = levels_of(keys_VL, np.sort(keys_VL, axis=1))
        assert initial_VL is not None
        return conditional_levels(code, initial_VL, multisets, entry.cut)

    def _initial_keys(self, entry: TensorEntry) -> Bits | None:
        """Sort keys of the initial values, in the tensor's shape; None where they are not known."""
        if entry.record is None:
            return None
        return sort_keys(bits_of_values(initial_values(entry.record), entry.dtype))

    def _profile(self, entry: TensorEntry, initial: Bits | None) -> Bits:
        """The sort keys of each vector in ascending order, (V, L) or (1, L)."""
        cut = entry.cut
        assert cut is not None
        if entry.profile == "record":
            assert initial is not None
            return np.sort(cut.to_vectors(initial), axis=1)
        if entry.profile == "values":
            profile_RL = sort_keys(self._numbers(entry, "profile")).reshape(-1, cut.vector_length)
            if (profile_RL[:, 1:] < profile_RL[:, :-1]).any():
                raise PackedFileError(f"{entry.name}: the profile is not in ascending order")
            return profile_RL
        keys = sort_keys(self._numbers(entry, "levels"))
        counts = np.frombuffer(
            self._piece(entry, "counts"), dtype=bits_type(count_bytes(cut.vector_length))
        )
        counts_RK = counts.reshape(-1, len(keys)).astype(np.int64)
        is_ascending = bool((keys[1:] > keys[:-1]).all())
        if not is_ascending or (counts_RK.sum(axis=1) != cut.vector_length).any():
            raise PackedFileError(
                f"{entry.name}: allowed are ascending levels, and as many counts in each row, "
                f"{cut.vector_length} together"
            )
        in_order = np.tile(keys, len(counts_RK))
        return np.repeat(in_order, counts_RK.ravel()).reshape(-1, cut.vector_length)

    def _placed(self) -> dict[str, int]:
        """Where in the file each tensor's bytes begin; together they fill it."""
        end = self.header.data_begin
        begins = {}
        for entry in self.entries.values():
            if isinstance(entry, TensorEntry):
                begins[entry.name] = end
                end += sum(piece.size for piece in entry.pieces)
        if end != self.file_size:
            raise PackedFileError(
                f"the file has {self.file_size} bytes; allowed by its tensors: {end}"
            )
        return begins

    def _check_sizes(self, max_weights: int | None) -> None:
        """Refuses to rebuild more weights than a file of this size can be expected to hold."""
        claimed = sum(
            self.entry(name).num_weights
            for name, entry in self.entries.items()
            if isinstance(entry, Alias) or entry.coder != "raw"
        )
        limit = most_weights(self.file_size, max_weights)
        if claimed > limit:
            raise PackedFileError(
                f"the file has {self.file_size} bytes and claims {claimed} weights; allowed: "
                f"{limit}, or more with max_weights"
            )


def check_threads(threads: int | None) -> None:
    """Refuses a number of threads that could do no work.

    Raises:
        SettingError: it is no integer from 1.
    """
    is_whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (is_whole and threads >= 1):
        raise SettingError(f"threads is {threads!r}; allowed: None, 1 or more")
