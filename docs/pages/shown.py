"""What a page shows of a recipe's results: rows of today's settings, and what is missing."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pages.comparison import BUDGETS, own_rows

from permtrain.lab.recipes.recipe import Budget, Recipe
from permtrain.lab.recipes.rows import has_failed, is_complete
from permtrain.lab.recipes.status import cost_in_words


@dataclass(frozen=True)
class Shown:
    """One budget of a recipe.

    Attributes:
        rows: of complete arms, in the recipe's order; may be empty where all that ran failed.
        missing: a paragraph about arms that failed or were not run; empty where there are none.
    """

    budget: Budget
    rows: list[dict[str, Any]]
    missing: str


def shown_of(
    recipe: Recipe, results: Path, group_of: Callable[[str], str] = lambda arm: arm
) -> list[Shown]:
    """The budgets that anything was run of, the largest first, until one is complete.

    Args:
        results: the folder with the CSVs.
        group_of: from an arm to what names it among missing ones.
    """
    found = []
    for budget in BUDGETS:
        if budget not in recipe.budgets or not (rows := own_rows(recipe, budget, results)):
            continue
        missing = _missing(recipe, budget, rows, results, group_of)
        found.append(Shown(budget, [row for row in rows if is_complete(row)], missing))
        if not missing:
            break
    return found


def not_run(recipe: Recipe, results: Path) -> str:
    """What is said of a recipe without any row."""
    command = f"`permtrain run {recipe.id} --budget paper`"
    return f"Not run. {command}: {cost_in_words(recipe, results)}.\n"


def _missing(
    recipe: Recipe,
    budget: Budget,
    rows: list[dict[str, Any]],
    results: Path,
    group_of: Callable[[str], str],
) -> str:
    complete = {row["settings_hash"] for row in rows if is_complete(row)}
    failed = {row["settings_hash"] for row in rows if has_failed(row)} - complete
    arms = recipe.arms_within(budget)
    hashes = [recipe.settings_hash(arm) for arm in arms]
    groups = [group_of(arm.group) for arm in arms]
    num = Counter(groups)

    def named(counts: Counter[str]) -> str:
        return "; ".join(
            group if count == num[group] else f"{group} ({count} of {num[group]})"
            for group, count in counts.items()
        )

    pairs = list(zip(groups, hashes, strict=True))
    of_failed = Counter(group for group, key in pairs if key in failed)
    of_others = Counter(group for group, key in pairs if key not in failed | complete)
    text = f"Failed: {named(of_failed)}. " if of_failed else ""
    if of_others:
        text += f"Not run: {named(of_others)}. In full: {cost_in_words(recipe, results)}. "
    return f"\n{text.strip()}\n" if text else ""
