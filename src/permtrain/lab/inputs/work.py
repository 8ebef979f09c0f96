"""What all runs that permute inputs have in common: images, parts, and measures in the end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

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
from permtrain.lab.inputs.settings import InputSettings, JudgeSettings
from permtrain.lab.inputs.splits import Splits, splits_of
from permtrain.lab.training.run import RunResult, load_run
from permtrain.lab.training.settings import Place

Metrics = dict[str, Any]

NUM_SHOWN = 20
"""Images of the grid that a run leaves."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a complete run has found.

    Attributes:
        result: numbers and words.
        images: what is shown, (N, C, H, W) uint8 each: originals, shuffled, recovered, class_means.
    """

    result: dict[str, Any]
    images: dict[str, Tensor]


class Work(Protocol):
    """A run in memory, one part after the other."""

    @property
    def num_parts(self) -> int: ...

    @property
    def part(self) -> int:
        """Parts done."""

    def advance(self, stop_requested: Callable[[], bool]) -> Metrics | None:
        """Does the next part; None if it was asked to stop within it."""

    def outcome(self, place: Place) -> Outcome:
        """Measures, after the last part."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


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
    data = data or load_images(settings.data.data, data_folder=place.data_folder)
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
) -> Outcome:
    """Recovered test images and the two lower bounds, beside the originals; validation images too.

    The bounds: the shuffled image as it came, and its pixels in the order of the mean of the
    training images of its label.
    """
    data = splits.data
    training = judge_settings(splits.settings.data, judge.model, judge.epochs, judge.train_images)
    judge_run = trained_run(training, place)
    trainer = load_run(judge_run.path, place)
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
    return Outcome(
        result,
        {"originals": splits.test.images[shown]} | {n: each[shown] for n, each in images.items()},
    )
