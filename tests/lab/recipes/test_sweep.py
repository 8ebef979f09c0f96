"""Sweeps: parts, interruption, failures, several processes, and gathering without training."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_problem import interrupted_run, outcome, place_in, plain, tiny
from sweep_problem import FIRST, SECOND, TINY, arms, permtrain

from permtrain.errors import DataError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.cli.progress import Progress
from permtrain.lab.recipes.recipe import Arm, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.rows import merged, read_csv, write_csv
from permtrain.lab.recipes.status import arm_states, cost_in_words, count_arms, in_words, left_out
from permtrain.lab.recipes.sweep import matching_arms
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    run_name,
    settings_hash,
)


@pytest.fixture(autouse=True)
def _tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)


def run(tmp_path: Path, *flags: str, recipe: str = "tiny") -> int:
    folders = ["--runs-folder", str(tmp_path / "runs"), "--results-folder", str(tmp_path / "out")]
    return main(["run", recipe, *folders, "--threads", "1", "--device", "cpu", *flags])


def gather(tmp_path: Path, *flags: str) -> int:
    folders = ["--runs-folder", str(tmp_path / "runs"), "--results-folder", str(tmp_path / "out")]
    return main(["gather", "tiny", *folders, *flags])


def rows_in(tmp_path: Path, name: str = "tiny-quick") -> list[dict[str, Any]]:
    return read_csv(tmp_path / "out" / f"{name}.csv")


def done_in(tmp_path: Path) -> list[str]:
    return [f"{row['arm']}, seed {row['seed']}" for row in rows_in(tmp_path)]


def folder_of(tmp_path: Path, arm: Arm) -> Path:
    return tmp_path / "runs" / run_name(arm.settings)


# Which arms


def test_parts_are_disjoint_and_all() -> None:
    for of in (1, 2, 3, 4, 6):
        parts = [matching_arms(arms("quick"), part=f"{i}/{of}") for i in range(1, of + 1)]
        names = [arm.name for part in parts for arm in part]
        assert sorted(names) == sorted(arm.name for arm in arms("quick"))
        assert len(names) == 4
    only = matching_arms(arms("quick"), "Adam*", "2/2")
    assert [arm.name for arm in only] == ["Adam, seed 1"]


@pytest.mark.parametrize("part", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", ""])
def test_what_is_no_part(part: str) -> None:
    with pytest.raises(SettingError) as refused:
        matching_arms(arms("quick"), part=part)
    assert str(refused.value) == f"part is {part!r}; allowed: i/n, i from 1 to n, as in 2/4"


def test_a_part_of_the_arms(tmp_path: Path) -> None:
    assert run(tmp_path, "--part", "2/4") == 0
    assert done_in(tmp_path) == [SECOND]
    assert run(tmp_path, "--part", "1/4") == 0
    assert done_in(tmp_path) == [FIRST, SECOND]
    assert run(tmp_path, "--part", "5/5") == 0  # more processes than arms
    assert done_in(tmp_path) == [FIRST, SECOND]


# Data


def test_absent_data_is_told_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERMTRAIN_CACHE", str(tmp_path / "cache"))

    def with_absent(budget) -> list[Arm]:
        mnist = tiny(data=DataSettings(data="mnist"))
        return [*arms(budget), Arm("MNIST", mnist)]

    monkeypatch.setitem(RECIPES, "absent", Recipe("absent", "for tests", "none", with_absent))
    assert run(tmp_path, recipe="absent") == 1
    assert capsys.readouterr().err == (
        "error: mnist is not on this machine; fetch it with: permtrain fetch mnist\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, "--only", "Adam, seed 0", recipe="absent") == 0  # needs no MNIST


def test_an_absent_library_is_told_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_lookahead(budget) -> list[Arm]:
        lookahead = plain(optimizer=OptimizerSettings(lookahead_period=6))
        return [*arms(budget), Arm("Lookahead", lookahead)]

    monkeypatch.setitem(RECIPES, "absent", Recipe("absent", "for tests", "none", with_lookahead))
    monkeypatch.setattr("permtrain.lab.training.optimizers.find_spec", lambda name: None)
    assert run(tmp_path, recipe="absent") == 1
    assert capsys.readouterr().err == (
        "error: lookahead_period is 6, and pytorch_optimizer is not installed; "
        "pip install 'permtrain[baselines]'\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, "--only", "Adam, seed 0", recipe="absent") == 0  # does without


def test_a_complete_recipe_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, "--only", "Adam*") == 0

    def refuse(*_: object) -> None:
        raise DataError("not here")

    monkeypatch.setattr("permtrain.lab.data.fetch.require_data", refuse)
    assert run(tmp_path, "--only", "Adam*") == 0
    assert run(tmp_path) == 1


# Interruption


def test_ctrl_c_keeps_every_finished_arm(tmp_path: Path) -> None:
    process = permtrain(tmp_path, "run", "tiny", send=signal.SIGINT, step=7, arm=SECOND)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert said.endswith(f"stopped; saved in {tmp_path / 'runs'}; the same command goes on\n")
    assert done_in(tmp_path) == [FIRST]
    (before,) = rows_in(tmp_path)
    assert run(tmp_path) == 0
    assert [row["status"] for row in rows_in(tmp_path)] == ["complete"] * 4
    assert rows_in(tmp_path)[0] == before
    assert run(tmp_path / "whole") == 0
    for arm in arms("quick"):
        assert outcome(folder_of(tmp_path, arm)) == outcome(folder_of(tmp_path / "whole", arm))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_is_asked_for_at_the_end_of_an_arm_stops_the_sweep(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """There is no step left after which it would be seen."""

    def show(progress: Progress, done: int, total: int) -> None:
        if done == total == 10:
            signal.raise_signal(number)

    monkeypatch.setattr(Progress, "show", show)
    assert run(tmp_path) == 130
    folder = folder_of(tmp_path, arms("quick")[0])
    assert capsys.readouterr().err.endswith("; the same command goes on\n")
    assert list((tmp_path / "runs").iterdir()) == [folder]
    monkeypatch.undo()
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    assert run(tmp_path, "--only", FIRST) == 0
    assert run(tmp_path / "whole", "--only", FIRST) == 0
    assert outcome(folder) == outcome(folder_of(tmp_path / "whole", arms("quick")[0]))


def test_a_killed_sweep_keeps_every_finished_arm(tmp_path: Path) -> None:
    process = permtrain(tmp_path, "run", "tiny", send=signal.SIGKILL, step=7, arm=SECOND)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert done_in(tmp_path) == [FIRST]
    states = arm_states(TINY, arms("quick"), "quick", tmp_path / "runs", tmp_path / "out")
    assert states == ["complete", "begun", "not run", "not run"]
    ungathered = arm_states(TINY, arms("quick"), "quick", tmp_path / "runs", tmp_path / "nothing")
    assert ungathered == states
    gathered = arm_states(TINY, arms("quick"), "quick", tmp_path / "nothing", tmp_path / "out")
    assert gathered == ["complete", "not run", "not run", "not run"]
    assert run(tmp_path) == 0
    assert run(tmp_path / "whole") == 0
    for arm in arms("quick"):
        assert outcome(folder_of(tmp_path, arm)) == outcome(folder_of(tmp_path / "whole", arm))


def test_a_damaged_arm_does_not_keep_the_others(tmp_path: Path, capsys) -> None:
    folder = interrupted_run(arms("quick")[0].settings, place_in(tmp_path / "runs"), 7)
    for checkpoint in (folder / "checkpoints").iterdir():
        checkpoint.write_bytes(b"cut off")
    assert run(tmp_path, "--only", "*seed 0") == 0
    said = capsys.readouterr().out
    assert f"left out: {FIRST}: {folder}/checkpoints/" in said
    assert "1 of 4 arms complete" in said
    assert done_in(tmp_path) == ["Adam, seed 0"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("result.json", "", "not readable as JSON"),
        ("result.json", "{}", "not the result of a run ('travel')"),
        ("result.json", '{"travel": null}', "not the result of a run ("),
        ("environment.json", None, "not readable as JSON (no such file)"),
        ("environment.json", "{}", "does not tell what the run was computed with ('commit')"),
    ],
)
def test_a_complete_arm_that_was_damaged_does_not_keep_the_others(
    name: str, text: str | None, message: str, tmp_path: Path, capsys
) -> None:
    assert run(tmp_path, "--only", "*seed 0") == 0
    before = rows_in(tmp_path)
    file = folder_of(tmp_path, arms("quick")[0]) / name
    file.unlink()
    if text is not None:
        file.write_text(text)
    capsys.readouterr()
    assert run(tmp_path, "--only", SECOND) == 0
    said = capsys.readouterr().out
    assert said.count("left out: ") == 1
    assert f"left out: {FIRST}: {file}: {message}" in said
    assert "3 of 4 arms complete" in said
    assert done_in(tmp_path) == [FIRST, SECOND, "Adam, seed 0"]
    assert [rows_in(tmp_path)[place] for place in (0, 2)] == before
    shutil.rmtree(tmp_path / "out")
    assert gather(tmp_path) == 0
    assert done_in(tmp_path) == [SECOND, "Adam, seed 0"]


def test_last_and_best_epoch_have_cells_of_their_own(tmp_path: Path) -> None:
    assert run(tmp_path, "--only", FIRST) == 0
    file = RunFolder(folder_of(tmp_path, arms("quick")[0])).result_file
    best = {"best_test_accuracy": 0.75, "best_epoch": 1, "selected_on": "validation"}
    more = {"test_accuracy": 0.5, "validation_accuracy": 0.625}
    file.write_text(json.dumps(json.loads(file.read_text()) | best | more))
    assert gather(tmp_path) == 0
    (row,) = rows_in(tmp_path)
    assert (row["test_percent"], row["validation_percent"]) == (50, 62.5)
    assert (row["best_test_percent"], row["best_epoch"]) == (75, 1)
    assert row["best_selected_on"] == "validation"


# Several processes


def test_two_processes_on_the_same_arms(tmp_path: Path) -> None:
    processes = [permtrain(tmp_path, "run", "tiny") for _ in range(2)]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert done_in(tmp_path) == [arm.name for arm in arms("quick")]
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == sorted(run_name(arm.settings) for arm in arms("quick"))
    for arm in arms("quick"):  # nobody went on with what the other had begun
        environment = json.loads((folder_of(tmp_path, arm) / "environment.json").read_text())
        assert "resumed" not in environment


def test_an_arm_that_another_process_completes_meanwhile_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def after_the_other(settings, place, **how):
        start_run(settings, place)
        return start_run(settings, place, **how)

    monkeypatch.setattr("permtrain.lab.recipes.sweep.start_run", after_the_other)
    assert run(tmp_path, "--only", FIRST) == 0
    folder = folder_of(tmp_path, arms("quick")[0])
    assert list((tmp_path / "runs").iterdir()) == [folder]
    said = capsys.readouterr().out
    assert f"left out: {folder} was begun by another process just now" in said
    assert done_in(tmp_path) == [FIRST]  # the row is told all the same


def test_gathering_from_several_runs_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("1", "2"):
        assert run(tmp_path / number, "--part", f"{number}/2") == 0
    shutil.copytree(tmp_path / "1" / "runs", tmp_path / "runs")
    capsys.readouterr()
    assert gather(tmp_path, "--more-runs-folders", str(tmp_path / "2" / "runs")) == 0
    said = capsys.readouterr().out
    assert f"4 of 4 arms complete, written to {tmp_path}/out/tiny-quick.csv" in said
    assert done_in(tmp_path) == [arm.name for arm in arms("quick")]


def test_a_runs_folder_that_is_not_there(tmp_path: Path, capsys) -> None:
    assert gather(tmp_path, "--more-runs-folders", str(tmp_path / "typo")) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: more_runs_folders has {tmp_path / 'typo'}, which is no folder;")


def test_rows_from_elsewhere_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--part", "1/2") == 0
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    assert run(tmp_path, "--only", SECOND) == 0
    assert done_in(tmp_path) == [FIRST, SECOND, "Adam, seed 0"]
    assert "3 of 4 arms complete" in capsys.readouterr().out
    assert gather(tmp_path / "nothing") == 0
    assert capsys.readouterr().out == "0 of 4 arms complete\n"


def test_rows_of_other_settings_say_so(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--only", FIRST) == 0
    path = tmp_path / "out" / "tiny-quick.csv"
    (row,) = rows_in(tmp_path)
    write_csv(path, [row | {"settings_hash": "01234567", "seed": 1}])
    assert gather(tmp_path) == 0
    assert [row["status"] for row in rows_in(tmp_path)] == ["complete", "other settings"]
    assert "1 of 4 arms complete, written to" in capsys.readouterr().out
    assert run(tmp_path, "--only", SECOND) == 0  # takes the row's place
    assert [row["status"] for row in rows_in(tmp_path)] == ["complete", "complete"]


# Tables that others wrote


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",", ";"), "has no column arm, seed, settings_hash; allowed: a"),
        (lambda text: text.replace("settings_hash", "hash"), "has no column settings_hash; allo"),
        (
            lambda text: text.rpartition(",")[0],
            "line 3 has 29 cells; allowed: 30, as the first line",
        ),
        (lambda text: text[:-1] + ",x\n", "line 3 has 31 cells; allowed: 30, as the first line"),
        (lambda text: text + "\xe9", "not readable as CSV ('utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_a_table_that_was_damaged_is_refused_and_kept(change, message, tmp_path: Path, capsys):
    assert run(tmp_path, "--part", "1/2") == 0
    path = tmp_path / "out" / "tiny-quick.csv"
    path.write_bytes(damaged := change(path.read_text()).encode("latin-1"))
    for command in (run, gather, lambda folder: main(["recipes", "tiny", *results_in(folder)])):
        capsys.readouterr()
        assert command(tmp_path) == 1
        said = capsys.readouterr()
        assert f"error: {path}: {message}" in said.err
        assert "epoch" not in said.out  # before any training
        assert path.read_bytes() == damaged


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_results_folder_that_cannot_be_made(below: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").write_text("a file")
    folder = tmp_path / "out" / below
    assert run(tmp_path, "--results-folder", str(folder)) == 1
    said = capsys.readouterr()
    assert said.err == (
        f"error: {folder / 'tiny-quick.csv'}: cannot be written, for {tmp_path / 'out'} is no "
        "folder of yours to write\n"
    )
    assert not (tmp_path / "runs").exists()


def results_in(tmp_path: Path) -> list[str]:
    return ["--results-folder", str(tmp_path / "out"), "--runs-folder", str(tmp_path / "runs")]


def test_a_table_that_went_through_a_spreadsheet(tmp_path: Path, capsys) -> None:
    """With a mark first, empty lines, and numbers and line ends as others write them."""
    assert run(tmp_path, "--part", "1/2") == 0
    before = rows_in(tmp_path)
    path = tmp_path / "out" / "tiny-quick.csv"
    text = path.read_text().replace(",99.5,", ",9.950E+01,").replace("\n", "\r\n\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    assert rows_in(tmp_path) == before
    assert run(tmp_path, "--only", SECOND) == 0
    assert [rows_in(tmp_path)[place] for place in (0, 2)] == before
    assert "3 of 4 arms complete" in capsys.readouterr().out


# Failures


def failing(budget) -> list[Arm]:
    """The second of four arms leaves the numbers in its first steps, as do the weights that the
    third was to shuffle."""
    wild = OptimizerSettings(inner="SGD", lr=1e30)
    shuffle = InitialSettings(rule="shuffle", trained_rule="xavier_normal", trained_epochs=1)
    return [
        Arm("tame", plain(epochs=1)),
        Arm("wild", plain(epochs=1, optimizer=wild)),
        Arm("wild, shuffled", tiny(epochs=1, optimizer=wild, initial=shuffle)),
        Arm("late", plain(epochs=1, seed=1)),
    ]


def test_an_arm_that_fails_leaves_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe("failing", "for tests", "none", failing)
    monkeypatch.setitem(RECIPES, "failing", recipe)
    assert run(tmp_path, recipe="failing") == 0
    said = capsys.readouterr().out
    assert "failed: wild, seed 0: " in said
    assert "failed: wild, shuffled, seed 0: " in said
    assert "2 of 4 arms complete, 2 failed, written to" in said
    rows = rows_in(tmp_path, "failing-quick")
    assert [(row["arm"], row["status"]) for row in rows] == [
        ("tame", "complete"),
        ("wild", "failed"),
        ("wild, shuffled", "failed"),
        ("late", "complete"),
    ]
    for row, arm in zip(rows[1:3], failing("quick")[1:3], strict=True):
        assert row["error"].startswith("Diverged: ")
        assert row["test_percent"] is None
        assert row["settings_hash"] == settings_hash(arm.settings)
    assert rows[0]["error"] is None
    progress = count_arms(recipe, "quick", tmp_path / "runs", tmp_path / "out")
    assert (progress.num_complete, progress.num_failed, progress.num_arms) == (2, 2, 4)

    assert run(tmp_path, recipe="failing") == 0  # not tried again
    assert "failed: wild" not in capsys.readouterr().out
    assert run(tmp_path, "--retry-failed", recipe="failing") == 0
    assert "failed: wild" in capsys.readouterr().out
    assert rows_in(tmp_path, "failing-quick") == rows


def test_a_failed_arm_goes_on_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = interrupted_run(arms("quick")[0].settings, place_in(tmp_path / "runs"), 7)
    failure = folder / "failure.json"
    failure.write_text('{"error": "Diverged: once"}')
    assert run(tmp_path, "--only", FIRST) == 0
    assert [row["status"] for row in rows_in(tmp_path)] == ["failed"]
    assert run(tmp_path, "--only", FIRST, "--retry-failed") == 0
    assert [row["status"] for row in rows_in(tmp_path)] == ["complete"]
    assert not failure.exists()


def test_a_failure_and_its_alternatives_are_never_both_told() -> None:
    """An arm with alternatives fails under its own name, and is complete under theirs."""
    failure = {"arm": "Adam", "seed": 0, "settings_hash": "1", "status": "failed"}
    outcomes = [
        failure | {"arm": f"Adam, {name}", "status": "complete"} for name in ("float32", "8-bit")
    ]
    assert merged([failure], outcomes, ["1"]) == outcomes  # tried again
    assert merged(outcomes, [failure], ["1"]) == outcomes  # failed here, computed elsewhere
    renamed = [outcomes[0] | {"arm": "Adam, 32 bits"}]
    assert merged(outcomes, renamed, ["1"]) == renamed
    elsewhere = failure | {"seed": 1, "settings_hash": "2"}
    assert merged([elsewhere], outcomes, ["1", "2"]) == [*outcomes, elsewhere]


# Defaults that change


def test_an_old_run_of_other_settings_keeps_its_folder(tmp_path: Path) -> None:
    """As if the default of batch_size had been 16 when the first run got the name."""
    arm = arms("quick")[0]
    assert run(tmp_path, "--only", FIRST) == 0
    folder = RunFolder(folder_of(tmp_path, arm))
    old = json.loads(folder.settings_file.read_text())
    assert old["batch_size"] == 32
    folder.settings_file.write_text(json.dumps(old | {"batch_size": 16}))
    assert TINY.folder(arm, tmp_path / "runs") == Path(f"{folder.path}-2")
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    assert run(tmp_path, "--only", FIRST) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert RunFolder(Path(f"{folder.path}-2")).settings() == arm.settings
    assert RunFolder(Path(f"{folder.path}-2")).is_complete
    assert TINY.folder(arm, tmp_path / "runs") == Path(f"{folder.path}-2")
    assert folder.settings() == replace(arm.settings, batch_size=16)


def test_a_begun_run_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    process = permtrain(tmp_path, "run", "tiny", send=signal.SIGINT, step=7, arm=FIRST)
    process.communicate(timeout=300)
    arm = arms("quick")[0]
    folder = RunFolder(folder_of(tmp_path, arm))
    old = json.loads(folder.settings_file.read_text())
    folder.settings_file.write_text(json.dumps(old | {"batch_size": 16}))
    assert run(tmp_path, "--only", FIRST) == 0
    assert not folder.is_complete
    assert outcome(Path(f"{folder.path}-2"))[2]["epochs"] == 2


def test_a_run_keeps_its_folder_where_a_new_setting_came_later(tmp_path: Path) -> None:
    """A file without it is of its default; one of a setting that is no more is another run's."""
    arm = arms("quick")[2]
    assert run(tmp_path, "--only", arm.name) == 0
    folder = RunFolder(folder_of(tmp_path, arm))
    stored = json.loads(folder.settings_file.read_text())
    del stored["watched_steps"]
    stored["sgperm"]["momentum"] = 0.9  # an older default, of a method that is not used
    folder.settings_file.write_text(json.dumps(stored))
    assert TINY.folder(arm, tmp_path / "runs") == folder.path
    folder.settings_file.write_text(json.dumps(stored | {"gone": 1}))
    assert TINY.folder(arm, tmp_path / "runs") == Path(f"{folder.path}-2")


