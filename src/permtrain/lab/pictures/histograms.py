"""Histograms of weights before and after training, whole network and per layer.

Source: the index optimizer, figures 1.1 and A.1 to A.4.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import drawable
from permtrain.lab.pictures.numbers.histograms import Histogram, histogram_of
from permtrain.lab.pictures.style import AFTER, BEFORE, entitle, sheet


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
