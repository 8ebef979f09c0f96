"""Histograms of weights before and after training, whole network and per layer.

Source: the index optimizer, figures 1.1 and A.1 to A.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from permtrain.errors import PictureError
from permtrain.lab.pictures.arrays import drawable
from permtrain.lab.pictures.style import AFTER, BEFORE, entitle, sheet

NUM_BINS = 60


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of several sets of weights over the same bins, exact zeros apart.

    Attributes:
        edges: (B + 1,) ascending.
        counts: by name, (B,) int64.
        num_zeros: by name; a pruned network's zeros would dwarf all else.
        num_weights: by name, zeros included.
    """

    edges: NDArray[np.float64]
    counts: dict[str, NDArray[np.int64]]
    num_zeros: dict[str, int]
    num_weights: dict[str, int]


def histogram_of(sets: Mapping[str, ArrayLike], num_bins: int = NUM_BINS) -> Histogram:
    """Counts weights over equal bins, from the smallest to the largest weight of all sets.

    A weight that is exactly 0 is counted apart.

    Args:
        sets: name to weights of any shape, "before" and "after" for one.

    Raises:
        PictureError: no set, an empty one, or weights that are not finite.

    Example:
        >>> made = histogram_of({"w": [0.0, 1.0, 2.0, 5.0]}, num_bins=2)
        >>> made.edges.tolist(), made.counts["w"].tolist(), made.num_zeros["w"]
        ([1.0, 3.0, 5.0], [2, 1], 1)
    """
    if not sets:
        raise PictureError("there are no weights to draw")
    flat = {name: drawable(np.ravel(values), name, ndim=1) for name, values in sets.items()}
    others = {name: values[values != 0] for name, values in flat.items()}
    filled = [values for values in others.values() if len(values)]
    low = min((float(values.min()) for values in filled), default=0.0)
    high = max((float(values.max()) for values in filled), default=0.0)
    if low == high:  # one shared value
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    edges = np.linspace(low, high, num_bins + 1)
    return Histogram(
        edges,
        {name: np.histogram(values, edges)[0] for name, values in others.items()},
        {name: len(flat[name]) - len(values) for name, values in others.items()},
        {name: len(values) for name, values in flat.items()},
    )


def draw_histograms(
    after: Mapping[str, ArrayLike], before: Mapping[str, ArrayLike] | None = None
) -> Figure:
    """Weights of the whole network, then of each layer; before and after where both are known.

    Args:
        after: layer name to weights as they stand.
        before: the same layers at first; None draws one curve.

    Raises:
        PictureError: no layer, or weights that cannot be drawn.
    """
    if not after:
        raise PictureError("there are no layers to draw")
    sides = {"before": before, "after": after} if before is not None else {"weights": after}
    for layers in sides.values():  # so that an error names the layer
        for name, values in layers.items():
            drawable(np.ravel(values), name, ndim=1)
    panels: dict[str, dict[str, ArrayLike]] = {}
    if len(after) > 1:
        panels["whole network"] = {
            side: np.concatenate([np.ravel(layers[name]) for name in after])
            for side, layers in sides.items()
        }
    for name in after:
        panels[name] = {side: layers[name] for side, layers in sides.items()}
    figure, all_axes = sheet(len(panels))
    for axes, (name, sets) in zip(all_axes, panels.items(), strict=True):
        histogram = histogram_of(sets)
        _draw(axes, histogram)
        entitle(axes, f"{name}\n{_caption(histogram)}")
    if before is not None:
        figure.legend(
            *all_axes[0].get_legend_handles_labels(),
            loc="outside lower right",
            ncols=2,
            fontsize=8,
            frameon=False,
        )
    figure.supxlabel("weight", fontsize=9)
    figure.supylabel("number of weights", fontsize=9)
    return figure


def _draw(axes: Axes, histogram: Histogram) -> None:
    for name, counts in histogram.counts.items():
        if name == "before":  # on top, so that it shows where both are equal
            axes.stairs(counts, histogram.edges, color=BEFORE, ls="--", lw=1, label=name, zorder=3)
        else:
            axes.stairs(counts, histogram.edges, color=AFTER, fill=True, alpha=0.45, label=name)
    axes.set_ylim(bottom=0)


def _caption(histogram: Histogram) -> str:
    name = list(histogram.counts)[-1]
    share = histogram.num_zeros[name] / histogram.num_weights[name]
    zeros = f", zeros left out: {share:.0%}" if share >= 0.005 else ""
    return f"{histogram.num_weights[name]:,} weights{zeros}"
