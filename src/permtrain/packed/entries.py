"""What the header says of each tensor of the model, as plain data and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from permtrain.errors import PackedFileError, SettingError
from permtrain.initial.record import TensorRecord
from permtrain.initial.rows import Rows
from permtrain.packed.container import check_keys, checked_shape
from permtrain.packed.keys import SAFETENSORS_DTYPES

CODERS: dict[str, str] = {
    "raw": "stored as it is",
    "initial": "the initial values themselves",
    "uniform": "an arrangement, every one of them equally long",
    "conditional": "an arrangement, shorter where values are near their initial places",
}
PROFILES: dict[str, str] = {
    "record": "initial values drawn again from the seed",
    "values": "sorted values stored",
    "levels": "distinct values and their counts stored",
}
GRANULARITIES = ("kernel", "neuron", "layer")
MAX_VECTOR_LENGTH = 2**31 - 1

_FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of the model.

    Attributes:
        name, shape, dtype: of the tensor.
        coder: one of `CODERS`.
        sha256: the first 32 hexadecimal digits of the digest of its bytes, in C order.
        crc32: 8 hexadecimal digits for each of its sections; none where `sha256` is of the section.
        rows: how it is cut into weight vectors, if it is an arrangement.
        profile: one of `PROFILES`, likewise.
        record: how its initial values are drawn, where they are needed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    coder: str
    sha256: str
    crc32: tuple[str, ...] = ()
    rows: Rows | None = None
    profile: str | None = None
    record: TensorRecord | None = None

    @property
    def section_names(self) -> tuple[str, ...]:
        """The container's sections that belong to it."""
        if self.coder == "raw":
            return (self.name,)
        if self.coder == "initial":
            return ()
        stored = {"record": (), "values": ("profile",), "levels": ("levels", "counts")}
        assert self.profile is not None
        return tuple(f"{self.name}#{what}" for what in ("code", *stored[self.profile]))


@dataclass(frozen=True)
class Alias:
    """A second name of a tensor, as tied weights have."""

    name: str
    same_as: str


def entries_to_plain(entries: Sequence[TensorEntry | Alias]) -> dict[str, Any]:
    """Plain data for JSON. What all records have in common is said once."""
    records = [e.record.to_dict() for e in entries if isinstance(e, TensorEntry) and e.record]
    common = {
        field: value
        for field, value in (records[0] if records else {}).items()
        if all(record[field] == value for record in records)
    }
    return {"records": common, "tensors": [_to_plain(entry, common) for entry in entries]}


def entries_from_plain(plain: Mapping[str, Any]) -> list[TensorEntry | Alias]:
    """The inverse, checked.

    Raises:
        PackedFileError: naming the tensor and the field.
    """
    check_keys(plain, "plan", {"records", "tensors"}, set())
    common, tensors = plain["records"], plain["tensors"]
    if not isinstance(common, dict) or not isinstance(tensors, list):
        raise PackedFileError("plan: allowed are an object `records` and a list `tensors`")
    entries: list[TensorEntry | Alias] = []
    stored: set[str] = set()
    names: set[str] = set()
    for number, tensor in enumerate(tensors):
        entry = _from_plain(tensor, common, f"tensor {number}")
        if entry.name in names:
            raise PackedFileError(f"tensor {number}: {entry.name!r} is there before")
        if isinstance(entry, Alias) and entry.same_as not in stored:
            raise PackedFileError(
                f"{entry.name}: same_as is {entry.same_as!r}; allowed: a tensor before it"
            )
        if isinstance(entry, TensorEntry):
            stored.add(entry.name)
        names.add(entry.name)
        entries.append(entry)
    return entries


