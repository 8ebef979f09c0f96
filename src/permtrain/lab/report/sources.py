"""Which runs a report is about."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from permtrain.errors import CheckpointError, SettingError
from permtrain.files import from_home, resolved
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES, near_ids
from permtrain.lab.training.record import read_record
from permtrain.lab.training.run_folder import RunFolder


@dataclass(frozen=True)
class RecipeArm:
    """Which arm of which recipe a run is."""

    recipe: Recipe
    budget: Budget
    arm: Arm


@dataclass(frozen=True)
class ReportedRun:
    """One run and what the report calls it.

    Attributes:
        label: its name on the page.
        group: what it shares with its other seeds; curves and results are averaged over a group.
        folder: its files.
        published: top-1 test accuracy in percent that the paper gives for the group, if any.
        of: the arm of a recipe that it is; None for a folder.
    """

    label: str
    group: str
    folder: RunFolder
    published: float | None = None
    of: RecipeArm | None = None


def find_runs(
    names: Sequence[str],
    runs_folder: Path,
    budget: Budget,
    *,
    begun: bool = False,
    trust_model: bool = False,
) -> list[ReportedRun]:
    """The runs of folders and recipes, in the order given, each once.

    Folders of one name in different places are told apart by as many of the folders above them as
    it takes; where there are several recipes, a group's name begins with its recipe's.

    Args:
        names: folders of runs, ids of recipes.
        runs_folder: where a recipe's runs are looked for.
        budget: which arms of a recipe.
        begun: take runs without a complete epoch too, which have no record yet.
        trust_model: as in `load_run`, for runs that are named by their folders.

    Raises:
        SettingError: a name is neither, or none of a recipe's arms was begun.
        CheckpointError: a folder is no run's, or has no record yet.
    """
    if not names:
        raise SettingError("report got no run; allowed: folders of runs, ids of recipes")
    runs: dict[Path, ReportedRun] = {}
    for name in names:
        for run in _runs_of(name, runs_folder, budget, begun, trust_model):
            runs.setdefault(resolved(run.folder.path), run)
    has_many_recipes = len({run.of.recipe.id for run in runs.values() if run.of is not None}) > 1
    folders = [path for path, run in runs.items() if run.of is None]
    names_of = dict(zip(folders, distinct_names(folders), strict=True))
    return [_named(run, names_of.get(path), has_many_recipes) for path, run in runs.items()]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell it from the others.

    Example:
        >>> distinct_names([Path("/a/runs/x"), Path("/b/runs/x"), Path("/a/runs/y")])
        ['a/runs/x', 'b/runs/x', 'y']
    """
    names = [""] * len(paths)
    for count in range(1, 1 + max((len(path.parts) for path in paths), default=0)):
        ends = ["/".join(path.parts[-count:]) for path in paths]
        times = Counter(ends)
        names = [
            name or (end if times[end] == 1 else "") for name, end in zip(names, ends, strict=True)
        ]
    return names


def _named(run: ReportedRun, name: str | None, has_many_recipes: bool) -> ReportedRun:
    if name is not None:
        return replace(run, label=name, group=name)
    if has_many_recipes and run.of is not None:
        recipe = run.of.recipe.id
        return replace(run, label=f"{recipe}: {run.label}", group=f"{recipe}: {run.group}")
    return run


def num_runs(names: Sequence[str], budget: Budget) -> int:
    """How many runs there are to be, those that are not begun among them."""
    folders = {resolved(from_home(name)) for name in names if from_home(name).is_dir()}
    recipes = {name for name in names if name in RECIPES and not Path(name).is_dir()}
    return len(folders) + sum(len(RECIPES[recipe].arms_within(budget)) for recipe in recipes)


def _runs_of(
    name: str, runs_folder: Path, budget: Budget, begun: bool, trust_model: bool
) -> list[ReportedRun]:
    path = from_home(name)
    if path.is_dir():
        folder = RunFolder(path, trust_model)
        folder.settings()  # says so where this is no run
        if not begun and not read_record(folder):
            raise CheckpointError(
                f"{path}: holds no record of an epoch yet; allowed: a run with one, or --watch"
            )
        label = resolved(path).name
        return [ReportedRun(label, label, folder)]
    if name not in RECIPES:
        near = near_ids(name)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SettingError(
            f"{name!r} is no folder and no recipe; {hint}allowed: a run's folder, "
            f"{', '.join(RECIPES)}"
        )
    if RECIPES[name].task is not None:
        raise SettingError(f"{name} trains no classifier; allowed in a report: recipes that do")
    found = []
    for arm in RECIPES[name].arms_within(budget):
        folder = RunFolder(RECIPES[name].folder(arm, runs_folder))
        if folder.settings_file.is_file() and (begun or _has_record(folder)):
            of = RecipeArm(RECIPES[name], budget, arm)
            found.append(ReportedRun(arm.name, arm.group, folder, arm.published, of))
    if not found:
        raise SettingError(
            f"{runs_folder} holds no run of {name}, budget {budget}; start one with: "
            f"permtrain run {name} --budget {budget} "
            f"--runs-folder {shlex.quote(str(runs_folder))}"
        )
    return found


def _has_record(folder: RunFolder) -> bool:
    try:
        return bool(read_record(folder))
    except CheckpointError:
        return True  # whoever reads it says what is wrong
