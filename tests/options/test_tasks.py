"""Every option of the recipes with a training of their own: regression, changing profiles."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from options_problem import (
    Option,
    Table,
    check,
    check_complete,
    each_entry,
    fields_of,
    with_options,
)
from permtrain.lab.recipes.experiments.changing_profiles.arms import SCHEDULES
from permtrain.lab.recipes.experiments.changing_profiles.settings import (
    ProfileStage,
    ScheduleSettings,
)
from permtrain.lab.recipes.experiments.regression.arms import TASK
from permtrain.lab.recipes.experiments.regression.settings import RegressionSettings
from permtrain.lab.recipes.task import Task
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
)

_runs = itertools.count()


class Quiet:
    def show(self, done: int, total: int) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def run_of(task: Task, settings: Any) -> RunFolder:
    place = Place(runs_folder=Path(f"runs-{next(_runs)}"), device="cpu", threads=1)
    task.run(settings, place, Quiet())
    return RunFolder(place.runs_folder / task.run_name(settings))


# --- regression ----------------------------------------------------------------------------------


def regression(options: dict[str, Any]) -> RunFolder:
    base = RegressionSettings(
        "sine", 6, "pairwise", "laperm", sync_period=7, epochs=3, lr=0.05, train_points=40,
        networks=2,
    )  # fmt: skip
    return run_of(TASK, with_options(base, options))


def trained(options: dict[str, Any]) -> dict[str, Any]:
    weights = load_file(regression(options).weights_file)
    return {name: each.tolist() for name, each in weights.items()}


def shape(options: dict[str, Any]) -> tuple[int, ...]:
    """Networks, and coefficients in each."""
    return tuple(load_file(regression(options).weights_file)["coefficients"].shape)


def epochs(options: dict[str, Any]) -> list[int]:
    return [look["epoch"] for look in regression(options).metrics()]


def columns(options: dict[str, Any]) -> dict[str, Any]:
    """What the run found, without what its settings say."""
    row = TASK.row(regression(options))
    return {name: row[name] for name in ("linf", "rmse", "train_rmse", "moved_fraction")}


REGRESSION: Table = {
    "target": Option("legendre", columns),
    "width": Option(8, shape, gives=(2, 16)),
    "init": Option("uniform", trained),
    "method": Option("index", trained),
    "sync_period": Option(2, trained),
    "epochs": Option(4, epochs, gives=[1, 2, 3, 4]),
    "batch_size": Option(4, trained),
    "lr": Option(0.1, trained),
    "lr_decay": Option(0.5, trained),
    "train_points": Option(80, trained),
    "networks": Option(3, shape, gives=(3, 12)),
    "seed": Option(1, trained),
}


# --- profiles that change ------------------------------------------------------------------------

TRAINING = Settings(
    data=DataSettings("images", train_images=20, validation_fraction=0.25),
    model="logistic",
    permutation=PermutationSettings(method="index", granularity="layer"),
    optimizer=OptimizerSettings(lr=0.125),
    epochs=2,
    batch_size=10,
)


def schedule(options: dict[str, Any]) -> dict[str, Any]:
    """What a training with the same profile in both epochs found."""
    stage = with_options(
        ProfileStage(),
        {n.removeprefix("stages."): v for n, v in options.items() if n != "training"},
    )
    settings = ScheduleSettings(options.get("training", TRAINING), (stage, stage))
    result = json.loads(run_of(SCHEDULES, settings).result_file.read_text())
    return {name: result[name] for name in ("zeros", "values", "history")}


def losses(options: dict[str, Any]) -> list[float]:
    return [metrics["train_loss"] for metrics in schedule(options)["history"]]


def zeros(options: dict[str, Any]) -> float:
    return schedule(options)["zeros"]


def values(options: dict[str, Any]) -> int:
    return schedule(options)["values"]


SLOWER = with_options(TRAINING, {"optimizer.lr": 0.0625})
SCHEDULE: Table = {
    "training": Option(SLOWER, losses),
    "stages.zeros": Option(0.5, zeros, gives=0.5),
    "stages.levels": Option(4, values, gives=4),
}


@pytest.mark.parametrize(("name", "option"), [*each_entry(REGRESSION), *each_entry(SCHEDULE)])
def test_an_option_of_a_task(name: str, option: Option) -> None:
    check(name, option)


def test_every_option_of_a_task_has_an_entry() -> None:
    check_complete(REGRESSION, fields_of(RegressionSettings))
    own = [name for name in fields_of(ScheduleSettings) if name != "stages"]
    check_complete(SCHEDULE, [*own, *(f"stages.{name}" for name in fields_of(ProfileStage))])
