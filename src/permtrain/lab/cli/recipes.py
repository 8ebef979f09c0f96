"""`permtrain recipes`, `permtrain run` and `permtrain gather`: the papers' experiments."""

import itertools
import shlex
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from permtrain.errors import CheckpointError, NonFiniteError, SettingError
from permtrain.files import require_folder
from permtrain.lab.cli.console import PlainConsole
from permtrain.lab.cli.extras import with_extra
from permtrain.lab.cli.places import PlaceOfRuns
from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.training.settings import Place
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from permtrain.lab.recipes.gathering import Gatherer
    from permtrain.lab.recipes.recipe import Arm, Recipe


def recipes(
    recipe: Annotated[str | None, tyro.conf.Positional] = None,
    budget: Budget = "paper",
    runs_folder: Path = Path("runs"),
    results_folder: Path = Path("results"),
) -> None:
    """List the experiments that `permtrain run` knows, or the arms of one.

    The cost is that of the full budget, on two cores; hours "each" are a run's, on one. "Published"
    is the test accuracy in percent that the papers give.

    Arms that differ in their seed alone share a line.

    Args:
        recipe: Its id; left out, all of them.
        budget: Whose arms are shown.
        runs_folder: Arms that are complete here count.
        results_folder: So do those of the CSVs here.
    """

    from permtrain.lab.recipes.registry import RECIPES, find_recipe
    from permtrain.lab.recipes.status import (
        arm_states,
        cost_in_words,
        count_arms,
        in_words,
        left_out,
        published_in_words,
    )

    require_folder(runs_folder)
    require_folder(results_folder)
    console = PlainConsole(highlight=False)
    shown = RECIPES.values() if recipe is None else [find_recipe(recipe)]
    for each in shown:
        counts = {of: count_arms(each, of, runs_folder, results_folder) for of in each.budgets}
        console.print(f"{each.id}: {in_words(counts)}", style="bold")
        for line in (
            each.description,
            f"cost: {cost_in_words(each, results_folder)}",
            f"published: {published_in_words(each)}",
        ):
            _print_indented(console, line)
    if recipe is None:
        console.print("\narms of one: permtrain recipes ID; train them: permtrain run ID")
        return
    chosen = find_recipe(recipe)
    if budget != "paper":
        _print_indented(console, f"{budget}: {'; '.join(left_out(chosen, budget))}")
    arms = chosen.arms_within(budget)
    states = arm_states(chosen, arms, budget, runs_folder, results_folder)
    console.print(f"\n{len(arms)} arms, budget {budget}; --part i/n takes every n-th from the i-th")
    for line in folded(arms, states):
        _print_indented(console, line, indent=2)


