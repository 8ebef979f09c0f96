"""Small runs on the bundled digits: five batches an epoch, a fraction of a second each."""

import json
import math
import shlex
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import DataSettings, PermutationSettings, Place, Settings
from permtrain.lab.training.stopping import Interrupted
from permtrain.lab.training.trainer import Trainer

STEPS_PER_EPOCH = 5
TINY = Settings(
    data=DataSettings(train_images=130),  # the last of five batches has two images
    permutation=PermutationSettings(sync_period=4),
    epochs=3,
)


def place_in(folder: Path, **more: Any) -> Place:
    return Place(runs_folder=folder, threads=1, device="cpu", **more)


def tiny(**changes: Any) -> Settings:
    return replace(TINY, **changes)


def plain(**changes: Any) -> Settings:
    return replace(TINY, permutation=PermutationSettings(method="plain"), **changes)


def net_with_dropout(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A network of the user's own, as `run_problem:net_with_dropout`."""
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(8 * (height - 2) * (width - 2), num_classes),
    )


class NoNumberInUse(nn.Module):
    """Its outputs are NaN where it is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1))
        return outputs if self.training else outputs * math.nan


def net_of_single_inputs(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Likewise: neurons with one input, and a layer of a single weight."""
    height, width = image_shape[1:]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(height * width, 1), nn.Linear(1, 1), nn.Linear(1, num_classes)
    )


class InterruptAt:
    """Ctrl-C after some steps, or another signal."""

    def __init__(self, *steps: int, signal_number: int = signal.SIGINT) -> None:
        self.steps = steps
        self.signal_number = signal_number

    def after_step(self, trainer: Trainer) -> None:
        if trainer.position.step in self.steps:
            signal.raise_signal(self.signal_number)

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        pass


def interrupted_run(settings: Settings, place: Place, step: int) -> Path:
    """The folder of a run that Ctrl-C stopped after so many steps."""
    try:
        start_run(settings, place, [InterruptAt(step)])
    except Interrupted as stopped:
        return Path(shlex.split(str(stopped).rpartition("permtrain resume ")[2])[0])
    raise AssertionError("the run was not interrupted")


def metrics_of(folder: Path) -> list[Metrics]:
    """The record without the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "wall_s"} for line in lines]


def outcome(folder: Path) -> tuple[list[Metrics], bytes, dict[str, Any]]:
    """All that a run computed: the record, the bytes of the weights, the result."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_s", "folder"):
        del result[name]
    return metrics_of(folder), (folder / "weights.safetensors").read_bytes(), result


def checkpoint_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def run_all(settings: Sequence[Settings], place: Place) -> list[RunResult]:
    return [start_run(each, place) for each in settings]


IN_FULL_MESSAGE = r"step\.pt: checkpoint not written, earlier ones are kept \(No space left"
