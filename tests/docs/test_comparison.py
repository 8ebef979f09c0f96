"""docs/pages/comparison.py and reproduction.py: published beside ours, on made-up results."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pages import reproduction
from pages.comparison import Line, lines_of, num_arms
from pages.reproduction import copies_table, own_tables, summary_table, verdicts_in_words
from run_problem import plain, tiny

from permtrain.lab.recipes.recipe import WITH_SCALED, WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import write_csv
from permtrain.lab.training.settings import DataSettings


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
    assert "| `tiny` | LaPerm |  | 90.00 | 70.00 | 1 |" in summary_table(tmp_path)
    table = own_tables(RECIPE, tmp_path)
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


def test_a_short_budget_counts_only_where_no_full_row_is(tmp_path: Path) -> None:
    recipe = replace(RECIPE, budgets=WITH_SHORT)
    assert verdicts_in_words(recipe, tmp_path) == "3 not run"
    write_csv(tmp_path / "tiny-quick.csv", rows(recipe, "quick", LaPerm=[80.0]))
    assert verdicts_in_words(recipe, tmp_path) == "3 not run"
    write_csv(tmp_path / "tiny-short.csv", rows(recipe, "short", LaPerm=[85.0]))
    assert verdicts_in_words(recipe, tmp_path) == "3 not run; short alone"
    write_csv(tmp_path / "tiny.csv", rows(recipe, "paper", LaPerm=[90.0]))
    assert verdicts_in_words(recipe, tmp_path) == "1 reproduced, 2 not run"


def scaled_arms(budget: Budget) -> list[Arm]:
    """As of LaPerm's recipes on CIFAR-10: one seed at a fifth of the length, and an arm of ours."""
    found = arms("quick" if budget == "scaled" else budget)
    more = [Arm("ours", tiny(epochs=2, batch_size=32), None)] if budget == "scaled" else []
    return found + more


ORIGINAL = replace(RECIPE, arms=scaled_arms, budgets=WITH_SCALED)


def scaled_copy() -> Recipe:
    def copies(budget: Budget) -> list[Arm]:
        return [
            replace(
                arm,
                settings=replace(arm.settings, data=replace(arm.settings.data, data="digits-jpeg")),
                published=None,
            )
            for arm in scaled_arms(budget)
        ]

    return replace(ORIGINAL, id="tiny-jpeg", arms=copies, copy_of="tiny")


def test_scaled_rows_of_copies_show_differences_beside_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = scaled_copy()
    monkeypatch.setitem(RECIPES, copy.id, copy)
    short = rows(copy, "short", LaPerm=[85.0], Adam=[86.0])
    write_csv(tmp_path / "tiny-jpeg-short.csv", short)
    assert verdicts_in_words(ORIGINAL, tmp_path).endswith("; on copies, short: other data")
    assert "| ours |" not in copies_table(ORIGINAL, tmp_path)
    scaled = rows(copy, "scaled", LaPerm=[88.0], Adam=[88.75], ours=[89.25])
    write_csv(tmp_path / "tiny-jpeg-scaled.csv", scaled)
    head, _, laperm, adam, ours = copies_table(ORIGINAL, tmp_path).splitlines()[2:7]
    assert head.split(" | ")[5:] == [
        "beside its baseline, in points: ours",
        "published, on CIFAR-10",
        "verdict |",
    ]
    assert (
        laperm == "| LaPerm | 88.00 (scaled) | 88.50 |  | 1 | -0.75 (scaled) | -1.50 | other data |"
    )
    assert adam == "| Adam | 88.75 (scaled) | 89.25 |  | 1 |  |  | other data |"
    assert ours == "| ours | 89.25 (scaled) | 89.75 |  | 1 | +0.50 (scaled) |  | other data |"
    text = copies_table(ORIGINAL, tmp_path)
    assert "90.00" not in text  # the published accuracy, of other pixels
    assert "\n(scaled): a fifth of the full training on all images, its schedules shrunk " in text
    assert "(1 of 2 seeds)" in text
    assert "(short)" not in text
    assert verdicts_in_words(ORIGINAL, tmp_path).endswith("; on copies, scaled: other data")


def test_arms_that_are_scaled_alone_count_nowhere_until_they_are_run(tmp_path: Path) -> None:
    assert list(lines(tmp_path, ORIGINAL)) == ["LaPerm", "index", "Adam"]
    written = rows(ORIGINAL, "scaled", ours=[89.0], Adam=[88.0])
    write_csv(tmp_path / "tiny-scaled.csv", written)
    found = lines(tmp_path, ORIGINAL)
    assert list(found) == ["LaPerm", "index", "Adam", "ours"]
    assert (found["ours"].our_difference, found["ours"].verdict) == (1.0, "not run")
    assert verdicts_in_words(ORIGINAL, tmp_path) == "4 not run; scaled alone"
    failed = written[1] | {"status": "failed", "test_percent": None, "best_test_percent": None}
    write_csv(tmp_path / "tiny-scaled.csv", [written[0], failed])
    ours = lines(tmp_path, ORIGINAL)["ours"]
    assert (ours.measured, ours.failed) == (None, 1)


def test_another_reading_is_compared_with_nothing(tmp_path: Path) -> None:
    """Rows on images less their mean image reproduce nothing that was published on x/255."""
    recipe = RECIPES["laperm-agnostic-mnist"]
    rows = [
        {
            "recipe": recipe.id,
            "budget": "paper",
            "arm": arm.group,
            "seed": arm.settings.seed,
            "status": "complete",
            "settings_hash": recipe.settings_hash(arm),
            "test_percent": 85.5,
            "best_test_percent": 85.5,
        }
        for arm in recipe.arms("paper")
        if arm.group in ("f1, 60% left, LaPerm k=250", "f1, 4/7 left, x/255, LaPerm k=250")
    ]
    write_csv(tmp_path / f"{recipe.id}.csv", rows)
    lines = {line.group: line for line in lines_of(recipe, tmp_path)}
    other = lines["f1, 60% left, LaPerm k=250"]
    assert (other.measured.last, other.published, other.verdict) == (85.5, None, None)
    assert lines["f1, 4/7 left, x/255, LaPerm k=250"].verdict == "reproduced"
    assert lines["f1, 60% left, x/255, LaPerm k=250"].verdict == "not run"