def _to_plain(entry: TensorEntry | Alias, common: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(entry, Alias):
        return {"name": entry.name, "same_as": entry.same_as}
    plain: dict[str, Any] = {
        "name": entry.name,
        "shape": list(entry.shape),
        "dtype": entry.dtype,
        "coder": entry.coder,
        "sha256": entry.sha256,
    }
    if entry.crc32:
        plain["crc32"] = list(entry.crc32)
    if entry.rows is not None:
        plain["cut"] = _cut_to_plain(entry.rows)
        plain["profile"] = entry.profile
    if entry.record is not None:
        own = {"name": entry.name, "shape": list(entry.shape), "dtype": entry.dtype}
        known = own | dict(common)
        record = entry.record.to_dict()
        plain["record"] = {
            field: value
            for field, value in record.items()
            if field not in known or known[field] != value
        }
    return plain


def _from_plain(plain: object, common: Mapping[str, Any], what: str) -> TensorEntry | Alias:
    if isinstance(plain, dict) and "same_as" in plain:
        check_keys(plain, what, {"name", "same_as"}, set())
        return Alias(_name(plain["name"], what), _name(plain["same_as"], what))
    required = {"name", "shape", "dtype", "coder", "sha256"}
    fields = check_keys(plain, what, required, {"crc32", "cut", "profile", "record"})
    name = _name(fields["name"], what)
    shape = checked_shape(fields["shape"], f"{name}: shape")
    dtype = _one_of(fields["dtype"], SAFETENSORS_DTYPES, f"{name}: dtype")
    coder = _one_of(fields["coder"], CODERS, f"{name}: coder")
    needed = required | {"crc32", "cut", "profile", "record"}
    profile = None
    if coder == "raw":
        needed = required
    elif coder == "initial":
        needed = required | {"record"}
    else:
        profile = _one_of(fields.get("profile"), PROFILES, f"{name}: profile")
        if profile != "record" and coder == "conditional":
            raise PackedFileError(f"{name}: profile is {profile}; with this coder allowed: record")
        if profile != "record":
            needed = needed - {"record"}
    check_keys(fields, name, needed, set())
    if coder != "raw" and dtype not in _FLOATS:
        raise PackedFileError(f"{name}: dtype is {dtype}; allowed: {', '.join(_FLOATS)}")
    entry = TensorEntry(
        name=name,
        shape=shape,
        dtype=dtype,
        coder=coder,
        sha256=_digits(fields["sha256"], 32, f"{name}: sha256"),
        crc32=_checksums(fields.get("crc32", []), f"{name}: crc32"),
        rows=_cut(fields["cut"], shape, name) if "cut" in fields else None,
        profile=profile,
        record=_record(fields["record"], common, fields) if "record" in fields else None,
    )
    if coder not in ("raw", "initial") and len(entry.crc32) != len(entry.section_names):
        raise PackedFileError(
            f"{name}: crc32 has {len(entry.crc32)} entries; allowed: {len(entry.section_names)}"
        )
    return entry


def _name(plain: object, what: str) -> str:
    if not isinstance(plain, str) or "#" in plain:
        raise PackedFileError(f"{what}: name is {plain!r:.80}; allowed: a string without '#'")
    return plain


def _one_of(plain: object, allowed: Mapping[str, str], what: str) -> str:
    if not isinstance(plain, str) or plain not in allowed:
        raise PackedFileError(f"{what} is {plain!r:.80}; allowed: {', '.join(allowed)}")
    return plain


def _digits(plain: object, count: int, what: str) -> str:
    if not isinstance(plain, str) or len(plain) != count or set(plain) - set("0123456789abcdef"):
        raise PackedFileError(f"{what} is {plain!r:.80}; allowed: {count} hexadecimal digits")
    return plain


def _checksums(plain: object, what: str) -> tuple[str, ...]:
    if not isinstance(plain, list):
        raise PackedFileError(f"{what} is {plain!r:.80}; allowed: a list")
    return tuple(_digits(each, 8, what) for each in plain)


_CUT_DEFAULTS = {"output_axis": 0, "num_kernel_axes": 0, "groups": 1}


def _cut_to_plain(rows: Rows) -> dict[str, Any]:
    layout = {field: getattr(rows, field) for field in _CUT_DEFAULTS}
    changed = {field: value for field, value in layout.items() if value != _CUT_DEFAULTS[field]}
    return {"granularity": rows.granularity, **changed}


def _cut(plain: object, shape: tuple[int, ...], name: str) -> Rows:
    what = f"{name}: cut"
    fields = check_keys(plain, what, {"granularity"}, set(_CUT_DEFAULTS))
    granularity = fields["granularity"]
    if not isinstance(granularity, str) or granularity not in GRANULARITIES:
        raise PackedFileError(
            f"{what}: granularity is {granularity!r:.80}; allowed: {', '.join(GRANULARITIES)}"
        )
    layout = {field: fields.get(field, default) for field, default in _CUT_DEFAULTS.items()}
    for field, value in layout.items():
        if type(value) is not int or not 0 <= value < 2**63:
            raise PackedFileError(f"{what}: {field} is {value!r:.80}; allowed: an integer")
    rows = Rows(shape, granularity, **layout)
    dims = len(shape)
    if dims == 0 or 0 in shape:
        raise PackedFileError(f"{what}: shape is {list(shape)}; allowed: one weight or more")
    if rows.output_axis >= dims or rows.num_kernel_axes > dims:
        raise PackedFileError(f"{what}: {fields} names axes that shape {list(shape)} has not")
    has_groups = rows.groups != 1
    if has_groups and (rows.output_axis != 1 or not rows.groups or shape[0] % rows.groups):
        raise PackedFileError(
            f"{what}: groups is {rows.groups}; allowed: 1, or with output_axis 1 a divisor of "
            f"{shape[0]}"
        )
    if rows.vector_length > MAX_VECTOR_LENGTH:
        raise PackedFileError(
            f"{what}: a vector has {rows.vector_length} weights; allowed: {MAX_VECTOR_LENGTH}"
        )
    return rows


def _record(plain: object, common: Mapping[str, Any], fields: Mapping[str, Any]) -> TensorRecord:
    name = fields["name"]
    if not isinstance(plain, dict):
        raise PackedFileError(f"{name}: record is {plain!r:.80}; allowed: an object")
    own = {"name": name, "shape": fields["shape"], "dtype": fields["dtype"]}
    try:
        record = TensorRecord.from_dict(own | dict(common) | plain)
    except (SettingError, TypeError, OverflowError) as error:
        raise PackedFileError(f"{name}: record: {error}") from None
    if list(record.shape) != fields["shape"] or record.dtype != fields["dtype"]:
        raise PackedFileError(
            f"{name}: record is of {record.dtype} {list(record.shape)}; "
            f"allowed: {fields['dtype']} {fields['shape']}"
        )
    if not record.regenerable:
        raise PackedFileError(f"{name}: rule is {record.rule!r}; allowed: one that draws values")
    return record
