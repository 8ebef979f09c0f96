"""Initial values drawn by the rules of docs/format.md alone: plain Python, nothing of permtrain.

Whoever writes a reader in another language starts here for the drawing, in reference.py for codes.
"""

import hashlib
import itertools
import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
WORD = 1 << 64


def table(letter: str) -> list[float]:
    """The coefficients of one polynomial, as the page prints them."""
    found = re.search(rf"^{letter}  (.*(?:\n   .*)*)", PAGE, re.MULTILINE)
    assert found is not None
    return [float(number) for number in found[1].split()]


A, B, C, D, E, G = map(table, "ABCDEG")
DEFAULTS: dict[str, Any] = {
    "prefix_length": 0,
    "prefix": "",
    "granularity": "neuron",
    "value": None,
    "share": False,
    "quantiles": False,
    "pairwise": False,
    "levels": None,
    "sparsity": 0.0,
    "sparsity_by": "exact",
}


def initial_values(birth: str, line: str) -> list[float]:
    """The values of a tensor in C order, from its line of the plan and the birth that it names."""
    _, rule, seed, *fields = birth.split(" ")
    born = DEFAULTS | {"rule": rule, "seed": int(seed)}
    for name, _, text in (field.partition("=") for field in fields):
        born[name] = text if name in ("granularity", "sparsity_by") else json.loads(text)
    words = line.split(" ", 2)
    shape = tuple(map(int, words[1].split("x")))
    layout: dict[str, Any] = {"output_axis": 0, "num_kernel_axes": max(len(shape) - 2, 0)}
    layout |= {"groups": 1, "dtype": "float32"}
    rest = words[2]
    while found := re.match(r"([a-z_]+)=(\S+) ", rest):
        layout[found[1]] = found[2] if found[1] == "dtype" else int(found[2])
        rest = rest[found.end() :]
    name = re.sub(r"^([nkl]\S* )?([0-9]+ \S{6} )*\S{8} ", "", rest)
    layout = dict(zip(("fan_in", "fan_out"), fans(shape, layout), strict=True)) | layout
    drawing = Drawing(born | layout, shape, born["prefix"] + name[born["prefix_length"] :])
    return drawing.values()


def fans(shape: Sequence[int], layout: dict[str, Any]) -> tuple[int, int]:
    if len(shape) == 1:
        return shape[0], shape[0]
    f = math.prod(shape[2:])
    if layout["output_axis"] == 1 and layout["num_kernel_axes"]:
        return shape[0] // layout["groups"] * f, shape[1] * layout["groups"] * f
    return shape[1] * f, shape[0] * f


def philox(seed: int, stream: int) -> Iterator[int]:
    """The words of a key, four from each counter."""
    for counter in itertools.count(1):
        a, b, c, d = counter, 0, 0, 0
        x, y = seed, stream
        for _ in range(10):
            low, high = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
            a, b, c, d = high >> 64 ^ b ^ x, high % WORD, low >> 64 ^ d ^ y, low % WORD
            x, y = (x + 0x9E3779B97F4A7C15) % WORD, (y + 0xBB67AE8584CAA73B) % WORD
        yield from (a, b, c, d)


def log(x: float) -> float:
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = 2 * m, e - 1
    h = (m - 1) / (m + 1)
    series = polynomial([1 / (2 * i + 1) for i in range(12)], h * h)
    return e * 0.693147180369123816490 + (e * 1.90821492927058770002e-10 + 2 * h * series)


def polynomial(coefficients: Sequence[float], x: float) -> float:
    out = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        out = out * x + coefficient
    return out


def normal(q: float) -> float:
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * polynomial(A, r) / polynomial(B, r)
    r = math.sqrt(-log(0.5 - abs(q)))
    x, (top, bottom) = (r - 1.6, (C, D)) if r <= 5 else (r - 5, (E, G))
    return math.copysign(polynomial(top, x) / polynomial(bottom, x), q)


def rounded(value: float, dtype: str) -> float:
    if dtype != "float64":
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    if dtype == "float16":
        value = struct.unpack("<e", struct.pack("<e", value))[0]
    if dtype == "bfloat16":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        value = struct.unpack("<f", struct.pack("<I", bits))[0]
    return value + 0.0


def place(i: int, count: int) -> float:
    return (2 * i + 1 - count) / (2 * count)


