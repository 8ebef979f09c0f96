"""What docs/reproduction.md and the README's table show of results/."""

import statistics
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from pages.comparison import BUDGETS, Line, complete_rows, lines_of, num_arms, own_rows
from pages.rendering import RESULTS, markdown_table, render

from permtrain.lab.recipes.published import CLAIMS, PICTURES
from permtrain.lab.recipes.recipe import Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import summarize, table_of
from permtrain.lab.recipes.rows import has_failed, is_complete
from permtrain.lab.recipes.status import cost_in_words, left_out
from permtrain.lab.recipes.verdict import Verdict

# What the README shows: a recipe, one of its arms, and the arm beside which it stands.
SUMMARY = (
    ("index-layer", "kaiming_uniform, index per layer", "kaiming_uniform, Adam"),
    ("index-neuron", "kaiming_uniform, index per neuron", "kaiming_uniform, Adam"),
    ("index-kernel", "kaiming_uniform, index per kernel", "kaiming_uniform, Adam"),
    ("laperm-fc-mnist", "LaPerm k=20", "Adam"),
    (
        "laperm-agnostic-mnist",
        "f1, 60% left, x/255, LaPerm k=250",
        "f1, 60% left, x/255, Adam, zeros fixed",
    ),
    ("laperm-rewire-mnist", "LaPerm k=30 for 1,500 batches, then Adam", "Adam, zeros fixed"),
    ("sgperm-logistic-mnist", "SGPerm, authors' code", "Adam"),
    ("sgperm-fc-mnist", "SGPerm, authors' code", "Adam"),
    ("tiny-mnist", "fc500-300: 3 levels, 90% zeros", "fc500-300: Adam, float32"),
    ("tiny-mnist", "conv3-16: 3 levels, 50% zeros", "conv3-16: Adam, float32"),
    ("sgperm-ahead", "MNIST: SGPerm, chosen", "MNIST: Adam, cosine from 0.002"),
    ("sgperm-ahead", "Fashion-MNIST: SGPerm, chosen", "Fashion-MNIST: Adam, cosine from 0.002"),
)


def summary(results: Path = RESULTS) -> str:
    """What the README says of the results."""
    return render("summary.md.jinja", results, table=summary_table(results))


def summary_table(results: Path) -> str:
    """A line for each of `SUMMARY` that has been run."""
    cells = []
    for recipe_id, arm, beside in SUMMARY:
        rows = complete_rows(RECIPES[recipe_id], "paper", results)
        groups = {g.group: g for g in summarize(rows)}
        if {arm, beside} <= set(groups):
            ours, other = groups[arm], groups[beside]
            name = arm.removeprefix("kaiming_uniform, ")
            accuracies = [_percent(each.last_epoch) for each in (ours, other)]
            seeds = dict.fromkeys(str(each.num_seeds) for each in (ours, other))
            published = _percent(ours.published)
            cells.append([f"`{recipe_id}`", name, published, *accuracies, " and ".join(seeds)])
    return markdown_table(["recipe", "arm", "published", "ours", "Adam beside it", "seeds"], cells)


def reproduction_page(results: Path = RESULTS) -> str:
    ours = [recipe for recipe in RECIPES.values() if recipe.id not in CLAIMS and not recipe.copy_of]
    return render(
        "reproduction.md.jinja",
        results,
        overview=_overview(results),
        claims=CLAIMS,
        ours=ours,
        how=lambda recipe_id: _how(RECIPES[recipe_id], results),
        published_tables=lambda recipe_id: published_tables(RECIPES[recipe_id], results),
        copies_table=lambda recipe_id: copies_table(RECIPES[recipe_id], results),
        own_tables=lambda recipe_id: own_tables(RECIPES[recipe_id], results),
    )


def _overview(results: Path) -> str:
    """A line for each published experiment."""
    cells = []
    for recipe_id in CLAIMS:
        recipe = RECIPES[recipe_id]
        done, num = num_arms(recipe, "paper", results)
        words, cost = verdicts_in_words(recipe, results), cost_in_words(recipe, results)
        cells.append([f"`{recipe_id}`", f"{done} of {num}", words, cost])
    cells += [[f"`{name}`", "", what, ""] for name, what in PICTURES.items()]
    head = ["experiment", "arms complete", "verdicts", "cost of the full budget on two cores"]
    return markdown_table(head, cells)


def verdicts_in_words(recipe: Recipe, results: Path) -> str:
    """`2 reproduced, 1 not run`, of groups of arms."""
    counts = Counter[str]()
    if recipe.task is None:
        counts.update(line.verdict for line in lines_of(recipe, results) if line.verdict)
    words = ", ".join(f"{counts[each]} {each}" for each in get_args(Verdict) if counts[each])
    words = words or _task_verdict(recipe, results)
    smaller = _largest_smaller(recipe, results)
    if smaller and not complete_rows(recipe, "paper", results):
        words += f"; {smaller} alone"
    if (copy := _copy_of(recipe)) and (smaller := _largest_smaller(copy, results)):
        words += f"; on copies, {smaller}: other data"
    return words


