"""From levels to code bytes and back, by the compiled loops.

Importing this imports neither numba nor torch.
"""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from permtrain.core.cut import Cut
from permtrain.errors import PackedFileError
from permtrain.packed.logarithms import logarithms, probabilities, rates
from permtrain.packed.multiset import Levels, Multisets


def tree_depth(num_levels: int) -> int:
    """Depth of the smallest binary tree with so many leaves.

    Example:
        >>> [tree_depth(n) for n in (1, 2, 3, 4, 5)]
        [0, 1, 2, 2, 3]
    """
    return (num_levels - 1).bit_length()


def uniform_code(levels_VL: Levels, multisets: Multisets) -> bytes:
    """The uniform coder's bytes: every arrangement of the multisets is equally long."""
    words = np.empty(levels_VL.size, dtype=np.uint32)
    return finished(words, *_run_uniform(False, words, levels_VL, multisets))


def uniform_levels(code: bytes, multisets: Multisets) -> Levels:
    """The inverse of `uniform_code`.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    check_inside(code)
    levels_VL = np.empty((multisets.num_vectors, multisets.vector_length), dtype=np.int32)
    num_used, _, _ = _run_uniform(True, words_of(code), levels_VL, multisets)
    check_used(num_used, code)
    return levels_VL


def conditional_code(
    levels_VL: Levels, initial_VL: Levels, multisets: Multisets, cut: Cut
) -> bytes:
    """The conditional coder's bytes, short where levels are near the initial ones."""
    words = np.empty(4 * levels_VL.size, dtype=np.uint32)
    return finished(words, *_run_conditional(False, words, levels_VL, initial_VL, multisets, cut))


def conditional_levels(code: bytes, initial_VL: Levels, multisets: Multisets, cut: Cut) -> Levels:
    """The inverse of `conditional_code`.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    check_inside(code)
    levels_VL = np.empty_like(initial_VL)
    num_used, _, _ = _run_conditional(True, words_of(code), levels_VL, initial_VL, multisets, cut)
    check_used(num_used, code)
    return levels_VL


def row_and_stride(cut: Cut) -> tuple[int, int]:
    """Where a weight's neighbours are, for the conditional coder's contexts.

    Returns: weights into one output unit (of a layer as one vector: into one entry of axis 0), and
        how many places back the neighbour one line above is: the last axis of kernels, the side of
        a square image if vectors of inputs are one or three of them, else 1.

    Example:
        >>> [row_and_stride(Cut("layer").of(shape)) for shape in ((500, 784), (8, 3, 5, 5))]
        [(784, 28), (75, 5)]
    """
    shape = cut.shape
    is_layer = cut.granularity == "layer"
    row_length = cut.num_weights // (shape[0] if is_layer else shape[cut.output_axis] * cut.groups)
    if len(shape) > 2:
        return row_length, shape[-1]
    for channels in (1, 3):
        side = isqrt(row_length // channels)
        if channels * side * side == row_length:
            return row_length, max(side, 1)
    return row_length, 1


def _run_uniform(
    decoding: bool, words: NDArray[np.uint32], levels_VL: Levels, multisets: Multisets
) -> tuple[int, np.uint64, np.uint64]:
    from permtrain.packed.kernels import code_uniform

    counts_RK = multisets.counts_RK
    return code_uniform(decoding, words, levels_VL, counts_RK, tree_depth(counts_RK.shape[1]))


def _run_conditional(
    decoding: bool,
    words: NDArray[np.uint32],
    levels_VL: Levels,
    initial_VL: Levels,
    multisets: Multisets,
    cut: Cut,
) -> tuple[int, np.uint64, np.uint64]:
    from permtrain.packed.conditional_kernels import code_conditional

    counts_RK = multisets.counts_RK
    tables = logarithms(), probabilities(), rates()
    depth = tree_depth(counts_RK.shape[1])
    return code_conditional(
        decoding, words, levels_VL, initial_VL, counts_RK, depth, *row_and_stride(cut), *tables
    )


def finished(
    words: NDArray[np.uint32], num_words: int, low: int | np.uint64, width: int | np.uint64
) -> bytes:
    """The shortest bytes that lie in the interval left; zero bytes at the end go without saying."""
    first, past_last = int(low), int(low) + int(width)
    for num_bytes in range(9):
        step = 1 << (64 - 8 * num_bytes)
        value = -(-first // step) * step
        if value < past_last:
            break
    if value >> 64:
        from permtrain.packed.kernels import add_carry

        add_carry(words, num_words)
    body = words[:num_words].astype(">u4").tobytes()
    return (body + (value % (1 << 64)).to_bytes(8, "big")).rstrip(b"\0")


def words_of(code: bytes) -> NDArray[np.uint32]:
    """A code as words, two at least, the last one filled up with zeros."""
    num_words = max(-(-len(code) // 4), 2)
    return np.frombuffer(code.ljust(4 * num_words, b"\0"), dtype=">u4").astype(np.uint32)


def check_inside(code: bytes) -> None:
    """Refuses the one number that is not below the whole interval's width, 2^64 - 1.

    What is below it at first stays below it: every step leaves the code inside its new interval.

    Raises:
        PackedFileError: the code begins with eight bytes 0xFF.
    """
    if code.startswith(b"\xff" * 8):
        raise PackedFileError("the code points outside all symbols")


def check_used(num_used: int, code: bytes) -> None:
    """Refuses what no encoder writes.

    Raises:
        PackedFileError: the code points outside all symbols, or has bytes that no symbol needed.
    """
    if num_used < 0:
        raise PackedFileError("the code points outside all symbols")
    if len(code) > 4 * num_used:
        raise PackedFileError(f"the code has {len(code)} bytes; allowed: at most {4 * num_used}")
