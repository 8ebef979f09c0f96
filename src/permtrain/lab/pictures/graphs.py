"""SGPerm's random partition, and the permissibility graph of one of its subsets with its cycles.

Source: Permute to Train, sections 2.1 and 2.2, figures 4 and 5.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike, NDArray

from permtrain.core.permutation import Permutation
from permtrain.errors import PictureError
from permtrain.graph.partition import equal_subsets, random_subset_ids
from permtrain.graph.search import permute_ranks_
from permtrain.lab.pictures.arrays import Floats, as_grid, drawable
from permtrain.lab.pictures.permutations import finish_circle, on_circle
from permtrain.lab.pictures.style import (
    AFTER,
    FAINT,
    MARKERS,
    PALETTE,
    colour,
    entitle,
    new_figure,
    show_matrix,
    tidy,
)

Places = NDArray[np.int64]

_STEP = 1
_MOST_VERTICES = 300


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


def draw_graph(graph: SubsetGraph, name: str) -> Figure:
    """The graph on a circle, weights ascending counterclockwise; cycles in colour, the rest grey.

    Raises:
        PictureError: more vertices than a circle can show.
    """
    M = len(graph.values)
    if M > _MOST_VERTICES:
        raise PictureError(
            f"{name}: the subset has {M} weights; allowed: up to {_MOST_VERTICES}, by a smaller "
            "partition ratio"
        )
    figure = new_figure(5.4, 5.7)
    axes = figure.add_subplot()
    places = on_circle(M)
    if len(graph.moves):
        axes.add_collection(
            LineCollection(list(places[graph.moves]), colors=FAINT, linewidths=0.5, zorder=1)
        )
    for i, cycle in enumerate(graph.cycles):
        for x, y in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            axes.add_patch(
                FancyArrowPatch(
                    tuple(places[x]),
                    tuple(places[y]),
                    arrowstyle="-|>",
                    mutation_scale=9,
                    connectionstyle="arc3,rad=0.12",
                    color=colour(i),
                    linewidth=1.3,
                    shrinkA=4,
                    shrinkB=4,
                    zorder=2,
                )
            )
    for label, chosen, marker, tint in (
        ("wants to grow", graph.recommendations < 0, "^", PALETTE[4]),
        ("wants to shrink", graph.recommendations > 0, "v", AFTER),
        ("no recommendation", graph.recommendations == 0, "o", FAINT),
    ):
        if chosen.any():
            axes.scatter(
                places[chosen, 0],
                places[chosen, 1],
                s=34,
                marker=marker,
                color=tint,
                label=label,
                edgecolors="black",
                linewidths=0.4,
                zorder=3,
            )
    finish_circle(axes)
    entitle(
        axes,
        f"{name}\n{M} weights, {len(graph.moves)} permitted moves (grey); an arrow from x to y "
        f"gives x the value of y;\n{len(graph.cycles)} disjoint cycles of "
        f"{sum(map(len, graph.cycles))} weights, one colour each",
    )
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def draw_partition(vector_L: ArrayLike, ranks: Places, name: str) -> Figure:
    """A subset of a vector marked on its heat map, left, and on its profile, right.

    Args:
        vector_L: a weight vector; the heat map is square if its length is, else nearly.
        ranks: the subset's, as `subset_of` gives them.

    Raises:
        PictureError: nothing to draw, or NaN.
    """
    vector = drawable(vector_L, name, ndim=1)
    order = np.argsort(vector, kind="stable")
    figure = new_figure(7.4, 3.6)
    left, right = figure.subplots(1, 2)
    grid = as_grid(vector)
    image = show_matrix(left, grid, (float(vector.min()), float(vector.max())))
    bar = figure.colorbar(image, ax=left, shrink=0.8, label="weight")
    tidy(bar.ax)
    rows, columns = np.divmod(order[ranks], grid.shape[1])
    pitch = 190 / max(grid.shape)  # points a cell has, about
    left.scatter(
        columns, rows, marker=MARKERS[1], s=(0.8 * pitch) ** 2, facecolors="none",
        edgecolors=PALETTE[1], linewidths=1,
    )  # fmt: skip
    tidy(right).plot(vector[order], color=FAINT, linewidth=1.5)
    right.plot(ranks, vector[order][ranks], ".", color=PALETTE[1], markersize=5)
    right.set(xlabel="rank", ylabel="weight")
    entitle(left, f"{name}: one subset of {len(ranks)}")
    entitle(right, "the same weights on the profile")
    return figure
