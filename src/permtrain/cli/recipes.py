"""`permtrain recipes` and `permtrain run`: the papers' experiments."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from permtrain.errors import NonFiniteError, SettingError
from permtrain.training.settings import Place

if TYPE_CHECKING:
    from permtrain.recipes.recipe import Arm


def recipes() -> None:
    """List the experiments that `permtrain run` knows."""
    from rich.console import Console
    from rich.table import Table

    from permtrain.recipes.registry import RECIPES

    table = Table(box=None)
    table.add_column("id", no_wrap=True)
    table.add_column("what")
    table.add_column("cost")
    for recipe in RECIPES.values():
        table.add_row(recipe.id, recipe.description, recipe.cost)
    Console().print(table)


def run(
    recipe: Annotated[str, tyro.conf.Positional],
    place: Annotated[Place, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    budget: Literal["quick", "short", "paper"] = "quick",
    only: str = "*",
    results_folder: Path = Path("results"),
) -> None:
    """Train all arms of an experiment, and write its results.

    Arms that are complete are kept, begun ones go on; several processes may share the arms.

    Args:
        recipe: Its id (permtrain recipes).
        budget: quick keeps every arm and trains less; paper is the full experiment; short, which
            some recipes have, is a few epochs of it.
        only: Train only arms whose name matches this pattern; results hold all complete ones.
        results_folder: Gets RECIPE.csv, RECIPE-short.csv or RECIPE-quick.csv.
    """
    from rich.console import Console
    from rich.table import Table

    from permtrain.cli.progress import Progress
    from permtrain.recipes.registry import find_recipe
    from permtrain.recipes.results import rows_of, table_of, write_csv
    from permtrain.training.memory import keep_freed_memory
    from permtrain.training.record import RunFolder, RunIsBegun
    from permtrain.training.run import RunIsBusy, resume_run, start_run
    from permtrain.training.trainer import Diverged

    chosen = find_recipe(recipe)
    arms = chosen.arms_within(budget)
    matching = [arm for arm in arms if fnmatchcase(arm.name, only)]
    if not matching:
        names = "; ".join(arm.name for arm in arms)
        raise SettingError(
            f"only is {only!r}, which matches no arm of {recipe}; there are: {names}"
        )

    def folder_of(arm: "Arm") -> RunFolder:
        return RunFolder(place.runs_folder / chosen.run_name(arm))

    keep_freed_memory()
    console = Console(markup=False)
    for number, arm in enumerate(matching, 1):
        folder = folder_of(arm)
        if folder.is_complete:
            continue
        label = f"[{number}/{len(matching)}] {arm.name}"
        with Progress(label, console) as progress:
            try:
                if chosen.task is not None:
                    chosen.task.run(arm.settings, place, progress)
                elif folder.path.exists():
                    resume_run(folder.path, place, [progress])
                else:
                    start_run(arm.settings, place, [progress])
            except (RunIsBusy, RunIsBegun) as busy:  # the latter: begun since we looked
                console.print(f"left out: {busy}", highlight=False, soft_wrap=True)
            except (Diverged, NonFiniteError) as error:  # the other arms can do without
                console.print(f"failed: {arm.name}: {error}", highlight=False, soft_wrap=True)
    complete = [(arm, folder_of(arm)) for arm in arms if folder_of(arm).is_complete]
    rows = [row for arm, folder in complete for row in rows_of(chosen, budget, arm, folder, place)]
    if not rows:
        return
    path = results_folder / f"{recipe}{'' if budget == 'paper' else f'-{budget}'}.csv"
    write_csv(path, rows)
    measured = "means over seeds" if chosen.task else "test accuracy in percent"
    table = Table(title=f"{recipe}, budget {budget}: {measured}")
    heads, cells = table_of(chosen, rows)
    for head in heads:
        table.add_column(head, justify="left" if head == "arm" else "right")
    for line in cells:
        table.add_row(*line)
    console.print(table)
    console.print(
        f"{len(complete)} of {len(arms)} arms complete, written to {path}", soft_wrap=True
    )
    if chosen.task is None:
        console.print(
            f"report: permtrain report {recipe} --budget {budget} "
            f"--runs-folder {place.runs_folder}",
            highlight=False,
            soft_wrap=True,
        )
