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
from permtrain.lab.pictures.numbers.arrays import Floats, drawable, evenly
from permtrain.lab.pictures.numbers.profiles import profile_similarity
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
    similarity = f", similarity {profile_similarity(sorted_VL):.4f}" if V > 1 else ""
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
