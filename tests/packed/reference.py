"""The reference decoders, in plain Python: slow, obvious, and of nothing but integers.

Whoever writes a reader in another language starts here. The compiled decoders are tested against
these: each function stands in for the one of the same name in `permtrain.packed.coders`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from permtrain.core.cut import Cut
from permtrain.errors import PackedFileError
from permtrain.packed.coders import row_and_stride
from permtrain.packed.logarithms import logarithms, probabilities, rates
from permtrain.packed.multiset import Levels, Multisets

_WORD = 1 << 32
MAX_DECISIONS = 5
FEW_LEVELS = 8


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
        if self._above >= self._width:
            raise PackedFileError("the code points outside all symbols")

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


def uniform_levels(code: bytes, multisets: Multisets) -> Levels:
    """Levels of all vectors, int32 (V, L); a level's share is what remains of its weights.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    counts_RK = multisets.counts_RK
    decoder = RangeDecoder(code)
    rows = []
    for vector in range(multisets.num_vectors):
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


def conditional_levels(code: bytes, initial_VL: Levels, multisets: Multisets, cut: Cut) -> Levels:
    """Levels of all vectors, int32 (V, L), from those of the initial values.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    num_vectors, length = initial_VL.shape
    row_length, stride = row_and_stride(cut)
    counts_RK = multisets.counts_RK
    num_levels = counts_RK.shape[1]
    depth = (num_levels - 1).bit_length()
    decoder, learnt = RangeDecoder(code), _Learnt()
    initial: list[int] = initial_VL.ravel().tolist()
    levels: list[int] = []
    commonest = counts_RK[0].tolist().index(counts_RK[0].max())
    columns = [_Line() for _ in range(row_length)]
    present_row = _Line()
    for here in range(len(initial)):
        vector, i = divmod(here, length)
        if i == 0:
            remaining = counts_RK[vector if len(counts_RK) > 1 else 0].tolist()
            remaining += [0] * ((1 << depth) - num_levels)
        row, column = divmod(here, row_length)
        if column == 0:
            present_row = _Line()
        near = levels[here - 1] - initial[here - 1] if column >= 1 else 0
        far = levels[here - stride] - initial[here - stride] if column >= stride else 0

        def fifth(back: int, is_there: bool, here: int = here) -> int:
            return levels[here - back] * 5 // num_levels if is_there else 5

        left, above = fifth(1, column >= 1), fifth(stride, column >= stride)
        above_left = fifth(stride + 1, column > stride)
        above_right = fifth(stride - 1, column >= stride and stride > 1)
        before = fifth(row_length, row >= 1)
        sight = _Sight(
            initial=initial[here],
            num_levels=num_levels,
            depth=depth,
            column=columns[column],
            row=present_row,
            drift=_clipped((near + far) * 16 // num_levels, -7, 7) + 7,
            neighbours=(left * 6 + above) * 6 + before,
            around=((left * 6 + above) * 6 + above_left) * 6 + above_right,
        )
        level = _read_level(decoder, learnt, sight, remaining)
        remaining[level] -= 1
        levels.append(level)
        activity = abs(level - initial[here]) * 16384 // num_levels
        if num_levels <= FEW_LEVELS:
            activity = 0 if level == commonest else 16384
        lean = (_clipped(level - commonest, -1, 1) + 1) * 16384
        columns[column].take(activity, lean, row)
        present_row.take(activity, lean, column)
    decoder.check_end()
    return np.array(levels, dtype=np.int32).reshape(num_vectors, length)


class _Line:
    """Averages of what was read of a column, or of a row: -1 where nothing was yet."""

    def __init__(self) -> None:
        self.activity = -1
        self.lean = -1

    def take(self, activity: int, lean: int, number: int) -> None:
        self.activity = _averaged(self.activity, activity, number)
        self.lean = _averaged(self.lean, lean, number)

    def activity_class(self) -> int:
        """Twice the number of bits behind the highest, and one more if the next one is set.

        31 where nothing is known.
        """
        if self.activity < 0:
            return 31
        bits = max(self.activity.bit_length() - 1, 0)
        return 2 * bits + (self.activity >> (bits - 1) & 1 if bits else 0)

    def lean_class(self) -> int:
        """The lean in eighths, 8 where nothing is known."""
        return 8 if self.lean < 0 else min(self.lean >> 12, 7)


@dataclass(frozen=True)
class _Sight:
    """What a decision's contexts are made of, beside the decision itself."""

    initial: int
    num_levels: int
    depth: int
    column: _Line
    row: _Line
    drift: int
    neighbours: int
    around: int

    def contexts(self, decision: int, node: int) -> tuple[int, ...]:
        active, row_active = self.column.activity_class(), self.row.activity_class()
        if self.num_levels <= FEW_LEVELS:
            state = node * 8 + self.initial
            leans = self.column.lean_class() * 9 + self.row.lean_class()
            return (
                state * 216 + self.neighbours,
                state * 1296 + self.around,
                state * 32 + active,
                state * 32 + row_active,
                (state * 32 + active) * 32 + row_active,
                state * 81 + leans,
            )
        half_depth = self.depth - 1 - decision
        half = 1 << half_depth
        middle = (node << (half_depth + 1)) - (1 << self.depth) + half
        offset = ((2 * (self.initial - middle) + 1) * 8) >> (half_depth + 1)
        offset = _clipped(offset, -24, 23) + 24
        place = decision * 48 + offset
        coarse = _clipped(offset - 16, 0, 15) >> 1
        return (
            place,
            place * 32 + active,
            place * 16 + self.drift,
            node * 8 + coarse,
            node * 216 + self.neighbours,
        )


class _Learnt:
    """Corrections to log-odds by context, and how much each has learnt from."""

    def __init__(self) -> None:
        self._corrections: dict[tuple[int, int], int] = {}
        self._seen: dict[tuple[int, int], int] = {}

    def probability(self, log_odds: int, contexts: tuple[int, ...]) -> int:
        total = log_odds << 8
        total += sum(self._corrections.get(each, 0) for each in enumerate(contexts))
        return int(probabilities()[_clipped(total >> 8, -3071, 3071) + 3071])

    def learn(self, bit: int, likely: int, contexts: tuple[int, ...]) -> None:
        error = (0 if bit else 65536) - likely
        for each in enumerate(contexts):
            seen = self._seen.get(each, 0)
            step = (error * int(rates()[seen >> 16])) >> 12
            self._corrections[each] = self._corrections.get(each, 0) + step
            self._seen[each] = min(seen + (likely * (65536 - likely) >> 14), 1023 << 16)


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
            learnt.learn(bit, likely, contexts)
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


def _averaged(average: int, value: int, number: int) -> int:
    """The running average with one more; `number` were there before, the last 256 or so count."""
    if average < 0:
        return value
    shift = _clipped(number.bit_length(), 1, 8)
    return average + ((value - average) >> shift)


def _clipped(number: int, low: int, high: int) -> int:
    return min(max(number, low), high)
