"""Writes the tables in README.md and docs/speed.md from results/: python docs/make_tables.py."""

import csv
import statistics
import sys
from pathlib import Path
from typing import Any

from speed_page import speed_page

from permtrain.files import written_whole
from permtrain.recipes.registry import RECIPES
from permtrain.recipes.results import summarize

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a result file, with its numbers as numbers."""
    numbers = {"published_percent", "test_percent", "best_test_percent", "wall_s", "file_bytes"}
    with path.open(newline="") as file:
        return [
            {k: (float(v) if v else None) if k in numbers else v for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def table_of(recipe_id: str, rows: list[dict[str, Any]]) -> str:
    """One recipe's means over seeds, as Markdown."""
    epochs = "/".join(sorted({row["epochs"] for row in rows}))
    has_sizes = rows[0].get("file_bytes") is not None
    lines = [
        f"**`permtrain run {recipe_id} --budget paper`**: {RECIPES[recipe_id].description}. "
        f"{epochs} epochs; test accuracy in %.",
        "",
        "| arm | seeds | published | last epoch | spread | best epoch | s a run |"
        + " bytes |" * has_sizes,
        "|---|---|---|---|---|---|---|" + "---|" * has_sizes,
    ]
    for group in summarize(rows):
        published = "" if group.published is None else f"{group.published:.2f}"
        spread = "" if group.spread is None else f"{group.spread:.2f}"
        best = "" if group.best_epoch is None else f"{group.best_epoch:.2f}"
        lines.append(
            f"| {group.group} | {group.num_seeds} | {published} | {group.last_epoch:.2f} | "
            f"{spread} | {best} | {group.wall_s:.0f} |"
            + (f" {group.file_bytes:,.0f} |" if has_sizes else "")
        )
    return "\n".join(lines) + "\n"


def updates_table_of(rows: list[dict[str, Any]]) -> str:
    """Means over seeds within the epoch: accuracy after updates, what the first ones changed."""
    groups = {arm: [row for row in rows if row["arm"] == arm] for arm in _arms(rows)}
    at = {arm: [_percent_at(row) for row in mine] for arm, mine in groups.items()}
    steps = list(next(iter(at.values()))[0])
    head = ["arm", *(f"after {step}" for step in steps), "changed", "mean change", "norm"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm, mine in groups.items():
        means = [statistics.mean(each[step] for each in at[arm]) for step in steps]
        fraction, mean, norm = (
            statistics.mean(float(row[key]) for row in mine)
            for key in ("changed_fraction", "mean_change", "change_norm")
        )
        change = [f"{fraction:.1%}", f"{mean:.2g}", f"{norm:.2g}"]
        cells = [arm, *(f"{each:.2f}" for each in means), *change]
        lines.append(f"| {' | '.join(cells)} |")
    return (
        "Test accuracy in % after so many updates; and over the first 50 updates: the part of the "
        "weights that an update changes, the mean of its absolute change over all weights, and its "
        "Euclidean norm.\n\n" + "\n".join(lines) + "\n"
    )


def tables_of(recipe_id: str, rows: list[dict[str, Any]]) -> str:
    """Everything shown of one recipe."""
    tables = table_of(recipe_id, rows)
    return f"{tables}\n{updates_table_of(rows)}" if rows[0].get("test_percent_at") else tables


def _arms(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


def _percent_at(row: dict[str, Any]) -> dict[str, float]:
    """`25=61.2 100=80` as a mapping."""
    pairs = (each.split("=") for each in row["test_percent_at"].split())
    return {step: float(percent) for step, percent in pairs}


def with_tables(readme: str) -> str:
    """The README's text with its tables made anew."""
    tables = [
        tables_of(recipe_id, rows_of(path))
        for recipe_id in RECIPES
        if (path := ROOT / "results" / f"{recipe_id}.csv").is_file()
    ]
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(tables) + "\n" + END + after


def main() -> int:
    """Writes the tables; with --check, tells by the exit code whether they are up to date."""
    readme, speed = ROOT / "README.md", ROOT / "docs" / "speed.md"
    made = {readme: with_tables(readme.read_text()), speed: speed_page()}
    if "--check" in sys.argv:
        return int(any(not path.exists() or path.read_text() != made[path] for path in made))
    for path, text in made.items():
        with written_whole(path) as file:
            file.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