def _largest_smaller(recipe: Recipe, results: Path) -> Budget | None:
    """The largest budget below the full one that has rows; quick ones say nothing."""
    budgets: tuple[Budget, ...] = ("scaled", "short")
    found = (b for b in budgets if b in recipe.budgets and own_rows(recipe, b, results))
    return next(found, None)


def _task_verdict(recipe: Recipe, results: Path) -> Verdict:
    return "published only in words" if complete_rows(recipe, "paper", results) else "not run"


def own_tables(recipe: Recipe, results: Path) -> str:
    """The tables of a recipe about which nothing was published."""
    found = [b for b in BUDGETS if b in recipe.budgets and own_rows(recipe, b, results)]
    parts = []
    for budget in found:
        parts.append(_own_table(recipe, budget, results))
        done, num = num_arms(recipe, budget, results)
        if done == num:  # else what smaller budgets give of the other arms
            break
    return "\n".join(parts) or "Not run.\n"


def _own_table(recipe: Recipe, budget: Budget, results: Path) -> str:
    rows = own_rows(recipe, budget, results)
    done, num = num_arms(recipe, budget, results)
    some = "" if done == num else f" ({done} of {num} arms complete)"
    mark = "" if budget == "paper" else f"Budget {budget}{some}: {_less(recipe, budget)}.\n\n"
    whole = complete_rows(recipe, budget, results)
    if whole and whole[0].get("validation_percent") is not None:
        return mark + validation_table_of(rows)
    text = mark + markdown_table(*table_of(recipe, rows))
    has_updates = whole and whole[0].get("test_percent_at")
    return f"{text}\n{updates_table_of(whole)}" if has_updates else text


def _how(recipe: Recipe, results: Path) -> str:
    arms = recipe.arms("paper")
    epochs = sorted({getattr(arm.settings, "epochs", 0) for arm in arms} - {0})
    unit = "epoch" if epochs == [1] else "epochs"
    length = f" {'/'.join(map(str, epochs))} {unit};" if epochs else ""
    done, num = num_arms(recipe, "paper", results)
    cost = "" if done == num else f" {done} of {num} arms complete; all: "
    cost += "" if done == num else f"{cost_in_words(recipe, results)}."
    return f"{recipe.description}.{length} `permtrain run {recipe.id} --budget paper`.{cost}"


def published_tables(recipe: Recipe, results: Path) -> str:
    """Published beside ours, an arm a line; arms of which there is neither are counted."""
    if recipe.task is not None:
        return _task_table(recipe, results)
    lines = lines_of(recipe, results)
    shown = [line for line in lines if line.measured or line.published is not None or line.failed]
    hidden = len(lines) - len(shown)
    head = ["arm", "published", "ours, last epoch", "best epoch", "spread", "seeds"]
    head += ["beside its baseline: published", "ours", "verdict"]
    text = markdown_table(head, [_cells(line) for line in shown]) if shown else ""
    if hidden:
        text += f"\nNot run, and no number published: {hidden} {'more ' * bool(shown)}groups.\n"
    text += _budgets_told(recipe, shown)
    rows = complete_rows(recipe, "paper", results)
    if rows and rows[0].get("test_percent_at"):
        text += f"\n{updates_table_of(rows)}"
    if rows and rows[0].get("ranking_distance") is not None:
        text += f"\n{ranking_table_of(rows)}"
    return text


def _budgets_told(recipe: Recipe, lines: list[Line]) -> str:
    """What each smaller budget of a table leaves out."""
    budgets = {line.measured.budget for line in lines if line.measured}
    return "".join(
        f"\n({budget}): {_less(recipe, budget)}.\n"
        for budget in BUDGETS
        if budget in budgets and budget != "paper"
    )


def _cells(line: Line) -> list[str]:
    m = line.measured
    mark = "" if m is None or m.budget == "paper" else f" ({m.budget})"
    ours = ["", "", "", ""]
    if m is not None:
        ours = [f"{m.last:.2f}{mark}", _percent(m.best), _percent(m.spread), str(m.num_seeds)]
    if line.failed:
        ours[3] = f"{ours[3] or 0}, {line.failed} failed"
    return [
        line.group,
        _percent(line.published),
        *ours,
        _signed(line.published_difference),
        _signed(line.our_difference) + (mark if line.our_difference is not None else ""),
        line.verdict or "",
    ]


def copies_table(recipe: Recipe, results: Path) -> str:
    """Differences alone stand beside published ones: the copies' pixels are others.

    Empty where the recipe has no copies, or nothing of them was run.
    """
    copy = _copy_of(recipe)
    lines = [] if copy is None else lines_of(copy, results, original=recipe)
    lines = [line for line in lines if line.measured or line.failed]
    if copy is None or not lines:
        return ""
    rows = [_cells(line) for line in lines]
    cells = [[row[0], *row[2:6], row[7], row[6], row[8]] for row in rows]
    head = ["arm", "last epoch", "best epoch", "spread", "seeds"]
    head += ["beside its baseline, in points: ours", "published, on CIFAR-10", "verdict"]
    return (
        f"On `cifar10-jpeg` (`{copy.id}`), JPEG copies of CIFAR-10: accuracies are lower there for "
        f"any method, and only differences to the baseline are compared.\n\n"
        f"{markdown_table(head, cells)}{_budgets_told(copy, lines)}"
    )


