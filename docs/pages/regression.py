"""What docs/regression.md and its picture show of `regression-1d`, `-2d` and `-3d`."""

from pathlib import Path
from typing import Any

from pages.comparison import complete_rows
from pages.rendering import RESULTS, markdown_table, render
from pages.shown import Shown, not_run, shown_of

from permtrain.lab.pictures.error_width import draw_error_width
from permtrain.lab.pictures.numbers.power_law import power_law
from permtrain.lab.pictures.records import errors_by_width
from permtrain.lab.pictures.style import save_figure
from permtrain.lab.recipes.experiments.regression.arms import PUBLISHED
from permtrain.lab.recipes.registry import RECIPES


def regression_page(results: Path = RESULTS) -> str:
    quick = complete_rows(RECIPES["regression-1d"], "quick", results)
    groups = errors_by_width([results / "regression-1d-quick.csv"])
    return render(
        "regression.md.jinja",
        results,
        tables=lambda recipe_id: regression_tables(recipe_id, results),
        published_table=published_table(results),
        told=_published(),
        slopes={label: power_law(errors).slope for label, errors in groups.items()},
        worst={row["arm"]: max(map(float, row["linf_each"].split())) for row in quick},
    )


def _published() -> dict[str, dict[str, float]]:
    """The published errors by our arms, and the slopes through them by initial values."""
    arms = {
        f"{target}, LaPerm, {init}, n={width}": errors
        for (target, init), published in PUBLISHED.items()
        for width, errors in published.items()
    }
    return {
        "linf": {arm: linf for arm, (linf, _) in arms.items()},
        "rmse": {arm: squared**0.5 for arm, (_, squared) in arms.items()},
        "slopes": {
            init: power_law({width: [linf] for width, (linf, _) in published.items()}).slope
            for (_, init), published in PUBLISHED.items()
        },
    }


def regression_tables(recipe_id: str, results: Path) -> str:
    """A table for each budget that was run, the largest first."""
    recipe = RECIPES[recipe_id]
    return "\n".join(
        f"{_said_of(recipe_id, each)}\n\n{_errors_table(each)}{each.missing}"
        for each in shown_of(recipe, results, group_of=_label)
    ) or not_run(recipe, results)


DRAWN = (
    "sine, LaPerm, equidistant",
    "sine, LaPerm, pairwise",
    "sine, LaPerm, uniform",
    "sine, LaPerm, he",
    "sine, LaPerm, glorot",
    "sine, LaPerm, he, biases too",
    "sine, index optimizer, pairwise",
    "sine, Adam, pairwise",
)
"""The page's picture shows these; `permtrain plot error-width` all."""


def draw_regression(path: Path, results: Path = RESULTS) -> None:
    """Draws error against width in one variable, of the quick budget."""
    groups = errors_by_width([results / "regression-1d-quick.csv"])
    save_figure(draw_error_width({label: groups[label] for label in DRAWN}), path)


def _label(arm: str) -> str:
    """An arm without its width."""
    return arm.rpartition(", n=")[0]


def _said_of(recipe_id: str, shown: Shown) -> str:
    command = f"`permtrain run {recipe_id} --budget {shown.budget}`"
    if shown.budget == "paper":
        return f"The published settings in full, {command}."
    less, full = (RECIPES[recipe_id].arms(budget)[0].settings for budget in (shown.budget, "paper"))
    steps = [each.epochs * each.steps_per_epoch for each in (less, full)]
    return (
        f"{command}: {steps[1] / steps[0]:.0f} times fewer steps at a rate "
        f"{less.lr / full.lr:.0f} times as high, {less.networks} networks an arm."
    )


def _errors_table(shown: Shown) -> str:
    widths = sorted({row["width"] for row in shown.rows})
    cells = []
    for label in dict.fromkeys(_label(row["arm"]) for row in shown.rows):
        mine = {row["width"]: row for row in shown.rows if _label(row["arm"]) == label}
        means = [f"{mine[w]['linf']:.3f}" if w in mine else "not run" for w in widths]
        errors = {
            width: [float(e) for e in row["linf_each"].split()] for width, row in mine.items()
        }
        slope = str(power_law(errors)) if len(errors) > 1 else ""
        moved = mine[max(mine)]["moved_fraction"]
        share = "" if moved is None else f"{moved:.0%}"
        cells.append([label, *means, slope, share, _said({r["intact"] for r in mine.values()})])
    head = ["arm", *(f"n={w}" for w in widths), "slope", "moved", "exact"]
    return markdown_table(head, cells) if cells else ""


def _said(intact: set[bool | None]) -> str:
    """Whether every network's coefficients are the initial ones."""
    return "" if intact == {None} else "yes" if intact == {True} else "NO"


def published_table(results: Path) -> str:
    """The published errors beside ours of the largest budget that an arm was run in."""
    ours: dict[str, tuple[str, dict[str, Any]]] = {}
    for each in reversed(shown_of(RECIPES["regression-1d"], results)):
        mark = "" if each.budget == "paper" else f" ({each.budget})"
        ours |= {row["arm"]: (mark, row) for row in each.rows}
    cells = []
    for (target, init), published in PUBLISHED.items():
        for width, (linf, squared) in published.items():
            arm = f"{target}, LaPerm, {init}, n={width}"
            found = ["not run", "not run"]
            if arm in ours:
                mark, row = ours[arm]
                found = [f"{row[name]:.3f}{mark}" for name in ("linf", "rmse")]
            cells.append(
                [init, str(width), f"{linf:.3f}", found[0], f"{squared**0.5:.3f}", found[1]]
            )
    for (_, init), published in PUBLISHED.items():
        law = power_law({width: [linf] for width, (linf, _) in published.items()})
        cells.append([f"{init}, slope of the published means", "", str(law), "", "", ""])
    head = ["values", "n", "L-infinity, published", "ours", "RMS, published", "ours"]
    return markdown_table(head, cells)
