"""Learning curves with bands over seeds, and accuracy against bytes.

Source: Permute to Train, figures 8, 10 to 12, 15; Train by Reconnect, figures 4 to 9 (preprint),
whose bands are minimum and maximum over runs, as ours.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import Floats, drawable
from permtrain.lab.pictures.numbers.bands import Curve, band_of
from permtrain.lab.pictures.numbers.scores import SizedScore, sized_arms
from permtrain.lab.pictures.style import DASHES, MARKERS, colour, literal, new_figure, tidy

_LABEL_WIDTH = 90


def draw_curves(
    groups: Mapping[str, Sequence[Curve]], *, xlabel: str = "epoch", ylabel: str
) -> Figure:
    """Mean over the runs of each group, in a band from the smallest to the largest.

    Args:
        groups: label to the curves of its runs, usually one for each seed.

    Raises:
        PictureError: no group, or one whose curves have no place in common, or values that are
            not finite, by its label.
    """
    if not groups:
        raise PictureError("there are no curves to draw")
    figure = new_figure(6.0, 3.8)
    axes = tidy(figure.add_subplot())
    for i, (label, curves) in enumerate(groups.items()):
        try:
            x, mean, low, high = _shared_band(curves)
        except PictureError as error:
            raise PictureError(f"{label}: {error}") from None
        runs = f"{len(curves)} run{'s' if len(curves) > 1 else ''}"  # two may be of one seed
        axes.plot(
            x,
            mean,
            DASHES[i % len(DASHES)],
            color=colour(i),
            linewidth=1.5,
            marker=MARKERS[i % len(MARKERS)] if len(x) <= 12 else None,
            markersize=4,
            label=f"{label} ({runs})",
        )
        if len(curves) > 1:
            axes.fill_between(x, low, high, color=colour(i), alpha=0.2, linewidth=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if any(len(curves) > 1 for curves in groups.values()):
        axes.set_title("band: smallest to largest over the runs", fontsize=8, loc="left")
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)
    return figure


def _shared_band(curves: Sequence[Curve]) -> tuple[Floats, Floats, Floats, Floats]:
    """x, mean, low and high where all curves have a value: a lost seed makes no step of the mean.

    Raises:
        PictureError: no curve, no such place, or values that are not finite.
    """
    if not curves:
        raise PictureError("there are no curves to draw")
    band = band_of(curves)
    rows = zip(band.x, band.mean, band.low, band.high, band.num_curves, strict=True)
    shared = [row for *row, num_curves in rows if num_curves == len(curves)]
    if not shared:
        raise PictureError(f"{len(curves)} curves have no place in common; allowed: one or more")
    x, mean, low, high = np.array(shared, dtype=np.float64).T
    return x, drawable(mean, "curve", ndim=1), low, high


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


def draw_bytes(scores: Sequence[SizedScore]) -> Figure:
    """Accuracy against file size on a logarithmic scale; bars from the worst to the best seed.

    Raises:
        PictureError: no scores, values that are not finite, or bytes that are not above 0.
    """
    if not scores:
        raise PictureError("there are no networks to draw")
    for score in scores:
        drawable([score.num_bytes, score.accuracy], f"{score.arm}: bytes and accuracy", ndim=1)
        if score.num_bytes <= 0:
            raise PictureError(f"{score.arm}: bytes are {score.num_bytes:g}; allowed: above 0")
    figure = new_figure(6.4, 4.2)
    axes = tidy(figure.add_subplot())
    for i, arm in enumerate(sized_arms(scores)):
        percent, lowest, highest = (100 * x for x in (arm.accuracy, arm.lowest, arm.highest))
        axes.errorbar(
            arm.num_bytes,
            percent,
            yerr=[[percent - lowest], [highest - percent]],
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
