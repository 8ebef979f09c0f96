"""Recipes whose arms are no training of a classifier, on a task that halves a number."""

import csv
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from permtrain.lab.cli.main import main
from permtrain.lab.recipes.recipe import Arm, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.task import Measure, Task
from permtrain.lab.training.display import SILENT
from permtrain.lab.training.engine import Session
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.json_files import read_json, write_json
from permtrain.lab.training.run_folder import (
    Metrics,
    RunFolder,
    RunIsBusy,
    alone_in,
    new_run_folder,
)
from permtrain.lab.training.settings import DataSettings, Place, Settings, hash_of


@dataclass(frozen=True)
class Halving:
    start: float
    seed: int


def name_of(settings: Halving) -> str:
    return f"halving-{hash_of(settings)}"


class Halves(Session):
    """Halves a number in one step."""

    def __init__(self, settings: Halving, place: Place) -> None:
        self.settings = settings
        self.device = torch.device("cpu")
        self.history = []
        self.value = settings.start

    @property
    def step(self) -> int:
        return len(self.history)

    @property
    def num_steps(self) -> int:
        return 1

    def advance(self) -> Metrics:
        self.value = self.value / 2 + self.settings.seed
        return {"half": self.value}

    def in_words(self, metrics: Metrics) -> str:
        return f"half of {self.settings.start}"

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        return {"half": self.value, "wall_s": 0.5, "settings_hash": hash_of(self.settings)}

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.history = state["value"], state["history"]


def row(folder: RunFolder) -> dict[str, Any]:
    return {"half": read_json(folder.result_file)["half"], "lost": None}


MEASURES = (Measure("half", "half", 1), Measure("lost", "lost"))
TASK = Task(name_of, Halves, row, MEASURES)
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
    cells = [line.split() for line in said.splitlines() if line.startswith(" from")]
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
    TASK.run(settings, place, SILENT)
    with alone_in(RunFolder(tmp_path / name_of(settings))), pytest.raises(RunIsBusy):
        TASK.run(settings, place, SILENT)


@dataclass(frozen=True)
class Nesting:
    """A task that trains by `Settings`, as that of changing profiles."""

    training: Settings
    stages: tuple[Halving, ...] = ()
    seed: int = 0


def test_a_new_option_of_nested_settings_renames_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is made of what differs from their defaults, not of all that there are."""
    few = Nesting(Settings(epochs=3), (Halving(1.0, 0),))
    text = '{"seed": 0, "stages": [{"seed": 0, "start": 1.0}], "training": {"epochs": 3}}'
    assert hash_of(few) == hashlib.sha256(text.encode()).hexdigest()[:8]
    others = [
        Nesting(Settings(epochs=4), few.stages),
        Nesting(Settings(epochs=3, data=DataSettings(data="mnist")), few.stages),
        Nesting(few.training),
        Nesting(few.training, (Halving(2.0, 0),)),
        Nesting(few.training, few.stages, seed=1),
    ]
    assert len({hash_of(each) for each in (few, *others)}) == 6


def test_a_folder_is_that_of_its_settings_alone(tmp_path: Path) -> None:
    """Where a default has changed, runs of old and new settings have the same name."""
    settings, cpu = Nesting(Settings()), torch.device("cpu")
    folder = new_run_folder(tmp_path, "x", settings, Place(), cpu, only_once=True)
    assert folder.path == tmp_path / "x"
    stored = read_json(folder.settings_file)
    del stored["training"]["evaluate_at"]  # an option that came later
    stored["training"]["sgperm"]["momentum"] = 0.123  # an old default of what is not used
    write_json(folder.settings_file, stored)
    assert folder_of(tmp_path, "x", settings) == tmp_path / "x"
    for key, value in (("batch_size", 16), ("gone", 1)):
        changed = stored | {"training": stored["training"] | {key: value}}
        write_json(folder.settings_file, changed)
        assert folder_of(tmp_path, "x", settings) == tmp_path / "x-2"
    other = new_run_folder(tmp_path, "x", settings, Place(), cpu, only_once=True)
    assert other.path == tmp_path / "x-2"
    task = replace(TASK, run_name=lambda settings: "x")
    recipe = Recipe("nesting", "for tests", "none", lambda budget: [], task=task)
    assert recipe.folder(Arm("a", Nesting(Settings())), tmp_path) == tmp_path / "x-2"


def test_no_report_of_such_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "halving"]) == 1
    assert "halving trains no classifier" in capsys.readouterr().err
