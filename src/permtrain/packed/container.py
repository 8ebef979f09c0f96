"""The outer shell of a packed file: safetensors, read strictly and written the same every time.

Own code, because the `safetensors` package writes metadata in no fixed order and takes headers that
a strict reader refuses. What is written here it reads.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from permtrain.errors import PackedFileError

ITEM_SIZES: dict[str, int] = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of one number of each safetensors dtype that a packed file may hold."""

MAX_HEADER_BYTES = 1 << 26
MAX_DIMS = 32
_DIGEST_DIGITS = 8
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Section:
    """One tensor of the container: what the header says of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A parsed header.

    Attributes:
        metadata: strings by name, the digest left out.
        sections: by name, in the order in which they lie in the file.
        data_begin: where in the file the data begins.
    """

    metadata: dict[str, str]
    sections: dict[str, Section]
    data_begin: int


def built(
    sections: Sequence[tuple[str, str, tuple[int, ...], bytes]], metadata: Mapping[str, str]
) -> bytes:
    """A whole file of sections (name, dtype, shape, bytes), in this order, without gaps.

    The metadata gets an entry `digest`, of the header itself (see `header_digest`).
    """
    entries: dict[str, Any] = {"__metadata__": {"digest": "0" * _DIGEST_DIGITS, **metadata}}
    offset = 0
    for name, dtype, shape, data in sections:
        entries[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    # Safetensors wants data to begin at a multiple of its numbers' width.
    text += b" " * (-len(text) % max([ITEM_SIZES[dtype] for _, dtype, _, _ in sections], default=1))
    head = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    zeros = b'"digest":"' + b"0" * _DIGEST_DIGITS
    sealed = head.replace(zeros, b'"digest":"' + header_digest(head).encode(), 1)
    return b"".join([sealed, *(data for _, _, _, data in sections)])


def header_digest(head: bytes) -> str:
    """The digest of the header as it stood before it was sealed.

    `head` is the file up to its data, the length included, with zeros for the digest's digits.
    """
    return digest_of(head)


def digest_of(data: bytes | memoryview) -> str:
    """The first 48 bits of the SHA-256, as 8 digits to base 64 (`A-Z a-z 0-9 - _`).

    Example:
        >>> digest_of(b"abc")
        'ungWv48B'
    """
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:6]).decode()


def header_length(first: bytes, file_size: int) -> int:
    """Bytes of the JSON header, from the file's first eight.

    Raises:
        PackedFileError: the file is too short, or the length is not possible.
    """
    if len(first) < _LENGTH_BYTES:
        raise PackedFileError(f"the file has {file_size} bytes; allowed: 8 or more")
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    largest = min(file_size - _LENGTH_BYTES, MAX_HEADER_BYTES)
    if length > largest:
        raise PackedFileError(f"header length is {length}; allowed in this file: 0 to {largest}")
    return length


def parsed(head: bytes, file_size: int) -> Header:
    """The header of a file of this size; `head` is the file up to its data.

    Raises:
        PackedFileError: naming the field. Nothing is trusted before the digest fits.
    """
    plain = strict_json(head[_LENGTH_BYTES:], "header")
    metadata = plain.pop("__metadata__", None)
    is_text = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not is_text or "digest" not in metadata:
        raise PackedFileError("header: metadata holds no digest; allowed: a packed model file")
    digest = metadata.pop("digest")
    found = f'"digest":"{digest}"'.encode()
    unsealed = head.replace(found, b'"digest":"' + b"0" * _DIGEST_DIGITS + b'"', 1)
    if header_digest(unsealed) != digest:
        raise PackedFileError(f"header: damaged, its digest {digest!r} does not fit")
    sections = {name: _section(name, entry) for name, entry in plain.items()}
    in_order = sorted(sections.values(), key=lambda section: (section.begin, section.end))
    end = 0
    for section in in_order:
        if section.begin != end:
            raise PackedFileError(
                f"section {section.name!r} begins at {section.begin}; allowed: {end}"
            )
        end = section.end
    if len(head) + end != file_size:
        raise PackedFileError(
            f"the file has {file_size} bytes; allowed by its header: {len(head) + end}"
        )
    return Header(metadata, {section.name: section for section in in_order}, len(head))


def strict_json(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object without repeated keys, numbers that JSON does not have, or half characters.

    Raises:
        PackedFileError: it is none.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is repeated")
        return found

    def refused(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        plain = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refused)
        # An escape can stand for half a character, which has no bytes and could not be hashed.
        json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise PackedFileError(f"{what}: damaged, not readable as JSON ({error})") from None
    if not isinstance(plain, dict):
        raise PackedFileError(f"{what}: holds a {type(plain).__name__}; allowed: an object")
    return plain


def check_keys(plain: object, what: str, required: set[str], optional: set[str]) -> dict[str, Any]:
    """The object itself, once its keys are exactly those allowed.

    Raises:
        PackedFileError: naming the keys that are missing or unknown.
    """
    if not isinstance(plain, dict):
        raise PackedFileError(f"{what} is {plain!r:.80}; allowed: an object")
    for problem, keys in (
        ("misses", required - plain.keys()),
        ("has unknown", plain.keys() - required - optional),
    ):
        if keys:
            allowed = ", ".join(sorted(required | optional))
            raise PackedFileError(f"{what} {problem} {', '.join(sorted(keys))}; allowed: {allowed}")
    return plain


def checked_shape(plain: object, what: str) -> tuple[int, ...]:
    """Sizes from JSON.

    Raises:
        PackedFileError: not a list of integers from 0 to 2**63 - 1, or of more than 32.
    """
    if (
        not isinstance(plain, list)
        or len(plain) > MAX_DIMS
        or not all(type(size) is int and 0 <= size < 2**63 for size in plain)
    ):
        raise PackedFileError(
            f"{what} is {plain!r:.80}; allowed: at most {MAX_DIMS} sizes, 0 or larger"
        )
    return tuple(plain)


def _section(name: str, plain: object) -> Section:
    what = f"section {name!r}"
    entry = check_keys(plain, what, {"dtype", "shape", "data_offsets"}, set())
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise PackedFileError(f"{what}: dtype is {dtype!r:.80}; allowed: {', '.join(ITEM_SIZES)}")
    shape = checked_shape(entry["shape"], f"{what}: shape")
    offsets = checked_shape(entry["data_offsets"], f"{what}: data_offsets")
    num_bytes = math.prod(shape) * ITEM_SIZES[dtype]
    if len(offsets) != 2 or offsets[1] - offsets[0] != num_bytes:
        raise PackedFileError(
            f"{what}: data_offsets are {list(offsets)}; allowed: two, {num_bytes} apart"
        )
    return Section(name, dtype, shape, offsets[0], offsets[1])
