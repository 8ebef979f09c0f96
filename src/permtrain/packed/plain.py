"""The decoders in plain Python: slow, obvious, and of nothing but integers.

Whoever writes a reader in another language starts here. The compiled decoders (`kernels.py`) are
tested against these.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import PackedFileError
from permtrain.packed.logarithms import logarithms, probabilities, rates

_WORD = 1 << 32
MAX_DECISIONS = 5


class RangeDecoder:
    """Reads a number piece by piece: which of `total` equal shares of the interval holds it?

    Args:
        code: the number, big endian, without zero bytes at its end.
    """

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._num_read = 0
        self._width = _WORD * _WORD - 1
        self._above = self._next_word() * _WORD + self._next_word()

    def read(self, total: int, piece_of: Callable[[int], tuple[int, int, int]]) -> int:
        """The symbol whose shares hold the number.

        Args:
            total: number of shares.
            piece_of: from a share, 0 to total - 1, to (symbol, its first share, its shares).
        """
        share = self._width // total
        place = self._above // share
        if place >= total:
            raise PackedFileError("the code points outside all symbols")
        symbol, first, count = piece_of(place)
        if count < total:
            self._above -= share * first
            self._width = share * count
            self._refill()
        return symbol

    def read_bit(self, likely: int) -> int:
        """0 with a probability of `likely` / 65536, else 1."""
        bound = (self._width >> 16) * likely
        bit = int(self._above >= bound)
        if bit:
            self._above -= bound
            self._width -= bound
        else:
            self._width = bound
        self._refill()
        return bit

    def check_end(self) -> None:
        """Refuses bytes that no symbol needed."""
        if len(self._code) > self._num_read:
            raise PackedFileError(
                f"the code has {len(self._code)} bytes; allowed: at most {self._num_read}"
            )

    def _refill(self) -> None:
        if self._width < _WORD:
            self._above = self._above * _WORD + self._next_word()
            self._width *= _WORD

    def _next_word(self) -> int:
        word = self._code[self._num_read : self._num_read + 4].ljust(4, b"\0")
        self._num_read += 4
        return int.from_bytes(word, "big")


def decode_uniform(
    code: bytes, counts_RK: NDArray[np.int32], num_vectors: int
) -> NDArray[np.int32]:
    """Levels of all vectors, int32 (V, L); a level's share is what remains of its weights.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    decoder = RangeDecoder(code)
    rows = []
    for vector in range(num_vectors):
        remaining = counts_RK[vector if len(counts_RK) > 1 else 0].tolist()

        def piece_of(place: int, remaining: list[int] = remaining) -> tuple[int, int, int]:
            first = 0
            for level, count in enumerate(remaining):
                if place < first + count:
                    return level, first, count
                first += count
            raise AssertionError("shares add up to the total")

        row = []
        for total in range(sum(remaining), 0, -1):
            level = decoder.read(total, piece_of)
            remaining[level] -= 1
            row.append(level)
        rows.append(row)
    decoder.check_end()
    return np.array(rows, dtype=np.int32)


def decode_conditional(
    code: bytes,
    initial_VL: NDArray[np.int32],
    counts_RK: NDArray[np.int32],
    row_length: int,
    stride: int,
) -> NDArray[np.int32]:
    """Levels of all vectors, int32 (V, L), from those of the initial values.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    num_vectors, length = initial_VL.shape
    num_levels = counts_RK.shape[1]
    depth = (num_levels - 1).bit_length()
    decoder, learnt = RangeDecoder(code), _Learnt()
    initial: list[int] = initial_VL.ravel().tolist()
    levels: list[int] = []
    unrest_by_column = [-1] * row_length
    unrest_of_row = -1
    for here in range(len(initial)):
        vector, i = divmod(here, length)
        if i == 0:
            remaining = counts_RK[vector if len(counts_RK) > 1 else 0].tolist()
            remaining += [0] * ((1 << depth) - num_levels)
        row, column = divmod(here, row_length)
        if column == 0:
            unrest_of_row = -1
        near = levels[here - 1] - initial[here - 1] if column >= 1 else 0
        far = levels[here - stride] - initial[here - stride] if column >= stride else 0
        if num_levels <= 8:
            drift = (_clipped(near, -1, 1) + 1) * 3 + _clipped(far, -1, 1) + 1
        else:
            drift = _clipped((near + far) * 16 // num_levels, -7, 7) + 7
        fifths = (
            levels[here - 1] * 5 // num_levels if column >= 1 else 5,
            levels[here - stride] * 5 // num_levels if column >= stride else 5,
            levels[here - row_length] * 5 // num_levels if row else 5,
        )
        sight = _Sight(
            initial=initial[here],
            num_levels=num_levels,
            depth=depth,
            unrest=_unrest_class(unrest_by_column[column]),
            row_unrest=_unrest_class(unrest_of_row),
            drift=drift,
            neighbours=(fifths[0] * 6 + fifths[1]) * 6 + fifths[2],
        )
        level = _read_level(decoder, learnt, sight, remaining)
        remaining[level] -= 1
        levels.append(level)
        moved = abs(level - initial[here]) * 16384 // num_levels
        unrest_by_column[column] = _averaged(unrest_by_column[column], moved, row)
        unrest_of_row = _averaged(unrest_of_row, moved, column)
    decoder.check_end()
    return np.array(levels, dtype=np.int32).reshape(num_vectors, length)


@dataclass(frozen=True)
class _Sight:
    """What a decision's contexts are made of, beside the decision itself."""

    initial: int
    num_levels: int
    depth: int
    unrest: int
    row_unrest: int
    drift: int
    neighbours: int

    def contexts(self, decision: int, node: int) -> tuple[int, ...]:
        half_depth = self.depth - 1 - decision
        half = 1 << half_depth
        middle = (node << (half_depth + 1)) - (1 << self.depth) + half
        offset = ((2 * (self.initial - middle) + 1) * 8) >> (half_depth + 1)
        offset = _clipped(offset, -24, 23) + 24
        place = decision * 48 + offset
        always = place, place * 32 + self.unrest, place * 16 + self.drift
        if self.num_levels <= 8:
            state = node * 8 + self.initial
            restless = (state * 32 + self.unrest) * 32 + self.row_unrest
            return (*always, restless, state * 216 + self.neighbours)
        coarse = _clipped(offset - 16, 0, 15) >> 1
        return (*always, node * 8 + coarse, node * 216 + self.neighbours)


