"""Random partitions of weight vectors into the subsets within which weights may move.

A partition is given by the sizes of its subsets; which weights are in which is drawn anew for every
row and update.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.errors import SettingError
from permtrain.graph.compiling import compiled, compiled_rows
from permtrain.graph.words import below, check_words, lower_half, row_key, upper_half, word_at

Sizes = NDArray[np.int32]


def equal_subsets(length: int, partition_ratio: float) -> Sizes:
    """The paper's partition: floor(1 / lambda) subsets of about equal size.

    Source: Permute to Train, section 2.1.4; lambda is `partition_ratio`, |V_j| is `length`.
    Differs from the source: it says "approximately equal"; here sizes differ by at most one. There
    are never more subsets than half the weights, because a weight alone cannot move. 1e-9 is added
    before rounding down, so that a lambda of 1 / 93, whose inverse is just below 93, makes 93.

    Args:
        length: weights in a vector.
        partition_ratio: in (0, 1].

    Raises:
        SettingError: a value outside its range.

    Example:
        >>> equal_subsets(300, 0.1).tolist()
        [30, 30, 30, 30, 30, 30, 30, 30, 30, 30]
        >>> equal_subsets(7, 0.3).tolist()
        [3, 2, 2]
    """
    _check(length, partition_ratio)
    count = max(1, min(int(1 / partition_ratio + 1e-9), length // 2))
    smaller, rest = divmod(length, count)
    return np.array([smaller + 1] * rest + [smaller] * (count - rest), dtype=np.int32)


def authors_subsets(length: int, partition_ratio: float) -> Sizes:
    """The authors' partition: subsets of max(10, floor(lambda n)) weights, the rest one more.

    Source: the authors' code, as our notes on it state it; n is `length`, lambda
    `partition_ratio`.

    Args, raises: as in `equal_subsets`.

    Example:
        >>> authors_subsets(784, 0.05).tolist()[-2:], authors_subsets(7, 0.3).tolist()
        ([39, 4], [7])
    """
    _check(length, partition_ratio)
    size = min(max(10, int(partition_ratio * length + 1e-9)), length)
    count, rest = divmod(length, size)
    return np.array([size] * count + [rest] * (rest > 0), dtype=np.int32)


def whole_vector(length: int) -> Sizes:
    """No partition: every weight may meet every other.

    Example:
        >>> whole_vector(784).tolist()
        [784]
    """
    return np.array([length], dtype=np.int32)


def _check(length: int, partition_ratio: float) -> None:
    if length < 1:
        raise SettingError(f"length is {length}; allowed: 1 or more")
    if not 0 < partition_ratio <= 1:
        raise SettingError(f"partition_ratio is {partition_ratio}; allowed: above 0, at most 1")


def random_subset_ids(
    num_rows: int, sizes: Sizes, *, seed: int, step: int, first_row: int = 0
) -> NDArray[np.int32]:
    """The partitions that an update draws: which subset each place of the order belongs to.

    A row's ids, `sizes[p]` times p for each p, are shuffled by Fisher and Yates from the last
    place down, two draws from each word of the row's key.

    Args:
        num_rows: V.
        sizes: of the subsets; they add up to the vector's length L.
        seed, step, first_row: as in `permtrain.graph.search.permute_ranks_`.

    Shapes: (V, L) int32.
    Randomness: `permtrain.graph.words`, from (seed, step, row).
    Cost: O(V L), about 2 ns an entry.
    Raises:
        SettingError: a seed, step or row that no words are drawn for.

    Example:
        >>> random_subset_ids(2, equal_subsets(6, 0.5), seed=0, step=1).sum(axis=1).tolist()
        [3, 3]
    """
    check_words(seed, step, first_row)
    ids_VL = np.empty((num_rows, int(sizes.sum())), dtype=np.int32)
    _draw_rows(ids_VL, sizes, np.uint64(seed), np.uint64(step), np.uint64(first_row))
    return ids_VL


@compiled_rows
def _draw_rows(
    ids_VL: NDArray[np.int32], sizes_P: Sizes, seed: np.uint64, step: np.uint64, first: np.uint64
) -> None:
    for row in range(ids_VL.shape[0]):
        draw_subset_ids(row_key(seed, step, first + np.uint64(row)), sizes_P, ids_VL[row])


@compiled
def draw_subset_ids(key: np.uint64, sizes_P: Sizes, ids_L: NDArray[np.int32]) -> None:
    """Writes one row's shuffled ids into `ids_L`."""
    k = 0
    for p in range(sizes_P.shape[0]):
        for _ in range(sizes_P[p]):
            ids_L[k] = p
            k += 1
    if sizes_P.shape[0] == 1:
        return
    num_words = (k - 1) // 2
    for i in range(num_words):
        word = word_at(key, np.uint64(i))
        k -= 1
        j = below(upper_half(word), np.uint64(k + 1))
        ids_L[k], ids_L[j] = ids_L[j], ids_L[k]
        k -= 1
        j = below(lower_half(word), np.uint64(k + 1))
        ids_L[k], ids_L[j] = ids_L[j], ids_L[k]
    if k > 1:
        j = below(upper_half(word_at(key, np.uint64(num_words))), np.uint64(k))
        ids_L[k - 1], ids_L[j] = ids_L[j], ids_L[k - 1]
