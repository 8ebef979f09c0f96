"""Learning curves with bands over runs, and error against bytes.

Source: Permute to Train, figures 8, 10 to 12, 15; Train by Reconnect, figures 4 to 9 (preprint),
whose bands are minimum and maximum over runs, as ours.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import Floats, drawable
from permtrain.lab.pictures.numbers.bands import Curve, band_of
from permtrain.lab.pictures.numbers.scores import SizedScore, sized_arms
from permtrain.lab.pictures.style import SeriesStyle, literal, new_figure, series_styles, tidy

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
    return draw_panels({"": groups}, xlabel=xlabel, ylabel=ylabel)


def draw_panels(
    panels: Mapping[str, Mapping[str, Sequence[Curve]]], *, xlabel: str = "epoch", ylabel: str
) -> Figure:
    """`draw_curves` for each data set, beside each other on one scale.

    A label has one color, dash and marker in all panels.

    Args:
        panels: title to groups.

    Raises:
        PictureError: as `draw_curves`.
    """
    labels = list(dict.fromkeys(label for groups in panels.values() for label in groups))
    if not labels:
        raise PictureError("there are no curves to draw")
    figure = new_figure(6.0 if len(panels) == 1 else 3.8 * len(panels), 3.8)
    styles = series_styles(labels)
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, groups) in zip(all_axes, panels.items(), strict=True):
        tidy(axes)
        for label, curves in groups.items():
            _draw_group(axes, label, curves, styles[label])
        axes.set(xlabel=xlabel)
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        literal(axes.set_title(title, fontsize=9))
    all_axes[0].set_ylabel(ylabel)
    every = [curves for groups in panels.values() for curves in groups.values()]
    if any(len(curves) > 1 for curves in every):
        note = "band: smallest to largest over the runs"
        all_axes[0].set_title(note, fontsize=8, loc="left", y=1.0 if len(panels) == 1 else 1.06)
    _legend(figure)
    return figure


def _draw_group(axes: Axes, label: str, curves: Sequence[Curve], style: SeriesStyle) -> None:
    try:
        x, mean, low, high = _shared_band(curves)
    except PictureError as error:
        raise PictureError(f"{label}: {error}") from None
    runs = f"{len(curves)} run{'s' if len(curves) > 1 else ''}"  # two may be of one seed
    axes.plot(
        x,
        mean,
        style.dash,
        color=style.color,
        linewidth=1.5,
        marker=style.marker if len(x) <= 12 else None,
        markersize=4,
        label=f"{label} ({runs})",
    )
    if len(curves) > 1:
        axes.fill_between(x, low, high, color=style.color, alpha=0.2, linewidth=0)


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
    handle_of = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels = list(handle_of)
    legend = figure.legend(
        handle_of.values(),
        [textwrap.fill(label, _LABEL_WIDTH) for label in labels],
        loc="outside lower center",
        fontsize=7,
        frameon=False,
        ncols=2 if max(map(len, labels)) < _LABEL_WIDTH / 2 else 1,
    )
    for text in legend.get_texts():
        literal(text)


def draw_bytes(scores: Sequence[SizedScore]) -> Figure:
    """Error against file size, both on logarithmic scales; bars from the worst to the best seed.

    The error's scale is linear where one of them is 0.

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
    arms = sized_arms(scores)
    styles = series_styles([arm.arm for arm in arms])
    for arm in arms:
        error, least, most = (100 * (1 - x) for x in (arm.accuracy, arm.highest, arm.lowest))
        axes.errorbar(
            arm.num_bytes,
            error,
            yerr=[[error - least], [most - error]],
            fmt=styles[arm.arm].marker,
            color=styles[arm.arm].color,
            markersize=6,
            capsize=3,
            label=f"{arm.arm}, {arm.num_bytes:,.0f} bytes",
        )
    axes.set_xscale("log")
    if all(arm.highest < 1 for arm in arms):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set(xlabel="bytes of the file", ylabel="test error, %")
    axes.set_title("bars: smallest to largest over the seeds", fontsize=8, loc="left")
    axes.grid(alpha=0.25, which="both")
    _legend(figure)
    return figure
