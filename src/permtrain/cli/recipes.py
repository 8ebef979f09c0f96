"""`permtrain recipes` and `permtrain run`: the papers' experiments."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from permtrain.errors import NonFiniteError, SettingError
from permtrain.training.settings import Place, run_name

if TYPE_CHECKING:
    from permtrain.recipes.recipe import Arm


def recipes() -> None:
    """List the experiments that `permtrain run` knows."""
    from rich.console import Console
    from rich.table import Table

    from permtrain.recipes.registry import RECIPES

    table = Table("id", "what", "cost", box=None)
    for recipe in RECIPES.values():
        table.add_row(recipe.id, recipe.description, recipe.cost)
    Console().print(table)


def run(
    recipe: Annotated[str, tyro.conf.Positional],
    place: Annotated[Place, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    budget: Literal["quick", "paper"] = "quick",
    only: str = "*",
    results_folder: Path = Path("results"),
) -> None:
    """Train all arms of an experiment, and write its results.

    Arms that are complete are kept, begun ones go on; several processes may share the arms.

    Args:
        recipe: Its id (permtrain recipes).
        budget: quick keeps every arm and trains less; paper is the full experiment.
        only: Train only arms whose name matches this pattern; results hold all complete ones.
        results_folder: Gets RECIPE.csv, or RECIPE-quick.csv.
    """
    from rich.console import Console
    from rich.table import Table

    from permtrain.cli.progress import Progress
    from permtrain.recipes.registry import find_recipe
    from permtrain.recipes.results import rows_of, summarize, write_csv
    from permtrain.training.memory import keep_freed_memory
    from permtrain.training.record import RunFolder, RunIsBegun
    from permtrain.training.run import RunIsBusy, resume_run, start_run
    from permtrain.training.trainer import Diverged

    chosen = find_recipe(recipe)
    arms = chosen.arms(budget)
    matching = [arm for arm in arms if fnmatchcase(arm.name, only)]
    if not matching:
        names = "; ".join(arm.name for arm in arms)
        raise SettingError(
            f"only is {only!r}, which matches no arm of {recipe}; there are: {names}"
        )

    def folder_of(arm: "Arm") -> RunFolder:
        return RunFolder(place.runs_folder / run_name(arm.settings))

    keep_freed_memory()
    console = Console(markup=False)
    for number, arm in enumerate(matching, 1):
        folder = folder_of(arm)
        if folder.is_complete:
            continue
        label = f"[{number}/{len(matching)}] {arm.name}"
        with Progress(arm.settings, label, console) as progress:
            try:
                if folder.path.exists():
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
    path = results_folder / f"{recipe}{'' if budget == 'paper' else '-quick'}.csv"
    write_csv(path, rows)
    table = Table(title=f"{recipe}, budget {budget}: test accuracy in percent")
    columns = ("arm", "seeds", "published", "last epoch", "spread", "best epoch", "s a run")
    sizes = ("bytes",) if chosen.alternatives else ()
    for column in (*columns, *sizes):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for summary in summarize(rows):
        table.add_row(
            summary.group,
            str(summary.num_seeds),
            "" if summary.published is None else f"{summary.published:.2f}",
            f"{summary.last_epoch:.2f}",
            "" if summary.spread is None else f"{summary.spread:.2f}",
            "" if summary.best_epoch is None else f"{summary.best_epoch:.2f}",
            f"{summary.wall_s:.0f}",
            *([] if summary.file_bytes is None else [f"{summary.file_bytes:,.0f}"]),
        )
    console.print(table)
    console.print(
        f"{len(complete)} of {len(arms)} arms complete, written to {path}", soft_wrap=True
    )
    console.print(
        f"report: permtrain report {recipe} --budget {budget} --runs-folder {place.runs_folder}",
        highlight=False,
        soft_wrap=True,
    )
