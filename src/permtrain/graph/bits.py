"""Sets of places in one row, a bit each, asked for the nearest member on one side.

Place p is bit `p % 64` of word `p // 64`. Searches take the sorted values along, because a member
further away than `bound` is no use: they stop at the first word that begins beyond it.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.graph.compiling import inlined, leading_zeros, trailing_zeros

Words = NDArray[np.uint64]
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def insert(words: Words, place: int) -> None:
    words[place >> 6] |= _ONE << np.uint64(place & 63)


@inlined
def remove(words: Words, place: int) -> None:
    words[place >> 6] &= ~(_ONE << np.uint64(place & 63))


@inlined
def contains(words: Words, place: int) -> bool:
    bit = _ONE << np.uint64(place & 63)
    return bool(words[place >> 6] & bit != _NONE)


@inlined
def mask_within(word_index: int, first: int, last: int) -> np.uint64:
    """The bits of a word that stand for places from `first` to `last`, both included."""
    base = word_index << 6
    mask = _ALL
    if first > base:
        mask &= _ALL << np.uint64(first - base)
    if last < base + 63:
        mask &= _ALL >> np.uint64(base + 63 - last)
    return mask


@inlined
def next_member(
    words: Words,
    kind: Words,
    flip: np.uint64,
    first: int,
    end: int,
    v: NDArray[np.float64],
    from_value: float,
    bound: float,
) -> int:
    """The lowest member in [first, end) with `v - from_value < bound`, or -1.

    Only members count whose bit in `kind`, xor `flip`, is set.
    """
    if first >= end:
        return -1
    w = first >> 6
    found = -1
    word = (words[w] & (kind[w] ^ flip)) >> np.uint64(first & 63)
    if word != _NONE:
        found = first + trailing_zeros(word)
    else:
        last = (end - 1) >> 6
        while w < last:
            w += 1
            if not v[w << 6] - from_value < bound:
                return -1
            word = words[w] & (kind[w] ^ flip)
            if word != _NONE:
                found = (w << 6) + trailing_zeros(word)
                break
    if found < 0 or found >= end or not v[found] - from_value < bound:
        return -1
    return found


@inlined
def previous_member(
    words: Words,
    kind: Words,
    flip: np.uint64,
    last: int,
    begin: int,
    v: NDArray[np.float64],
    from_value: float,
    bound: float,
) -> int:
    """The highest member in [begin, last] with `from_value - v < bound`, or -1; kinds as above."""
    if last < begin:
        return -1
    w = last >> 6
    found = -1
    word = (words[w] & (kind[w] ^ flip)) << np.uint64(63 - (last & 63))
    if word != _NONE:
        found = last - leading_zeros(word)
    else:
        first = begin >> 6
        while w > first:
            w -= 1
            if not from_value - v[(w << 6) + 63] < bound:
                return -1
            word = words[w] & (kind[w] ^ flip)
            if word != _NONE:
                found = (w << 6) + 63 - leading_zeros(word)
                break
    if found < begin or not from_value - v[found] < bound:
        return -1
    return found
