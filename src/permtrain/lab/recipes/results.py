"""Results of a recipe: one row for each arm that is complete, and means over seeds."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from permtrain.errors import CheckpointError, one_line
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.rows import is_complete
from permtrain.lab.recipes.task import Measure
from permtrain.lab.training.environment import read_environment
from permtrain.lab.training.json_files import read_json, require_values
from permtrain.lab.training.ranking_watch import ranking_summary
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import load_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place
from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings
from permtrain.packed.reader import PackedFile
from permtrain.packed.report import report_of


def row_of(recipe: Recipe, budget: Budget, arm: Arm, folder: RunFolder) -> dict[str, Any]:
    """One row of the results: settings, outcome, and what it was computed with.

    Raises:
        CheckpointError: a file of the folder is damaged.
    """
    try:
        outcome = _training_columns(arm, folder) if recipe.task is None else recipe.task.row(folder)
        wall_s = read_json(folder.result_file)["wall_s"]
        require_values({"wall_s": wall_s}, RunResult, str(folder.result_file))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{folder.result_file}: not the result of such a run ({one_line(error)})"
        ) from error
    return {
        **_head(recipe, budget, arm, "complete"),
        **outcome,
        "wall_s": wall_s,
        **_tail(recipe, arm, folder),
        "error": None,
    }


def failure_row_of(recipe: Recipe, budget: Budget, arm: Arm, folder: RunFolder) -> dict[str, Any]:
    """The row of an arm that failed: no outcome, but its error."""
    history = folder.metrics()
    return {
        **_head(recipe, budget, arm, "failed"),
        "epochs": len(history),
        "wall_s": round(sum(each.get("wall_s", 0.0) for each in history), 1),
        **_tail(recipe, arm, folder),
        "error": read_json(folder.failure_file).get("error"),
    }


def _head(recipe: Recipe, budget: Budget, arm: Arm, status: str) -> dict[str, Any]:
    return {
        "recipe": recipe.id,
        "budget": budget,
        "arm": arm.group,
        "seed": arm.settings.seed,
        "status": status,
    }


def _tail(recipe: Recipe, arm: Arm, folder: RunFolder) -> dict[str, Any]:
    environment = read_environment(folder.environment_file)
    try:
        # The folder has been found to be of the arm's settings: their name is that of today's
        # defaults.
        return {
            "settings_hash": recipe.settings_hash(arm),
            "commit": environment["commit"],
            "device": environment["device"],
            "threads": environment["threads"],
            "torch": environment["packages"]["torch"],
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder.environment_file}: does not tell what the run was computed with "
            f"({one_line(error)})"
        ) from None


def _training_columns(arm: Arm, folder: RunFolder) -> dict[str, Any]:
    result = RunResult.read(folder)
    travel, changes = result.travel, result.changes
    bits = {
        name: None if value is None else round(value, 6)
        for name, value in (
            ("validation_bits", result.validation_bits),
            ("test_bits", result.test_bits),
        )
    }
    return {
        "data": arm.settings.data.data,
        "train_images": arm.settings.data.train_images,
        "epochs": result.epochs,
        "published_percent": arm.published,
        "validation_percent": (
            None
            if result.validation_accuracy is None
            else round(100 * result.validation_accuracy, 4)
        ),
        "test_percent": round(100 * result.test_accuracy, 4),
        "best_test_percent": round(100 * result.best_test_accuracy, 4),
        "best_epoch": result.best_epoch,
        "best_selected_on": result.selected_on,
        "intact": result.intact,
        "moved_fraction": None if travel is None else round(travel.moved_fraction, 6),
        "mean_ranking_distance": (
            None if travel is None else round(travel.mean_ranking_distance, 6)
        ),
        "changed_layer_fraction": (
            None
            if travel is None or travel.changed_layer_fraction is None
            else round(travel.changed_layer_fraction, 6)
        ),
        "layer_rms_ratio": (
            None
            if travel is None or travel.rms_ratio is None
            else " ".join(f"{name}={ratio:.4g}" for name, ratio in travel.rms_ratio.items())
        ),
        "test_percent_at": " ".join(
            f"{each['step']}={100 * each['test_accuracy']:.4g}" for each in result.evaluations
        ),
        "changed_fraction": None if changes is None else float(f"{changes.changed_fraction:.6g}"),
        "mean_change": None if changes is None else float(f"{changes.mean_change:.6g}"),
        "change_norm": None if changes is None else float(f"{changes.norm:.6g}"),
        **({} if result.test_bits is None else bits),
        **(ranking_summary(folder.ranking_file) if arm.settings.watch_ranking_distance else {}),
    }


def rows_of(
    recipe: Recipe,
    budget: Budget,
    arm: Arm,
    folder: RunFolder,
    place: Place,
    ceilings: Ceilings = DEFAULT_CEILINGS,
) -> list[dict[str, Any]]:
    """The rows of an arm: its own, or one for each of its alternatives.

    Where the recipe has alternatives, rows tell sizes too: `family` is what made the file small,
    `file_bytes` is all of it, of which `code_bytes` and `header_bytes` are parts. Alternatives are
    no packed files and leave the parts empty.
    """
    row = row_of(recipe, budget, arm, folder)
    if recipe.alternatives is None:
        return [row]
    if arm.settings.permutation.permutes:
        report = report_of(PackedFile(folder.packed_file, **vars(ceilings)))
        sizes = {
            "family": "permutation",
            "file_bytes": report.file_bytes,
            "code_bytes": report.code_bytes,
            "header_bytes": report.header_bytes,
        }
        return [row | sizes]
    return [
        row
        | {
            "arm": outcome.group,
            "family": outcome.family,
            "file_bytes": outcome.file_bytes,
            "code_bytes": None,
            "header_bytes": None,
        }
        | (
            {}
            if outcome.test_accuracy is None
            else {
                "test_percent": round(100 * outcome.test_accuracy, 4),
                "best_test_percent": None,
                "best_epoch": None,
            }
        )
        for outcome in recipe.alternatives(arm, load_run(folder.path, place))
    ]


@dataclass(frozen=True)
class GroupSummary:
    """Seeds of one group together; accuracies in percent.

    Attributes:
        validation: on images set aside, by which arms are chosen; None where there are none.
        spread: standard deviation over the seeds, None for a single one.
        best_epoch: None where only the last epoch was looked at.
        file_bytes: None where the recipe does not ask for it.
        validation_bits, test_bits: bits per character of text; None of images.
    """

    group: str
    num_seeds: int
    published: float | None
    validation: float | None
    last_epoch: float
    spread: float | None
    best_epoch: float | None
    wall_s: float
    file_bytes: float | None = None
    validation_bits: float | None = None
    test_bits: float | None = None


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean, and the standard deviation over seeds: None for a single one.

    Example:
        >>> mean_and_spread([97.0, 99.0]), mean_and_spread([98.0])
        ((98.0, 1.4142135623730951), (98.0, None))
    """
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def summarize(rows: Sequence[dict[str, Any]]) -> list[GroupSummary]:
    """Means over seeds, in the order of the arms.

    Example:
        >>> row = {"arm": "a", "published_percent": None, "best_test_percent": 99.0, "wall_s": 1.0}
        >>> rows = [row | {"test_percent": 98.0}, row | {"test_percent": 99.0}]
        >>> summarize(rows)[0].last_epoch
        98.5
    """
    summaries = []
    for group in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == group]
        last_epoch, spread = mean_and_spread([row["test_percent"] for row in mine])
        summaries.append(
            GroupSummary(
                group=group,
                num_seeds=len(mine),
                published=mine[0]["published_percent"],
                validation=_mean_of_known(mine, "validation_percent"),
                last_epoch=last_epoch,
                spread=spread,
                best_epoch=_mean_of_known(mine, "best_test_percent"),
                wall_s=statistics.mean(row["wall_s"] for row in mine),
                file_bytes=_mean_of_known(mine, "file_bytes"),
                validation_bits=_mean_of_known(mine, "validation_bits"),
                test_bits=_mean_of_known(mine, "test_bits"),
            )
        )
    return summaries


