"""Heat maps: neurons before and after, whole matrices, and a sparse layer's connection pattern.

Source: Permute to Train, figures 9, 13 and 14.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from permtrain.lab.pictures.numbers.arrays import (
    Floats,
    as_grid,
    as_tiles,
    block_means,
    connections,
    drawable,
    drawable_pair,
    evenly,
)
from permtrain.lab.pictures.style import (
    PALETTE,
    entitle,
    limits_of,
    literal,
    new_figure,
    show_matrix,
    tidy,
)

_MOST_NEURONS = 10
_MOST_PIXELS = 1000
_ZOOM = 100


def draw_neurons(
    after_VL: ArrayLike,
    name: str,
    before_VL: ArrayLike | None = None,
    kernel: tuple[int, ...] = (),
) -> Figure:
    """Each neuron's weight vector as a small picture; before in the first row, after in the second.

    At most ten neurons are drawn, evenly spread. All share one scale of colours.

    Args:
        after_VL: weights as they stand; a vector's picture is square if its length is, else nearly.
        before_VL: the same at first; None draws one row.
        kernel: sides of the kernels of a convolution, which are tiles of the picture if they are
            two and hold more than one weight.

    Raises:
        PictureError: nothing to draw, NaN, or other shapes.
    """
    if before_VL is None:
        rows = {"weights": drawable(after_VL, name)}
    else:
        before, after = drawable_pair(before_VL, after_VL, name)
        rows = {"before": before, "after": after}
    limits = limits_of(rows.values())
    are_tiles = len(kernel) == 2 and kernel != (1, 1)
    neurons = evenly(len(next(iter(rows.values()))), _MOST_NEURONS)
    figure = new_figure(max(0.95 * len(neurons) + 0.8, 3.4), 0.95 * len(rows) + 0.5)
    grid = figure.subplots(len(rows), len(neurons), squeeze=False)
    for axes_row, (label, w_VL) in zip(grid, rows.items(), strict=True):
        for axes, neuron in zip(axes_row, neurons, strict=True):
            image = show_matrix(
                axes,
                as_tiles(w_VL[neuron], *kernel) if are_tiles else as_grid(w_VL[neuron]),
                limits,
            )
            axes.spines[:].set_visible(False)
        axes_row[0].set_ylabel(label, fontsize=8)
    for axes, neuron in zip(grid[0], neurons, strict=True):
        axes.set_title(str(neuron), fontsize=7)
    bar = figure.colorbar(image, ax=grid, shrink=0.9)
    tidy(bar.ax)
    each = "kernels of" if are_tiles else "weights into"
    literal(figure.suptitle(f"{name}: the {each} each neuron, by its number", fontsize=9))
    return figure


def draw_matrix(after_VL: ArrayLike, name: str, before_VL: ArrayLike | None = None) -> Figure:
    """A layer's whole matrix, neurons down and inputs across; before and after side by side.

    A matrix larger than 1000 on a side is drawn as means of square blocks, which the title tells.
    """
    parts = _before_and_after(after_VL, name, before_VL)
    means = {title: block_means(w_VL, _MOST_PIXELS) for title, w_VL in parts.items()}
    limits = limits_of(picture for picture, _ in means.values())
    figure, all_axes = _side_by_side(next(iter(parts.values())).shape, len(parts))
    for axes, (title, (picture, block)) in zip(all_axes, means.items(), strict=True):
        image = show_matrix(axes, picture, limits, extent=_extent(parts[title].shape))
        _number(axes)
        axes.label_outer()
        entitle(axes, title + _note(block))
    bar = figure.colorbar(image, ax=all_axes, fraction=0.02, aspect=40, label="weight")
    tidy(bar.ax)
    return figure


def draw_connections(
    after_VL: ArrayLike,
    name: str,
    before_VL: ArrayLike | None = None,
) -> Figure:
    """A layer's connection pattern, before and after: dark where a weight is.

    Beside each the 100 x 100 in its middle.

    Args:
        after_VL: weights as they stand.
        before_VL: the same at first; None draws one pattern.

    Raises:
        PictureError: nothing to draw, NaN, or other shapes.
    """
    parts = _before_and_after(after_VL, name, before_VL)
    shape = next(iter(parts.values())).shape
    height, width = (min(side, _ZOOM) for side in shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    figure = new_figure(7.6, 0.3 + 3.1 * len(parts))
    grid = figure.subplots(len(parts), 2, squeeze=False, width_ratios=[1.6, 1])
    for (whole, zoom), (title, w_VL) in zip(grid, parts.items(), strict=True):
        share, block = connections(w_VL, _MOST_PIXELS)
        # Shares of a very sparse layer are small; the darkest block is black whatever it holds.
        whole.imshow(
            share, cmap="Greys", vmin=0, vmax=max(float(share.max()), 1e-9),
            interpolation="antialiased", aspect="auto", extent=_extent(shape),
        )  # fmt: skip
        part = w_VL[top : top + height, left : left + width] != 0
        extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
        zoom.imshow(part, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", extent=extent)
        whole.add_patch(
            Rectangle((left, top), width, height, fill=False, edgecolor=PALETTE[1], linewidth=1.5)
        )
        zoom.spines[:].set_edgecolor(PALETTE[1])
        for axes in (whole, zoom):
            _number(axes)
        entitle(whole, f"{title}, {np.mean(w_VL != 0):.1%} not zero{_note(block)}")
        entitle(zoom, "zoom: the part in the frame")
    return figure


def _before_and_after(
    after_VL: ArrayLike, name: str, before_VL: ArrayLike | None
) -> dict[str, Floats]:
    """Panel titles to matrices, checked; a single panel where `before_VL` is None."""
    if before_VL is None:
        return {name: drawable(after_VL, name)}
    before, after = drawable_pair(before_VL, after_VL, name)
    return {f"{name}: before": before, "after": after}


def _side_by_side(shape: tuple[int, ...], count: int) -> tuple[Figure, list[Axes]]:
    """Panels of the matrix's proportions beside each other, none absurdly thin or high."""
    proportion = float(np.clip(shape[0] / shape[1], 0.3, 1.5))
    width = 7.4 / count
    figure = new_figure(7.8, width * proportion + 0.8)
    panels = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    for axes in panels:
        axes.set_aspect("auto")
    return figure, list(panels)


def _extent(shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Axes that count neurons and inputs, however coarse the pixels are."""
    return (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)


def _number(axes: Axes) -> None:
    tidy(axes)
    axes.spines[:].set_visible(True)
    axes.xaxis.set_major_locator(_few_whole())
    axes.yaxis.set_major_locator(_few_whole())
    axes.set(xlabel="input", ylabel="neuron")
    axes.set_aspect("auto")


def _few_whole() -> MaxNLocator:
    return MaxNLocator(nbins=5, integer=True)


def _note(block: tuple[int, int]) -> str:
    return "" if block == (1, 1) else f"; a pixel is the mean of {block[0]} x {block[1]}"
