"""What all runs that permute inputs have in common: images, parts, and measures in the end.

A run's folder gets, beside what any has (`training/run_folder.py`):

images.safetensors      originals, shuffled, recovered and class-mean images
images.png              the same as a grid, where matplotlib is installed
"""

from abc import abstractmethod
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from permtrain.errors import CheckpointError
from permtrain.files import written_whole
from permtrain.lab.data.images import ImageData
from permtrain.lab.data.load import load_images
from permtrain.lab.inputs.judge import check_judge, judge_settings, trained_run
from permtrain.lab.inputs.pixels import Matching
from permtrain.lab.inputs.quality import (
    class_means,
    laid_out,
    psnr,
    quality_of,
    ssim,
)
from permtrain.lab.inputs.settings import InputSettings, JudgeSettings, settings_hash
from permtrain.lab.inputs.splits import Splits, splits_of
from permtrain.lab.training.device import device_at
from permtrain.lab.training.engine import Session
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run import load_run
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.settings import Place
from permtrain.lab.training.weights_file import write_weights

NUM_SHOWN = 20
"""Images of the grid that a run leaves."""


@dataclass(frozen=True, eq=False)
class RecoveredImages:
    """What a complete run has found.

    Attributes:
        measures: numbers and words.
        shown: (N, C, H, W) uint8 each: originals, shuffled, recovered, class_means.
    """

    measures: dict[str, Any]
    shown: dict[str, Tensor]


class InputSession(Session):
    """A run in memory, one part after the other, each of as many steps.

    Args:
        settings: what to compute.
        place: where.

    Attributes:
        part: parts done.
        step_in_part: steps done of the part after them.
        seconds: spent on these steps.
    """

    def __init__(self, settings: InputSettings, place: Place) -> None:
        self._hash = settings_hash(settings)
        self.place = place
        self.device = device_at(place)
        self.history: list[Metrics] = []
        self.part = 0
        self.step_in_part = 0
        self.seconds = 0.0

    @property
    @abstractmethod
    def num_parts(self) -> int: ...

    @property
    @abstractmethod
    def steps_per_part(self) -> int: ...

    @property
    def step(self) -> int:
        return self.part * self.steps_per_part + self.step_in_part

    @property
    def num_steps(self) -> int:
        return self.num_parts * self.steps_per_part

    @abstractmethod
    def measure(self) -> RecoveredImages:
        """Measure on the test images; the error on the validation images beside it."""

    @abstractmethod
    def work_state(self) -> dict[str, Any]:
        """Everything to go on bit for bit, but for the history."""

    @abstractmethod
    def load_work_state(self, state: dict[str, Any]) -> None: ...

    def end_part(self) -> float:
        """Begin the next part; the seconds that this one took."""
        seconds, self.seconds = self.seconds, 0.0
        self.part += 1
        self.step_in_part = 0
        return round(seconds, 3)

    def state_dict(self) -> dict[str, Any]:
        return {"format": 1, "work": self.work_state(), "history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if set(state) != {"format", "work", "history"} or state["format"] != 1:
            raise CheckpointError("no checkpoint of a run that permutes inputs, format 1")
        try:
            self.load_work_state(state["work"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"checkpoint is of another run: {reason}") from error
        self.history = list(state["history"])

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        recovered = self.measure()
        _write_images(folder, recovered.shown)
        return {
            "folder": folder.path.name,
            "settings_hash": self._hash,
            "parts": self.num_parts,
            "wall_s": round(sum(each["wall_s"] for each in self.history), 1),
            **recovered.measures,
        }


def begun_splits(
    settings: InputSettings,
    measured_images: int | None,
    device: torch.device,
    place: Place,
    data: ImageData | None,
) -> Splits:
    """The images that a run begins with.

    Args:
        data: images already in memory; None loads them.

    Raises:
        DataError, SettingError: there are none, or the judge that is wanted at the end does not fit
            them.
    """
    columns = settings.data.columns
    data = data or load_images(settings.data.data, data_folder=place.data_folder, columns=columns)
    check_judge(settings.judge.model, data)
    return splits_of(data, settings.data, settings.seed, measured_images, device)


def measured(
    splits: Splits,
    on_validation_NCP: Tensor,
    shuffled_NCP: Tensor,
    recovered_NCP: Tensor,
    judge: JudgeSettings,
    matching: Matching,
    place: Place,
) -> RecoveredImages:
    """Recovered test images and the two lower bounds, beside the originals; validation images too.

    The bounds: the shuffled image as it came, and its pixels in the order of the mean of the
    training images of its label.
    """
    data = splits.data
    training = judge_settings(splits.settings.data, judge.model, judge.epochs, judge.train_images)
    judge_run = trained_run(training, place)
    trainer = load_run(judge_run.path, place, trust_model=True)
    means_KCP = class_means(splits.train, data.num_classes)
    by_mean_NCP = laid_out(shuffled_NCP, means_KCP[splits.test.labels], matching)
    images = {
        name: pixels.unflatten(2, splits.side_shape)
        for name, pixels in (
            ("shuffled", shuffled_NCP), ("recovered", recovered_NCP), ("class_means", by_mean_NCP)
        )
    }  # fmt: skip
    result: dict[str, Any] = {
        name: asdict(quality_of(each, splits.test, trainer)) for name, each in images.items()
    }
    validation = splits.validation
    on_validation = on_validation_NCP.unflatten(2, splits.side_shape)
    result["validation_psnr"] = psnr(on_validation, validation.images)
    result["validation_ssim"] = ssim(on_validation, validation.images)
    result["measured_images"] = len(splits.test)
    result["judge"] = {
        "model": judge.model,
        "accuracy": RunResult.read(judge_run).test_accuracy,
        "accuracy_on_measured": trainer.evaluate(splits.test).accuracy,
    }
    shown = torch.arange(min(NUM_SHOWN, len(splits.test)))
    return RecoveredImages(
        result,
        {"originals": splits.test.images[shown]} | {n: each[shown] for n, each in images.items()},
    )


def _write_images(folder: RunFolder, images: dict[str, Tensor]) -> None:
    on_cpu = {name: each.cpu().contiguous() for name, each in images.items()}
    write_weights(folder.images_file, on_cpu)
    if find_spec("matplotlib") is None:  # then: permtrain plot image-grid, elsewhere
        return
    from PIL import Image

    from permtrain.lab.pictures.numbers.images import rows_of_images
    from permtrain.lab.pictures.records import recovered_images

    grid = rows_of_images(recovered_images(folder.path))
    with written_whole(folder.picture_file) as file:
        Image.fromarray((grid * 255).round().astype(np.uint8)).save(file, format="png")