def _mean_of_known(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [row.get(key) for row in rows]
    known = [value for value in values if value is not None]
    return statistics.mean(known) if len(known) == len(rows) else None


@dataclass(frozen=True)
class MeasuredGroup:
    """Seeds of one group together, of a recipe with a task.

    Attributes:
        values: for each measure of the task its mean, and standard deviation over the seeds, None
            for a single one; None in place of both where a row lacks it.
    """

    group: str
    num_seeds: int
    values: tuple[tuple[float, float | None] | None, ...]
    wall_s: float


def summarize_measures(
    rows: Sequence[dict[str, Any]], measures: Sequence[Measure]
) -> list[MeasuredGroup]:
    """Means over seeds, in the order of the arms.

    Example:
        >>> rows = [{"arm": "a", "psnr": psnr, "wall_s": 1.0} for psnr in (10.0, 12.0)]
        >>> summarize_measures(rows, [Measure("psnr", "PSNR, dB")])[0].values
        ((11.0, 1.4142135623730951),)
    """
    summaries = []
    for group in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == group]
        values: list[tuple[float, float | None] | None] = []
        for measure in measures:
            known = [row[measure.column] for row in mine if row.get(measure.column) is not None]
            values.append(mean_and_spread(known) if len(known) == len(mine) else None)
        wall_s = statistics.mean(row["wall_s"] for row in mine)
        summaries.append(MeasuredGroup(group, len(mine), tuple(values), wall_s))
    return summaries


