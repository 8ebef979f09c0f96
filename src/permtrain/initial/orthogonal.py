"""Random orthogonal matrices that are the same on every machine. Only NumPy is needed.

A QR decomposition rounds as the processor's library pleases. Here a matrix is a product of plane
rotations, each of sums and products alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from permtrain.initial.philox import centred, stable_order

Words = Callable[[int], NDArray[np.uint64]]
"""The next words of a stream, so many."""


def orthonormal_rows(num_rows: int, num_columns: int, words: Words) -> NDArray[np.float64]:
    """A matrix in blocks of as many rows as columns, or the rest; the rows of a block are
    orthonormal.

    So each gate of a recurrent layer's (gates x width, width) weight is orthogonal.

    Args:
        num_rows, num_columns: 1 or more.
        words: where randomness comes from; each block takes `num_sweeps` times the words of an
            order of its columns and of half as many angles.

    Cost: num_sweeps products of each weight with a cosine and a sine; memory for two blocks.

    Example:
        >>> from permtrain.initial.philox import word_source
        >>> w = orthonormal_rows(8, 4, word_source(0, "w", "values").random_raw)
        >>> [bool(np.allclose(block @ block.T, np.eye(4))) for block in (w[:4], w[4:])]
        [True, True]
    """
    blocks = []
    for begin in range(0, num_rows, num_columns):
        blocks.append(_rows(min(num_columns, num_rows - begin), num_columns, words))
    return np.concatenate(blocks)


def num_sweeps(width: int) -> int:
    """How often all rows are rotated in pairs: four times as often as makes each of all.

    Then the fourth moment of the weights is within 2% of that of a uniformly random orthogonal
    matrix (twice as often: 60% above it, at a width of 64).

    Example:
        >>> [num_sweeps(width) for width in (1, 2, 3, 4, 5, 512)]
        [0, 4, 8, 8, 12, 36]
    """
    return 4 * (width - 1).bit_length()


def _rows(num_rows: int, width: int, words: Words) -> NDArray[np.float64]:
    """From rows of the identity: sweeps that rotate random pairs of columns by random angles.

    An angle is 2 arctan(u), u uniform in (-1, 1): its cosine and sine need no library.
    """
    matrix = np.eye(width, num_rows)  # transposed, so that what is rotated lies together
    for _ in range(num_sweeps(width)):
        pairs = stable_order(words(width))[: width // 2 * 2].reshape(-1, 2)
        u = 2.0 * centred(words(width // 2))[:, None]
        cosine, sine = (1.0 - u * u) / (1.0 + u * u), 2.0 * u / (1.0 + u * u)
        first, second = matrix[pairs[:, 0]], matrix[pairs[:, 1]]
        matrix[pairs[:, 0]] = cosine * first - sine * second
        matrix[pairs[:, 1]] = sine * first + cosine * second
    return matrix.T
