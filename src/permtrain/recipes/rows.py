"""Rows of results: one for each arm, in one CSV for each recipe and budget. Imports cheaply."""

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from permtrain.files import written_whole
from permtrain.recipes.recipe import Budget

OTHER = "other settings"

_WORDS = {"arm", "settings_hash", "commit", "error"}  # also where they look like numbers


def results_file(folder: Path, recipe_id: str, budget: Budget) -> Path:
    """Where a recipe's rows are: those of a smaller budget are never beside the full one's.

    Example:
        >>> results_file(Path("results"), "index-layer", "quick").name
        'index-layer-quick.csv'
    """
    return folder / f"{recipe_id}{'' if budget == 'paper' else f'-{budget}'}.csv"


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows of a result file: numbers as numbers, empty cells None; none where there is no file.

    Written again they are the same, letter for letter.
    """
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {name: _value(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)
        ]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows with all their keys as header, whole or not at all."""
    text = io.StringIO()
    # In the longest row's order; keys that only others have come behind.
    names = dict.fromkeys(name for row in (max(rows, key=len), *rows) for name in row)
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
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
    if not cell:
        return None
    if name in _WORDS:
        return cell
    if cell in ("True", "False"):
        return cell == "True"
    for number in (int, float):
        try:
            if str(number(cell)) == cell:
                return number(cell)
        except ValueError:
            pass
    return cell
