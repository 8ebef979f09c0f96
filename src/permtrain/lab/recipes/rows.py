"""Rows of results: one for each arm, in one CSV for each recipe and budget. Imports cheaply."""

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from permtrain.errors import ResultsError, one_line
from permtrain.files import resolved, written_whole
from permtrain.lab.recipes.recipe import Budget
from permtrain.text import csv_cell, csv_text

OTHER = "other settings"

_NEEDED = ["arm", "seed", "settings_hash"]
_WORDS = {"arm", "settings_hash", "commit", "error", "torch"}  # also where they look like numbers
_FLOAT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|-?inf"


def results_file(folder: Path, recipe_id: str, budget: Budget) -> Path:
    """Where a recipe's rows are: those of a smaller budget are never beside the full one's.

    Example:
        >>> results_file(Path("results"), "index-layer", "quick").name
        'index-layer-quick.csv'
    """
    return folder / f"{recipe_id}{'' if budget == 'paper' else f'-{budget}'}.csv"


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows of a result file: numbers as numbers, empty cells None; none where there is no file.

    Written again they are the same, letter for letter, but for numbers that somebody wrote in
    another way than we do, as 98.50.

    Raises:
        ResultsError: it is no such table, or was cut off.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark first
            return list(_rows_in(file, path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: not readable as CSV ({one_line(error)})") from None


def _rows_in(file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    lines = csv.reader(file)
    header = list(map(csv_text, next(lines, _NEEDED)))
    if missing := [name for name in _NEEDED if name not in header]:
        raise ResultsError(
            f"{path}: has no column {', '.join(missing)}; allowed: a table that permtrain wrote, "
            "with commas"
        )
    for cells in lines:
        if cells and len(cells) != len(header):
            raise ResultsError(
                f"{path}: line {lines.line_num} has {len(cells)} cells; allowed: {len(header)}, as "
                "the first line"
            )
        if cells:
            yield {name: _value(name, cell) for name, cell in zip(header, cells, strict=True)}


def check_table(path: Path) -> None:
    """Refuses a table to which no row could be added, so that it is told before any training.

    Raises:
        ResultsError: it is damaged, or its folder cannot be made or written.
    """
    read_csv(path)
    folder = resolved(path).parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ResultsError(
            f"{path}: cannot be written, for {folder} is no folder of yours to write"
        )


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows with all their keys as header, whole or not at all."""
    text = io.StringIO()
    # In the longest row's order; keys that only others have come behind.
    names = dict.fromkeys(name for row in (max(rows, key=len), *rows) for name in row)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, names))
    writer.writerows([csv_cell(row.get(name, "")) for name in names] for row in rows)
    with written_whole(path) as file:
        file.write(text.getvalue().encode())


def merged(
    before: Sequence[dict[str, Any]], fresh: Sequence[dict[str, Any]], hashes: Collection[str]
) -> list[dict[str, Any]]:
    """Fresh rows, and those from before that they do not replace: of runs that are elsewhere.

    A row of an arm and seed, or of the same settings, takes the place of an older one; only a
    failure does not, where the same settings were computed without. (Alternatives have names and
    rows of their own; a failure of their run has the arm's.) A row of settings that no arm has, for
    the recipe or a default has changed, stays and says so; tables leave it out.

    Args:
        hashes: the settings' hashes of all arms.

    Example:
        >>> before = [{"arm": arm, "seed": 0, "settings_hash": f"of {arm}"} for arm in "ab"]
        >>> for row in merged(before, [before[0] | {"status": "complete"}], ["of a", "of c"]):
        ...     print(row["arm"], row["status"])
        a complete
        b other settings
    """
    done = {row["settings_hash"] for row in before if is_complete(row)}
    fresh = [row for row in fresh if not has_failed(row) or row["settings_hash"] not in done]
    known = {_identity(row) for row in fresh}
    computed = {row["settings_hash"] for row in fresh}
    kept = [
        row
        for row in before
        if _identity(row) not in known and row["settings_hash"] not in computed
    ]
    return [*fresh, *(_with_status(row, row["settings_hash"] in hashes) for row in kept)]


def is_complete(row: dict[str, Any]) -> bool:
    """Whether a row has an outcome of the recipe's settings; older files do not say."""
    return row.get("status") in (None, "complete")


def has_failed(row: dict[str, Any]) -> bool:
    """Whether a row tells of a failure."""
    return row.get("status") == "failed"


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["arm"], row["seed"]


def _with_status(row: dict[str, Any], is_of_an_arm: bool) -> dict[str, Any]:
    if has_failed(row) or is_complete(row) == is_of_an_arm:
        return row
    return row | {"status": "complete" if is_of_an_arm else OTHER}


def _value(name: str, cell: str) -> Any:
    cell = csv_text(cell)
    if not cell:
        return None
    if name in _WORDS:
        return cell
    if cell in ("True", "False"):
        return cell == "True"
    if re.fullmatch(r"[+-]?[0-9]+", cell):
        return int(cell)
    return float(cell) if re.fullmatch(_FLOAT, cell) else cell
