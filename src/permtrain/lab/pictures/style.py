"""What all pictures share: colours, sizes, and how a figure becomes a file.

Figures are made without pyplot, so that nothing global changes and nothing has to be closed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import NDArray

from permtrain.errors import SettingError
from permtrain.files import written_whole
from permtrain.lab.pictures.numbers.series import series_places

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind people tell apart, without the yellow."""

DASHES = ("-", "--", "-.", ":")
"""Line styles, so that lines differ in print without colour too."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

BEFORE, AFTER = PALETTE[1], PALETTE[0]
"""Weights at first, and as they stand."""

FAINT = "#BBBBBB"

COLOUR_MAP = "cividis"
"""Grows steadily in lightness, so it reads without colour, and to colour-blind people."""

WEIGHT_MAP = "PuOr_r"
"""For weights: orange above 0, purple below, as color-blind people can tell them apart."""

FORMATS = ("svg", "pdf", "png")

RASTER_DPI = 200

_MOST_RASTER_PIXELS = 8_000_000
"""Of a whole SVG or PDF. For each raster in it matplotlib makes one of the whole figure's size, so
that a sheet of hundreds of panels would take minutes."""


def colour(i: int) -> str:
    """The i-th colour, around and around."""
    return PALETTE[i % len(PALETTE)]


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn."""

    color: str
    dash: str
    marker: str


def series_styles(labels: Sequence[str]) -> dict[str, SeriesStyle]:
    """A style for each series, as `series_places` says: dash and marker go together.

    Example:
        >>> styles = series_styles(["lenet5: Adam", "lenet5: LaPerm", "fc: Adam"])
        >>> styles["lenet5: Adam"].color == styles["fc: Adam"].color
        True
        >>> styles["lenet5: Adam"].marker == styles["lenet5: LaPerm"].marker
        True
        >>> len(set(styles.values()))
        3
    """
    return {
        label: SeriesStyle(PALETTE[color], DASHES[kind % len(DASHES)], MARKERS[kind % len(MARKERS)])
        for label, (color, kind) in series_places(labels, len(PALETTE)).items()
    }


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, which keeps its parts from overlapping."""
    return Figure(figsize=(width, height), layout="constrained", dpi=110)


def sheet(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of `count` panels, wider than high where that is possible.

    Example:
        >>> figure, panels = sheet(5)
        >>> len(panels), len(figure.axes)
        (5, 5)
    """
    num_columns = min(count, max(3, math.ceil(math.sqrt(count))))
    num_rows = math.ceil(count / num_columns)
    figure = new_figure(2.4 * num_columns, 1.9 * num_rows + 0.4)
    grid = figure.add_gridspec(num_rows, num_columns)
    return figure, [
        tidy(figure.add_subplot(grid[i // num_columns, i % num_columns])) for i in range(count)
    ]


def tidy(axes: Axes) -> Axes:
    """The same axes with less ink."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=7)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    return axes


def entitle(axes: Axes, text: str) -> Text:
    """A panel's title."""
    return literal(axes.set_title(text, fontsize=8, loc="left"))


def literal(text: Text) -> Text:
    """The same text, shown as it stands: names may hold dollars, which mean mathematics else."""
    text.set_parse_math(False)
    return text


def show_matrix(
    axes: Axes,
    values_HW: NDArray[np.floating],
    limits: tuple[float, float],
    extent: tuple[float, float, float, float] | None = None,
) -> AxesImage:
    """A matrix of weights as a raster of sharp pixels: white at 0, darker on both sides of it."""
    axes.set(xticks=[], yticks=[])
    largest = max(abs(limits[0]), abs(limits[1])) or 1.0
    return axes.imshow(
        values_HW,
        cmap=WEIGHT_MAP,
        vmin=-largest,
        vmax=largest,
        interpolation="nearest",
        extent=extent,
    )


def limits_of(arrays: Iterable[NDArray[np.floating]]) -> tuple[float, float]:
    """The smallest and largest value, of several arrays together."""
    arrays = list(arrays)
    return min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)


def check_output(path: Path) -> None:
    """Refuses a file name whose ending is no picture format.

    Raises:
        SettingError: naming what is allowed.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise SettingError(
            f"output is {str(path)!r}; allowed: a name that ends in .{', .'.join(FORMATS)}"
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as SVG, PDF or PNG, by the file's name; whole or not at all.

    Three settings of matplotlib's are others meanwhile: its writers of SVG and PDF take them from
    the process's settings alone.

    Text stays text in SVG and PDF; large point clouds and matrices are rasters of 200 dots an inch
    inside them, of fewer on large sheets. The same figure gives the same bytes: no date is written.

    Raises:
        SettingError: the name ends in something else.
        OSError: the file could not be written.
    """
    check_output(path)
    form = path.suffix.lower().removeprefix(".")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
    fonts = {"svg.fonttype": "none", "svg.hashsalt": "permtrain", "pdf.fonttype": 42}
    with written_whole(path) as file, matplotlib.rc_context(fonts):  # type: ignore[arg-type]
        figure.savefig(
            file,
            format=form,
            dpi=RASTER_DPI if form == "png" else _raster_dpi(figure),
            metadata=undated,
        )


def _raster_dpi(figure: Figure) -> float:
    width, height = figure.get_size_inches()
    return min(RASTER_DPI, math.sqrt(_MOST_RASTER_PIXELS / (width * height)))
