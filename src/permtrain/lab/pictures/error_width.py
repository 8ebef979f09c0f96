"""Error against width, both logarithmic, with fitted slopes.

Source: Cai, Chen, Qiao, Neural Networks 187 (2025), whose figures show L-infinity errors over the
width, means over networks as geometric ones, bars from the best to the worst, and a line of slope
-1/2 beside them.
"""

from collections.abc import Mapping
from statistics import geometric_mean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.power_law import ErrorsByWidth, power_law
from permtrain.lab.pictures.style import DASHES, FAINT, MARKERS, colour, literal, new_figure, tidy

_WIDEST_SHIFT = 0.14


def draw_error_width(groups: Mapping[str, ErrorsByWidth]) -> Figure:
    """Geometric means of each group, bars from the best to the worst network, and the slopes.

    Raises:
        PictureError: no group, or one that `power_law` refuses, by its label.
    """
    if not groups:
        raise PictureError("there are no errors to draw")
    figure = new_figure(6.4, 4.4)
    axes = tidy(figure.add_subplot())
    widths = sorted({width for errors in groups.values() for width in errors})
    highest = 0.0
    # Arms are drawn beside each other, so that bars can be told; near enough for the width to be.
    step = min(0.02, _WIDEST_SHIFT / len(groups))
    for i, (label, errors) in enumerate(groups.items()):
        try:
            law = power_law(errors)
        except PictureError as error:
            raise PictureError(f"{label}: {error}") from None
        means = [geometric_mean(each) for each in errors.values()]
        highest = max(highest, *means)
        bars = [
            [mean - min(each) for mean, each in zip(means, errors.values(), strict=True)],
            [max(each) - mean for mean, each in zip(means, errors.values(), strict=True)],
        ]
        axes.errorbar(
            [width * (1 + step) ** i for width in errors],
            means,
            yerr=bars,
            fmt=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)],
            color=colour(i),
            markersize=4,
            linewidth=1.2,
            elinewidth=0.7,
            capsize=2,
            label=f"{label}: slope {law}",
        )
    ends = np.array([widths[0], widths[-1]], dtype=np.float64)
    guide = highest * np.sqrt(ends[0] / ends)
    axes.plot(ends, guide, color=FAINT, linewidth=2, zorder=0, label="slope -1/2")
    axes.set(xscale="log", yscale="log", xlabel="width n", ylabel="L-infinity error")
    axes.set_xticks(widths)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("bars: best to worst network", fontsize=8, loc="left")
    axes.grid(alpha=0.25)
    legend = figure.legend(loc="outside lower center", fontsize=7, frameon=False, ncols=2)
    for text in legend.get_texts():
        literal(text)
    return figure
