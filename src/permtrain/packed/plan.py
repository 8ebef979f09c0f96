"""What a packed file says of its tensors, as text: a line for each, and back.

The text is short, since small nets are to be small files, and has one spelling only: what is read
is written again and compared.
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from permtrain.core.cut import GRANULARITIES, AnyGranularity, Cut
from permtrain.errors import PackedFileError, SettingError
from permtrain.initial.record import TensorRecord
from permtrain.initial.rules import fans
from permtrain.packed.entries import Alias, Piece, TensorEntry, check_entry
from permtrain.packed.keys import SAFETENSORS_DTYPES

BIRTH_MARK, ALIAS_MARK = "*", "="
MAX_DIMS = 32
MAX_PREFIX = 4096
"""A birth's prefix stands once in the file and, read, in each name that is drawn by it."""
_CODER_OF = {"r": "raw", "v": "constant", "i": "initial", "u": "uniform", "c": "conditional"}
_LETTER_OF = {coder: letter for letter, coder in _CODER_OF.items()}
_PROFILE_OF = {"v": "values", "l": "levels"}
_GRANULARITY_OF = {granularity[0]: granularity for granularity in GRANULARITIES}

# The name that a tensor was drawn under, where it is another: so many characters at the beginning
# of the tensor's name were these. A module may be drawn before it becomes a part of another, and a
# part may be stored alone.
_NAME_DEFAULTS: dict[str, Any] = {"prefix_length": 0, "prefix": ""}

# The fields of a record that a birth line holds, beside rule and seed, where they are not these.
_RECORD_DEFAULTS: dict[str, Any] = {
    "granularity": "neuron",
    "value": None,
    "share": False,
    "quantiles": False,
    "pairwise": False,
    "levels": None,
    "sparsity": 0.0,
    "sparsity_by": "exact",
    "version": 1,
}
_BIRTH_DEFAULTS = _NAME_DEFAULTS | _RECORD_DEFAULTS
_LAYOUT_FIELDS = ("output_axis", "num_kernel_axes", "groups")
_FAN_FIELDS = ("fan_in", "fan_out")
_FIELD = f"dtype=[a-z0-9]+|({'|'.join((*_LAYOUT_FIELDS, *_FAN_FIELDS))})=[0-9]+"
_FIELD_AND_SPACE = re.compile(f"({_FIELD}) ", re.ASCII)

_Birth = tuple[tuple[str, Any], ...]


def plan_to_text(entries: Sequence[TensorEntry | Alias]) -> str:
    """One line for each way initial values are drawn, then one for each tensor, in this order."""
    births: dict[_Birth, int] = {}
    numbers: dict[str, int] = {}
    lines = []
    for number, entry in enumerate(entries):
        numbers[entry.name] = number
        if isinstance(entry, Alias):
            lines.append(f"{ALIAS_MARK} {numbers[entry.same_as]} {entry.name}")
        else:
            birth = None
            if entry.record is not None:
                birth = births.setdefault(_birth_of(entry.name, entry.record), len(births))
            lines.append(_line(entry, birth))
    return "\n".join([*(_birth_line(birth) for birth in births), *lines])


def plan_from_text(text: str) -> list[TensorEntry | Alias]:
    """The inverse, checked.

    Raises:
        PackedFileError: naming the line, or the tensor and the field.
    """
    births: list[dict[str, Any]] = []
    entries: list[TensorEntry | Alias] = []
    names: set[str] = set()
    lines = text.split("\n") if text else []
    for number, line in enumerate(lines, 1):
        what = f"plan: line {number}"
        if line.startswith(BIRTH_MARK):
            births.append(_birth_from(line, what))
            continue
        entry = _entry_from(line, births, entries, what)
        if entry.name in names:
            raise PackedFileError(f"{what}: {entry.name!r} is there before")
        if isinstance(entry, TensorEntry):
            check_entry(entry)
        names.add(entry.name)
        entries.append(entry)
    written = plan_to_text(entries).split("\n")
    if lines != written and text:
        number = next(n for n, line in enumerate([*lines, None]) if line not in written[n : n + 1])
        raise PackedFileError(
            f"plan: line {number + 1} is {lines[number]!r:.200}; "
            f"allowed: {''.join(written[number : number + 1])!r:.200}"
        )
    return entries


