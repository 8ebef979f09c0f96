"""Packed files with something wrong, for tests and for the long runs of benchmarks/attack.py."""

import random
import re
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
        head = bytearray(data[:begin])
        head[place] = source.choice(characters)
        unsealed = re.sub(
            rb'("digest":")[0-9a-f]{32}"', rb"\g<1>" + b"0" * 32 + b'"', head, count=1
        )
        digest = header_digest(unsealed).encode()
        sealed = unsealed.replace(b'"digest":"' + b"0" * 32, b'"digest":"' + digest, 1)
        yield f"byte {place} became {chr(head[place])}", sealed + data[begin:]
