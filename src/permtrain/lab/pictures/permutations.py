"""One weight vector before and after: the permutation's cycles on a circle, and arrows.

Source: Permute to Train, figure 6; Train by Reconnect, figures 4 (published text), 13 and 14.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from permtrain.core.permutation import permutation_between
from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import evenly
from permtrain.lab.pictures.numbers.cycles import RankCycles, on_circle, vector_pair
from permtrain.lab.pictures.style import (
    FAINT,
    PALETTE,
    colour,
    entitle,
    new_figure,
    tidy,
)

_MOST_ARROWS = 64
_DIRECTIONS = {1: (PALETTE[0], "-"), -1: (PALETTE[4], "--"), 0: (FAINT, ":")}
"""Colour and line of an arrow to the right, to the left, and of one that stays."""
_MANY = 200  # lines from here on are drawn as a raster


def draw_cycles(found: RankCycles, name: str) -> Figure:
    """The permutation's cycles on a circle, weights ascending counterclockwise from the right.

    Raises:
        PictureError: nothing moved.
    """
    if not found.cycles:
        raise PictureError(f"{name}: no weight moved, so there are no cycles to draw")
    figure = new_figure(5.2, 5.2)
    axes = figure.add_subplot()
    places = on_circle(found.length)
    fixed = np.ones(found.length, dtype=bool)
    # The longest first, so that short ones are not buried.
    for i, cycle in enumerate(found.cycles):
        around = places[[*cycle, cycle[0]]]
        is_first = i == 0 and len(cycle) > 20
        axes.add_collection(
            LineCollection(
                list(np.stack([around[:-1], around[1:]], axis=1)),
                colors=colour(i),
                linewidths=0.5 if is_first else 1.1,
                alpha=0.6 if is_first else 1.0,
                rasterized=len(cycle) > _MANY,
            )
        )
        fixed[list(cycle)] = False
    size = 8 if found.length < 300 else 2
    axes.scatter(places[~fixed, 0], places[~fixed, 1], s=size, color="black", zorder=3)
    axes.scatter(places[fixed, 0], places[fixed, 1], s=size, color=FAINT, zorder=3)
    finish_circle(axes)
    count = len(found.cycles)
    entitle(
        axes,
        f"{name}: {found.num_moved} of {found.length} weights moved, in {count} "
        f"cycle{'s' if count > 1 else ''},\nthe longest of {len(found.cycles[0])}",
    )
    return figure


def finish_circle(axes: Axes) -> None:
    """Says where the circle begins and ends, and hides the frame."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set(xlim=(-1.1, 1.32), ylim=(-1.1, 1.1))
    axes.annotate("smallest", (1.06, 0.02), fontsize=7, va="bottom")
    axes.annotate("largest", (1.06, -0.02), fontsize=7, va="top")


def draw_arrows(before_L: ArrayLike, after_L: ArrayLike, name: str) -> Figure:
    """One vector above, before; below, after; arrows from where weights were to where they are.

    Of a long vector only some weights have arrows: 64, evenly spread over its ranks.

    Raises:
        PictureError, ProfileError: as `rank_cycles`.
    """
    before, after = vector_pair(before_L, after_L)
    source_L = permutation_between(before, after).perm[0].numpy()
    first_L, now_L = before[0].numpy(), after[0].numpy()
    L = len(first_L)
    figure = new_figure(7.4, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, sharey=True, gridspec_kw={"hspace": 0.25})
    for axes, values_L, title in (
        (above, first_L, f"{name}: before"),
        (below, now_L, "after: the same values elsewhere"),
    ):
        tidy(axes).plot(values_L, ".", color=FAINT, markersize=3, rasterized=L > 5000)
        axes.set_ylabel("weight")
        entitle(axes, title).set(zorder=10, backgroundcolor="white")  # arrows go behind it
    below.set_xlabel("position in the vector")
    order_L = np.argsort(now_L, kind="stable")
    chosen = order_L[evenly(L, _MOST_ARROWS)]
    for place in chosen:
        tint, dashes = _DIRECTIONS[int(np.sign(place - source_L[place]))]
        for axes, x in ((above, source_L[place]), (below, place)):
            axes.plot(x, now_L[place], ".", color=tint, markersize=5)
        below.annotate(
            "",
            xy=(place, now_L[place]),
            xytext=(source_L[place], first_L[source_L[place]]),
            xycoords=below.transData,
            textcoords=above.transData,
            arrowprops={
                "arrowstyle": "->",
                "color": tint,
                "linewidth": 0.6,
                "linestyle": dashes,
                "shrinkA": 1,
                "shrinkB": 1,
            },
            annotation_clip=False,
        )
    shown = "" if len(chosen) == L else f"; {len(chosen)} of {L} weights have arrows"
    stays = "; dotted grey: where it was" if (chosen == source_L[chosen]).any() else ""
    figure.suptitle(
        f"solid blue: to the right; dashed orange: to the left{stays}{shown}", fontsize=8
    )
    return figure
