"""Random words that are the same on every machine: Philox, keyed by a seed and a name.

Only integers are drawn here, and only NumPy is needed. NumPy promises that the stream of a bit
generator never changes (NEP 19); what it makes of the words (`Generator.normal` and the like) may
change and is not used.
"""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**64 - 1


def stream_of(name: str, purpose: str) -> int:
    """The 64-bit number of a parameter's own stream of words.

    The first 8 bytes, little endian, of the SHA-256 of `name`, a zero byte and `purpose`, in UTF-8.
    Another layer in the model therefore changes no other layer's words.

    Args:
        name: the parameter's name in its model.
        purpose: what the words are for: `"values"`, `"positions"` or `"zeros"`.

    Example:
        >>> hex(stream_of("fc1.weight", "values"))
        '0x81ddc91ba2455dd6'
    """
    digest = hashlib.sha256(f"{name}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def word_source(seed: int, name: str, purpose: str) -> np.random.Philox:
    """Philox4x64-10 with key (seed, stream) at counter 0; `random_raw(n)` gives the next words.

    Args:
        seed: 0 to `MAX_SEED`.
        name, purpose: as in `stream_of`.
    """
    return np.random.Philox(key=np.array([seed, stream_of(name, purpose)], dtype=np.uint64))


def random_words(seed: int, name: str, purpose: str, count: int) -> NDArray[np.uint64]:
    """The first `count` words of a stream; a shorter draw is the beginning of a longer one.

    Example:
        >>> random_words(0, "fc1.weight", "values", 2)
        array([ 2181340223558909383, 16578259858971008301], dtype=uint64)
    """
    return np.asarray(word_source(seed, name, purpose).random_raw(count), dtype=np.uint64)


def centred(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers q in (-1/2, 1/2) from words, symmetric about 0, which is never hit.

    q = (2k + 1 - 2**53) / 2**54 with k the word's upper 53 bits. Every step is exact, so q and -q
    are equally likely, and 1/2 - |q| is exact as well.

    Example:
        >>> centred(np.array([0, 2**63, 2**64 - 1], dtype=np.uint64))
        array([-5.00000000e-01,  5.55111512e-17,  5.00000000e-01])
    """
    k = (words >> np.uint64(11)).astype(np.int64)
    return (2 * k + (1 - 2**53)).astype(np.float64) * 2.0**-54


def stable_order(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """`argsort(kind="stable")` along the last axis, several times faster.

    Shapes: (V, L) or (L,), int64 out.

    Each word's lowest bits give way to its position, so that values can be sorted instead of
    positions. The few places whose remaining bits tie are then put in order by their whole words.

    Example:
        >>> stable_order(np.array([7, 3, 7, 0], dtype=np.uint64))
        array([3, 1, 0, 2])
    """
    if words.ndim == 1:
        return stable_order(words[None]).reshape(-1)
    length = words.shape[1]
    num_bits = np.uint64(max(length - 1, 0).bit_length())
    packed = words >> num_bits
    packed <<= num_bits
    packed |= np.arange(length, dtype=np.uint64)
    packed.sort(axis=1)
    order: NDArray[np.int64] = (packed & np.uint64((1 << int(num_bits)) - 1)).astype(np.int64)
    packed >>= num_bits
    ties = np.zeros(words.shape, dtype=np.bool_)
    np.equal(packed[:, 1:], packed[:, :-1], out=ties[:, 1:])
    for row in np.flatnonzero(ties.any(axis=1)):
        places = np.flatnonzero(ties[row] | np.append(ties[row, 1:], False))
        positions = order[row, places]
        order[row, places] = positions[np.lexsort((positions, words[row, positions]))]
    return order


def random_order(
    seed: int, name: str, purpose: str, shape: int | tuple[int, int]
) -> NDArray[np.int64]:
    """A random permutation of 0 to n - 1, or one in each row: the stable argsort of the words.

    Args:
        seed, name, purpose: the stream, as in `word_source`.
        shape: n, or (rows, n), filled with words row by row.

    Example:
        >>> random_order(0, "fc1.weight", "positions", 6)
        array([3, 1, 5, 2, 4, 0])
    """
    count = shape if isinstance(shape, int) else math.prod(shape)
    return stable_order(random_words(seed, name, purpose, count).reshape(shape))
