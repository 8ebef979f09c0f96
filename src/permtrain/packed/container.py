"""The outer shell of a packed file: safetensors in one spelling, which alone is read.

Own code: the `safetensors` package reads headers that are spelled in many ways, and promises none
for those it writes (docs/format.md).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from permtrain.errors import PackedFileError
from permtrain.packed.checksums import digest_of

FORMAT = "permtrain-packed"
VERSION = "1"
MAX_HEADER_BYTES = 1 << 20
"""Of a header, unless a user allows more: some 15,000 tensors."""

_LENGTH_BYTES = 8
_OTHERS = {
    b"PK": "a zip archive, as torch.save writes",
    b"\x80": "a pickle, as torch.save wrote",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUM": "an array of NumPy",
}
_NO_DIGEST = b"0" * 8
"""Stands in the digest's place while the header is hashed."""

# The whole header. The plan is a string of JSON, the file's one tensor all bytes of the body.
_BEGINNING = re.compile(
    rb'\{"__metadata__":\{"digest":"(?P<digest>[A-Za-z0-9_-]{8})","permtrain-packed":"'
)
_HEADER = re.compile(
    _BEGINNING.pattern + rb'(?P<version>[0-9]+)",'
    rb'"plan":(?P<plan>"[^"\\]*+(?:\\.[^"\\]*+)*+")\},'
    rb'"packed":\{"dtype":"U8","shape":\[(?P<size>0|[1-9][0-9]{0,18})\],'
    rb'"data_offsets":\[0,(?P=size)\]\}\}'
)


@dataclass(frozen=True)
class Header:
    """A parsed header.

    Attributes:
        plan: what the file says of its tensors, see `packed.plan`.
        data_begin: where in the file the data begins.
    """

    plan: str
    data_begin: int


def packed_file(plan: str, body: bytes) -> bytes:
    """Return a whole packed file: header, then the bytes of all tensors."""
    sections = [("packed", "U8", (len(body),), body)]
    return safetensors_file(sections, {FORMAT: VERSION, "plan": plan})


def safetensors_file(
    sections: Sequence[tuple[str, str, tuple[int, ...], bytes]],
    metadata: Mapping[str, str],
    alignment: int = 1,
) -> bytes:
    """Return a whole file of sections (name, dtype, shape, bytes), in this order, without gaps.

    The metadata gets an entry `digest`, of the header itself. Spaces after the header let the data
    begin at a multiple of `alignment`.
    """
    entries: dict[str, Any] = {"__metadata__": {"digest": _NO_DIGEST.decode(), **metadata}}
    offset = 0
    for name, dtype, shape, data in sections:
        entries[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % alignment)
    head = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    sealed = head.replace(_NO_DIGEST, digest_of(head).encode(), 1)
    return b"".join([sealed, *(data for _, _, _, data in sections)])


def header_length(first: bytes, file_size: int, max_header: int | None = None) -> int:
    """Return the number of bytes of the JSON header, from the file's first eight.

    Raises:
        PackedFileError: the file is too short, the length is not possible, or above `max_header`,
            `MAX_HEADER_BYTES` if that is None.
    """
    if len(first) < _LENGTH_BYTES:
        raise PackedFileError(f"the file has {file_size} bytes; allowed: 8 or more")
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    largest = file_size - _LENGTH_BYTES
    if length > largest:
        other = next((f"; it is {kind}" for k, kind in _OTHERS.items() if first.startswith(k)), "")
        raise PackedFileError(
            f"header length is {length}; allowed in this file: 0 to {largest}{other}"
        )
    ceiling = MAX_HEADER_BYTES if max_header is None else max_header
    if length > ceiling:
        raise PackedFileError(
            f"the header has {length} bytes; allowed: {ceiling}, or more with max_header"
        )
    return length


def is_packed(first: bytes) -> bool:
    """Whether a file that begins so, with some 60 bytes, says that it is a packed one."""
    return _BEGINNING.match(first, _LENGTH_BYTES) is not None


def parsed(head: bytes, file_size: int) -> Header:
    """Return the header of a file of this size; `head` is the file up to its data.

    Raises:
        PackedFileError: it is not a header that this version writes, or is damaged.
    """
    found = _HEADER.fullmatch(head, _LENGTH_BYTES)
    if found is None:
        raise PackedFileError(
            "header: damaged, or not that of a packed model file; allowed: the form in "
            "docs/format.md"
        )
    digest = found["digest"].decode()
    unsealed = head[: found.start("digest")] + _NO_DIGEST + head[found.end("digest") :]
    if digest_of(unsealed) != digest:
        raise PackedFileError(f"header: damaged, its digest {digest!r} does not fit")
    if (version := found["version"].decode()) != VERSION:
        raise PackedFileError(f"version is {version!r:.80}; allowed: {VERSION}")
    expected_size = len(head) + int(found["size"])
    if file_size != expected_size:
        raise PackedFileError(
            f"the file has {file_size} bytes; allowed by its header: {expected_size}"
        )
    return Header(_plan_from(found["plan"]), len(head))


def _plan_from(quoted: bytes) -> str:
    """Return the plan from its JSON string, which has to be the one that a writer writes."""
    try:
        plan = str(json.loads(quoted.decode("ascii")))
        plan.encode()  # an escape can stand for half a character, which could not be hashed
    except ValueError as error:
        raise PackedFileError(f"header: the plan is not a string in JSON ({error})") from None
    if json.dumps(plan).encode() != quoted:
        raise PackedFileError(
            "header: the plan's JSON is not spelled as Python's json.dumps spells it"
        )
    return plan
