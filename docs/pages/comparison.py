"""What a published experiment gave and what ours gave: numbers, differences and verdicts."""

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.rows import has_failed, is_complete, read_csv, results_file
from permtrain.lab.recipes.verdict import Verdict, baseline_of, num_test_images, verdict_on

BUDGETS: tuple[Budget, ...] = ("paper", "scaled", "short", "quick")
"""The largest first."""
WHOLE: tuple[Budget, ...] = ("paper", "scaled")
"""Those that stand for a whole training."""


@dataclass(frozen=True)
class Measured:
    """The seeds of one group, of one budget; accuracies in percent.

    Attributes:
        last, best: means after the last and the best epoch; best None where only the last was
            looked at.
        spread: standard deviation of the last over the seeds; None for a single one.
    """

    budget: Budget
    num_seeds: int
    last: float
    best: float | None
    spread: float | None


@dataclass(frozen=True)
class Line:
    """One group of arms.

    Attributes:
        measured: of the largest budget that was run; None if none was.
        published_difference: to the baseline; None where one of both is not known.
        our_difference: to the baseline, which is an arm of the same budget: mean over the seeds
            that both have, None where there are none.
        verdict: None for baselines and other readings, about which nothing was published.
        failed: how many arms of the full and the scaled budget failed.
    """

    group: str
    published: float | None
    measured: Measured | None
    published_difference: float | None
    our_difference: float | None
    verdict: Verdict | None
    failed: int = 0


def lines_of(recipe: Recipe, results: Path, original: Recipe | None = None) -> list[Line]:
    """A line for each group of a recipe that trains classifiers.

    Groups that the full budget does not have are there once they have rows.

    Args:
        results: the folder with the CSVs.
        original: the recipe that this one repeats on copies of its data. The published values are
            its arms'; of arms on copies only their differences are taken over. Arms on other data,
            which has no copies, are as in the original.
    """
    rows = {budget: own_rows(recipe, budget, results) for budget in recipe.budgets}
    firsts, originals = _firsts(recipe), _firsts(original or recipe)
    failed = Counter(
        row["arm"] for budget in WHOLE for row in rows.get(budget, []) if has_failed(row)
    )
    lines = []
    for group, (budget, arm) in firsts.items():
        measured = _largest(rows, group)
        if budget != "paper" and measured is None and not failed[group]:
            continue
        baseline = baseline_of(arm, recipe.arms(budget))
        told = originals[group][1]
        is_copy = arm.settings.data != told.settings.data
        lines.append(
            Line(
                group=group,
                published=None if is_copy else told.published,
                measured=measured,
                published_difference=_difference(
                    told.published,
                    None if baseline is None else originals[baseline.group][1].published,
                ),
                our_difference=(
                    None
                    if baseline is None or measured is None
                    else _paired_difference(rows[measured.budget], group, baseline.group)
                ),
                verdict=_verdict(arm, told.published, measured, is_copy=is_copy),
                failed=failed[group],
            )
        )
    return lines


def _firsts(recipe: Recipe) -> dict[str, tuple[Budget, Arm]]:
    """The first arm of each group, of the largest budget that has it: some are scaled alone."""
    found: dict[str, tuple[Budget, Arm]] = {}
    for budget in BUDGETS:
        for arm in recipe.arms(budget) if budget in recipe.budgets else []:
            found.setdefault(arm.group, (budget, arm))
    return found


def own_rows(recipe: Recipe, budget: Budget, results: Path) -> list[dict[str, Any]]:
    """The rows of a budget that are of the recipe's settings as they are now, and failures."""
    hashes = {recipe.settings_hash(arm) for arm in recipe.arms_within(budget)}
    return [
        row
        for row in read_csv(results_file(results, recipe.id, budget))
        if row["settings_hash"] in hashes and (is_complete(row) or has_failed(row))
    ]


def complete_rows(recipe: Recipe, budget: Budget, results: Path) -> list[dict[str, Any]]:
    """Those that have an outcome."""
    return [row for row in own_rows(recipe, budget, results) if is_complete(row)]


def num_arms(recipe: Recipe, budget: Budget, results: Path) -> tuple[int, int]:
    """How many arms are complete, and how many there are."""
    arms = recipe.arms_within(budget)
    done = {row["settings_hash"] for row in complete_rows(recipe, budget, results)}
    return sum(recipe.settings_hash(arm) in done for arm in arms), len(arms)


def _verdict(
    arm: Arm, published: float | None, measured: Measured | None, *, is_copy: bool
) -> Verdict | None:
    if arm.is_other_reading or (published is None and not arm.settings.permutation.permutes):
        return None
    # Short runs of the copies may be held against each other, a quick run against nothing.
    is_enough = {"paper": True, "scaled": is_copy, "short": is_copy, "quick": False}
    if measured is None or not is_enough[measured.budget]:
        return "not run"
    m = measured
    return verdict_on(
        published,
        m.last,
        m.best,
        m.spread,
        m.num_seeds,
        is_copy=is_copy,
        num_images=num_test_images(arm.settings.data.data),
    )


def _largest(rows: dict[Budget, list[dict[str, Any]]], group: str) -> Measured | None:
    found = (_measured(rows.get(budget, []), group, budget) for budget in BUDGETS)
    return next((each for each in found if each is not None), None)


def _measured(rows: list[dict[str, Any]], group: str, budget: Budget) -> Measured | None:
    mine = [row for row in rows if row["arm"] == group and is_complete(row)]
    if not mine:
        return None
    last = [row["test_percent"] for row in mine]
    best = [row["best_test_percent"] for row in mine]
    return Measured(
        budget=budget,
        num_seeds=len(mine),
        last=statistics.mean(last),
        best=None if None in best else statistics.mean(best),
        spread=statistics.stdev(last) if len(last) > 1 else None,
    )


def _paired_difference(rows: list[dict[str, Any]], group: str, baseline: str) -> float | None:
    """Of the last epochs: where seeds are still to come, unlike ones are not compared."""
    ours, theirs = (
        {row["seed"]: row["test_percent"] for row in rows if row["arm"] == arm and is_complete(row)}
        for arm in (group, baseline)
    )
    both = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return statistics.mean(both) if both else None


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
