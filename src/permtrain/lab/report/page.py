"""The page: one HTML file with everything in it, and nothing that it loads from elsewhere.

Plotly draws the charts. Its Python package carries the whole library as one file, needs one small
package beside it, and draws from plain data, which is what our tests compare. (Bokeh's file is a
quarter as large, but comes with pandas, Tornado and eight more.)

Names and settings may come from anybody: Jinja escapes them in the text, JSON is escaped in the
script, `figures.label` in charts; and the page's policy lets no script run but its own.
"""

import base64
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from permtrain.errors import SettingError
from permtrain.files import written_whole
from permtrain.lab.pictures.numbers.arrays import evenly
from permtrain.lab.pictures.numbers.bands import Band
from permtrain.lab.pictures.numbers.movement import MOST_COLUMNS, MOST_DOTS, MOST_LAYERS, MOST_ROWS
from permtrain.lab.report.contents import RunContents, group_results, small_files
from permtrain.lab.report.figures import (
    curve_figure,
    dots_figure,
    heat_figure,
    size_figure,
    small_files_figure,
)
from permtrain.lab.report.measures import MEASURES, MOST_POINTS, bands_of, measures_of

# Rows of a chart's table; the chart itself shows more.
MOST_TABLE_ROWS = 20


def write_page(
    path: Path,
    contents: Sequence[RunContents],
    title: str,
    refresh_s: float | None = None,
    left_out: Sequence[str] = (),
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: the HTML file.
        contents: of each run.
        title: of the page.
        refresh_s: after so many seconds the page reads itself anew; None for a page that stays.
        left_out: runs that the page does not show, and why.

    Raises:
        SettingError: the packages that make pages are not installed.
    """
    text = page_html(contents, title, refresh_s, left_out)
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # halves of a character


def page_html(
    contents: Sequence[RunContents],
    title: str,
    refresh_s: float | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """The page's text; arguments as in `write_page`."""
    try:
        from jinja2 import Environment, StrictUndefined
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise SettingError(
            f"report needs {error.name}, which is not installed; allowed after: "
            "pip install 'permtrain[report]'"
        ) from None

    templates = files("permtrain.lab.report") / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {"percent": percent, "count": count, "setting": setting}
    scripts = [
        get_plotlyjs(),
        (templates / "report.js").read_text(encoding="utf-8"),
    ]
    charts = curve_charts(contents)
    template = environment.from_string((templates / "report.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        style=(templates / "report.css").read_text(encoding="utf-8"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        contents=contents,
        left_out=left_out,
        groups=group_results(contents),
        small_files=small_files(contents),
        measures=[
            {"name": chart.name, "table": curve_table(chart.bands, chart.measure)}
            for chart in charts
        ],
        moving=[
            each for each in contents if each.inspection is not None and each.inspection.layers
        ],
        limits={
            "points": MOST_POINTS,
            "rows": MOST_ROWS,
            "columns": MOST_COLUMNS,
            "dots": MOST_DOTS,
            "layers": MOST_LAYERS,
        },
        chart_data=chart_data(contents, charts, refresh_s),
        refresh_s=refresh_s,
        written=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    )


@dataclass(frozen=True)
class CurveChart:
    """One chart of learning curves: a measure of all runs on one data set."""

    name: str
    measure: str
    bands: dict[str, Band]


def curve_charts(contents: Sequence[RunContents]) -> list[CurveChart]:
    """A chart for each measure; where runs are on several data sets, for each of these."""
    sets = list(dict.fromkeys(each.settings.data.data for each in contents))
    charts = []
    for measure in measures_of(each.history for each in contents):
        for data in sets:
            runs = [
                (each.run.group, each.history)
                for each in contents
                if each.settings.data.data == data
            ]
            if bands := bands_of(runs, measure):
                name = MEASURES[measure] + (f" on {data}" if len(sets) > 1 else "")
                charts.append(CurveChart(name, measure, bands))
    return charts


def chart_data(
    contents: Sequence[RunContents],
    charts: Sequence[CurveChart],
    refresh_s: float | None,
) -> dict[str, Any]:
    """What the page's script draws, as plain data for JSON."""
    return {
        "refreshSeconds": refresh_s,
        "curves": [
            {"name": chart.name, "figure": curve_figure(chart.bands, chart.measure)}
            for chart in charts
        ],
        "smallFiles": small_files_figure(stored) if (stored := small_files(contents)) else None,
        "sizes": [size_figure(each.sizes) if each.sizes else None for each in contents],
        "runs": [
            {
                "name": each.run.label,
                "layers": [
                    {
                        "name": layer.name,
                        "heat": heat_figure(layer),
                        "dots": dots_figure(layer),
                        "states": [asdict(state) for state in layer.states],
                    }
                    for layer in each.inspection.layers
                ],
            }
            for each in contents
            if each.inspection is not None and each.inspection.layers
        ],
    }


def curve_table(bands: Mapping[str, Band], measure: str) -> dict[str, Any]:
    """The means of a chart's bands as text: groups, and a row for each of some epochs."""
    epochs = sorted({epoch for band in bands.values() for epoch in band.x})
    means = [dict(zip(band.x, band.mean, strict=True)) for band in bands.values()]
    show = percent if measure.endswith("_accuracy") else number
    kept = [epochs[place] for place in evenly(len(epochs), MOST_TABLE_ROWS)]
    return {
        "groups": list(bands),
        "rows": [(epoch, [show(mean.get(epoch)) for mean in means]) for epoch in kept],
        "is_thinned": len(kept) < len(epochs),
    }


def percent(fraction: float | None) -> str:
    """A fraction in percent, a dash for none.

    Example:
        >>> percent(0.98765), percent(None)
        ('98.77%', '-')
    """
    return "-" if fraction is None else f"{fraction:.2%}"


def number(value: float | None) -> str:
    """Four digits, a dash for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def count(value: float) -> str:
    """A whole number with its thousands parted."""
    return f"{value:,.0f}"


def setting(value: Any) -> str:
    """A setting's value as its flag takes it.

    Example:
        >>> setting([25, 100]), setting(None), setting(True), setting([])
        ('25 100', 'none', 'true', 'none')
    """
    if isinstance(value, list):
        return " ".join(map(setting, value)) or "none"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _hash(script: str) -> str:
    """As a content security policy names a script that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
