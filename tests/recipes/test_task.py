"""Recipes whose arms are no training of a classifier, on a task that halves a number."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from permtrain.cli.main import main
from permtrain.errors import CheckpointError
from permtrain.recipes.recipe import Arm, Recipe
from permtrain.recipes.registry import RECIPES
from permtrain.recipes.task import Display, Measure, Task, hash_of, run_folder
from permtrain.training.record import RunFolder, read_json, write_json
from permtrain.training.run import RunIsBusy
from permtrain.training.settings import Place


@dataclass(frozen=True)
class Halving:
    start: float
    seed: int


def name_of(settings: Halving) -> str:
    return f"halving-{hash_of(settings)}"


def halve(settings: Halving, place: Place, display: Display) -> None:
    with run_folder(name_of(settings), settings, place, torch.device("cpu")) as folder:
        display.show(1, 1)
        display.say(f"half of {settings.start}")
        half = settings.start / 2 + settings.seed
        result = {"half": half, "wall_s": 0.5, "settings_hash": hash_of(settings)}
        write_json(folder.result_file, result)


def row(folder: RunFolder) -> dict[str, Any]:
    return {"half": read_json(folder.result_file)["half"], "lost": None}


MEASURES = (Measure("half", "half", 1), Measure("lost", "lost"))
TASK = Task(name_of, halve, row, MEASURES)
ARMS = [Arm(f"from {start}", Halving(start, seed)) for start in (4.0, 6.0) for seed in (0, 1)]


@pytest.fixture(autouse=True)
def _recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("halving", "for tests", "none", lambda budget: ARMS, task=TASK)
    monkeypatch.setitem(RECIPES, "halving", recipe)


def test_all_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--runs-folder", str(tmp_path / "runs"), "--results-folder", str(tmp_path)]
    assert main(["run", "halving", *folders]) == 0
    said = capsys.readouterr().out
    assert "[4/4] from 6.0, seed 1  half of 6.0" in said
    cells = [line.replace("│", " ").split() for line in said.splitlines() if "│ from" in line]
    assert cells == [
        ["from", "4.0", "2", "2.5", "±", "0.7", "0"],
        ["from", "6.0", "2", "3.5", "±", "0.7", "0"],
    ]
    with (tmp_path / "halving-quick.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "recipe", "budget", "arm", "seed", "status", "half", "lost", "wall_s", "settings_hash",
        "commit", "device", "threads", "torch", "error",
    ]  # fmt: skip
    assert [row["half"] for row in rows] == ["2.0", "3.0", "3.0", "4.0"]
    assert [row["settings_hash"] for row in rows] == [hash_of(arm.settings) for arm in ARMS]
    assert main(["run", "halving", *folders]) == 0  # complete: nothing is computed again
    assert "half of" not in capsys.readouterr().out


def test_an_arm_of_another_process_is_left_out(tmp_path: Path) -> None:
    place = Place(runs_folder=tmp_path)
    settings = ARMS[0].settings
    with (
        run_folder(name_of(settings), settings, place, torch.device("cpu")),
        pytest.raises(RunIsBusy),
    ):
        halve(settings, place, None)  # type: ignore[arg-type]


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    place = Place(runs_folder=tmp_path)
    with run_folder("x", Halving(1.0, 0), place, torch.device("cpu")):
        pass
    with (
        pytest.raises(CheckpointError, match="is a run of other settings"),
        run_folder("x", Halving(2.0, 0), place, torch.device("cpu")),
    ):
        pass


def test_no_report_of_such_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "halving"]) == 1
    assert "halving trains no classifier" in capsys.readouterr().err
