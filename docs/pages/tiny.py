"""What docs/tiny.md shows: goals and trials of small files."""

import csv
from pathlib import Path
from typing import Any

from pages.comparison import complete_rows
from pages.rendering import RESULTS, markdown_table, render

from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.results import GroupSummary, summarize

# A goal of the project: what it is, an arm, and the least accuracy in the most bytes.
GOALS = (
    ("MNIST, `fc500-300`", "fc500-300: 3 levels, 90% zeros", 97.5, 16_000),
    ("MNIST, convolutions", "conv3-16: 3 levels, 50% zeros", 98.7, 10_000),
    ("MNIST, convolutions", "conv3-32: 3 levels, 50% zeros", 99.3, 40_000),
)

# An arm, and the supermask whose bytes come next to it from above.
AGAINST_SUPERMASKS = (
    ("fc500-300: 3 levels, 90% zeros", "fc500-300: supermask, 3% used"),
    ("conv3-16: 3 levels, 50% zeros", "conv3-32: supermask, 10% used"),
)


def tiny_page(results: Path = RESULTS) -> str:
    groups = summarize(complete_rows(RECIPES["tiny-mnist"], "paper", results))
    by_name = {group.group: group for group in groups}
    return render(
        "tiny.md.jinja",
        results,
        goals_table=_goals_table(by_name),
        supermasks_table=_supermasks_table(by_name),
        trials_table=_trials_table(results),
    )


def _goals_table(by_name: dict[str, GroupSummary]) -> str:
    cells = []
    for what, arm, percent, size in GOALS:
        goal = [what, f"{percent:.1f}% in {size // 1000} KB", arm]
        group = by_name.get(arm)
        if group is None or group.file_bytes is None:
            cells.append([*goal, "", "", "not run"])
            continue
        is_met = group.last_epoch >= percent and group.file_bytes <= size
        found = [f"{group.last_epoch:.2f}%, {group.num_seeds} seeds", f"{group.file_bytes:,.0f}"]
        cells.append([*goal, *found, "met" if is_met else "missed"])
    head = ["data and net", "goal", "arm", "last epoch, test", "bytes, mean", ""]
    return markdown_table(head, cells)


def _supermasks_table(by_name: dict[str, GroupSummary]) -> str:
    """Each arm beside a supermask of as many bytes or more, where both have been run."""
    cells = []
    for arm, rival in AGAINST_SUPERMASKS:
        if {arm, rival} <= set(by_name):
            pair = (by_name[arm], by_name[rival])
            found = [f"{each.last_epoch:.2f}%, {each.num_seeds} seeds" for each in pair]
            sizes = [f"{each.file_bytes:,.0f}" for each in pair]
            cells.append([arm, found[0], sizes[0], rival, found[1], sizes[1]])
    head = ["arm", "last epoch, test", "bytes", "supermask", "last epoch, test", "bytes"]
    return markdown_table(head, cells) if cells else ""


def _trials_table(results: Path) -> str:
    with (results / "studies" / "tiny-trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    head = ["net", "exchange", "levels", "zeros", "fans", "images", "rate", "epochs"]
    head += ["accuracy", "before", "moved", "bytes"]
    return markdown_table(head, [_trial(row) for row in rows])


def _trial(row: dict[str, Any]) -> list[str]:
    moved = f"{row['rotation_degrees']} degrees, {row['shift_fraction']}, {row['zoom_fraction']}"
    is_whole = row["epochs_done"] == row["epochs"]
    zeros = row["sparsity"].replace(".weight", "")
    return [
        row["model"],
        f"per {row['granularity']}",
        f"{row['levels']} and 0" if row["sparsity"] != "0" else row["levels"],
        "" if zeros == "0" else zeros,
        "sparse" if row["sparse_fans"] == "True" else "full",
        "as they are" if moved == "0 degrees, 0.0, 0.0" else moved,
        f"{row['lr']} x {row['lr_decay']} an epoch",
        row["epochs"] if is_whole else f"{row['epochs_done']} of {row['epochs']}",
        row["validation_percent"],
        row["validation_percent_before"],
        f"{float(row['moved_fraction']):.1%}" if is_whole else "",
        f"{int(row['file_bytes']):,}" if is_whole else "",
    ]