class Drawing:
    """A tensor to draw: its birth's fields and its line's, its shape, the name drawn under."""

    def __init__(self, fields: dict[str, Any], shape: Sequence[int], name: str) -> None:
        self.of = fields
        self.shape = shape
        self.name = name
        self.rule = fields["rule"]
        fan = {"k": fields["fan_in"], "x": fields["fan_in"] + fields["fan_out"], "u": 6}
        self.fan = fan.get(self.rule[0], 0)

    def words(self, purpose: str) -> Iterator[int]:
        digest = hashlib.sha256(self.name.encode() + b"\0" + purpose.encode()).digest()
        return philox(self.of["seed"], int.from_bytes(digest[:8], "little"))

    def z(self, q: float) -> float:
        if self.rule.endswith("_uniform"):
            return 2 * q
        if self.rule.endswith("_trunc_normal"):
            return normal(q * 0.9544997361036416) / 0.87962566103423978
        return normal(q)

    def value(self, q: float) -> float:
        s = math.sqrt((6 if self.rule.endswith("_uniform") else 2) / self.fan)
        return self.round(self.z(q) * s)

    def round(self, value: float) -> float:
        return rounded(value, self.of["dtype"])

    def numbers(self) -> Iterator[float]:
        if self.rule == "constant":
            yield from itertools.repeat(self.round(self.of["value"]))
        for word in self.words("values"):
            yield self.value((2 * (word >> 11) + 1 - 2**53) / 2**54)

    def order(self, words: Iterator[int], count: int) -> list[int]:
        drawn = list(itertools.islice(words, count))
        return sorted(range(count), key=drawn.__getitem__)

    def orthogonal(self) -> Iterator[float]:
        rows, columns = self.shape[0], math.prod(self.shape[1:])
        words = self.words("values")
        for begin in range(0, rows, columns):
            size = min(columns, rows - begin)
            block = [[float(i == j) for j in range(size)] for i in range(columns)]  # by columns
            for _ in range(4 * (columns - 1).bit_length()):
                order = self.order(words, columns)
                for i, j in zip(order[::2], order[1::2], strict=False):
                    u = 2 * ((2 * (next(words) >> 11) + 1 - 2**53) / 2**54)
                    d = 1 + u * u
                    c, e = (1 - u * u) / d, 2 * u / d
                    pairs = list(zip(block[i], block[j], strict=True))
                    block[i] = [c * a - e * b for a, b in pairs]
                    block[j] = [e * a + c * b for a, b in pairs]
            for row in zip(*block, strict=True):
                yield from map(self.round, row)

    def values(self) -> list[float]:
        n = math.prod(self.shape)
        if self.rule == "orthogonal":
            return self.with_zeros(list(self.orthogonal()))
        if not any(self.of[field] for field in ("share", "quantiles", "pairwise", "levels")):
            return self.with_zeros(list(itertools.islice(self.numbers(), n)))
        vectors = self.vectors()
        rows = self.rows(len(vectors), len(vectors[0]))
        words = self.words("positions")
        values = [0.0] * n
        for v, places in enumerate(vectors):
            row = rows[v if len(rows) > 1 else 0]
            for position, source in zip(places, self.order(words, len(places)), strict=True):
                values[position] = row[source]
        return values if self.of["share"] else self.with_zeros(values)

    def vectors(self) -> list[list[int]]:
        """Each vector's weights, by their numbers in C order."""
        granularity, groups, axis = (self.of[x] for x in ("granularity", "groups", "output_axis"))
        shape = list(self.shape)
        n = math.prod(shape)
        if granularity == "layer":
            return [list(range(n))]
        first = [axis]
        if groups > 1:
            shape[:1] = [groups, shape[0] // groups]
            first = [0, axis + 1]
        axes = [*first, *(a for a in range(len(shape)) if a not in first)]
        strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
        moved = [
            sum(i * strides[a] for i, a in zip(index, axes, strict=True))
            for index in itertools.product(*(range(shape[a]) for a in axes))
        ]
        length = n // math.prod(shape[a] for a in first)
        if granularity == "kernel":
            length = math.prod(self.shape[len(self.shape) - self.of["num_kernel_axes"] :])
        return [moved[begin : begin + length] for begin in range(0, n, length)]

    def rows(self, num_vectors: int, length: int) -> list[list[float]]:
        of, num_zeros = self.of, 0
        if of["share"]:
            num_zeros = round(of["sparsity"] * length)
        drawn = length - (num_zeros if of["sparsity_by"] == "exact" else 0)
        is_one = of["share"] or of["quantiles"] or of["levels"]
        numbers = self.numbers()
        rows = [self.row(drawn, numbers) for _ in range(1 if is_one else num_vectors)]
        if num_zeros and of["sparsity_by"] == "magnitude":
            for i in sorted(range(length), key=lambda i: abs(rows[0][i]))[:num_zeros]:
                rows[0][i] = 0.0
        elif of["share"]:
            rows[0] += [0.0] * num_zeros
        return rows

    def row(self, drawn: int, numbers: Iterator[float]) -> list[float]:
        half = drawn // 2
        if (levels := self.of["levels"]) is not None:
            lower = [(2 * i + 1) * levels // (2 * drawn) for i in range(half)]
            upper = [levels - 1 - level for level in reversed(lower)]
            z = [self.z(place(j, levels)) for j in range(levels)]
            mean = math.fsum(each * each for each in z) / levels
            held = [self.round(each / math.sqrt(mean) * math.sqrt(2 / self.fan)) for each in z]
            middle = [0.0 if self.of["pairwise"] else held[levels // 2]] * (drawn % 2)
            return [*(held[i] for i in lower), *middle, *(held[i] for i in upper)]
        if self.of["quantiles"]:
            return [self.value(place(i, drawn)) for i in range(drawn)]
        if self.of["pairwise"]:
            positive = list(itertools.islice(numbers, half))
            return [*positive, *[0.0] * (drawn % 2), *(0.0 - value for value in positive)]
        return list(itertools.islice(numbers, drawn))

    def with_zeros(self, values: list[float]) -> list[float]:
        sparsity, by, n = self.of["sparsity"], self.of["sparsity_by"], len(values)
        if not sparsity:
            return values
        words = self.words("zeros")
        num_zeros = round(sparsity * n)
        if by == "bernoulli":
            zeros = [i for i in range(n) if (next(words) >> 11) < sparsity * 2.0**53]
        elif by == "magnitude" and num_zeros:
            largest = sorted(map(abs, values))[num_zeros - 1]
            zeros = [i for i in range(n) if abs(values[i]) < largest]
            ties = [i for i in range(n) if abs(values[i]) == largest]
            order = self.order(words, len(ties))
            zeros += [ties[i] for i in order[: num_zeros - len(zeros)]]
        else:
            zeros = self.order(words, n)[:num_zeros]
        for i in zeros:
            values[i] = 0.0
        return values
