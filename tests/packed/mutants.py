"""Packed files with something wrong, for tests and for the long runs of attack.py."""

import json
import math
import random
import re
from collections.abc import Iterator

from permtrain import PackedFile
from permtrain.packed.checksums import crc32_of, digest_of
from permtrain.packed.container import packed_file

DIGEST = rb'("digest":")[A-Za-z0-9_-]{8}"'
PIECE = r"(?<= )([0-9]+) ([A-Za-z0-9_-]{6})(?= )"
"""Size and CRC-32 of a piece, in a tensor's line."""


def pieces_of(data: bytes) -> list[tuple[str, int, int]]:
    """What every tensor has in the file: name and what it is, where it begins and ends."""
    file = PackedFile(data)
    own = dict.fromkeys(file.entry(name).name for name in file)
    return [
        (f"{name}: {what}", *place) for name in own for what, place in file.places_of(name).items()
    ]


def mutants(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files that differ from this one, and in what: all have to be refused.

    In turns: one bit flipped, the end cut off, two pieces' bytes swapped, a digit of the header
    replaced by another, bytes added.
    """
    source = random.Random(seed)
    pieces = pieces_of(data)
    begin = PackedFile(data).header.data_begin
    digits = [match.start() for match in re.finditer(rb"[0-9]", data[8:begin])]
    for number in range(count):
        kind = number % 8
        if kind < 4 or (kind == 5 and len(pieces) < 2):
            place, bit = source.randrange(len(data)), source.randrange(8)
            what, mutant = f"bit {bit} of byte {place} flipped", bytearray(data)
            mutant[place] ^= 1 << bit
        elif kind == 4:
            end = source.randrange(len(data))
            what, mutant = f"cut off at {end}", bytearray(data[:end])
        elif kind == 5:
            (one, a, b), (other, c, d) = sorted(source.sample(pieces, 2), key=lambda each: each[1:])
            what = f"{one} and {other} swapped"
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
    characters = b'0123456789abcdefgstuvx"[]{},:-.=*\\ '
    for _ in range(count):
        place = source.randrange(8, begin)
        edited = bytearray(data)
        edited[place] = source.choice(characters)
        yield f"byte {place} became {chr(edited[place])}", sealed_anew(bytes(edited), begin)


def recoded(data: bytes, source: random.Random) -> bytes:
    """The file with the code of one arrangement, if it has any, replaced under a fitting CRC-32."""
    file = PackedFile(data)
    names = [name for name in file if file.entry(name).cut is not None]
    if not names:
        return data
    name = source.choice(names)
    begin, end = file.places_of(name)["code"]
    size = max(end - begin + source.choice((-9, -1, 0, 0, 0, 1, 4)), 0)
    first = source.choice((b"\xff", b"\0", b"\x80", b"\x7f\xff", b"")) * source.randrange(12)
    code = (first + source.randbytes(size))[:size]
    crc = crc32_of(data[begin:end])
    plan = file.header.plan.replace(f" {end - begin} {crc} ", f" {size} {crc32_of(code)} ", 1)
    return packed_file(plan, data[file.header.data_begin : begin] + code + data[end:])


def sealed_anew(data: bytes, begin: int) -> bytes:
    """The file with a digest that fits its header, which ends at `begin`."""
    unsealed = re.sub(DIGEST, rb"\g<1>" + b"0" * 8 + b'"', data[:begin], count=1)
    digest = digest_of(unsealed).encode()
    return re.sub(DIGEST, rb"\g<1>" + digest + b'"', unsealed, count=1) + data[begin:]


def repaired(data: bytes) -> bytes:
    """The file with its header's length, its pieces' CRC-32 and its digest made to fit.

    As far as it can still be understood; else as it is.
    """
    begin = data.find(b"]}}") + 3
    try:
        header = json.loads(data[8:begin])
        header["__metadata__"]["plan"] = plan_for(header["__metadata__"]["plan"], data[begin:])
        size = len(data) - begin
        header["packed"] |= {"shape": [size], "data_offsets": [0, size]}
        text = json.dumps(header, separators=(",", ":")).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = data[8:begin]
    return sealed_anew(len(text).to_bytes(8, "little") + text + data[begin:], 8 + len(text))


def plan_for(plan: str, body: bytes) -> str:
    """The plan with CRC-32s that fit these bytes, where raw tensors take what their lines say."""
    lines = []
    begin = 0
    for line in plan.split("\n"):
        found = re.match(r"([rv]) (\.|[0-9x]+)", line)
        if found:
            is_wide = "dtype=float64" in line or "int64" in line
            sizes = found[2].split("x") if found[1] == "r" and found[2] != "." else []
            begin += math.prod(map(int, sizes)) * (8 if is_wide else 2 if "float16" in line else 4)

        def with_checksum(piece: re.Match[str]) -> str:
            nonlocal begin
            begin += int(piece[1])
            return f"{piece[1]} {crc32_of(body[begin - int(piece[1]) : begin])}"

        lines.append(re.sub(PIECE, with_checksum, line))
    return "\n".join(lines)
