"""SGPerm's random partition, and the permissibility graph of one of its subsets with its cycles.

Source: Permute to Train, sections 2.1 and 2.2.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from permtrain.core.permutation import Permutation
from permtrain.errors import PictureError
from permtrain.graph.partition import equal_subsets, random_subset_ids
from permtrain.graph.search import permute_ranks_
from permtrain.lab.pictures.numbers.arrays import Floats, drawable

Places = NDArray[np.int64]

_STEP = 1


def subset_of(length: int, partition_ratio: float, *, seed: int = 0, subset: int = 0) -> Places:
    """The ranks of one subset of a random partition, ascending, as SGPerm draws it.

    Args:
        length: weights in the vector.
        partition_ratio: lambda, in (0, 1].
        seed: of the partition.
        subset: which of its subsets.

    Raises:
        SettingError: a ratio outside its range.
        PictureError: there is no such subset.

    Example:
        >>> len(subset_of(784, 0.05))
        40
        >>> sorted(np.concatenate([subset_of(7, 0.5, subset=p) for p in (0, 1)]).tolist())
        [0, 1, 2, 3, 4, 5, 6]
    """
    sizes = equal_subsets(length, partition_ratio)
    if not 0 <= subset < len(sizes):
        raise PictureError(f"subset is {subset}; allowed: 0 to {len(sizes) - 1}")
    return np.flatnonzero(random_subset_ids(1, sizes, seed=seed, step=_STEP)[0] == subset)


def permitted_moves(
    values_M: ArrayLike, recommendations_M: ArrayLike, *, aggressiveness: float, value_range: float
) -> Places:
    """The edges of a subset's permissibility graph, as `permtrain.graph.search` states them.

    An edge (x, y) gives x the value of y: r_x (w_x - w_y) >= 0 with r_x not 0, and
    l < |w_x - w_y| < l + alpha A, l the subset's smallest gap.

    Args:
        values_M: the subset's weights, ascending.
        recommendations_M: below 0 wants to grow.
        aggressiveness: alpha.
        value_range: A, the range of the whole vector.

    Shapes: (E, 2) int64, in order.

    Example:
        >>> permitted_moves([0, 1, 3], [-1, 0, 1], aggressiveness=0.5, value_range=3).tolist()
        [[2, 1]]
    """
    values = np.asarray(values_M, dtype=np.float64)
    wishes = np.asarray(recommendations_M, dtype=np.float64)
    lower = float(np.diff(values).min()) if len(values) > 1 else 0.0
    upper = lower + aggressiveness * value_range
    difference_MM = values[:, None] - values[None, :]
    gap_MM = np.abs(difference_MM)
    permitted_MM = (wishes[:, None] * difference_MM > 0) & (gap_MM > lower) & (gap_MM < upper)
    return np.argwhere(permitted_MM)


@dataclass(frozen=True, eq=False)
class SubsetGraph:
    """One subset's graph.

    Attributes:
        values: (M,) ascending.
        recommendations: (M,), below 0 wants to grow.
        moves: (E, 2) permitted edges, (x, y) gives x the value of y.
        cycles: those that the search found, each edge of them permitted.
    """

    values: Floats
    recommendations: Floats
    moves: Places
    cycles: list[tuple[int, ...]]


def subset_graph(
    vector_L: ArrayLike,
    recommendations_L: ArrayLike,
    *,
    aggressiveness: float = 0.1,
    partition_ratio: float = 0.05,
    seed: int = 0,
) -> SubsetGraph:
    """The graph of the first subset of a random partition, and what SGPerm's search finds in it.

    Args:
        vector_L: a weight vector.
        recommendations_L: of the same positions.
        aggressiveness, partition_ratio: as in `SGPerm`, whose search is `start`.
        seed: of the partition.

    Raises:
        PictureError: lengths differ, nothing to draw, or NaN.
        SettingError: a setting outside its range.

    Example:
        >>> made = subset_graph([0.0, 1.0, 2.1, 3.3], [-1, 1, -1, 1], partition_ratio=1.0,
        ...                     aggressiveness=0.2)
        >>> made.moves.tolist(), made.cycles
        ([[2, 3], [3, 2]], [(2, 3)])
    """
    vector = drawable(vector_L, "vector", ndim=1).astype(np.float64)
    wishes = drawable(recommendations_L, "recommendations", ndim=1).astype(np.float64)
    if vector.shape != wishes.shape:
        raise PictureError(
            f"{len(wishes)} recommendations for {len(vector)} weights; allowed: as many"
        )
    ranks = subset_of(len(vector), partition_ratio, seed=seed)
    order = np.argsort(vector, kind="stable")
    values_L, wishes_L = vector[order], wishes[order]
    # Slots are numbered by the rank of what they hold, so that the search moves ranks.
    holds = torch.arange(len(vector), dtype=torch.int32)[None].contiguous()
    permute_ranks_(
        torch.from_numpy(values_L)[None].contiguous(),
        holds,
        torch.from_numpy(wishes_L)[None].contiguous(),
        aggressiveness=aggressiveness,
        search="start",
        sizes=equal_subsets(len(vector), partition_ratio),
        seed=seed,
        step=_STEP,
    )
    gives = Permutation(holds.long()).inverse()
    place_in_subset = {int(rank): i for i, rank in enumerate(ranks)}
    return SubsetGraph(
        values_L[ranks],
        wishes_L[ranks],
        permitted_moves(
            values_L[ranks],
            wishes_L[ranks],
            aggressiveness=aggressiveness,
            value_range=float(values_L[-1] - values_L[0]),
        ),
        [
            tuple(place_in_subset[rank] for rank in cycle)
            for cycle in gives.cycles()[0]
            if cycle[0] in place_in_subset
        ],
    )
