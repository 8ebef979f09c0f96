"""A run that permutes inputs, by its settings: how it begins, and its columns in the results."""

from typing import Any

from permtrain.lab.inputs.quality import check_measures_can_be_taken
from permtrain.lab.inputs.session import InputSession
from permtrain.lab.inputs.settings import InputSettings, SortGANSettings
from permtrain.lab.inputs.sortgan import SortGAN
from permtrain.lab.inputs.unshuffle import Unshuffle
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place


def begun_session(settings: InputSettings, place: Place) -> InputSession:
    """Return the run in memory, before its first step.

    Raises:
        SettingError, DataError: the settings cannot be run.
    """
    check_measures_can_be_taken()
    if isinstance(settings, SortGANSettings):
        return SortGAN(settings, place)
    return Unshuffle(settings, place)


def row_of_inputs(folder: RunFolder) -> dict[str, Any]:
    """The columns of a complete run: recovered images, and the lower bounds beside them.

    PSNR in dB, of the squared error averaged over all measured images; SSIM in [-1, 1]; classified:
    percent that the judge, a classifier trained on real images, gives the right label.
    """
    result = read_json(folder.result_file)
    settings = read_json(folder.settings_file)
    row: dict[str, Any] = {
        "epochs": settings.get("epochs"),
        "steps": settings.get("steps"),
        "train_images": settings["data"]["train_images"],
    }
    row |= {
        "validation_psnr": round(result["validation_psnr"], 4),
        "validation_ssim": round(result["validation_ssim"], 4),
    }
    for name, prefix in (
        ("recovered", ""), ("shuffled", "shuffled_"), ("class_means", "class_mean_")
    ):  # fmt: skip
        quality = result[name]
        row[f"{prefix}psnr"] = round(quality["psnr"], 4)
        row[f"{prefix}ssim"] = round(quality["ssim"], 4)
        row[f"{prefix}classified_percent"] = round(100 * quality["classified"], 2)
    judge = result["judge"]
    return row | {
        "measured_images": result["measured_images"],
        "judge": judge["model"],
        "judge_percent": round(100 * judge["accuracy"], 2),
        "judge_percent_on_measured": round(100 * judge["accuracy_on_measured"], 2),
    }
