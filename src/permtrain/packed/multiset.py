"""What values a weight vector holds, and which of them stands at which position.

A *level* is one of a vector's distinct values, numbered in ascending order. A vector then is a
multiset, so many weights of each level, and a word over the levels, which the coders store. With
all values distinct the word is a permutation.

Suffixes: V vectors, L weights in a vector, K levels, R rows: V, or 1 where all vectors agree.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from permtrain.packed.keys import Bits

Levels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Multisets:
    """The multiset of each weight vector.

    Attributes:
        keys_RK: the distinct values' sort keys, ascending; rows of fewer than K levels are filled
            up with their last.
        counts_RK: int32, how many weights hold each; a row's sum is L.
        num_vectors: V.
    """

    keys_RK: Bits
    counts_RK: Levels
    num_vectors: int

    @property
    def vector_length(self) -> int:
        return int(self.counts_RK[0].sum())

    def keys_of(self, levels_VL: Levels) -> Bits:
        """The keys that levels stand for, (V, L)."""
        if len(self.keys_RK) == 1:
            return np.asarray(self.keys_RK[0][levels_VL])
        return np.take_along_axis(self.keys_RK, levels_VL, axis=1)

    def limit_bits(self) -> float:
        """log2(n! / prod m_i!) summed over the vectors: what telling them apart takes at least.

        Example:
            >>> multisets_of(np.array([[1, 2, 2, 3]], dtype=np.uint32), 2).limit_bits()
            7.169925001442312
        """
        lengths = np.arange(2, self.vector_length + 1)
        log_factorials = np.concatenate([[0.0, 0.0], np.cumsum(np.log2(lengths))])
        repeats = self.num_vectors // len(self.counts_RK)
        values, times = np.unique(self.counts_RK, return_counts=True)
        inside = math.fsum((log_factorials[values] * times).tolist()) * repeats
        return float(log_factorials[self.vector_length]) * self.num_vectors - inside


def multisets_of(profile_RL: Bits, num_vectors: int) -> Multisets:
    """The multisets of profiles, sort keys in ascending order; alike rows are kept once.

    Shapes: `profile_RL` (V, L) or (1, L), L at least 1.
    """
    if len(profile_RL) > 1 and (profile_RL == profile_RL[:1]).all():
        profile_RL = profile_RL[:1]
    is_first_RL = np.ones(profile_RL.shape, dtype=np.bool_)
    np.not_equal(profile_RL[:, 1:], profile_RL[:, :-1], out=is_first_RL[:, 1:])
    if is_first_RL.all():
        ones = np.ones((1, profile_RL.shape[1]), dtype=np.int32)
        return Multisets(profile_RL, ones, num_vectors)
    level_RL = np.cumsum(is_first_RL, axis=1, dtype=np.int32) - np.int32(1)
    num_rows, num_levels = len(profile_RL), int(level_RL[:, -1].max()) + 1
    flat = level_RL + np.arange(num_rows, dtype=np.int64)[:, None] * num_levels
    counts = np.bincount(flat.ravel(), minlength=num_rows * num_levels)
    counts_RK = counts.reshape(num_rows, num_levels).astype(np.int32)
    keys_RK = np.repeat(profile_RL[:, -1:], num_levels, axis=1)
    np.put_along_axis(keys_RK, level_RL, profile_RL, axis=1)
    return Multisets(keys_RK, counts_RK, num_vectors)


def levels_of(keys_VL: Bits, profile_RL: Bits) -> Levels | None:
    """Which level of its profile each weight holds; None if a vector is no arrangement of it.

    Shapes: `keys_VL` (V, L), `profile_RL` (V, L) or (1, L) ascending; int32 (V, L) out.

    Example:
        >>> levels_of(np.array([[7, 3, 7, 9]], dtype=np.uint32),
        ...           np.array([[3, 7, 7, 9]], dtype=np.uint32))
        array([[1, 0, 1, 2]], dtype=int32)
    """
    sorted_VL, order_VL = _sorted_with_order(keys_VL)
    if not (sorted_VL == profile_RL).all():
        return None
    is_first_VL = np.ones(keys_VL.shape, dtype=np.bool_)
    np.not_equal(sorted_VL[:, 1:], sorted_VL[:, :-1], out=is_first_VL[:, 1:])
    level_VL = np.cumsum(is_first_VL, axis=1, dtype=np.int32) - np.int32(1)
    levels_VL = np.empty_like(level_VL)
    np.put_along_axis(levels_VL, order_VL, level_VL, axis=1)
    return levels_VL


def _sorted_with_order(keys_VL: Bits) -> tuple[Bits, NDArray[np.int64]]:
    """Each row sorted, and the positions the sorted keys come from."""
    length = keys_VL.shape[1]
    if keys_VL.itemsize == 8:
        order_VL = np.argsort(keys_VL, axis=1, kind="stable")
        return np.take_along_axis(keys_VL, order_VL, axis=1), order_VL
    # Key and position in one word: values sort faster than positions do.
    words_VL = keys_VL.astype(np.uint64) << np.uint64(32)
    words_VL |= np.arange(length, dtype=np.uint64)
    words_VL.sort(axis=1)
    sorted_VL = (words_VL >> np.uint64(32)).astype(keys_VL.dtype)
    return sorted_VL, (words_VL & np.uint64(0xFFFFFFFF)).astype(np.int64)
