"""The text of docs/regression.md, its numbers from results/."""

from pathlib import Path
from typing import Any

from pages.reproduction import RESULTS, markdown_table
from pages.shown import Shown, not_run, shown_of

from permtrain.lab.pictures.error_width import draw_error_width, power_law
from permtrain.lab.pictures.records import errors_by_width
from permtrain.lab.pictures.style import save_figure
from permtrain.lab.recipes.experiments.regression.arms import PUBLISHED
from permtrain.lab.recipes.registry import RECIPES

HEAD = """# Regression by permutation alone

Made by `make tables` from `results/`. A network of one hidden ReLU layer learns a function on
[-1, 1]^D by permuting the coefficients of its second layer; directions and biases of the first
are fixed, and two numbers, scale and offset, are trained freely. Cai, Chen and Qiao (Neural
Networks 187, 2025, [arXiv 2407.01033](https://arxiv.org/abs/2407.01033)) prove that this
approximates functions of one variable, with a rate of n^(-1/2) for a step, n the number of biases.
What is theirs and what is ours of the settings is told in
[`lab/recipes/experiments/regression/arms.py`](../src/permtrain/lab/recipes/experiments/regression/arms.py).

Each arm has several networks, with initial values and batches of their own; errors are geometric
means over them, as in the paper. **Slope**: least squares through the logarithms of all networks'
L-infinity errors, with its standard error, which holds no bend of the line. Errors are on test
points, after the last epoch, arranged. Where initial values are said to be of a kind, these are the
coefficients; biases are uniformly random, but for "equidistant" and "biases too".

"""

FILES = ("regression-1d", "regression-2d", "regression-3d")

PUBLISHED_HEAD = """## Beside the published errors

-sin(2 pi x), LaPerm. Published: printed in the authors' notebooks, 10 networks, geometric means.

"""

READ = """## What this says

Of the quick budget, `regression-1d` first:

- **Reproduced**: permuting alone approximates -sin(2 pi x). Errors fall with the width at a slope
  of about -0.6, steeper than the -1/2 of the theorem; through the published means it is -0.6 from
  equidistant values, and -0.9 from pairwise ones, which we do not reach. Up to n = 160 our errors
  are within a factor of 1.6 of the published ones; at n = 320 those from pairwise values are 3.5
  times as large. There Adam's errors stop falling too, so that we think it is the rate, 64 times
  the published one; the full budget has to show it.
- **The index optimizer** does better than LaPerm at every width, from each of the four kinds of
  values that both were given: by up to 2.5 times from pairwise ones, 4 from equidistant ones, and
  about 3 from He's and Glorot's. **Adam**, which may change the values, is ahead of both, by 1.4 to
  5 times of the index optimizer from pairwise and equidistant values, and by 3 to 9 from He's and
  Glorot's.
- **He's and Glorot's coefficients, biases uniform**: LaPerm's errors fall at a similar slope, and
  are up to 3.5 and 4.1 times those of pairwise values at the same width. At every width there are
  networks that end with an error of 0.8 or more. **Plainly uniform coefficients**, which the paper
  has among those that succeed, are no better than these two here. So what we see is pairs (or
  equidistant values) against random ones without pairs, not uniform ones against He's and Glorot's.
  To the index optimizer the difference is less: from He's and Glorot's values it ends at n = 320
  with .10 and .09, beside .07 from pairwise ones.
- **With He's or Glorot's rule for the biases too** nothing is learnt: kinks gather near 0, and the
  L-infinity error stays above 1, that of a net that gives 0.
- **The third Legendre polynomial**: errors fall to a quarter until n = 80 (equidistant) and n = 160
  (pairwise) and rise again at 320, as above.

**In two and three variables the quick budget shows that every arm runs, and no more**: 5,000 steps
are too few, for Adam too. In two variables its error grows with the width, from .34 at n = 10 to
above 1 at n = 320; in three no arm gets below 1, the error of a net that gives 0.
"""


def regression_page(results: Path = RESULTS) -> str:
    parts, has_quick = [HEAD], False
    for recipe_id in FILES:
        recipe = RECIPES[recipe_id]
        shown = shown_of(recipe, results, group_of=_label)
        parts.append(f"## `{recipe_id}`\n\n{'' if shown else not_run(recipe, results) + chr(10)}")
        for each in shown:
            parts.append(f"{_said_of(recipe_id, each)}\n\n{_errors_table(each)}{each.missing}\n")
            has_quick |= each.budget == "quick"
        if recipe_id == "regression-1d" and shown:
            parts.append("![error against width](regression.png)\n\n")
            parts.append(f"{PUBLISHED_HEAD}{_published_table(shown)}\n")
    return "".join([*parts, READ if has_quick else ""]).rstrip("\n") + "\n"


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


def _published_table(shown: list[Shown]) -> str:
    """Beside the largest budget that an arm was run in."""
    ours: dict[str, tuple[str, dict[str, Any]]] = {}
    for each in reversed(shown):
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
