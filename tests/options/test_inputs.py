"""Every option of the runs that permute inputs changes what it should: sortGAN, un-shuffling."""

import json
import shutil
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
from permtrain.lab.inputs.settings import InputSettings, SortGANSettings, UnshuffleSettings
from permtrain.lab.recipes.experiments.permuting_inputs import PERMUTING_INPUTS
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import DataSettings, Place

IMAGES = DataSettings("images", validation_fraction=0.25)
FEWER = DataSettings("images", validation_fraction=0.25, train_images=20)
COLOURS = DataSettings("colours", validation_fraction=0.25)
JUDGE: dict[str, Any] = {"judge.model": "logistic", "judge.epochs": 1}


class Quiet:
    def show(self, done: int, total: int) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def sortgan(options: dict[str, Any]) -> InputSettings:
    base = {"data": IMAGES, "epochs": 2, "batch_size": 16, **JUDGE}
    return with_options(SortGANSettings(), base | options)


def unshuffle(options: dict[str, Any]) -> InputSettings:
    base = {
        "data": IMAGES, "images": 6, "steps": 4, "batch_size": 4, "lr": 0.05, "guide_epochs": 1,
        "num_classifiers": 2, **JUDGE,
    }  # fmt: skip
    return with_options(UnshuffleSettings(), base | options)


# --- what is looked at ---------------------------------------------------------------------------


def outcome(
    settings: InputSettings, runs_folder: str = "kept"
) -> tuple[Any, dict[str, Any], list[Any]]:
    """Recovered images, the numbers of the result and those of each part."""
    place = Place(runs_folder=Path(runs_folder), device="cpu", threads=1)
    PERMUTING_INPUTS.run(settings, place, Quiet())
    folder = RunFolder(place.runs_folder / PERMUTING_INPUTS.run_name(settings))
    images = load_file(folder.path / "images.safetensors")["recovered"].tolist()
    result = json.loads(folder.result_file.read_text())
    metrics = folder.metrics()
    shutil.rmtree(folder.path)  # judges and guides stay
    for each in (result, *metrics):
        del each["wall_s"]
    return images, result, metrics


def recovered_by_sortgan(options: dict[str, Any]) -> Any:
    return outcome(sortgan(options))[0]


def errors_of_sortgan(options: dict[str, Any]) -> list[float]:
    """On validation images, after each epoch."""
    return [metrics["validation_psnr"] for metrics in outcome(sortgan(options))[2]]


def epochs_of_sortgan(options: dict[str, Any]) -> list[int]:
    return [metrics["epoch"] for metrics in outcome(sortgan(options))[2]]


def measured_by_sortgan(options: dict[str, Any]) -> int:
    return outcome(sortgan(options))[1]["measured_images"]


def recovered_by_unshuffling(options: dict[str, Any]) -> Any:
    return outcome(unshuffle(options))[0]


def measured_by_unshuffling(options: dict[str, Any]) -> int:
    return outcome(unshuffle(options))[1]["measured_images"]


def groups_of_unshuffling(options: dict[str, Any]) -> list[str]:
    return [metrics["split"] for metrics in outcome(unshuffle(options))[2]]


def judge(settings: InputSettings) -> tuple[int, dict[str, Any]]:
    """Of the classifier that is shown what was recovered: epochs and weights."""
    shutil.rmtree("judged", ignore_errors=True)
    outcome(settings, "judged")
    (path,) = Path("judged").glob("images-*")
    folder = RunFolder(path)
    weights = {name: weight.tolist() for name, weight in load_file(folder.weights_file).items()}
    return len(folder.metrics()), weights


def judge_of_sortgan(options: dict[str, Any]) -> Any:
    return judge(sortgan(options | NEAREST))


def judge_of_unshuffling(options: dict[str, Any]) -> Any:
    return judge(unshuffle(options | UNGUIDED))


def epochs_of_judge_of_sortgan(options: dict[str, Any]) -> int:
    return judge_of_sortgan(options)[0]


def epochs_of_judge_of_unshuffling(options: dict[str, Any]) -> int:
    return judge_of_unshuffling(options)[0]


