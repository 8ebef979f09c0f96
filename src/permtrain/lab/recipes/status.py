"""How far a recipe is and what it costs, from results and run folders. Imports cheaply."""

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from permtrain.lab.recipes.published import CLAIMS
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.rows import has_failed, is_complete, read_csv, results_file
from permtrain.lab.training import folders
from permtrain.lab.training.settings import Settings, flat, to_dict


@dataclass(frozen=True)
class ArmCounts:
    """Arms of one budget.

    Attributes:
        num_arms: all of them.
        num_complete, num_failed: in the results or in the runs folder.
    """

    num_arms: int
    num_complete: int
    num_failed: int


def count_arms(
    recipe: Recipe, budget: Budget, runs_folder: Path, results_folder: Path
) -> ArmCounts:
    """How many arms are done."""
    states = arm_states(recipe, recipe.arms_within(budget), budget, runs_folder, results_folder)
    return ArmCounts(len(states), states.count("complete"), states.count("failed"))


def arm_states(
    recipe: Recipe,
    arms: Collection[Arm],
    budget: Budget,
    runs_folder: Path,
    results_folder: Path,
) -> list[str]:
    """Of each arm: complete, failed, begun, or not run."""
    rows = read_csv(results_file(results_folder, recipe.id, budget))
    complete = {row["settings_hash"] for row in rows if is_complete(row)}
    failed = {row["settings_hash"] for row in rows if has_failed(row)}
    states = []
    for arm in arms:
        path, key = recipe.folder(arm, runs_folder), recipe.settings_hash(arm)
        if key in complete or folders.is_complete(path):
            states.append("complete")
        elif key in failed or (path / "failure.json").is_file():
            states.append("failed")
        else:
            states.append("begun" if path.exists() else "not run")
    return states


def in_words(counts: Mapping[Budget, ArmCounts]) -> str:
    """The status of a recipe, by the largest budget that anything was computed of.

    Example:
        >>> in_words({"quick": ArmCounts(9, 9, 0), "paper": ArmCounts(27, 0, 0)})
        'quick done'
        >>> in_words({"quick": ArmCounts(9, 2, 0), "paper": ArmCounts(27, 20, 1)})
        '20 of 27 arms complete, 1 failed'
    """
    for budget in ("paper", "scaled", "short", "quick"):
        of = counts.get(budget)
        if of is None or not of.num_complete + of.num_failed:
            continue
        failed = f", {of.num_failed} failed" if of.num_failed else ""
        if budget == "paper":
            return f"{of.num_complete} of {of.num_arms} arms complete{failed}"
        if of.num_complete + of.num_failed == of.num_arms:
            return f"{budget} done{failed}"
        return f"{budget}: {of.num_complete} of {of.num_arms}{failed}"
    return "not run"


def cost_in_words(recipe: Recipe, results_folder: Path) -> str:
    """Hours of the full budget on two cores: measured where it has rows, else as the recipe says.

    Runs take one thread each, so that two cores do two of them at a time. A run still to come
    counts as those of its group took, else those of its network and number of epochs, else as many
    epochs of the others.
    """
    rows = read_csv(results_file(results_folder, recipe.id, "paper"))
    # Rows of alternatives share a run, and its time.
    times = {row["settings_hash"]: row["wall_s"] for row in rows if is_complete(row)}
    arms = recipe.arms("paper")
    measured = [(arm, times[key]) for arm in arms if (key := recipe.settings_hash(arm)) in times]
    if not measured:
        return recipe.cost
    of_group, of_kind, of_epoch = defaultdict(list), defaultdict(list), []
    for arm, time_s in measured:
        of_group[arm.group].append(time_s)
        of_kind[_kind(arm)].append(time_s)
        of_epoch.append(time_s / _epochs(arm))
    seconds = 0.0
    for arm in arms:
        alike = of_group.get(arm.group) or of_kind.get(_kind(arm))
        estimate = statistics.mean(alike or [each * _epochs(arm) for each in of_epoch])
        seconds += times.get(recipe.settings_hash(arm), estimate)
    return f"{len(arms)} runs, {seconds / 3600 / 2:.2g} h (by the times of {len(measured)})"


def _kind(arm: Arm) -> tuple[Any, ...]:
    """What a run's time depends on most."""
    return getattr(arm.settings, "model", None), _epochs(arm)


def _epochs(arm: Arm) -> int:
    """1 where a task has none."""
    return getattr(arm.settings, "epochs", 0) or 1


def published_in_words(recipe: Recipe) -> str:
    """The published accuracies of a recipe's arms in percent, and what else the paper says.

    Example:
        >>> from permtrain.lab.training.settings import Settings
        >>> arms = [Arm("a", Settings(), 87.0), Arm("b", Settings())]
        >>> published_in_words(Recipe("ours", "for an example", "none", lambda budget: arms))
        '87.00'
    """
    values = sorted({arm.published for arm in recipe.arms("paper") if arm.published is not None})
    numbers = ", ".join(f"{value:.2f}" for value in values)
    if len(values) > 3:
        numbers = f"{values[0]:.2f} to {values[-1]:.2f}, {len(values)} values"
    if recipe.copy_of is not None:
        return f"nothing of these pixels; see {recipe.copy_of}"
    claim = CLAIMS.get(recipe.id, "")
    if all(f"{value:g}" in claim for value in values):  # said there, with what they are of
        numbers = ""
    return "; ".join(each for each in (numbers, claim) if each) or "nothing (ours)"


def left_out(recipe: Recipe, budget: Budget) -> list[str]:
    """What a budget leaves out of the full one, a line for each difference."""
    quick, paper = recipe.arms_within(budget), recipe.arms("paper")
    lines = []
    if len(quick) != len(paper):
        lines.append(
            f"{len(quick)} of {len(paper)} runs ({_seeds(quick)} of {_seeds(paper)} seeds)"
        )
    pairs: dict[str, set[tuple[str, str]]] = {}
    for arm in quick:
        full = next((each for each in paper if each.group == arm.group), None)
        if full is None:
            continue
        less, whole = flat(to_dict(arm.settings)), flat(to_dict(full.settings))
        for name in dict.fromkeys([*less, *whole]):
            values = (less.get(name), whole.get(name))
            if name != "seed" and values[0] != values[1]:
                pairs.setdefault(name, set()).add(
                    (_plain(name, values[0]), _plain(name, values[1]))
                )
    for name, found in pairs.items():
        of, _, last = name.rpartition(".")
        label = last.replace("_", " ")
        if (whose := of.rpartition(".")[2]) not in _GROUPS:  # as the judge's epochs
            label = f"{whose}'s {label}"
        here, there = (", ".join(sorted({str(pair[place]) for pair in found})) for place in (0, 1))
        is_short = len(here) + len(there) <= 60
        lines.append(f"{label} {here} in place of {there}" if is_short else f"other {label}")
    return lines


# Of settings, whose names say enough without them.
_GROUPS = {"", "training", *(each.name for each in dataclasses.fields(Settings))}


def _seeds(arms: Collection[Arm]) -> int:
    return len({arm.settings.seed for arm in arms})


def _plain(name: str, value: Any) -> str:
    if value is None:
        return "all" if name.endswith("_images") else "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
