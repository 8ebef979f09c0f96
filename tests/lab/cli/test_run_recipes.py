"""`permtrain run`: the mechanism of recipes, on a recipe of two arms with two seeds each."""

import csv
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from run_problem import interrupted_run, outcome, place_in
from sweep_problem import TINY, arms

from permtrain.lab.cli.main import main
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import run_name, settings_hash

COLUMNS = [
    "recipe", "budget", "arm", "seed", "status", "data", "train_images", "epochs",
    "published_percent",
    "validation_percent", "test_percent",
    "best_test_percent", "best_epoch", "best_selected_on", "intact", "moved_fraction",
    "mean_ranking_distance", "changed_layer_fraction", "layer_rms_ratio", "test_percent_at",
    "changed_fraction", "mean_change",
    "change_norm", "wall_s", "settings_hash", "commit", "device", "threads", "torch",
    "error",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)


def run(tmp_path: Path, *flags: str) -> int:
    folders = ["--runs-folder", str(tmp_path / "runs"), "--results-folder", str(tmp_path / "out")]
    return main(["run", "tiny", *folders, "--threads", "1", "--device", "cpu", *flags])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_arms_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    said = capsys.readouterr().out
    assert "[1/4] LaPerm, seed 0  epoch 1/2" in said
    assert "[4/4] Adam, seed 1  epoch 2/2" in said
    assert "4 of 4 arms complete, written to" in said
    path = tmp_path / "out" / "tiny-quick.csv"
    rows = rows_of(path)
    assert list(rows[0]) == COLUMNS
    assert [(row["arm"], row["seed"]) for row in rows] == [
        ("LaPerm", "0"), ("LaPerm", "1"), ("Adam", "0"), ("Adam", "1"),
    ]  # fmt: skip
    for row, arm in zip(rows, arms("quick"), strict=True):
        folder = RunFolder(tmp_path / "runs" / run_name(arm.settings))
        result = RunResult.read(folder)
        assert row["recipe"] == "tiny"
        assert row["budget"] == "quick"
        assert row["epochs"] == "2"
        assert row["published_percent"] == ("99.5" if arm.group == "LaPerm" else "")
        assert row["test_percent"] == str(round(100 * result.test_accuracy, 4))
        assert row["best_test_percent"] == str(round(100 * result.best_test_accuracy, 4))
        assert row["best_epoch"] == str(result.best_epoch)
        assert row["best_selected_on"] == "test"
        assert row["intact"] == ("True" if arm.group == "LaPerm" else "")
        assert (row["moved_fraction"] == "") == (result.travel is None)
        assert row["settings_hash"] == settings_hash(arm.settings)
        assert row["threads"] == "1"
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    before = path.read_bytes()
    assert run(tmp_path) == 0
    assert "  epoch " not in capsys.readouterr().out.split("tiny, budget quick")[0]
    assert times == {p: p.stat().st_mtime_ns for p in times}
    assert path.read_bytes() == before


def test_only_some_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out" / "tiny-quick.csv"
    assert run(tmp_path, "--only", "Adam, seed 1") == 0
    assert "1 of 4 arms complete" in capsys.readouterr().out
    assert [(row["arm"], row["seed"]) for row in rows_of(path)] == [("Adam", "1")]
    assert run(tmp_path, "--only", "*seed 0") == 0  # results hold all complete ones
    found = [(row["arm"], row["seed"]) for row in rows_of(path)]
    assert found == [("LaPerm", "0"), ("Adam", "0"), ("Adam", "1")]


def test_a_pattern_without_a_seed_matches_all_of_them(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--only", "Adam") == 0
    found = [(row["arm"], row["seed"]) for row in rows_of(tmp_path / "out" / "tiny-quick.csv")]
    assert found == [("Adam", "0"), ("Adam", "1")]


def test_a_pattern_that_matches_nothing(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--only", "SGD*") == 1
    assert capsys.readouterr().err == (
        "error: only is 'SGD*', which matches no arm; there are, for example: LaPerm; Adam "
        "(all: permtrain recipes ID)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_paper_budget_has_its_own_file(tmp_path: Path) -> None:
    assert run(tmp_path, "--budget", "paper", "--only", "Adam, seed 0") == 0
    (row,) = rows_of(tmp_path / "out" / "tiny.csv")
    assert (row["epochs"], row["budget"]) == ("3", "paper")


def test_a_begun_arm_goes_on(tmp_path: Path) -> None:
    settings = arms("quick")[0].settings
    folder = interrupted_run(settings, place_in(tmp_path / "runs"), 7)
    assert run(tmp_path, "--only", "LaPerm, seed 0") == 0
    whole = place_in(tmp_path / "whole")
    from permtrain.lab.training.run import start_run

    assert outcome(folder) == outcome(start_run(settings, whole).folder)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_an_arm_that_another_process_trains_is_left_out(tmp_path: Path, capsys) -> None:
    folder = interrupted_run(arms("quick")[2].settings, place_in(tmp_path / "runs"), 7)
    with FileLock(folder / ".lock"):
        assert run(tmp_path, "--only", "Adam*") == 0
    said = capsys.readouterr().out
    assert f"left out: {folder} is being trained by another process" in said
    assert [row["seed"] for row in rows_of(tmp_path / "out" / "tiny-quick.csv")] == ["1"]


def test_an_arm_that_another_process_began_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Both looked when the folder was not there yet."""
    folder = interrupted_run(arms("quick")[2].settings, place_in(tmp_path / "runs"), 7)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path != folder and exists(path))
    assert run(tmp_path, "--only", "Adam*") == 0
    assert f"left out: {folder} was begun by another process just now" in capsys.readouterr().out
    assert [row["seed"] for row in rows_of(tmp_path / "out" / "tiny-quick.csv")] == ["1"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    import permtrain.lab.cli.progress as progress

    def show(self: progress.Progress, done: int, total: int) -> None:
        if done == 7:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress.Progress, "show", show)
    assert run(tmp_path) == 130
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "checkpoints" / "step-000000007.pt").exists()
    assert capsys.readouterr().err == (
        f"stopped; saved in {tmp_path / 'runs'}; the same command goes on\n"
    )
    assert not (tmp_path / "out").exists()
    assert run_name(arms("quick")[0].settings) == folder.name