def _copy_of(recipe: Recipe) -> Recipe | None:
    return next((each for each in RECIPES.values() if each.copy_of == recipe.id), None)


def _task_table(recipe: Recipe, results: Path) -> str:
    for budget in BUDGETS:
        rows = own_rows(recipe, budget, results) if budget in recipe.budgets else []
        if rows:
            is_full = budget == "paper"
            verdict = _task_verdict(recipe, results) if is_full else f"not run; {budget} alone"
            less = "" if is_full else f" ({_less(recipe, budget)})"
            return f"{markdown_table(*table_of(recipe, rows))}\nVerdict: {verdict}{less}.\n"
    return "Not run.\n"


def _less(recipe: Recipe, budget: Budget) -> str:
    less = "; ".join(left_out(recipe, budget))
    return f"{SCALED_MEANS}: {less}" if budget == "scaled" else less


SCALED_MEANS = "a fifth of the full training on all images, its schedules shrunk alike"


def validation_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds: accuracy on images set aside, by which is chosen, and on test images."""
    cells = []
    for arm in _arms(rows):
        mine = [row for row in rows if row["arm"] == arm and is_complete(row)]
        failed = sum(has_failed(row) for row in rows if row["arm"] == arm)
        means = [
            f"{statistics.mean(row[column] for row in mine):.2f}" if mine else ""
            for column in ("validation_percent", "test_percent")
        ]
        cells.append([arm, f"{len(mine)}" + (f", {failed} failed" if failed else ""), *means])
    return markdown_table(["arm", "seeds", "validation accuracy in %", "test, last epoch"], cells)


def updates_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds within the epoch: accuracy after updates, what the first ones changed."""
    groups = {arm: [row for row in rows if row["arm"] == arm] for arm in _arms(rows)}
    at = {arm: [_percent_at(row) for row in mine] for arm, mine in groups.items()}
    steps = list(next(iter(at.values()))[0])
    has_changes = rows[0]["changed_fraction"] is not None
    head = ["arm", *(f"after {step}" for step in steps)]
    cells = []
    for arm, mine in groups.items():
        means = [statistics.mean(each[step] for each in at[arm]) for step in steps]
        changes = _changes(mine) if has_changes else []
        cells.append([arm, *(f"{mean:.2f}" for mean in means), *changes])
    text = "Test accuracy in % after so many updates"
    if has_changes:
        head += ["changed", "mean change", "norm"]
        text += (
            "; and over the first 50 updates: the part of the weights that an update changes, the "
            "mean of its absolute change over all weights, and its Euclidean norm"
        )
    return f"{text}.\n\n{markdown_table(head, cells)}"


def ranking_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds: how far the order of the first matrix changes in a step, and its values."""
    cells = []
    for arm in _arms(rows):
        mine = [row for row in rows if row["arm"] == arm]
        at = [
            [float(pair.partition("=")[2]) for pair in row["ranking_distance_at"].split()]
            for row in mine
        ]
        distances = [
            statistics.mean(each[0] for each in at),
            statistics.mean(each[-1] for each in at),
            statistics.mean(row["ranking_distance"] for row in mine),
            statistics.mean(row["ranking_deviation"] for row in mine),
        ]
        values = [
            " ".join(
                f"{statistics.mean(map(float, each)):.3f}"
                for each in zip(*(row[column].split() for row in mine), strict=True)
            )
            for column in ("weight_percentiles_first", "weight_percentiles_last")
        ]
        cells.append([arm, *(f"{1000 * each:.3g}" for each in distances), *values])
    head = ["arm", "distance, first epoch", "last epoch", "all steps", "deviation, all steps"]
    head += ["percentiles before", "after"]
    return (
        "Ranking distance of a step in thousandths of the vector's length, mean and standard "
        "deviation; 15th, 50th and 85th percentile of a vector's values, before and after "
        f"training.\n\n{markdown_table(head, cells)}"
    )


def _changes(rows: list[dict[str, Any]]) -> list[str]:
    fraction, mean, norm = (
        statistics.mean(float(row[key]) for row in rows)
        for key in ("changed_fraction", "mean_change", "change_norm")
    )
    return [f"{fraction:.1%}", f"{mean:.2g}", f"{norm:.2g}"]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _arms(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


def _percent_at(row: dict[str, Any]) -> dict[str, float]:
    """`25=61.2 100=80` as a mapping."""
    pairs = (each.split("=") for each in row["test_percent_at"].split())
    return {step: float(percent) for step, percent in pairs}
