"""The uniform coder's loop, compiled, and what both coders share: a tree of counts, a range coder.

Each loop runs both ways, so that encoder and decoder cannot differ. Its state is `num_words`, the
words written or read so far; `point`, the interval's lower end, or how far the code is above it;
and the interval's `width`. All arithmetic is on integers, so every machine writes the same words.
docs/format.md says the same in words, `tests/packed/reference.py` in Python's own integers.

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

_HALF = np.uint64(32)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SMALLEST_WIDTH = np.uint64(1 << 32)


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """A loop over arrays; no fastmath, no threads of its own, without the GIL."""
    return njit()(function)


def inlined(function: Callable[P, T]) -> Callable[P, T]:
    """A piece of such a loop, put in its place by the compiler.

    References to arrays are not counted (`_nrt=False`), which would cost more than the piece.
    """
    return njit(_nrt=False, forceinline=True)(function)


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


@inlined
def begin(decoding, words):  # type: ignore[no-untyped-def]
    """Returns the state before the first symbol: the whole interval."""
    if decoding:
        return 2, (np.uint64(words[0]) << _HALF) | np.uint64(words[1]), _ALL
    return 0, np.uint64(0), _ALL


@inlined
def advance(decoding, words, num_words, point, step):  # type: ignore[no-untyped-def]
    """Returns the point once the interval's lower end moved up by a step."""
    if decoding:
        return point - step
    point += step
    if point < step:
        add_carry(words, num_words)
    return point


@inlined
def refill(decoding, words, num_words, point, width):  # type: ignore[no-untyped-def]
    """Returns the state once a word is written or read, if the width has 32 bits or fewer."""
    if width < _SMALLEST_WIDTH:
        width <<= _HALF
        if decoding:
            point <<= _HALF
            if num_words < len(words):
                point |= np.uint64(words[num_words])
        else:
            words[num_words] = np.uint32(point >> _HALF)
            point <<= _HALF
        num_words += 1
    return num_words, point, width


@inlined
def code_symbol(  # type: ignore[no-untyped-def]
    decoding, words, num_words, point, width, level, node, depth, total, left, remaining
):
    """Codes a level below a node by its share of the weights that remain there.

    Args:
        level: the level to write; not looked at in decoding.
        node, depth: the node, and how many steps below it the leaves are.
        total: weights that remain below the node.
        left, remaining: weights that remain in left halves, by node, and by level; kept up to date.

    Returns: the leaf, and the state; -1 words if no encoder writes such a code.
    """
    share = width // np.uint64(total)
    below = np.int64(0)
    rest = np.int64(0)
    if decoding:
        place = point // share
        if place >= np.uint64(total):
            return node, -1, point, width
        rest = np.int64(place)
    for half_depth in range(depth - 1, -1, -1):
        in_left = np.int64(left[node])
        if decoding:
            bit = 1 if rest >= in_left else 0
            rest -= in_left * bit
        else:
            bit = int((level >> half_depth) & 1)
        below += in_left * bit
        left[node] = in_left - 1 + bit
        node = 2 * node + bit
    found = node - len(left)
    count = np.int64(remaining[found])
    remaining[found] = count - 1
    if count != total:
        point = advance(decoding, words, num_words, point, share * np.uint64(below))
        width = share * np.uint64(count)
        num_words, point, width = refill(decoding, words, num_words, point, width)
    return node, num_words, point, width


@compiled
def code_uniform(
    decoding: bool,
    words: Words,
    levels_VL: NDArray[np.int32],
    counts_RK: NDArray[np.int32],
    depth: int,
) -> tuple[int, np.uint64, np.uint64]:
    """Codes `levels_VL` into `words`, or fills it from them: each level by its share.

    Args:
        decoding: which of the two.
        words: room for V L words, or the code, two words or more; after its end come zeros.
        levels_VL: levels of the weights.
        counts_RK: how often each level occurs.
        depth: of the tree, the smallest with 2**depth levels or more.

    Returns: words written or used, and the interval (low, width) left; -1 words if no encoder
        writes such a code.
    """
    num_vectors, length = levels_VL.shape
    num_rows = len(counts_RK)
    size = 1 << depth
    sums = np.zeros(2 * size, np.int32)
    fresh = np.zeros(size, np.int32)
    left = np.zeros(size, np.int32)
    remaining = np.zeros(counts_RK.shape[1], np.int32)
    num_words, point, width = begin(decoding, words)
    for v in range(num_vectors):
        row = v if num_rows > 1 else 0
        if v == 0 or num_rows > 1:
            fill_tree(counts_RK[row], depth, sums, fresh)
        left[:] = fresh
        remaining[:] = counts_RK[row]
        for i in range(length):
            total = np.int64(length - i)
            leaf, num_words, point, width = code_symbol(
                decoding,
                words,
                num_words,
                point,
                width,
                np.int64(levels_VL[v, i]),
                1,
                depth,
                total,
                left,
                remaining,
            )
            if num_words < 0:
                return -1, point, width
            levels_VL[v, i] = leaf - size
    return num_words, point, width
