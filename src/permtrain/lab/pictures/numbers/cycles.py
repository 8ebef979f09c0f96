"""The permutation of one weight vector as cycles of ranks."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from permtrain.core.permutation import Permutation, permutation_between
from permtrain.lab.pictures.numbers.arrays import drawable_pair


@dataclass(frozen=True, eq=False)
class RankCycles:
    """A permutation of one vector in terms of ranks.

    Attributes:
        length: weights in the vector.
        cycles: disjoint, of two or more ranks, the longest first. (a, b, c) reads: where the weight
            of rank a was, that of rank b stands now, that of c where b was, that of a where c was.
    """

    length: int
    cycles: list[tuple[int, ...]]

    @property
    def num_moved(self) -> int:
        return sum(len(cycle) for cycle in self.cycles)


def rank_cycles(before_L: ArrayLike, after_L: ArrayLike) -> RankCycles:
    """The permutation from one vector to the other as cycles of ranks.

    Ranks are those of `before`, 0 the smallest weight, ties by position.

    Raises:
        PictureError: different lengths, nothing to draw, or NaN.
        ProfileError: `after` holds other values than `before`.

    Example:
        >>> rank_cycles([0.3, -1.0, 0.2, 0.9], [0.2, -1.0, 0.9, 0.3]).cycles
        [(1, 3, 2)]
    """
    before, after = vector_pair(before_L, after_L)
    permutation = permutation_between(before, after)
    rank_of = torch.empty(before.shape[1], dtype=torch.int64)
    order = torch.argsort(before[0], stable=True)
    rank_of[order] = torch.arange(len(order))
    by_rank = Permutation(rank_of[permutation.perm[0][order]][None])
    return RankCycles(len(order), sorted(by_rank.cycles()[0], key=lambda cycle: -len(cycle)))


def on_circle(num_places: int) -> NDArray[np.float64]:
    """Places on the unit circle, counterclockwise, (N, 2); the gap from last to first is right.

    Example:
        >>> on_circle(2).round(9).tolist()
        [[0.0, 1.0], [-0.0, -1.0]]
    """
    angles = 2 * np.pi * (np.arange(num_places) + 0.5) / num_places
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def vector_pair(before_L: ArrayLike, after_L: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Two vectors that belong together, as tensors of (1, L).

    Raises:
        PictureError: different lengths, nothing to draw, or NaN.
    """
    before, after = drawable_pair(np.atleast_2d(before_L), np.atleast_2d(after_L), "vector")
    return torch.from_numpy(before.copy()), torch.from_numpy(after.copy())