def has_half_character(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which no bytes stand for."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _line(entry: TensorEntry, birth: int | None) -> str:
    how = _LETTER_OF[entry.coder] + ("" if birth is None else str(birth))
    if entry.profile not in (None, "record"):
        how += entry.profile[0]
    words = [how, "x".join(map(str, entry.shape)) or "."]
    expected = _expected(entry.shape)
    found = {"dtype": entry.dtype}
    if entry.record is not None:
        layout = {field: getattr(entry.record, field) for field in _LAYOUT_FIELDS}
        expected = _expected(entry.shape, layout)
        found |= {field: getattr(entry.record, field) for field in (*_LAYOUT_FIELDS, *_FAN_FIELDS)}
    words += [f"{field}={value}" for field, value in found.items() if value != expected[field]]
    if entry.cut is not None:
        letter = entry.cut.granularity[0]
        layout = {field: getattr(entry.cut, field) for field in _LAYOUT_FIELDS}
        is_expected = entry.cut == _expected_cut(entry.shape, entry.cut.granularity, found)
        words.append(letter + ("" if is_expected else ",".join(map(str, layout.values()))))
    for piece in entry.pieces:
        words += [] if piece.crc32 is None else [str(piece.size), piece.crc32]
    return " ".join([*words, entry.digest, entry.name])


def _expected(shape: tuple[int, ...], layout: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What a line need not say: the fields of a linear or convolution layer of this shape."""
    plain = {"output_axis": 0, "num_kernel_axes": max(len(shape) - 2, 0), "groups": 1}
    fan_in, fan_out = 0, 0
    used = plain | dict(layout or {})
    if shape:
        is_transposed = used["output_axis"] == 1 and used["num_kernel_axes"] > 0
        groups = used["groups"]
        fan_in, fan_out = fans(shape, transposed=is_transposed, groups=groups or 1)
    return plain | {"dtype": "float32", "fan_in": fan_in, "fan_out": fan_out}


def _expected_cut(
    shape: tuple[int, ...], granularity: AnyGranularity, layout: Mapping[str, Any]
) -> Cut:
    """The cut of this granularity that goes with a tensor's layout."""
    plain = _expected(shape)
    axis, kernel_axes, groups = (layout.get(field, plain[field]) for field in _LAYOUT_FIELDS)
    return Cut(granularity, axis, kernel_axes if granularity == "kernel" else 0, groups, shape)


def _birth_of(name: str, record: TensorRecord) -> _Birth:
    found = vars(record) | _other_beginning(name, record.name)
    changed = {
        field: found[field] for field, default in _BIRTH_DEFAULTS.items() if found[field] != default
    }
    return tuple(({"rule": record.rule, "seed": record.seed} | changed).items())


def _other_beginning(name: str, drawn_as: str) -> dict[str, Any]:
    """What two names that end alike begin with: the length of the one, and the other."""
    pairs = zip(reversed(name), reversed(drawn_as), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return {
        "prefix_length": len(name) - common,
        "prefix": drawn_as[: len(drawn_as) - common],
    }


def _birth_line(birth: _Birth) -> str:
    (_, rule), (_, seed), *others = birth
    words = [f"{field}={_value_to_text(field, value)}" for field, value in others]
    return " ".join([BIRTH_MARK, rule, str(seed), *words])


def _value_to_text(field: str, value: object) -> str:
    if field == "prefix":  # which may have characters that part words and lines
        return json.dumps(value).replace(" ", "\\u0020")
    return value if isinstance(value, str) else json.dumps(value)


def _birth_from(line: str, what: str) -> dict[str, Any]:
    words = line.split(" ")
    if len(words) < 3:
        raise PackedFileError(f"{what} is {line!r:.80}; allowed: {BIRTH_MARK} rule seed ...")
    fields: dict[str, Any] = {"rule": words[1], "seed": _integer(words[2], what)}
    for word in words[3:]:
        field, _, text = word.partition("=")
        if field not in _BIRTH_DEFAULTS:
            allowed = ", ".join(_BIRTH_DEFAULTS)
            raise PackedFileError(f"{what}: field is {field!r:.80}; allowed: {allowed}")
        fields[field] = _value_from_text(field, text, what)
    return _BIRTH_DEFAULTS | fields


def _value_from_text(field: str, text: str, what: str) -> object:
    if field != "prefix" and isinstance(_BIRTH_DEFAULTS[field], str):
        return text
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        value = None
    if field == "prefix":
        if not isinstance(value, str) or has_half_character(value):
            raise PackedFileError(f"{what}: {field} is {text!r:.80}; allowed: a string in JSON")
        if len(value) > MAX_PREFIX:
            raise PackedFileError(
                f"{what}: {field} has {len(value)} characters; allowed: {MAX_PREFIX}"
            )
        return value
    if not isinstance(value, bool | int | float):
        raise PackedFileError(f"{what}: {field} is {text!r:.80}; allowed: a number, true or false")
    return value


class _Words:
    """The words of a line, taken one after the other."""

    def __init__(self, line: str, what: str) -> None:
        self.line = line
        self.place = 0  # the rest is not copied: a line may have many words
        self.what = what

    @property
    def rest(self) -> str:
        return self.line[self.place :]

    def take(self, pattern: str, allowed: str) -> str:
        """The next word, which has to look like this."""
        end = self.line.find(" ", self.place)
        end = len(self.line) if end < 0 else end
        word = self.line[self.place : end]
        if not re.fullmatch(pattern, word, re.ASCII):
            raise PackedFileError(f"{self.what} holds {word!r:.80}; allowed: {allowed}")
        self.place = end + 1
        return word

    def take_integer(self, allowed: str) -> int:
        return _integer(self.take("[0-9]+", allowed), self.what)


def _entry_from(
    line: str,
    births: Sequence[Mapping[str, Any]],
    before: Sequence[TensorEntry | Alias],
    what: str,
) -> TensorEntry | Alias:
    words = _Words(line, what)
    how = words.take(
        r"=|[rv]|i[0-9]+|u[0-9]+|c[0-9]+|u[vl]", "=, r, v, i0, u0, c0 (any number), uv, ul"
    )
    if how == ALIAS_MARK:
        number = words.take_integer("a tensor's number")
        if number >= len(before) or isinstance(before[number], Alias):
            raise PackedFileError(f"{what}: number is {number}; allowed: of a tensor before it")
        return Alias(words.rest, before[number].name)
    shape = _shape(words.take(r"\.|[0-9]+(x[0-9]+)*", "sizes, with an x between two"), what)
    fields = _fields(words)
    dtype = fields.pop("dtype", "float32")
    if dtype not in SAFETENSORS_DTYPES:
        allowed = ", ".join(SAFETENSORS_DTYPES)
        raise PackedFileError(f"{what}: dtype is {dtype!r:.80}; allowed: {allowed}")
    coder, suffix = _CODER_OF[how[0]], how[1:]
    profile = None
    if coder in ("uniform", "conditional"):
        profile = _PROFILE_OF.get(suffix, "record")
    birth = None
    if suffix.isdecimal():
        number = _integer(suffix, what)
        if number >= len(births):
            raise PackedFileError(f"{what}: birth is {number}; allowed: below {len(births)}")
        birth = births[number]
    elif fields:
        raise PackedFileError(f"{what}: has {', '.join(fields)}; allowed: nothing but dtype")
    cut = None
    if profile is not None:
        cut = _cut(words.take("[nkl]([0-9]+,[0-9]+,[0-9]+)?", "n, k, l"), shape, fields, what)
    draft = TensorEntry(
        name="", shape=shape, dtype=dtype, coder=coder, digest="", cut=cut, profile=profile
    )
    pieces = _pieces(draft, words)
    digest = words.take("[A-Za-z0-9_-]{8}", "a digest, 8 digits to base 64")
    record = None if birth is None else _record(birth, words.rest, draft, fields)
    return dataclasses.replace(draft, name=words.rest, digest=digest, pieces=pieces, record=record)


def _fields(words: _Words) -> dict[str, Any]:
    """Words that say where a tensor or its record is not as expected."""
    fields: dict[str, Any] = {}
    while _FIELD_AND_SPACE.match(words.line, words.place):
        field, _, value = words.take(_FIELD, "a field").partition("=")
        if field in fields:
            raise PackedFileError(f"{words.what} has {field} twice; allowed: once")
        fields[field] = value if field == "dtype" else _integer(value, words.what)
    return fields


def _pieces(entry: TensorEntry, words: _Words) -> tuple[Piece, ...]:
    if entry.coder == "raw":
        return (Piece(entry.num_weights * entry.item_size),)
    if entry.coder == "constant":
        return (Piece(entry.item_size),)
    pieces = []
    for name in entry.piece_names:
        size = words.take_integer(f"the number of bytes of its {name}")
        crc32 = words.take("[A-Za-z0-9_-]{6}", f"the crc32 of its {name}, 6 digits to base 64")
        pieces.append(Piece(size, crc32))
    return tuple(pieces)


def _cut(word: str, shape: tuple[int, ...], layout: Mapping[str, int], what: str) -> Cut:
    granularity = _GRANULARITY_OF[word[0]]
    if not word[1:]:
        return _expected_cut(shape, granularity, layout)
    axis, kernel_axes, groups = (_integer(part, what) for part in word[1:].split(","))
    return Cut(granularity, axis, kernel_axes, groups, shape)


def _record(
    birth: Mapping[str, Any], name: str, entry: TensorEntry, layout: Mapping[str, int]
) -> TensorRecord:
    length = birth["prefix_length"]
    if type(length) is not int or not 0 <= length <= len(name):
        raise PackedFileError(f"{name}: prefix_length is {length}; allowed: 0 to {len(name)}")
    own = {
        "name": birth["prefix"] + name[length:],
        "shape": entry.shape,
        "dtype": entry.dtype,
    }
    drawn = {field: birth[field] for field in ("rule", "seed", *_RECORD_DEFAULTS)}
    if not entry.shape:
        raise PackedFileError(f"{name}: shape is []; allowed for initial values: one size or more")
    try:
        return TensorRecord.from_dict(_expected(entry.shape, layout) | dict(layout) | drawn | own)
    except (SettingError, TypeError, OverflowError) as error:
        raise PackedFileError(f"{name}: record: {str(error).removeprefix(f'{name}: ')}") from None


def _shape(word: str, what: str) -> tuple[int, ...]:
    sizes = () if word == "." else tuple(_integer(size, what) for size in word.split("x"))
    # Arrays without numbers have a size too, which counts in bytes: NumPy leaves the zeros out.
    if len(sizes) > MAX_DIMS or math.prod(size for size in sizes if size) >= 2**60:
        raise PackedFileError(f"{what}: shape is {word:.80}; allowed: {MAX_DIMS} sizes, below 2^60")
    return sizes


def _integer(digits: str, what: str) -> int:
    if not re.fullmatch("[0-9]{1,20}", digits, re.ASCII) or int(digits) >= 2**64:
        raise PackedFileError(f"{what}: number is {digits:.80}; allowed: 0 to 2^64 - 1")
    return int(digits)