class _Learnt:
    """Corrections to log-odds by context, and how often each was made."""

    def __init__(self) -> None:
        self._corrections: dict[tuple[int, int], int] = {}
        self._visits: dict[tuple[int, int], int] = {}

    def probability(self, log_odds: int, contexts: tuple[int, ...]) -> int:
        total = log_odds << 8
        total += sum(self._corrections.get(each, 0) for each in enumerate(contexts))
        return int(probabilities()[_clipped(total >> 8, -3071, 3071) + 3071])

    def learn(self, error: int, contexts: tuple[int, ...]) -> None:
        for each in enumerate(contexts):
            visits = self._visits.get(each, 0)
            step = (error * int(rates()[visits])) >> 12
            self._corrections[each] = self._corrections.get(each, 0) + step
            self._visits[each] = min(visits + 1, 1023)


def _read_level(decoder: RangeDecoder, learnt: _Learnt, sight: _Sight, remaining: list[int]) -> int:
    """Goes down the tree of halves, by corrected odds at first, and by shares at its end."""
    first, last = 0, len(remaining)  # the node's levels
    node = 1
    for decision in range(min(sight.depth, MAX_DECISIONS)):
        middle = (first + last) // 2
        in_left, in_right = sum(remaining[first:middle]), sum(remaining[middle:last])
        if in_left and in_right:
            contexts = sight.contexts(decision, node)
            likely = learnt.probability(_log_of(in_left) - _log_of(in_right), contexts)
            bit = decoder.read_bit(likely)
            learnt.learn((0 if bit else 65536) - likely, contexts)
        else:
            bit = int(not in_left)
        first, last = (middle, last) if bit else (first, middle)
        node = 2 * node + bit
    if last - first == 1:
        return first

    def piece_of(place: int) -> tuple[int, int, int]:
        below = 0
        for level in range(first, last):
            if place < below + remaining[level]:
                return level, below, remaining[level]
            below += remaining[level]
        raise AssertionError("shares add up to the total")

    return decoder.read(sum(remaining[first:last]), piece_of)


def _log_of(number: int) -> int:
    """256 log2 of a positive number, by its eleven highest bits."""
    shift = number.bit_length() - 11
    top = number >> shift if shift >= 0 else number << -shift
    return (shift + 10) * 256 + int(logarithms()[top - 1024])


def _unrest_class(moved: int) -> int:
    """Twice the number of bits behind the highest, and one more if the next one is set: 0 to 29.

    31 where nothing is known, which -1 stands for.
    """
    if moved < 0:
        return 31
    bits = max(moved.bit_length() - 1, 0)
    return 2 * bits + (moved >> (bits - 1) & 1 if bits else 0)


def _averaged(average: int, moved: int, number: int) -> int:
    """The running average with one more; `number` were there before, the last 64 or so count."""
    if average < 0:
        return moved
    shift = _clipped(number.bit_length(), 1, 6)
    return average + ((moved - average) >> shift)


def _clipped(number: int, low: int, high: int) -> int:
    return min(max(number, low), high)
