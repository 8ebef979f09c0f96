"""Writes the tables in README.md and docs/speed.md from results/: python docs/make_tables.py."""

import csv
import sys
from pathlib import Path
from typing import Any

from permtrain.files import written_whole
from permtrain.recipes.registry import RECIPES
from permtrain.recipes.results import summarize
from speed_page import speed_page

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a result file, with its numbers as numbers."""
    numbers = {"published_percent", "test_percent", "best_test_percent", "wall_s"}
    with path.open(newline="") as file:
        return [
            {k: (float(v) if v else None) if k in numbers else v for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def table_of(recipe_id: str, rows: list[dict[str, Any]]) -> str:
    """One recipe's means over seeds, as Markdown."""
    epochs = "/".join(sorted({row["epochs"] for row in rows}))
    lines = [
        f"**`permtrain run {recipe_id} --budget paper`**: {RECIPES[recipe_id].description}. "
        f"{epochs} epochs; test accuracy in %.",
        "",
        "| arm | seeds | published | last epoch | spread | best epoch | s a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in summarize(rows):
        published = "" if group.published is None else f"{group.published:.2f}"
        spread = "" if group.spread is None else f"{group.spread:.2f}"
        lines.append(
            f"| {group.group} | {group.num_seeds} | {published} | {group.last_epoch:.2f} | "
            f"{spread} | {group.best_epoch:.2f} | {group.wall_s:.0f} |"
        )
    return "\n".join(lines) + "\n"


def with_tables(readme: str) -> str:
    """The README's text with its tables made anew."""
    tables = [
        table_of(recipe_id, rows_of(path))
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