# What is said


def test_quick_says_what_it_leaves_out(tmp_path: Path, capsys) -> None:
    assert left_out(TINY, "quick") == ["epochs 2 in place of 3"]
    assert left_out(RECIPES["open-schedules"], "quick")[-1] == "other stages"
    sortgan = left_out(RECIPES["sortgan-mnist"], "quick")
    assert {"epochs 2 in place of 100", "judge's epochs 1 in place of 4"} <= set(sortgan)
    assert "train images 10000 in place of all" in sortgan
    lines = left_out(RECIPES["index-layer"], "quick")
    assert lines == [
        "12 of 36 runs (1 of 3 seeds)",
        "train images 10000 in place of all",
        "epochs 2 in place of 20",
    ]
    assert run(tmp_path, "--only", "Adam, seed 0") == 0
    assert capsys.readouterr().out.startswith(
        "budget quick trains less: epochs 2 in place of 3; in full: permtrain run tiny --budget "
        "paper\n"
    )


def listed(tmp_path: Path, *words: str) -> int:
    folders = ["--runs-folder", str(tmp_path / "runs"), "--results-folder", str(tmp_path / "out")]
    return main(["recipes", *words, *folders])


def test_the_list_tells_cost_status_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert listed(tmp_path) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "tiny: not run\n    for tests\n    cost: seconds\n    published: 99.50\n" in text
    assert all(f"{recipe_id}: " in text for recipe_id in RECIPES)

    assert run(tmp_path) == 0
    capsys.readouterr()
    assert listed(tmp_path, "tiny") == 0
    assert capsys.readouterr().out.startswith("tiny: quick done\n")
    assert run(tmp_path, "--budget", "paper", "--only", FIRST) == 0
    capsys.readouterr()
    assert listed(tmp_path, "tiny") == 0
    text = capsys.readouterr().out
    assert text.startswith("tiny: 1 of 4 arms complete\n")
    assert "(by the times of 1)" in text
    assert "  1-2 LaPerm, 2 seeds: 1 complete, 1 not run; published 99.50\n" in text
    assert "  3-4 Adam, 2 seeds: not run\n" in text