def run(
    recipe: Annotated[str, tyro.conf.Positional],
    place: Annotated[Place, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    budget: Budget = "quick",
    only: str = "*",
    part: str = "1/1",
    retry_failed: bool = False,
    results_folder: Path = Path("results"),
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Train all arms of an experiment, and write its results.

    Arms that are complete are kept, begun ones go on; an arm that fails leaves a row with its
    error, one whose folder is damaged is left out, and the others go on. Several processes, also of
    other machines with the same folders, may share the arms: whoever comes first has an arm to
    itself.

    Args:
        recipe: Its id (permtrain recipes).
        budget: quick keeps every arm and trains less; paper is the full experiment; some
            recipes also have short, a few epochs of it, and scaled, a fifth of its length with the
            schedules shrunk alike.
        only: Train only arms whose name matches this pattern, with its seed or without, as in
            'Adam*, seed 0'; results hold all complete ones.
        part: Train only the i-th of n parts, as 2/4: for array jobs. With n the number of arms
            (permtrain recipes ID) it is one arm.
        retry_failed: Go on with arms that failed, too.
        results_folder: Gets RECIPE.csv, RECIPE-BUDGET.csv.
    """
    from permtrain.lab.recipes.registry import find_recipe

    chosen = find_recipe(recipe)  # what follows imports torch

    from permtrain.lab.cli.progress import Progress
    from permtrain.lab.data.fetch import require_data
    from permtrain.lab.recipes.gathering import Gatherer
    from permtrain.lab.recipes.rows import check_table, results_file
    from permtrain.lab.recipes.status import left_out
    from permtrain.lab.recipes.sweep import (
        compute,
        data_of,
        matching_arms,
        require_libraries,
        state_of,
    )
    from permtrain.lab.training.run_folder import RunFolder, RunIsBegun, RunIsBusy
    from permtrain.lab.training.trainer import Diverged

    require_folder(place.runs_folder)
    matching = matching_arms(chosen.arms_within(budget), only, part)
    skipped = {"complete"} if retry_failed else {"complete", "failed"}

    def is_due(arm: "Arm") -> bool:
        return state_of(RunFolder(chosen.folder(arm, place.runs_folder))) not in skipped

    path = results_file(results_folder, recipe, budget)
    check_table(path)
    due = [arm for arm in matching if is_due(arm)]
    for name in data_of(due):
        require_data(name, place.data_folder)
    require_libraries(due)
    console = PlainConsole()
    if budget != "paper":
        less = "; ".join(left_out(chosen, budget))
        console.print(
            f"budget {budget} trains less: {less}; in full: permtrain run {recipe} --budget paper",
            highlight=False,
            soft_wrap=True,
        )
    gatherer = Gatherer(chosen, budget, place, [place.runs_folder], path, ceilings)
    for number, arm in enumerate(matching, 1):
        if not is_due(arm):
            continue
        with Progress(f"[{number}/{len(matching)}] {arm.name}", console) as progress:
            try:
                compute(chosen, arm, place, progress)
            except (RunIsBusy, RunIsBegun) as busy:  # the latter: begun since we looked
                console.print(f"left out: {busy}", highlight=False, soft_wrap=True)
                continue
            except CheckpointError as damaged:  # the other arms are not
                console.print(f"left out: {arm.name}: {damaged}", highlight=False, soft_wrap=True)
                continue
            except (Diverged, NonFiniteError) as error:  # the other arms can do without
                console.print(f"failed: {arm.name}: {error}", highlight=False, soft_wrap=True)
        gatherer.gather()
    gatherer.gather()
    _show(console, chosen, budget, gatherer)
    if chosen.task is None:
        report = (
            f"permtrain report {recipe} --budget {budget} "
            f"--runs-folder {shlex.quote(str(place.runs_folder))}"
        )
        console.print(f"report: {with_extra(report, 'report')}", highlight=False, soft_wrap=True)


def gather(
    recipe: Annotated[str, tyro.conf.Positional],
    place: Annotated[PlaceOfRuns, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    budget: Budget = "quick",
    more_runs_folders: tuple[Path, ...] = (),
    results_folder: Path = Path("results"),
    ceilings: Annotated[
        Ceilings, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes
    ] = DEFAULT_CEILINGS,
) -> None:
    """Write an experiment's results from run folders, without training.

    Rows that the file has of other runs stay.

    Args:
        recipe: Its id (permtrain recipes).
        budget: Which arms.
        more_runs_folders: Arms are looked for in these too, as copied from other machines.
        results_folder: Gets RECIPE.csv, RECIPE-BUDGET.csv.
    """
    from permtrain.lab.recipes.registry import find_recipe

    chosen = find_recipe(recipe)  # what follows imports torch

    from permtrain.lab.recipes.gathering import Gatherer
    from permtrain.lab.recipes.rows import results_file

    if missing := [folder for folder in more_runs_folders if not folder.is_dir()]:
        raise SettingError(
            f"more_runs_folders has {missing[0]}, which is no folder; allowed: folders of runs"
        )
    require_folder(place.runs_folder)
    folders = [place.runs_folder, *more_runs_folders]
    path = results_file(results_folder, recipe, budget)
    gatherer = Gatherer(chosen, budget, place, folders, path, ceilings)
    gatherer.gather()
    _show(PlainConsole(), chosen, budget, gatherer)


def _show(console: "Console", recipe: "Recipe", budget: "Budget", gatherer: "Gatherer") -> None:
    """The table of means, and how many arms there are."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from permtrain.lab.recipes.results import table_of
    from permtrain.lab.recipes.rows import has_failed, is_complete

    if gatherer.rows:
        measured = "means over seeds" if recipe.task else "test accuracy in percent"
        table = Table(title=f"{recipe.id}, budget {budget}: {measured}", box=SIMPLE_HEAD, padding=0)
        heads, cells = table_of(recipe, gatherer.rows)
        for head in heads:
            is_arm = head == "arm"
            words = head.replace(" ", "\n")  # a terminal's width is for the arms' names
            justify: Literal["left", "right"] = "left" if is_arm else "right"
            table.add_column(words, justify=justify, no_wrap=not is_arm, overflow="fold")
        for line in cells:
            table.add_row(*line)
        console.print(table)
    for damaged in gatherer.damaged.values():
        console.print(f"left out: {damaged}", soft_wrap=True)
    num_failed = gatherer.count(has_failed)
    failed = f", {num_failed} failed" if num_failed else ""
    console.print(
        f"{gatherer.count(is_complete)} of {len(recipe.arms_within(budget))} arms complete{failed}"
        + (f", written to {gatherer.path}" if gatherer.rows else ""),
        soft_wrap=True,
    )


def folded(arms: "Sequence[Arm]", states: "Sequence[str]") -> list[str]:
    """A line for each group of arms: their numbers, how many seeds, how far they are.

    Example:
        >>> from permtrain.lab.recipes.recipe import Arm
        >>> from permtrain.lab.training.settings import Settings
        >>> arms = [Arm("Adam", Settings(seed=seed), published=91.0) for seed in (0, 1, 2)]
        >>> folded([*arms, Arm("LaPerm", Settings())], ["complete", "not run", "complete", "begun"])
        ['1-3 Adam, 3 seeds: 2 complete, 1 not run; published 91.00', '  4 LaPerm: begun']
    """
    pairs = zip(range(1, len(arms) + 1), arms, states, strict=True)
    lines = []
    for group, found in itertools.groupby(pairs, key=lambda pair: pair[1].group):
        numbers, mine, reached = zip(*found, strict=True)
        several = len(mine) > 1
        span = f"{numbers[0]}-{numbers[-1]}" if several else f"{numbers[0]}"
        counts = Counter(reached)
        state = ", ".join(f"{num} {each}" for each, num in counts.items())
        seeds = f", {len(mine)} seeds" if several else ""
        published = "" if mine[0].published is None else f"; published {mine[0].published:.2f}"
        told = reached[0] if len(counts) == 1 else state
        lines.append((span, f"{group}{seeds}: {told}{published}"))
    width = max((len(span) for span, _ in lines), default=0)
    return [f"{span:>{width}} {text}" for span, text in lines]


def _print_indented(console: "Console", text: str, indent: int = 4) -> None:
    first, rest = " " * indent, " " * (indent + 4)
    lines = textwrap.fill(text, console.width, initial_indent=first, subsequent_indent=rest)
    console.print(lines, soft_wrap=True)
