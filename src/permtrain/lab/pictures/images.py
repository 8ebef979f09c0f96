"""Grids of images: samples of a data set, generated or recovered pictures."""

from collections.abc import Mapping

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


def draw_images(images: ArrayLike, title: str) -> Figure:
    """A grid of images, about square; images and errors as in `image_grid`."""
    grid = image_grid(images)
    width = 6.0
    figure = new_figure(width, width * grid.shape[0] / grid.shape[1] + 0.4)
    axes = figure.add_subplot()
    axes.imshow(grid, interpolation="nearest")
    axes.set_axis_off()
    literal(axes.set_title(title, fontsize=9, loc="left"))
    return figure
