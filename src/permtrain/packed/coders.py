"""From levels to code bytes and back, by the compiled loops or by the plain ones.

Importing this imports neither numba nor torch.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import PackedFileError
from permtrain.packed import plain
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
    from permtrain.packed.kernels import encode_uniform

    counts_RK = multisets.counts_RK
    words = np.empty(levels_VL.size, dtype=np.uint32)
    depth = tree_depth(counts_RK.shape[1])
    return finished(words, *encode_uniform(levels_VL, counts_RK, depth, words))


def uniform_levels(code: bytes, multisets: Multisets, *, use_plain: bool) -> Levels:
    """The inverse of `uniform_code`.

    Raises:
        PackedFileError: no encoder writes such a code.
    """
    counts_RK, num_vectors = multisets.counts_RK, multisets.num_vectors
    if use_plain:
        return plain.decode_uniform(code, counts_RK, num_vectors)
    from permtrain.packed.kernels import decode_uniform

    words = words_of(code)
    levels_VL = np.empty((num_vectors, multisets.vector_length), dtype=np.int32)
    num_used = decode_uniform(words, counts_RK, tree_depth(counts_RK.shape[1]), levels_VL)
    check_used(num_used, code)
    return levels_VL


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
        add_one(words, num_words)
    body = words[:num_words].astype(">u4").tobytes()
    return (body + (value % (1 << 64)).to_bytes(8, "big")).rstrip(b"\0")


def add_one(words: NDArray[np.uint32], num_words: int) -> None:
    """Adds one to the number that the first words are."""
    for place in range(num_words - 1, -1, -1):
        words[place] = (int(words[place]) + 1) % (1 << 32)
        if words[place]:
            return


def words_of(code: bytes) -> NDArray[np.uint32]:
    """A code as words, two at least, the last one filled up with zeros."""
    num_words = max(-(-len(code) // 4), 2)
    return np.frombuffer(code.ljust(4 * num_words, b"\0"), dtype=">u4").astype(np.uint32)


def check_used(num_used: int, code: bytes) -> None:
    """Refuses what no encoder writes.

    Raises:
        PackedFileError: the code points outside all symbols, or has bytes that no symbol needed.
    """
    if num_used < 0:
        raise PackedFileError("the code points outside all symbols")
    if len(code) > 4 * num_used:
        raise PackedFileError(f"the code has {len(code)} bytes; allowed: at most {4 * num_used}")
