"""What a packed file says of each tensor of the model."""

import math
from dataclasses import dataclass

from permtrain.core.cut import Cut
from permtrain.errors import PackedFileError
from permtrain.initial.record import TensorRecord
from permtrain.packed.keys import item_size

CODERS: dict[str, str] = {
    "raw": "stored as it is",
    "constant": "one value throughout, stored once",
    "initial": "the initial values themselves",
    "uniform": "an arrangement, every one of them equally long",
    "conditional": "an arrangement, shorter where values are near their initial places",
}
PROFILES: dict[str, str] = {
    "record": "initial values drawn again from the seed",
    "values": "sorted values stored",
    "levels": "distinct values and their counts stored",
}
FLOATS = ("float64", "float32", "float16", "bfloat16")
MAX_VECTOR_LENGTH = 2**31 - 1

_PIECES: dict[str | None, tuple[str, ...]] = {
    "raw": ("numbers",),
    "constant": ("value",),
    "initial": (),
    "record": ("code",),
    "values": ("code", "profile"),
    "levels": ("code", "levels", "counts"),
}


@dataclass(frozen=True)
class Piece:
    """Bytes of the file that belong to one tensor.

    Attributes:
        size: how many; where they begin follows from the pieces before.
        crc32: of them, base64; None where the tensor's digest is all the check they need.
    """

    size: int
    crc32: str | None = None


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of the model.

    Attributes:
        name, shape, dtype: of the tensor.
        coder: one of `CODERS`.
        digest: the first 48 bits of the SHA-256 of its bytes in C order, base64.
        pieces: what it has in the file, in the order of `piece_names`.
        cut: how it is cut into weight vectors, if it is an arrangement.
        profile: one of `PROFILES`, likewise.
        record: how its initial values are drawn, where they are needed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    coder: str
    digest: str
    pieces: tuple[Piece, ...] = ()
    cut: Cut | None = None
    profile: str | None = None
    record: TensorRecord | None = None

    @property
    def piece_names(self) -> tuple[str, ...]:
        """What each of its pieces holds."""
        return _PIECES[self.profile or self.coder]

    @property
    def item_size(self) -> int:
        """Bytes of one of its numbers."""
        return item_size(self.dtype)

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Alias:
    """A second name of a tensor, as tied weights have."""

    name: str
    same_as: str


def count_bytes(vector_length: int) -> int:
    """Bytes of a count of weights: the fewest of 1, 2 and 4 that hold a vector's length.

    Example:
        >>> [count_bytes(length) for length in (255, 256, 65536)]
        [1, 2, 4]
    """
    return next(size for size in (1, 2, 4) if vector_length < 1 << (8 * size))


def check_entry(entry: TensorEntry) -> None:
    """Refuses an entry that no writer writes; what it says of itself has to go together.

    Raises:
        PackedFileError: naming the tensor and the field.
    """
    if entry.coder not in ("raw", "constant") and entry.dtype not in FLOATS:
        raise PackedFileError(f"{entry.name}: dtype is {entry.dtype}; allowed: {', '.join(FLOATS)}")
    if entry.record is not None and not entry.record.regenerable:
        raise PackedFileError(
            f"{entry.name}: rule is {entry.record.rule!r}; allowed: one that draws values"
        )
    if entry.cut is not None:
        _check_cut(entry.cut, entry.name)
    _check_pieces(entry)


def _check_cut(cut: Cut, name: str) -> None:
    shape, dims = cut.shape, len(cut.shape)
    if dims == 0 or 0 in shape:
        raise PackedFileError(f"{name}: shape is {list(shape)}; allowed: one weight or more")
    if cut.output_axis >= dims or cut.num_kernel_axes > dims:
        raise PackedFileError(
            f"{name}: output_axis {cut.output_axis} and num_kernel_axes {cut.num_kernel_axes} "
            f"name axes that shape {list(shape)} has not"
        )
    has_groups = cut.groups != 1
    if has_groups and (cut.output_axis < 1 or not cut.groups or shape[0] % cut.groups):
        raise PackedFileError(
            f"{name}: groups is {cut.groups}; allowed: 1, or with output_axis 1 or more a divisor "
            f"of {shape[0]}"
        )
    if cut.vector_length > MAX_VECTOR_LENGTH:
        raise PackedFileError(
            f"{name}: a vector has {cut.vector_length} weights; allowed: {MAX_VECTOR_LENGTH}"
        )


def _check_pieces(entry: TensorEntry) -> None:
    """Stored values have as many bytes as the tensor's shape asks for."""
    sizes = dict(zip(entry.piece_names, (piece.size for piece in entry.pieces), strict=True))
    if entry.cut is None or entry.profile == "record":
        return
    length = entry.cut.vector_length
    if entry.profile == "values":
        row_bytes, what = length * entry.item_size, "profile"
    else:
        num_levels, rest = divmod(sizes["levels"], entry.item_size)
        if rest or not num_levels:
            raise PackedFileError(
                f"{entry.name}: levels take {sizes['levels']} bytes; allowed: a multiple of "
                f"{entry.item_size}"
            )
        row_bytes, what = num_levels * count_bytes(length), "counts"
    allowed = sorted({row_bytes, row_bytes * entry.cut.num_vectors})
    if sizes[what] not in allowed:
        raise PackedFileError(
            f"{entry.name}: {what} take {sizes[what]} bytes; allowed: "
            f"{' or '.join(map(str, allowed))}"
        )
