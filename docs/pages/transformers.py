"""What docs/transformers.md shows of the recipes `gpt-char` and `vit-digits`."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pages.figures import means
from pages.rendering import RESULTS, markdown_table, render
from pages.shown import not_run, shown_of

from permtrain.lab.recipes.registry import RECIPES

_RATE = ", rate "


@dataclass(frozen=True)
class Chosen:
    """A method at the rate that is best on data set aside.

    Attributes:
        tried: each rate that was run, with the score on data set aside of the first seed.
        rate: the best one.
        asides: the scores on data set aside at this rate, one for each seed.
        tests: likewise on test data.
        file_bytes: the mean over seeds.
    """

    tried: dict[str, float]
    rate: str
    asides: list[float]
    tests: list[float]
    file_bytes: float

    @property
    def aside(self) -> float:
        """The mean over seeds."""
        return fmean(self.asides)

    @property
    def test(self) -> float:
        """The mean over seeds."""
        return fmean(self.tests)

    @property
    def first_aside(self) -> float:
        """That of the first seed, which all arms have."""
        return self.tried[self.rate]

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest that was run."""
        rates = sorted(self.tried, key=float)
        return self.rate in (rates[0], rates[-1])


def transformers_page(results: Path = RESULTS) -> str:
    return render(
        "transformers.md.jinja",
        results,
        tables=lambda recipe_id: transformers_tables(recipe_id, results),
        chosen=lambda recipe_id, budget: chosen_of(
            recipe_id,
            next((s.rows for s in shown_of(RECIPES[recipe_id], results) if s.budget == budget), []),
        ),
    )


def chosen_of(recipe_id: str, rows: list[dict[str, Any]]) -> dict[str, Chosen]:
    """The best rate of each method, chosen on data set aside; of bits the fewest, else the most."""
    unit, sign = ("bits", 1) if recipe_id == "gpt-char" else ("percent", -1)
    first = [row for row in rows if int(row["seed"]) == 0]
    sizes = means(rows, "file_bytes")
    by_method: dict[str, dict[str, float]] = {}
    for arm, score in means(first, f"validation_{unit}").items():
        method, _, rate = arm.partition(_RATE)
        by_method.setdefault(method, {})[rate] = score
    found = {}
    for method, tried in by_method.items():
        rate = min(tried, key=lambda each, tried=tried: sign * tried[each])
        arm = f"{method}{_RATE}{rate}"
        asides, tests = (
            [float(row[f"{kind}_{unit}"]) for row in rows if row["arm"] == arm]
            for kind in ("validation", "test")
        )
        found[method] = Chosen(tried, rate, asides, tests, sizes[arm])
    return found


def transformers_tables(recipe_id: str, results: Path) -> str:
    """For each budget, the largest first, methods at their best rates, and all arms."""
    recipe = RECIPES[recipe_id]
    return "\n".join(
        f"`permtrain run {recipe_id} --budget {each.budget}`\n\n"
        f"{_chosen_table(recipe_id, each.rows)}\n{_arms_table(recipe_id, each.rows)}{each.missing}"
        for each in shown_of(recipe, results, group_of=lambda arm: arm.partition(_RATE)[0])
    ) or not_run(recipe, results)


def _chosen_table(recipe_id: str, rows: list[dict[str, Any]]) -> str:
    digits = _digits(recipe_id)
    cells = [
        [
            method,
            f"{each.rate}{_remark(each)}",
            str(len(each.tests)),
            _mean_and_range(each.asides, digits),
            _mean_and_range(each.tests, digits),
            f"{each.file_bytes:,.0f}",
        ]
        for method, each in chosen_of(recipe_id, rows).items()
    ]
    return markdown_table(["method", "rate", "seeds", "set aside", "test", "bytes"], cells)


def _mean_and_range(scores: list[float], digits: int) -> str:
    """`2.31 (2.30 to 2.33)`, or the score of a single seed."""
    mean = f"{fmean(scores):.{digits}f}"
    if len(scores) == 1:
        return mean
    return f"{mean} ({min(scores):.{digits}f} to {max(scores):.{digits}f})"


def _remark(chosen: Chosen) -> str:
    if len(chosen.tried) == 1:
        return " (alone)"
    return " (at the edge)" if chosen.at_edge else ""


def _arms_table(recipe_id: str, rows: list[dict[str, Any]]) -> str:
    digits, unit = _digits(recipe_id), "bits" if recipe_id == "gpt-char" else "percent"
    seconds = means(rows, "wall_s")
    aside, test = means(rows, f"validation_{unit}"), means(rows, f"test_{unit}")
    cells = [
        [
            arm,
            str(sum(row["arm"] == arm for row in rows)),
            f"{aside[arm]:.{digits}f}",
            f"{test[arm]:.{digits}f}",
            _exact([row["intact"] for row in rows if row["arm"] == arm]),
            f"{seconds[arm]:.0f}",
        ]
        for arm in aside
    ]
    return markdown_table(["arm", "seeds", "set aside", "test", "exact", "s a run"], cells)


def _exact(intact: list[bool | None]) -> str:
    return "" if None in intact else "yes" if all(intact) else "NO"


def _digits(recipe_id: str) -> int:
    return 3 if recipe_id == "gpt-char" else 2
