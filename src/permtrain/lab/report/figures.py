"""From figures in numbers to what Plotly draws: plain data, colours of text and grid left open.

The page fills in those colours, which differ between light and dark.
"""

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from permtrain.lab.pictures.numbers.bands import Band
from permtrain.lab.pictures.numbers.movement import LayerMovement
from permtrain.lab.pictures.numbers.scores import SizedArm
from permtrain.lab.pictures.numbers.series import series_places
from permtrain.lab.pictures.numbers.sizes import Size
from permtrain.lab.report.measures import MEASURES

Figure = dict[str, Any]

# Okabe and Ito's colours that stand out on white and on black; told apart without colour by dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEGATIVE_TO_POSITIVE = [[0, "#2166ac"], [0.5, "#f7f7f7"], [1, "#b2182b"]]
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot")
_LEGEND_WIDTH = 30  # characters, so that a telephone has room for them


def label(text: str) -> str:
    """A text as Plotly shows it literally; it would take tags in it for its own.

    Example:
        >>> label("<b>LaPerm</b>")
        '&lt;b&gt;LaPerm&lt;/b&gt;'
    """
    return html.escape(text, quote=False)


def curve_figure(bands: Mapping[str, Band], measure: str) -> Figure:
    """Means as lines; a band where several runs make up a group.

    A method has one color, a network one dash and marker, where groups are named "net: method".
    """
    data: list[Figure] = []
    places = series_places(list(bands), len(COLOURS))
    for group, band in bands.items():
        colour, kind = COLOURS[places[group][0]], places[group][1]
        if max(band.num_curves) > 1:
            data.append(_outline(band, colour))
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(band.x) < 60 else "lines",
                "name": "<br>".join(map(label, textwrap.wrap(group, _LEGEND_WIDTH))),
                "x": band.x,
                "y": band.mean,
                "line": {
                    "color": colour,
                    "dash": DASHES[kind % len(DASHES)],
                    "width": 2,
                },
                "marker": {"size": 6, "symbol": SYMBOLS[kind % len(SYMBOLS)]},
                "hovertemplate": f"%{{y:{_format(measure)}}}",
            }
        )
    layout = _layout("epoch", MEASURES[measure])
    if measure.endswith("_accuracy"):
        layout["yaxis"] |= {"tickformat": ".1~%"}
    return {
        "data": data,
        "layout": layout
        | {
            "hovermode": "x unified",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
    }


def _outline(band: Band, colour: str) -> Figure:
    """From the lowest run to the highest, as one closed outline."""
    known = [
        (epoch, low, high)
        for epoch, low, high in zip(band.x, band.low, band.high, strict=True)
        if low is not None and high is not None
    ]
    return {
        "type": "scatter",
        "mode": "none",
        "x": [epoch for epoch, _, _ in known] + [epoch for epoch, _, _ in reversed(known)],
        "y": [high for _, _, high in known] + [low for _, low, _ in reversed(known)],
        "fill": "toself",
        "fillcolor": f"{colour}33",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def size_figure(sizes: Sequence[Size]) -> Figure:
    """A bar for each way to store the model; bytes on an axis from zero."""
    upwards = list(reversed(sizes))
    layout = _layout("bytes", "")
    layout["xaxis"] |= {"rangemode": "tozero", "nticks": 6}
    layout["yaxis"] |= {"automargin": True}
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [size.num_bytes for size in upwards],
                "y": [size.name for size in upwards],
                "marker": {"color": [COLOURS[1 if size.is_file else 0] for size in upwards]},
                "hovertemplate": "%{x:,.0f} bytes<extra></extra>",
            }
        ],
        "layout": layout | {"height": 240},
    }


def small_files_figure(files: Sequence[SizedArm]) -> Figure:
    """Accuracy against bytes, on a logarithmic axis: a colour and a marker for each family."""
    layout = _layout("bytes of the file", "test accuracy")
    layout["xaxis"] |= {"type": "log"}
    layout["yaxis"] |= {"tickformat": ".1~%"}
    data = []
    for number, family in enumerate(dict.fromkeys(each.family for each in files)):
        mine = [each for each in files if each.family == family]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(family),
                "x": [each.num_bytes for each in mine],
                "y": [each.accuracy for each in mine],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [each.highest - each.accuracy for each in mine],
                    "arrayminus": [each.accuracy - each.lowest for each in mine],
                },
                "text": [label(each.arm) for each in mine],
                "marker": {
                    "size": 10,
                    "color": COLOURS[number % len(COLOURS)],
                    "symbol": SYMBOLS[number % len(SYMBOLS)],
                },
                "hovertemplate": "%{text}<br>%{x:,.0f} bytes, %{y:.2%}<extra></extra>",
            }
        )
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    return {"data": data, "layout": layout | {"legend": legend}}


def heat_figure(layer: LayerMovement) -> Figure:
    """The layer as it was born; the page puts in the later states."""
    largest = _largest(weight for state in layer.states for row in state.heat for weight in row)
    layout = _layout("place in the row", "row")
    layout["yaxis"] |= {"autorange": "reversed", "type": "category", "nticks": 8}
    layout["xaxis"] |= {"type": "category", "nticks": 8}
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [str(column) for column in layer.columns],
                "y": [str(row) for row in layer.rows],
                "zmin": -largest,
                "zmax": largest,
                "colorscale": NEGATIVE_TO_POSITIVE,
                "colorbar": {"thickness": 12, "title": {"text": "weight"}},
                "hovertemplate": "row %{y}, place %{x}: %{z}<extra></extra>",
            }
        ],
        "layout": layout,
    }


def dots_figure(layer: LayerMovement) -> Figure:
    """The layer's weights by the rank of their first value; the page puts in the states."""
    largest = 1.05 * _largest(weight for state in layer.states for weight in state.dots)
    num_dots = len(layer.states[0].dots)
    layout = _layout("places, by their first value", "weight now")
    layout["yaxis"] |= {"range": [-largest, largest]}
    layout["xaxis"] |= {"tickformat": ".0%"}
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [round(place / max(num_dots - 1, 1), 4) for place in range(num_dots)],
                "marker": {"size": 5, "color": COLOURS[0]},
                "hovertemplate": "%{y}<extra></extra>",
            }
        ],
        "layout": layout,
    }


def _largest(weights: Iterable[float | None]) -> float:
    return max((abs(weight) for weight in weights if weight is not None), default=0.0) or 1.0


def _layout(across: str, up: str) -> Figure:
    # No dragging: a finger that scrolls the page would draw a frame instead.
    return {
        "dragmode": False,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
        "height": 360,
        "xaxis": {"title": {"text": across}, "fixedrange": True},
        "yaxis": {"title": {"text": up}, "fixedrange": True},
    }


def _format(measure: str) -> str:
    return ".2%" if measure.endswith("_accuracy") else ".4~g"