# --- the settings --------------------------------------------------------------------------------

NEAREST = {"generator": "nearest", "discriminator": "none", "epochs": 0, "neighbours": 10}
UNGUIDED = {"classifier_weight": 0.0, "discriminator_weight": 0.0}
PRIOR = UNGUIDED | {"prior_weight": 1.0}
NEAREST_PRIOR = PRIOR | {"prior_mean": "nearest"}

SORTGAN: Table = {
    "data": Option(FEWER, recovered_by_sortgan),
    "generator": Option("conv", recovered_by_sortgan),
    "discriminator": Option("none", recovered_by_sortgan),
    "reads": Option("sorted", recovered_by_sortgan),
    "shuffle": Option("one", recovered_by_sortgan),
    "regress": Option("generated", recovered_by_sortgan),
    "fooling_weight": Option(0.0, recovered_by_sortgan),
    "neighbours": Option(3, recovered_by_sortgan, beside=NEAREST),
    "matching": Option("assignment", recovered_by_sortgan, beside={"data": COLOURS}),
    "average": Option(0.5, recovered_by_sortgan),
    "lr": Option(0.02, recovered_by_sortgan),
    "lr_cosine": Option(True, errors_of_sortgan),
    "epochs": Option(3, epochs_of_sortgan, gives=[1, 2, 3]),
    "batch_size": Option(10, recovered_by_sortgan),
    "measured_images": Option(3, measured_by_sortgan, gives=3),
    "judge.model": Option("digits-cnn", judge_of_sortgan),
    "judge.epochs": Option(2, epochs_of_judge_of_sortgan, gives=2),
    "judge.train_images": Option(20, judge_of_sortgan),
    "seed": Option(1, recovered_by_sortgan),
}

UNSHUFFLE: Table = {
    "data": Option(FEWER, recovered_by_unshuffling, beside=PRIOR),
    "images": Option(4, measured_by_unshuffling, gives=4, beside=UNGUIDED),
    "start": Option("class-mean", recovered_by_unshuffling, beside=UNGUIDED),
    "num_classifiers": Option(3, recovered_by_unshuffling),
    "classifier_weight": Option(0.0, recovered_by_unshuffling),
    "border_weight": Option(0.0, recovered_by_unshuffling),
    "roughness_weight": Option(0.0, recovered_by_unshuffling),
    "discriminator_weight": Option(0.0, recovered_by_unshuffling),
    "prior_weight": Option(1.0, recovered_by_unshuffling, beside=UNGUIDED),
    "prior_mean": Option("nearest", recovered_by_unshuffling, beside=PRIOR | {"neighbours": 3}),
    "neighbours": Option(3, recovered_by_unshuffling, beside=NEAREST_PRIOR),
    "prior_variance": Option(1.0, recovered_by_unshuffling, beside=PRIOR),
    "averaged_part": Option(0.5, recovered_by_unshuffling, beside=UNGUIDED),
    "steps": Option(6, recovered_by_unshuffling, beside=UNGUIDED),
    "batch_size": Option(6, groups_of_unshuffling, gives=["validation", "test"], beside=UNGUIDED),
    "lr": Option(0.2, recovered_by_unshuffling, beside=UNGUIDED),
    "lr_cosine": Option(True, recovered_by_unshuffling, beside=UNGUIDED),
    "guide_epochs": Option(2, recovered_by_unshuffling),
    "judge.model": Option("digits-cnn", judge_of_unshuffling),
    "judge.epochs": Option(2, epochs_of_judge_of_unshuffling, gives=2),
    "judge.train_images": Option(20, judge_of_unshuffling),
    "seed": Option(1, recovered_by_unshuffling, beside=UNGUIDED),
}


@pytest.mark.parametrize(("name", "option"), [*each_entry(SORTGAN), *each_entry(UNSHUFFLE)])
def test_an_option_of_permuted_inputs(name: str, option: Option) -> None:
    check(name, option)


def test_every_option_of_permuted_inputs_has_an_entry() -> None:
    check_complete(SORTGAN, fields_of(SortGANSettings))
    check_complete(UNSHUFFLE, fields_of(UnshuffleSettings))
