"""The pages in docs/ are those of results/, which say what failed or is of other settings."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pages.across import across_tables
from pages.inputs import inputs_tables
from pages.regression import published_table, regression_tables
from pages.transformers import chosen_of, transformers_tables

from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import OTHER, read_csv, results_file, write_csv

ROOT = Path(__file__).parents[2]
TABLES = {
    "across-layers": across_tables,
    "sortgan-mnist": partial(inputs_tables, "sortgan-mnist"),
    "unshuffle-mnist": partial(inputs_tables, "unshuffle-mnist"),
    "regression-1d": partial(regression_tables, "regression-1d"),
    "gpt-char": partial(transformers_tables, "gpt-char"),
    "vit-digits": partial(transformers_tables, "vit-digits"),
}
COLUMNS: dict[str, dict[str, Any]] = {
    "across-layers": {
        "validation_percent": 91.25,
        "test_percent": 92.5,
        "moved_fraction": 0.75,
        "changed_layer_fraction": 0.0,
        "layer_rms_ratio": "a=0.99 b=1.01",
        "intact": True,
    },
    "gpt-char": {
        "validation_bits": 2.5,
        "test_bits": 2.25,
        "intact": True,
        "file_bytes": 1000,
    },
    "vit-digits": {
        "validation_percent": 91.25,
        "test_percent": 92.5,
        "intact": True,
        "file_bytes": 1000,
    },
    "regression-1d": {
        "linf": 0.25,
        "linf_each": "0.125 0.5",
        "rmse": 0.0625,
        "moved_fraction": 0.75,
        "intact": True,
    },
}
MEASURED = {
    "psnr": 11.5,
    "measured_images": 50,
    "judge": "conv3-16",
    "judge_percent": 94.6,
    "epochs": 2,
    "steps": 150,
}


def rows_of(recipe_id: str, budget: Budget) -> list[dict[str, Any]]:
    """A made-up row for every arm."""
    recipe = RECIPES[recipe_id]
    return [
        {
            "recipe": recipe_id,
            "budget": budget,
            "arm": arm.group,
            "seed": arm.settings.seed,
            "status": "complete",
            **COLUMNS.get(recipe_id, MEASURED),
            **({"width": arm.settings.width} if recipe_id == "regression-1d" else {}),
            "wall_s": 1.0,
            "settings_hash": recipe.settings_hash(arm),
            "error": None,
        }
        for arm in recipe.arms(budget)
    ]


def failed(row: dict[str, Any]) -> dict[str, Any]:
    """As `permtrain.lab.recipes.results.failure_row_of` writes it: without an outcome."""
    kept = ("recipe", "budget", "arm", "seed", "settings_hash")
    mine = {name: row[name] for name in kept}
    return mine | {"status": "failed", "epochs": 0, "wall_s": 0.0, "error": "Diverged: loss is nan"}


def tables_of(recipe_id: str, folder: Path, **rows: list[dict[str, Any]]) -> str:
    for budget, each in rows.items():
        write_csv(folder / f"{recipe_id}{'' if budget == 'paper' else f'-{budget}'}.csv", each)
    return TABLES[recipe_id](folder)


def line_of(page: str, arm: str) -> str:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {arm} |"))
    return line


@pytest.mark.parametrize("recipe_id", TABLES)
def test_a_failed_arm_is_named_and_hides_no_other(recipe_id: str, tmp_path: Path) -> None:
    first, *rest = rows_of(recipe_id, "quick")
    page = tables_of(recipe_id, tmp_path, quick=[failed(first), *rest])
    name = first["arm"].partition(", n=")[0].partition(", rate ")[0]
    assert f"\nFailed: {name}" in page
    assert line_of(page, rest[-1]["arm"].partition(", n=")[0].partition(", rate ")[0])
    whole = tables_of(recipe_id, tmp_path, quick=[first, *rest])
    assert "Failed" not in whole


@pytest.mark.parametrize("recipe_id", TABLES)
def test_where_all_failed_there_are_no_numbers(recipe_id: str, tmp_path: Path) -> None:
    page = tables_of(
        recipe_id, tmp_path, quick=[failed(row) for row in rows_of(recipe_id, "quick")]
    )
    assert "\nFailed: " in page


@pytest.mark.parametrize("recipe_id", TABLES)
def test_rows_of_other_settings_are_left_out(recipe_id: str, tmp_path: Path) -> None:
    first, *rest = rows_of(recipe_id, "quick")
    stale = first | {"settings_hash": "00000000", "status": OTHER}
    page = tables_of(recipe_id, tmp_path, quick=[stale, *rest])
    name = first["arm"].partition(", n=")[0].partition(", rate ")[0]
    assert f"\nNot run: {name}" in page
    assert RECIPES[recipe_id].cost in page


@pytest.mark.parametrize("recipe_id", TABLES)
def test_a_full_run_that_is_not_done_hides_no_quick_one(recipe_id: str, tmp_path: Path) -> None:
    quick, paper = (rows_of(recipe_id, budget) for budget in ("quick", "paper"))
    page = tables_of(recipe_id, tmp_path, quick=quick, paper=paper[:1])
    assert "--budget paper" in page
    assert "--budget quick" in page
    done = tables_of(recipe_id, tmp_path, quick=quick, paper=paper)
    assert "--budget quick" not in done
    assert "Not run:" not in done


@pytest.mark.parametrize(
    ("recipe_id", "unit", "best"), [("gpt-char", "bits", "2.0"), ("vit-digits", "percent", "3.0")]
)
def test_rates_are_chosen_on_data_set_aside(recipe_id: str, unit: str, best: str) -> None:
    rows = [
        {
            "arm": f"Adam, rate {rate}",
            "seed": seed,
            f"validation_{unit}": aside + seed,
            f"test_{unit}": -aside,
            "file_bytes": 10,
        }
        for rate, aside in (("1.0", 4.0), ("2.0", 3.0), ("3.0", 5.0))
        for seed in (0, 1)
    ]
    found = chosen_of(recipe_id, rows)["Adam"]
    assert found.rate == best
    assert found.tried == {"1.0": 4.0, "2.0": 3.0, "3.0": 5.0}  # of the first seed
    assert found.test == -found.tried[best]
    assert found.aside == found.tried[best] + 0.5
    assert found.at_edge is (best == "3.0")


def test_seeds_of_an_arm_that_are_missing_are_counted(tmp_path: Path) -> None:
    page = tables_of("across-layers", tmp_path, paper=rows_of("across-layers", "paper")[:-1])
    assert "\nNot run: lenet5: Adam (1 of 3). In full: " in page


@pytest.mark.parametrize("recipe_id", TABLES)
def test_nothing_was_run(recipe_id: str, tmp_path: Path) -> None:
    page = TABLES[recipe_id](tmp_path)
    assert page.startswith(f"Not run. `permtrain run {recipe_id} ")
    assert "| arm |" not in page


def test_regression_beside_the_published_errors_of_the_largest_budget(tmp_path: Path) -> None:
    quick, paper = (rows_of("regression-1d", budget) for budget in ("quick", "paper"))
    name = "sine, LaPerm, equidistant, n=20"
    full = [row | {"linf": 0.5} for row in paper if row["arm"] == name]
    page = tables_of("regression-1d", tmp_path, quick=quick, paper=full)
    beside = published_table(tmp_path)
    assert "| equidistant | 10 | 0.886 | 0.250 (quick) | 0.422 | 0.062 (quick) |" in beside
    assert "| equidistant | 20 | 0.564 | 0.500 | 0.238 | 0.062 |" in beside
    assert "64 times fewer steps at a rate 64 times as high, 10 networks an arm." in page


def test_the_pages_are_made_from_results() -> None:
    command = [sys.executable, "docs/make_tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "make tables\n" + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.csv")), ids=lambda p: p.stem)
def test_every_row_is_of_an_arm_or_says_that_it_is_not(path: Path) -> None:
    """Else pages leave it out without a word, as if it had not been run."""
    rows = read_csv(path)
    recipe, budget = RECIPES[rows[0]["recipe"]], rows[0]["budget"]
    assert results_file(path.parent, recipe.id, budget) == path
    hashes = {recipe.settings_hash(arm) for arm in recipe.arms_within(budget)}
    for row in rows:
        assert (row["recipe"], row["budget"]) == (recipe.id, budget)
        assert (row["settings_hash"] in hashes) == (row.get("status") != OTHER), row["arm"]
        assert row.get("intact") is not False, row["arm"]  # its weights are no permutation
