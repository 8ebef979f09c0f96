"""SGPerm's random partition, and the permissibility graph of one of its subsets with its cycles.

Source: Permute to Train, sections 2.1 and 2.2, figures 4 and 5.
"""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import as_grid, drawable
from permtrain.lab.pictures.numbers.cycles import on_circle
from permtrain.lab.pictures.numbers.graphs import Places, SubsetGraph
from permtrain.lab.pictures.permutations import finish_circle
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

_MOST_VERTICES = 300


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
    figure = new_figure(5.4, 6.3)
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
    num_cycles = len(graph.cycles)
    again = f", which come again after {len(PALETTE)}" if num_cycles > len(PALETTE) else ""
    entitle(
        axes,
        f"{name}\n{M} weights, {len(graph.moves)} permitted moves (gray);\n"
        f"an arrow from x to y gives x the value of y;\n{num_cycles} disjoint cycles of "
        f"{sum(map(len, graph.cycles))} weights, by colors{again}",
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
