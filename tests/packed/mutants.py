"""Packed files with something wrong, for tests and for the long runs of attack.py."""

import json
import random
import re
import zlib
from collections.abc import Iterator

from permtrain import PackedFile
from permtrain.packed.container import header_digest


def mutants(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files that differ from this one, and in what: all have to be refused.

    In turns: one bit flipped, the end cut off, two sections' bytes swapped, a digit of the header
    replaced by another, bytes added.
    """
    source = random.Random(seed)
    sections = list(PackedFile(data).header.sections.values())
    begin = PackedFile(data).header.data_begin
    digits = [match.start() for match in re.finditer(rb"[0-9]", data[8:begin])]
    for number in range(count):
        kind = number % 8
        if kind < 4 or (kind == 5 and len(sections) < 2):
            place, bit = source.randrange(len(data)), source.randrange(8)
            what, mutant = f"bit {bit} of byte {place} flipped", bytearray(data)
            mutant[place] ^= 1 << bit
        elif kind == 4:
            end = source.randrange(len(data))
            what, mutant = f"cut off at {end}", bytearray(data[:end])
        elif kind == 5:
            one, other = sorted(source.sample(sections, 2), key=lambda each: each.begin)
            what = f"sections {one.name} and {other.name} swapped"
            a, b, c, d = (begin + n for n in (one.begin, one.end, other.begin, other.end))
            mutant = bytearray(data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:])
        elif kind == 6:
            place = 8 + source.choice(digits)
            digit = source.choice(b"0123456789")
            what, mutant = f"byte {place} became {chr(digit)}", bytearray(data)
            mutant[place] = digit
        else:
            more = source.randrange(1, 9)
            what, mutant = f"{more} bytes added", bytearray(data + bytes(more))
        if bytes(mutant) != data:
            yield what, bytes(mutant)


def resealed(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files with one character of the header changed and a digest that fits again."""
    source = random.Random(seed)
    begin = PackedFile(data).header.data_begin
    characters = b'0123456789abcdefgstu"[]{},:-.\\ '
    for _ in range(count):
        place = source.randrange(8, begin)
        edited = bytearray(data)
        edited[place] = source.choice(characters)
        yield f"byte {place} became {chr(edited[place])}", sealed_anew(bytes(edited), begin)


def sealed_anew(data: bytes, begin: int) -> bytes:
    """The file with a digest that fits its header, which ends at `begin`."""
    sealed = rb'("digest":")[0-9a-f]{32}"'
    unsealed = re.sub(sealed, rb"\g<1>" + b"0" * 32 + b'"', data[:begin], count=1)
    digest = header_digest(unsealed).encode()
    return re.sub(sealed, rb"\g<1>" + digest + b'"', unsealed, count=1) + data[begin:]


def repaired(data: bytes) -> bytes:
    """The file with its header's length, its checksums of sections and its digest made to fit.

    As far as it can still be understood; else as it is.
    """
    begin = data.find(b"]}}") + 3
    begin += -begin % 8
    data = (begin - 8).to_bytes(8, "little") + data[8:]
    try:
        header = json.loads(data[8:begin])
        plan = json.loads(header["__metadata__"]["plan"])
        for tensor in plan["tensors"]:
            name = tensor["name"]
            own = [key for key in header if key.startswith(f"{name}#")]
            for number, key in enumerate(sorted(own, key=_place_of_section)):
                first, last = header[key]["data_offsets"]
                body = data[begin + first : begin + last]
                tensor["crc32"][number] = f"{zlib.crc32(body):08x}"
        header["__metadata__"]["plan"] = json.dumps(plan, separators=(",", ":"))
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + data[begin:]
        begin = 8 + len(text)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        pass
    return sealed_anew(data, begin)


def _place_of_section(key: str) -> int:
    return ["code", "profile", "levels", "counts"].index(key.rpartition("#")[2])