def test_the_cost_of_runs_to_come_is_that_of_their_like(tmp_path: Path) -> None:
    def two_nets(budget) -> list[Arm]:
        nets = {
            "small": tiny(epochs=2),
            "large": tiny(model="logistic"),
            "large, plain": plain(model="logistic"),
        }
        return [Arm(n, replace(s, seed=seed)) for n, s in nets.items() for seed in (0, 1, 2)]

    recipe = Recipe("two", "for tests", "as it says", two_nets)
    assert cost_in_words(recipe, tmp_path) == "as it says"

    def written(*numbers_and_hours: tuple[int, float]) -> None:
        arms = two_nets("paper")
        write_csv(
            tmp_path / "two.csv",
            [
                {
                    "arm": arms[number].group,
                    "seed": arms[number].settings.seed,
                    "settings_hash": recipe.settings_hash(arms[number]),
                    "wall_s": 3600 * hours,
                }
                for number, hours in numbers_and_hours
            ],
        )

    written((0, 1.0), (1, 3.0), (3, 10.0))
    # 1 + 3 + 2 of the small one; 10 for each of the large ones, plain ones too; on two cores.
    assert cost_in_words(recipe, tmp_path) == "9 runs, 33 h (by the times of 3)"
    written((0, 1.0))  # half an hour an epoch, of 2 and of 3
    assert cost_in_words(recipe, tmp_path) == "9 runs, 6 h (by the times of 1)"


def test_status_in_words() -> None:
    from permtrain.lab.recipes.status import ArmCounts

    nothing = ArmCounts(4, 0, 0)
    assert in_words({"quick": nothing, "paper": nothing}) == "not run"
    assert in_words({"quick": ArmCounts(4, 3, 0), "paper": nothing}) == "quick: 3 of 4"
    assert in_words({"quick": ArmCounts(4, 3, 1), "paper": nothing}) == "quick done, 1 failed"
    short = {"quick": nothing, "short": ArmCounts(4, 4, 0), "paper": nothing}
    assert in_words(short) == "short done"
    assert in_words(short | {"paper": ArmCounts(4, 4, 0)}) == "4 of 4 arms complete"


def test_a_budget_that_a_recipe_does_not_have(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--budget", "short") == 1
    assert capsys.readouterr().err == (
        "error: budget is 'short'; allowed with tiny: quick, paper\n"
    )
    assert list(tmp_path.iterdir()) == []
