"""Grids of images: samples of a data set, generated or recovered pictures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from permtrain.lab.pictures.numbers.images import image_grid, rows_of_images
from permtrain.lab.pictures.style import literal, new_figure


def draw_image_rows(rows: Mapping[str, ArrayLike]) -> Figure:
    """Sets of images one above the other as `rows_of_images` puts them, named in the title."""
    grid = rows_of_images(rows)
    figure = new_figure(7.0, 7.0 * grid.shape[0] / grid.shape[1] + 0.4)
    axes = figure.add_subplot()
    axes.imshow(grid, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title("rows: " + ", ".join(rows), fontsize=9, loc="left")
    return figure


def draw_images(images: ArrayLike, names: Sequence[str], title: str) -> Figure:
    """A grid of images, about square, each with its name below; images as in `image_grid`.

    Raises:
        PictureError: as `image_grid`.
    """
    pictures = [image_grid(image[None]) for image in np.asarray(images)] or [image_grid(images)]
    num_columns = math.ceil(math.sqrt(len(pictures)))
    num_rows = math.ceil(len(pictures) / num_columns)
    figure = new_figure(6.4, 6.4 * num_rows / num_columns + 0.4)
    grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture, name in zip(grid, pictures, names, strict=False):
        axes.imshow(picture, interpolation="nearest")
        below = {"transform": axes.transAxes, "ha": "center", "va": "top", "fontsize": 6}
        literal(axes.text(0.5, -0.03, name, **below))
    literal(figure.suptitle(title, fontsize=9, x=0.02, ha="left"))
    return figure
