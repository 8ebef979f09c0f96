"""The uniform coder's loops, compiled: a tree of remaining counts and a range coder.

All arithmetic is on integers, so every machine writes the same words. docs/format.md says
the same in words, `tests/packed/reference.py` in Python's own integers.

Suffixes: V vectors, L weights in a vector, K levels, R rows of counts: V, or 1 for all vectors.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from permtrain.core.machine_code import njit

P = ParamSpec("P")
T = TypeVar("T")

Words = NDArray[np.uint32]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SMALLEST_RANGE = np.uint64(1 << 32)


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """A loop over arrays; no fastmath, no threads of its own, without the GIL."""
    return njit()(function)


def inlined(function: Callable[P, T]) -> Callable[P, T]:
    """A piece of such a loop."""
    return njit(inline="always")(function)


@inlined
def fill_tree(counts_K, depth, sums, left):  # type: ignore[no-untyped-def]
    """Counts at the leaves, above each node how many weights lie in its left half.

    Node 1 is the root, nodes 2n and 2n + 1 are the halves of node n; leaf k is node 2**depth + k.
    """
    size = 1 << depth
    for k in range(size):
        sums[size + k] = counts_K[k] if k < len(counts_K) else 0
    for node in range(size - 1, 0, -1):
        left[node] = sums[2 * node]
        sums[node] = sums[2 * node] + sums[2 * node + 1]


@inlined
def add_carry(words, num_words):  # type: ignore[no-untyped-def]
    """Adds one to the number that the words written so far are."""
    place = num_words - 1
    while place >= 0:
        words[place] += np.uint32(1)
        if words[place] != 0:
            break
        place -= 1


@compiled
def encode_uniform(
    levels_VL: NDArray[np.int32], counts_RK: NDArray[np.int32], depth: int, words: Words
) -> tuple[int, np.uint64, np.uint64]:
    """Codes each level with the share of its weights among those that remain.

    Args:
        levels_VL: what to code.
        counts_RK: how often each level occurs.
        depth: of the tree, the smallest with 2**depth levels or more.
        words: room for V * L words.

    Returns: words written, and the interval (low, range) that is left.
    """
    num_vectors, length = levels_VL.shape
    num_rows = len(counts_RK)
    size = 1 << depth
    sums = np.zeros(2 * size, np.int32)
    fresh = np.zeros(size, np.int32)
    left = np.zeros(size, np.int32)
    remaining = np.zeros(counts_RK.shape[1], np.int32)
    low = _ZERO
    width = _ALL
    num_words = 0
    for v in range(num_vectors):
        row = v if num_rows > 1 else 0
        if v == 0 or num_rows > 1:
            fill_tree(counts_RK[row], depth, sums, fresh)
        left[:] = fresh
        remaining[:] = counts_RK[row]
        for i in range(length):
            level = levels_VL[v, i]
            total = length - i
            below = 0
            node = 1
            for d in range(depth - 1, -1, -1):
                bit = (level >> d) & 1
                in_left = left[node]
                below += in_left * bit
                left[node] = in_left - 1 + bit
                node = 2 * node + bit
            count = remaining[level]
            remaining[level] = count - 1
            if count == total:
                continue
            share = width // np.uint64(total)
            start = share * np.uint64(below)
            low += start
            if low < start:
                add_carry(words, num_words)
            width = share * np.uint64(count)
            if width < _SMALLEST_RANGE:
                words[num_words] = np.uint32(low >> _HALF)
                num_words += 1
                low <<= _HALF
                width <<= _HALF
    return num_words, low, width


@compiled
def decode_uniform(
    words: Words, counts_RK: NDArray[np.int32], depth: int, levels_VL: NDArray[np.int32]
) -> int:
    """The inverse: fills `levels_VL`. `words` holds two words or more; after its end come zeros.

    Returns: words used, or -1 if no encoder writes such words.
    """
    num_vectors, length = levels_VL.shape
    num_rows = len(counts_RK)
    size = 1 << depth
    sums = np.zeros(2 * size, np.int32)
    fresh = np.zeros(size, np.int32)
    left = np.zeros(size, np.int32)
    remaining = np.zeros(counts_RK.shape[1], np.int32)
    width = _ALL
    above = (np.uint64(words[0]) << _HALF) | np.uint64(words[1])  # the code, less the low end
    num_used = 2
    for v in range(num_vectors):
        row = v if num_rows > 1 else 0
        if v == 0 or num_rows > 1:
            fill_tree(counts_RK[row], depth, sums, fresh)
        left[:] = fresh
        remaining[:] = counts_RK[row]
        for i in range(length):
            total = length - i
            share = width // np.uint64(total)
            place = above // share
            if place >= np.uint64(total):
                return -1
            rest = np.int32(place)
            node = 1
            for _ in range(depth):
                in_left = left[node]
                bit = 1 if rest >= in_left else 0
                rest -= in_left * bit
                left[node] = in_left - 1 + bit
                node = 2 * node + bit
            level = node - size
            count = remaining[level]
            remaining[level] = count - 1
            levels_VL[v, i] = level
            if count == total:
                continue
            above -= share * (place - np.uint64(rest))
            width = share * np.uint64(count)
            if width < _SMALLEST_RANGE:
                above <<= _HALF
                if num_used < len(words):
                    above |= np.uint64(words[num_used])
                num_used += 1
                width <<= _HALF
    return num_used
