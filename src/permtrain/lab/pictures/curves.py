"""Learning curves with bands over seeds, and accuracy against bytes.

Source: Permute to Train, figures 8, 10 to 12, 15; Train by Reconnect, figures 4 to 9 (preprint),
whose bands are minimum and maximum over runs, as ours.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from permtrain.errors import PictureError
from permtrain.lab.pictures.arrays import drawable
from permtrain.lab.pictures.style import DASHES, MARKERS, colour, literal, new_figure, tidy

_LABEL_WIDTH = 90

Curve = Sequence[tuple[float, float]]
"""(x, y) of one run, x ascending: epochs or steps, and what was measured there."""


@dataclass(frozen=True, eq=False)
class Band:
    """Several seeds' curves as one.

    Attributes:
        x: places that all curves have, ascending.
        mean, low, high: over the curves, at each of them.
        num_seeds: how many curves.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    num_seeds: int


def band_of(curves: Sequence[Curve]) -> Band:
    """Mean, smallest and largest value of several curves, where all of them have one.

    Raises:
        PictureError: no curve, no place that all have, or values that are not finite.

    Example:
        >>> band = band_of([[(1, 90.0), (2, 94.0), (3, 95.0)], [(1, 92.0), (2, 95.0)]])
        >>> band.x.tolist(), band.mean.tolist(), band.low.tolist(), band.high.tolist()
        ([1.0, 2.0], [91.0, 94.5], [90.0, 94.0], [92.0, 95.0])
    """
    if not curves:
        raise PictureError("there are no curves to draw")
    values = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*(set(value) for value in values)))
    if not shared:
        raise PictureError(f"{len(curves)} curves have no place in common; allowed: one or more")
    y_SX = drawable([[value[x] for x in shared] for value in values], "curve")
    return Band(
        np.array(shared, dtype=np.float64),
        y_SX.mean(axis=0),
        y_SX.min(axis=0),
        y_SX.max(axis=0),
        len(curves),
    )


def draw_curves(
    groups: Mapping[str, Sequence[Curve]], *, xlabel: str = "epoch", ylabel: str
) -> Figure:
    """Mean over seeds of each group, in a band from the smallest to the largest.

    Args:
        groups: label to the curves of its seeds.

    Raises:
        PictureError: no group, or one that `band_of` refuses, by its label.
    """
    if not groups:
        raise PictureError("there are no curves to draw")
    figure = new_figure(6.0, 3.8)
    axes = tidy(figure.add_subplot())
    for i, (label, curves) in enumerate(groups.items()):
        try:
            band = band_of(curves)
        except PictureError as error:
            raise PictureError(f"{label}: {error}") from None
        seeds = f"{band.num_seeds} seed{'s' if band.num_seeds > 1 else ''}"
        axes.plot(
            band.x,
            band.mean,
            DASHES[i % len(DASHES)],
            color=colour(i),
            linewidth=1.5,
            marker=MARKERS[i % len(MARKERS)] if len(band.x) <= 12 else None,
            markersize=4,
            label=f"{label} ({seeds})",
        )
        if band.num_seeds > 1:
            axes.fill_between(band.x, band.low, band.high, color=colour(i), alpha=0.2, linewidth=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if any(len(curves) > 1 for curves in groups.values()):
        axes.set_title("band: smallest to largest over the seeds", fontsize=8, loc="left")
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """Below the axes, in two columns where labels are short; long ones go over several lines."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    legend = figure.legend(
        handles,
        [textwrap.fill(label, _LABEL_WIDTH) for label in labels],
        loc="outside lower center",
        fontsize=7,
        frameon=False,
        ncols=2 if max(map(len, labels)) < _LABEL_WIDTH / 2 else 1,
    )
    for text in legend.get_texts():
        literal(text)


@dataclass(frozen=True)
class SizedScore:
    """One stored network: how large, how good.

    Attributes:
        arm: what it is called; networks of one arm and several seeds are one point.
        num_bytes: of its file.
        percent: test accuracy.
    """

    arm: str
    num_bytes: float
    percent: float


@dataclass(frozen=True)
class SizedArm:
    """Seeds of one arm: mean size, mean accuracy, and its range."""

    arm: str
    num_bytes: float
    percent: float
    lowest: float
    highest: float
    num_seeds: int


def sized_arms(scores: Sequence[SizedScore]) -> list[SizedArm]:
    """Means over seeds, smallest file first.

    Raises:
        PictureError: no scores, or bytes that are not above 0.

    Example:
        >>> sized_arms([SizedScore("a", 100, 90.0), SizedScore("a", 300, 92.0)])
        [SizedArm(arm='a', num_bytes=200.0, percent=91.0, lowest=90.0, highest=92.0, num_seeds=2)]
    """
    if not scores:
        raise PictureError("there are no networks to draw")
    arms = []
    for arm in dict.fromkeys(score.arm for score in scores):
        mine = [score for score in scores if score.arm == arm]
        sizes = drawable([score.num_bytes for score in mine], f"{arm}: bytes", ndim=1)
        percents = drawable([score.percent for score in mine], f"{arm}: accuracy", ndim=1)
        if (sizes <= 0).any():
            raise PictureError(f"{arm}: bytes are {sizes.min():g}; allowed: above 0")
        arms.append(
            SizedArm(
                arm,
                float(sizes.mean()),
                float(percents.mean()),
                float(percents.min()),
                float(percents.max()),
                len(mine),
            )
        )
    return sorted(arms, key=lambda each: each.num_bytes)


def draw_bytes(scores: Sequence[SizedScore]) -> Figure:
    """Accuracy against file size on a logarithmic scale; bars from the worst to the best seed.

    Raises:
        PictureError: as `sized_arms`.
    """
    arms = sized_arms(scores)
    figure = new_figure(6.4, 4.2)
    axes = tidy(figure.add_subplot())
    for i, arm in enumerate(arms):
        axes.errorbar(
            arm.num_bytes,
            arm.percent,
            yerr=[[arm.percent - arm.lowest], [arm.highest - arm.percent]],
            fmt=MARKERS[(i + i // len(MARKERS)) % len(MARKERS)],
            color=colour(i),
            markersize=6,
            capsize=3,
            label=f"{arm.arm}, {arm.num_bytes:,.0f} bytes",
        )
    axes.set_xscale("log")
    axes.set(xlabel="bytes of the file", ylabel="test accuracy, %")
    axes.set_title("bars: smallest to largest over the seeds", fontsize=8, loc="left")
    axes.grid(alpha=0.25, which="both")
    _legend(figure)
    return figure
