"""What docs/sgperm.md shows: SGPerm's default settings, what they change and what was tried."""

import csv
import statistics
from pathlib import Path
from typing import Any

from pages.comparison import complete_rows
from pages.figures import means
from pages.rendering import RESULTS, markdown_table, render

from permtrain.lab.recipes.experiments.sgperm_ahead import DATA
from permtrain.lab.recipes.registry import RECIPES


def sgperm_page(results: Path = RESULTS) -> str:
    ahead, study = (
        complete_rows(RECIPES[name], "paper", results) for name in ("sgperm-ahead", "sgperm-study")
    )
    with (results / "studies" / "sgperm-trials.csv").open(newline="") as file:
        trials = [
            row | {"validation_percent": float(row["validation_percent"])}
            for row in csv.DictReader(file)
        ]
    return render(
        "sgperm.md.jinja",
        results,
        ahead_table=_ahead_table(ahead),
        outcome=_outcome(ahead),
        study_table=_validation_table(study),
        trials_table=_validation_table(trials),
        tried=means([*study, *trials], "validation_percent"),
    )


def _ahead_table(rows: list[dict[str, Any]]) -> str:
    """Test accuracy after so many updates, and the spread of the last."""
    cells = []
    for arm in _arms(rows):
        mine = [row for row in rows if row["arm"] == arm]
        at = [dict(each.split("=") for each in row["test_percent_at"].split()) for row in mine]
        means = [f"{statistics.mean(float(each[step]) for each in at):.2f}" for step in at[0]]
        spread = statistics.stdev(row["test_percent"] for row in mine)
        cells.append([arm, str(len(mine)), *means, f"{spread:.2f}"])
    steps = [each.split("=")[0] for each in rows[0]["test_percent_at"].split()]
    head = ["arm", "seeds", *(f"after {step}" for step in steps), "spread"]
    return markdown_table(head, cells)


def _outcome(rows: list[dict[str, Any]]) -> str:
    """What the table says: how far each way of SGPerm ends ahead of each of Adam's."""
    percent = {arm: [r["test_percent"] for r in rows if r["arm"] == arm] for arm in _arms(rows)}
    lines = []
    for arm, ours in percent.items():
        name, way = arm.split(": ", 1)
        if not way.startswith("SGPerm"):
            continue
        gaps = [
            f"{statistics.mean(ours) - statistics.mean(adams):+.2f} against "
            f"{other.removeprefix(f'{name}: ')} (ahead in "
            f"{sum(a > b for a, b in zip(ours, adams, strict=True))} of {len(ours)} seeds)"
            for other, adams in percent.items()
            if other.startswith(f"{name}: Adam")
        ]
        lines.append(f"- {arm}, after 800 updates: {'; '.join(gaps)}.")
    return "\n".join(lines) + "\n"


def _validation_table(rows: list[dict[str, Any]]) -> str:
    """One line for each setting, the data sets beside each other."""
    settings = dict.fromkeys(arm.split(": ", 1)[1] for arm in _arms(rows))
    cells = []
    for setting in settings:
        means = []
        for name in DATA:
            found = [
                row["validation_percent"] for row in rows if row["arm"] == f"{name}: {setting}"
            ]
            one_seed = " (1 seed)" if len(found) == 1 else ""
            means.append(f"{statistics.mean(found):.2f}{one_seed}" if found else "")
        cells.append([setting, *means])
    return markdown_table(["setting", *DATA], cells)


def _arms(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))
