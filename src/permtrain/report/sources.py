"""Which runs a report is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from permtrain.errors import CheckpointError, SettingError
from permtrain.recipes.recipe import Budget
from permtrain.recipes.registry import RECIPES
from permtrain.training.record import RunFolder


@dataclass(frozen=True)
class ReportedRun:
    """One run and what the report calls it.

    Attributes:
        label: its name on the page.
        group: what it shares with its other seeds; curves and results are averaged over a group.
        folder: its files.
        published: top-1 test accuracy in percent that the paper gives for the group, if any.
    """

    label: str
    group: str
    folder: RunFolder
    published: float | None = None


def find_runs(
    names: Sequence[str], runs_folder: Path, budget: Budget, *, begun: bool = False
) -> list[ReportedRun]:
    """The runs of folders and recipes, in the order given, each once.

    Args:
        names: folders of runs, ids of recipes.
        runs_folder: where a recipe's runs are looked for.
        budget: which arms of a recipe.
        begun: take runs without a complete epoch too, which have no record yet.

    Raises:
        SettingError: a name is neither, or none of a recipe's arms was begun.
        CheckpointError: a folder is no run's, or has no record yet.
    """
    if not names:
        raise SettingError("report got no run; allowed: folders of runs, ids of recipes")
    runs: dict[Path, ReportedRun] = {}
    for name in names:
        for run in _runs_of(name, runs_folder, budget, begun):
            runs.setdefault(run.folder.path.resolve(), run)
    return list(runs.values())


def num_runs(names: Sequence[str], budget: Budget) -> int:
    """How many runs there are to be, those that are not begun among them."""
    folders = {Path(name).resolve() for name in names if Path(name).is_dir()}
    recipes = {name for name in names if name in RECIPES and not Path(name).is_dir()}
    return len(folders) + sum(len(RECIPES[recipe].arms_within(budget)) for recipe in recipes)


def _runs_of(name: str, runs_folder: Path, budget: Budget, begun: bool) -> list[ReportedRun]:
    path = Path(name)
    if path.is_dir():
        folder = RunFolder(path)
        folder.settings()  # says so where this is no run
        if not begun and not folder.metrics():
            raise CheckpointError(
                f"{path}: holds no record of an epoch yet; allowed: a run with one, or --watch"
            )
        label = path.resolve().name
        return [ReportedRun(label, label, folder)]
    if name not in RECIPES:
        raise SettingError(
            f"{name!r} is no folder and no recipe; allowed: a run's folder, {', '.join(RECIPES)}"
        )
    if RECIPES[name].task is not None:
        raise SettingError(f"{name} trains no classifier; allowed in a report: recipes that do")
    found = []
    for arm in RECIPES[name].arms_within(budget):
        folder = RunFolder(RECIPES[name].folder(arm, runs_folder))
        if folder.settings_file.is_file() and (begun or folder.metrics()):
            found.append(ReportedRun(arm.name, arm.group, folder, arm.published))
    if not found:
        raise SettingError(
            f"{runs_folder} holds no run of {name}, budget {budget}; start one with: "
            f"permtrain run {name} --budget {budget}"
        )
    return found
