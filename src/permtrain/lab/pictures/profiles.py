"""Weight profiles: sorted weight vectors of a layer laid over each other.

Source: Train by Reconnect, section 2, figures 1, 2 and 10; Permute to Train, figures 1 and 2.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from permtrain.errors import PictureError
from permtrain.lab.pictures.arrays import Floats, drawable, evenly
from permtrain.lab.pictures.style import (
    COLOUR_MAP,
    FAINT,
    PALETTE,
    entitle,
    literal,
    new_figure,
    sheet,
    tidy,
)

# What a picture has room for; the number beside it is computed from all of them.
_MOST_VECTORS, _MOST_RANKS = 200, 400
_MOST_VECTORS_IN_3D, _MOST_RANKS_IN_3D = 40, 120
_ROWS_AT_ONCE = 256


def sorted_vectors(w_VL: ArrayLike) -> Floats:
    """Each weight vector in ascending order, (V, L).

    Raises:
        PictureError: not two dimensions, empty, or not finite.

    Example:
        >>> sorted_vectors([[3.0, 1.0], [2.0, 4.0]]).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    return np.sort(drawable(w_VL, "weights"), axis=1)


def profile_similarity(w_VL: ArrayLike) -> float:
    """How alike the sorted vectors are: the share of their variance that the mean profile explains.

    With s_j the sorted vector j, m the mean of all s_j rank by rank, and g the mean of all weights:

        1 - sum_j |s_j - m|^2 / sum_j |s_j - g|^2

    1 where all vectors hold the same values, 0 where ranks tell nothing, as for vectors that are
    constant. Vectors drawn from one distribution are alike too: the longer, the nearer to 1. So the
    number says whether one profile fits a layer, not whether the layer was trained.

    Source: a number of our own for the observation of Train by Reconnect, section 2 ("similarity of
    weight profiles").

    Args:
        w_VL: two or more weight vectors, in any order of weights.

    Returns: in [0, 1]; 1.0 where all weights are equal.
    Cost: one sort of each vector; sums are taken in float64.
    Raises:
        PictureError: fewer than two vectors, or as `sorted_vectors`.

    Example:
        >>> profile_similarity([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
        1.0
        >>> profile_similarity([[1.0, 1.0], [3.0, 3.0]])
        0.0
        >>> profile_similarity([[0.0, 2.0], [4.0, 2.0]])  # m = (1, 3), g = 2
        0.5
    """
    return _similarity(sorted_vectors(w_VL))


def _similarity(sorted_VL: Floats) -> float:
    if len(sorted_VL) < 2:
        raise PictureError("one weight vector has nothing to be like; allowed: two or more")
    if sorted_VL[:, 0].min() == sorted_VL[:, -1].max():
        return 1.0  # equal weights' mean may be rounded, and then both sums are nothing but that
    mean_L = sorted_VL.mean(axis=0, dtype=np.float64)
    grand_mean = float(mean_L.mean())
    within = total = 0.0
    for first in range(0, len(sorted_VL), _ROWS_AT_ONCE):  # float64 copies of few rows at a time
        rows = sorted_VL[first : first + _ROWS_AT_ONCE].astype(np.float64)
        within += float(np.square(rows - mean_L).sum())
        total += float(np.square(rows - grand_mean).sum())
    return 1.0 if total == 0 else max(0.0, 1 - within / total)  # 0: squares too small


def draw_profiles(layers: Mapping[str, ArrayLike]) -> Figure:
    """All layers on one sheet: sorted vectors in grey, their mean profile over them.

    Args:
        layers: name to (V, L) weights.

    Raises:
        PictureError: no layer, or one that cannot be drawn, by its name.
    """
    if not layers:
        raise PictureError("there are no layers to draw")
    figure, panels = sheet(len(layers))
    for axes, (name, weights) in zip(panels, layers.items(), strict=True):
        sorted_VL = np.sort(drawable(weights, name), axis=1)
        _overlay(axes, sorted_VL)
        entitle(axes, _caption(name, sorted_VL))
    figure.supxlabel("rank, from the smallest weight to the largest", fontsize=9)
    figure.supylabel("weight", fontsize=9)
    return figure


