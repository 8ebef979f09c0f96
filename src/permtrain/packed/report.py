"""What is inside a packed file, and how it compares with the information limit."""

import math
from dataclasses import dataclass

from permtrain.packed.entries import TensorEntry
from permtrain.packed.reader import PackedFile


@dataclass(frozen=True)
class TensorReport:
    """One tensor's share of the file.

    Attributes:
        name, dtype, coder, profile: as in `entries.TensorEntry`.
        granularity: None for what is no arrangement.
        num_weights: of the tensor.
        code_bytes: of its code; 0 where it has none.
        stored_bytes: of values that are stored: the tensor itself, or its sorted values.
        limit_bits: log2(n! / prod m_i!) over its vectors; None for what is no arrangement.
    """

    name: str
    dtype: str
    coder: str
    profile: str | None
    granularity: str | None
    num_weights: int
    code_bytes: int
    stored_bytes: int
    limit_bits: float | None

    @property
    def bits_per_weight(self) -> float:
        return 8 * (self.code_bytes + self.stored_bytes) / max(self.num_weights, 1)

    @property
    def limit_per_weight(self) -> float | None:
        return None if self.limit_bits is None else self.limit_bits / max(self.num_weights, 1)


@dataclass(frozen=True)
class FileReport:
    """A packed file in figures; 1 KB is 1,000 bytes.

    Attributes:
        tensors: one report each, tied ones once.
        header_bytes: all that is no section.
        file_bytes: of the whole file.
    """

    tensors: tuple[TensorReport, ...]
    header_bytes: int
    file_bytes: int

    @property
    def num_weights(self) -> int:
        return sum(tensor.num_weights for tensor in self.tensors)

    @property
    def code_bytes(self) -> int:
        return sum(tensor.code_bytes for tensor in self.tensors)

    @property
    def stored_bytes(self) -> int:
        return sum(tensor.stored_bytes for tensor in self.tensors)

    @property
    def limit_bytes(self) -> float:
        """The information limit of all arrangements together."""
        return math.fsum(tensor.limit_bits or 0.0 for tensor in self.tensors) / 8

    def bytes_at(self, bits_per_weight: int) -> float:
        """What the same tensors take at so many bits a number, without any header."""
        return self.num_weights * bits_per_weight / 8


def report_of(file: PackedFile) -> FileReport:
    """The figures of a file. Limits need the sorted values, so initial values are drawn.

    Raises:
        PackedFileError: a stored profile is damaged.
    """
    own = [entry for entry in file.entries.values() if isinstance(entry, TensorEntry)]
    return FileReport(
        tuple(_report(file, entry) for entry in own), file.header.data_begin, file.file_size
    )


def _report(file: PackedFile, entry: TensorEntry) -> TensorReport:
    places = file.places_of(entry.name)
    num_bytes = {what: end - begin for what, (begin, end) in places.items()}
    code_bytes = num_bytes.pop("code", 0)
    limit = None if entry.cut is None else file.multisets(entry.name).limit_bits()
    return TensorReport(
        name=entry.name,
        dtype=entry.dtype,
        coder=entry.coder,
        profile=entry.profile,
        granularity=None if entry.cut is None else entry.cut.granularity,
        num_weights=entry.num_weights,
        code_bytes=code_bytes,
        stored_bytes=sum(num_bytes.values()),
        limit_bits=limit,
    )
