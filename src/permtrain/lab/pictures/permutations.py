"""One weight vector before and after: the permutation's cycles on a circle, and arrows.

Source: Permute to Train, figure 6; Train by Reconnect, figures 4 (published text), 13 and 14.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from permtrain.core.permutation import Permutation, permutation_between
from permtrain.errors import PictureError
from permtrain.lab.pictures.arrays import drawable_pair, evenly
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
    before, after = _pair(before_L, after_L)
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


def draw_cycles(before_L: ArrayLike, after_L: ArrayLike, name: str) -> Figure:
    """The permutation's cycles on a circle, weights ascending counterclockwise from the right.

    Raises:
        PictureError: as `rank_cycles`, or nothing moved.
        ProfileError: as `rank_cycles`.
    """
    found = rank_cycles(before_L, after_L)
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
    before, after = _pair(before_L, after_L)
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


def _pair(before_L: ArrayLike, after_L: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    before, after = drawable_pair(np.atleast_2d(before_L), np.atleast_2d(after_L), "vector")
    return torch.from_numpy(before.copy()), torch.from_numpy(after.copy())