def _caption(name: str, sorted_VL: Floats) -> str:
    V, L = sorted_VL.shape
    similarity = f", similarity {_similarity(sorted_VL):.4f}" if V > 1 else ""
    return f"{name}\n{V} x {L}{similarity}"


def draw_profile_sorting(w_VL: ArrayLike, name: str) -> Figure:
    """One layer before and after its vectors are sorted, side by side."""
    weights_VL = drawable(w_VL, name)
    sorted_VL = np.sort(weights_VL, axis=1)
    figure = new_figure(7.4, 3.2)
    left, right = figure.subplots(1, 2, sharey=True)
    rows, places = _drawn_of(weights_VL.shape, _MOST_VECTORS, _MOST_RANKS)
    for i, row in enumerate(rows):
        left.plot(
            places,
            weights_VL[row, places],
            ".",
            color=PALETTE[i % 4],
            markersize=1.5,
            alpha=0.5,
            rasterized=True,
        )
    _overlay(right, sorted_VL)
    tidy(left).set(xlabel="position in the vector", ylabel="weight")
    tidy(right).set(xlabel="rank")
    entitle(left, f"{name}: vectors as they stand, one colour each")
    entitle(right, _caption("sorted", sorted_VL).replace("\n", ", "))
    return figure


def draw_profile_3d(w_VL: ArrayLike, name: str) -> Figure:
    """One layer in three dimensions, unsorted and sorted, a vector behind the other."""
    weights_VL = drawable(w_VL, name)
    figure = new_figure(8.0, 3.8)
    for column, (title, values_VL, across) in enumerate(
        (
            (f"{name}: vectors as they stand", weights_VL, "position"),
            ("sorted", np.sort(weights_VL, axis=1), "rank"),
        )
    ):
        axes = figure.add_subplot(1, 2, column + 1, projection="3d")
        rows, places = _drawn_of(values_VL.shape, _MOST_VECTORS_IN_3D, _MOST_RANKS_IN_3D)
        some_VL = values_VL[np.ix_(rows, places)]
        axes.scatter(
            np.tile(places, len(rows)),
            np.repeat(rows, len(places)),
            some_VL.ravel(),
            c=np.repeat(rows, len(places)),
            cmap=COLOUR_MAP,
            s=2,
            depthshade=False,
            rasterized=True,
        )
        axes.set(xlabel=across, ylabel="vector", zlabel="weight")
        axes.tick_params(labelsize=6, pad=2)
        axes.locator_params(nbins=5)
        literal(axes.set_title(title, fontsize=9))
        axes.set_box_aspect(None, zoom=0.9)
    return figure


def _overlay(axes: Axes, sorted_VL: Floats) -> None:
    rows, ranks = _drawn_of(sorted_VL.shape, _MOST_VECTORS, _MOST_RANKS)
    lines = np.stack(
        [np.broadcast_to(ranks, (len(rows), len(ranks))), sorted_VL[np.ix_(rows, ranks)]], axis=-1
    )
    if len(rows) > 1:
        axes.add_collection(
            LineCollection(list(lines), colors=FAINT, linewidths=0.6, rasterized=True)
        )
    mean_L = sorted_VL.mean(axis=0, dtype=np.float64)
    axes.plot(ranks, mean_L[ranks], color=PALETTE[0], linewidth=1.4)
    axes.autoscale_view()


def _drawn_of(
    shape: tuple[int, ...], most_vectors: int, most_ranks: int
) -> tuple[list[int], list[int]]:
    """Which vectors and which places of them are drawn."""
    return evenly(shape[0], most_vectors), evenly(shape[1], most_ranks)
