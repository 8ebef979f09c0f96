"""docs/pages/comparison.py: published beside ours, on made-up results."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_problem import plain, tiny

from permtrain.lab.recipes.recipe import WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import write_csv
from permtrain.lab.training.settings import DataSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
from pages import reproduction
from pages.comparison import Line, lines_of, num_arms


def arms(budget: Budget) -> list[Arm]:
    epochs = 3 if budget == "paper" else 2
    groups = {
        "LaPerm": (tiny(epochs=epochs), 90.0),
        "index": (tiny(epochs=epochs, batch_size=31), None),
        "Adam": (plain(epochs=epochs), 91.5),
    }
    return [
        Arm(group, replace(settings, seed=seed), published)
        for group, (settings, published) in groups.items()
        for seed in ((0, 1) if budget == "paper" else (0,))
    ]


RECIPE = Recipe("tiny", "for tests", "seconds", arms)


def rows(recipe: Recipe, budget: Budget, **accuracies: list[float]) -> list[dict[str, Any]]:
    found = []
    for arm in recipe.arms(budget):
        values = accuracies.get(arm.group, [])
        if arm.settings.seed < len(values):
            value = values[arm.settings.seed]
            found.append(
                {
                    "arm": arm.group,
                    "seed": arm.settings.seed,
                    "status": "complete",
                    "test_percent": value,
                    "best_test_percent": value + 0.5,
                    "settings_hash": recipe.settings_hash(arm),
                }
            )
    return found


def lines(folder: Path, recipe: Recipe = RECIPE, **more: Any) -> dict[str, Line]:
    return {line.group: line for line in lines_of(recipe, folder, **more)}


def test_nothing_was_run(tmp_path: Path) -> None:
    found = lines(tmp_path)
    assert list(found) == ["LaPerm", "index", "Adam"]
    assert {line.measured for line in found.values()} == {None}
    assert [line.verdict for line in found.values()] == ["not run", "not run", "not run"]
    assert found["LaPerm"].published_difference == -1.5
    assert found["Adam"].published_difference is None
    assert num_arms(RECIPE, "paper", tmp_path) == (0, 6)


def test_means_differences_and_verdicts(tmp_path: Path) -> None:
    written = rows(RECIPE, "paper", LaPerm=[89.0, 89.5], index=[50.0], Adam=[91.0, 91.5])
    write_csv(tmp_path / "tiny.csv", written)
    found = lines(tmp_path)
    measured = found["LaPerm"].measured
    assert measured is not None
    assert (measured.budget, measured.num_seeds, measured.last, measured.best) == (
        "paper", 2, 89.25, 89.75,
    )  # fmt: skip
    assert measured.spread == pytest.approx(0.125**0.5)
    assert found["LaPerm"].our_difference == -2.0
    assert [line.verdict for line in found.values()] == [
        "reproduced",
        "published only in words",
        "reproduced",
    ]
    assert num_arms(RECIPE, "paper", tmp_path) == (5, 6)


def test_differences_are_of_the_seeds_that_both_have(tmp_path: Path) -> None:
    written = rows(RECIPE, "paper", LaPerm=[89.0, 80.0], Adam=[91.0])
    write_csv(tmp_path / "tiny.csv", written)
    found = lines(tmp_path)["LaPerm"]
    assert found.measured is not None
    assert (found.measured.last, found.our_difference) == (84.5, -2.0)
    ours, other = written[1:]
    write_csv(tmp_path / "tiny.csv", [ours, other])
    assert lines(tmp_path)["LaPerm"].our_difference is None


def test_a_quick_run_reproduces_nothing_and_stands_beside_quick_baselines(tmp_path: Path) -> None:
    write_csv(tmp_path / "tiny-quick.csv", rows(RECIPE, "quick", LaPerm=[90.0], Adam=[80.0]))
    write_csv(tmp_path / "tiny.csv", rows(RECIPE, "paper", Adam=[91.5, 91.5]))
    found = lines(tmp_path)
    assert found["LaPerm"].measured is not None
    assert found["LaPerm"].measured.budget == "quick"
    assert found["LaPerm"].our_difference == 10.0
    assert [line.verdict for line in found.values()] == ["not run", "not run", "reproduced"]


def test_rows_of_other_settings_do_not_count(tmp_path: Path) -> None:
    first, second = rows(RECIPE, "paper", LaPerm=[90.0, 80.0])
    write_csv(tmp_path / "tiny.csv", [first, second | {"settings_hash": "01234567"}])
    measured = lines(tmp_path)["LaPerm"].measured
    assert measured is not None
    assert (measured.num_seeds, measured.last) == (1, 90.0)


def test_failures_are_counted(tmp_path: Path) -> None:
    first, second = rows(RECIPE, "paper", LaPerm=[90.0, 80.0])
    failed = second | {"status": "failed", "test_percent": None, "best_test_percent": None}
    write_csv(tmp_path / "tiny.csv", [first, failed])
    line = lines(tmp_path)["LaPerm"]
    assert line.measured is not None
    assert (line.measured.num_seeds, line.measured.last, line.failed) == (1, 90.0, 1)


def test_arms_without_copies_are_as_in_the_original(tmp_path: Path) -> None:
    def copies(budget: Budget) -> list[Arm]:
        found = []
        for arm in arms(budget):
            data = replace(arm.settings.data, data="digits-jpeg")
            on_copies = replace(arm, settings=replace(arm.settings, data=data), published=None)
            found.append(arm if arm.group == "index" else on_copies)
        return found

    copy = replace(RECIPE, id="tiny-jpeg", arms=copies, copy_of="tiny")
    write_csv(tmp_path / "tiny-jpeg.csv", rows(copy, "paper", LaPerm=[89.0], index=[89.0]))
    found = lines(tmp_path, copy, original=RECIPE)
    assert found["LaPerm"].verdict == "other data"
    assert found["index"].verdict == "published only in words"


def test_pages_leave_out_what_has_no_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "RESULTS", tmp_path)
    monkeypatch.setitem(RECIPES, "tiny", RECIPE)
    monkeypatch.setattr(reproduction, "SUMMARY", (("tiny", "LaPerm", "Adam"),))
    written = [
        row
        | {"published_percent": None, "wall_s": 1.0, "test_percent_at": f"5={seed}"}
        | {"changed_fraction": None}
        for seed, row in enumerate(rows(RECIPE, "paper", LaPerm=[90.0, 80.0], Adam=[70.0, 60.0]))
    ]
    nothing = {"test_percent": None, "best_test_percent": None, "test_percent_at": None}
    written[1] |= nothing | {"status": "failed"}
    written[3] |= {"status": "other settings", "settings_hash": "01234567"}
    write_csv(tmp_path / "tiny.csv", [written[1], written[0], *written[2:]])
    assert "| `tiny` | LaPerm |  | 90.00 | 70.00 | 1 |" in reproduction.summary_table()
    table = reproduction._own_tables(RECIPE, "paper")
    assert "| LaPerm | 1 | 90.00 |" in table
    assert "| LaPerm | 1 failed |" in table
    assert "| LaPerm | 0.00 |" in table  # after 5 updates, of the one that is complete


def test_copies_show_differences_alone(tmp_path: Path) -> None:
    def copies(budget: Budget) -> list[Arm]:
        data = DataSettings(data="digits-jpeg")
        return [
            replace(arm, settings=replace(arm.settings, data=data), published=None)
            for arm in arms(budget)
        ]

    copy = replace(RECIPE, id="tiny-jpeg", arms=copies, copy_of="tiny")
    written = rows(copy, "paper", LaPerm=[89.0], Adam=[90.0])
    write_csv(tmp_path / "tiny-jpeg.csv", written)
    found = lines(tmp_path, copy, original=RECIPE)
    assert (found["LaPerm"].published, found["LaPerm"].verdict) == (None, "other data")
    assert (found["LaPerm"].published_difference, found["LaPerm"].our_difference) == (-1.5, -1.0)
    (tmp_path / "tiny-jpeg.csv").rename(tmp_path / "tiny-jpeg-quick.csv")
    write_csv(tmp_path / "tiny-jpeg-quick.csv", rows(copy, "quick", LaPerm=[89.0]))
    assert lines(tmp_path, copy, original=RECIPE)["LaPerm"].verdict == "not run"


def test_a_short_budget_counts_only_where_no_full_row_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "RESULTS", tmp_path)
    recipe = replace(RECIPE, budgets=WITH_SHORT)
    assert reproduction._verdicts_in_words(recipe) == "3 not run"
    write_csv(tmp_path / "tiny-quick.csv", rows(recipe, "quick", LaPerm=[80.0]))
    assert reproduction._verdicts_in_words(recipe) == "3 not run"
    write_csv(tmp_path / "tiny-short.csv", rows(recipe, "short", LaPerm=[85.0]))
    assert reproduction._verdicts_in_words(recipe) == "3 not run; short alone"
    write_csv(tmp_path / "tiny.csv", rows(recipe, "paper", LaPerm=[90.0]))
    assert reproduction._verdicts_in_words(recipe) == "1 reproduced, 2 not run"