def table_of(recipe: Recipe, rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of a table of means over seeds; its first column is text, others numbers.

    Runs that failed, or were of other settings, are counted below, arm by arm.
    """
    heads, cells = _means_table(recipe, [row for row in rows if is_complete(row)])
    left = Counter((row["arm"], row["status"]) for row in rows if not is_complete(row))
    for (arm, status), number in left.items():
        cells.append([arm, f"{number} {status}", *[""] * (len(heads) - 2)])
    return heads, cells


def _means_table(
    recipe: Recipe, rows: Sequence[dict[str, Any]]
) -> tuple[list[str], list[list[str]]]:
    if recipe.task is not None:
        measures = recipe.task.measures
        lines = [
            [
                each.group,
                str(each.num_seeds),
                *(_cell(value, m.decimals) for value, m in zip(each.values, measures, strict=True)),
                f"{each.wall_s:.0f}",
            ]
            for each in summarize_measures(rows, measures)
        ]
        return ["arm", "seeds", *(measure.title for measure in measures), "s a run"], lines
    groups = summarize(rows)
    columns: dict[str, list[float | None]] = {
        "published": [each.published for each in groups],
        "set aside": [each.validation for each in groups],
        "last epoch": [each.last_epoch for each in groups],
        "spread": [each.spread for each in groups],
        "best epoch": [each.best_epoch for each in groups],
    }
    for title in ("published", "set aside"):
        if all(value is None for value in columns[title]):
            del columns[title]
    texts = {title: [_percent(value) for value in values] for title, values in columns.items()}
    of_text = {
        "bits set aside": [each.validation_bits for each in groups],
        "bits a character": [each.test_bits for each in groups],
    }
    for title, numbers in of_text.items():
        if any(value is not None for value in numbers):
            texts[title] = ["" if value is None else f"{value:.4f}" for value in numbers]
    texts["s a run"] = [f"{each.wall_s:.0f}" for each in groups]
    if any(each.file_bytes is not None for each in groups):
        sizes = [each.file_bytes for each in groups]
        texts["bytes"] = ["" if size is None else f"{size:,.0f}" for size in sizes]
    cells = [
        [each.group, str(each.num_seeds), *line]
        for each, line in zip(groups, zip(*texts.values(), strict=True), strict=True)
    ]
    return ["arm", "seeds", *texts], cells


def _cell(value: tuple[float, float | None] | None, decimals: int) -> str:
    if value is None:
        return ""
    mean, spread = value
    return f"{mean:.{decimals}f}" + ("" if spread is None else f" ± {spread:.{decimals}f}")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
