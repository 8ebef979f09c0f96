"""A run that permutes inputs, from start to result, in its folder; interrupted and resumed at will.

settings.json, place.json, environment.json, metrics.jsonl, checkpoints/   as of any run
images.safetensors      originals, shuffled, recovered and class-mean images, when complete
images.png              the same as a grid, where matplotlib is installed
result.json             the last file, when the run is complete
"""

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from permtrain.errors import CheckpointError
from permtrain.files import written_whole
from permtrain.lab.inputs.quality import check_measures_can_be_taken
from permtrain.lab.inputs.settings import InputSettings, SortGANSettings, settings_hash
from permtrain.lab.inputs.sortgan import SortGAN
from permtrain.lab.inputs.unshuffle import Unshuffle
from permtrain.lab.inputs.work import Metrics, Work
from permtrain.lab.training.checkpoint import load_checkpoint, save_checkpoint
from permtrain.lab.training.display import Display
from permtrain.lab.training.record import RunFolder, read_json, write_json
from permtrain.lab.training.settings import Place
from permtrain.lab.training.stopping import Interrupted, stop_on_signal


def finish_run(folder: RunFolder, settings: InputSettings, place: Place, display: Display) -> None:
    """Takes a run from where its folder stands to its result.

    Whoever calls holds the folder against other processes.

    Raises:
        SettingError, DataError: the settings cannot be run.
        CheckpointError: its last checkpoint is damaged, or of another run.
        Interrupted: the user stopped it; all that was done is kept.
    """
    check_measures_can_be_taken()
    place = folder.place(place)
    _finish(_work(settings, place), folder, settings, place, display)


def _work(settings: InputSettings, place: Place) -> Work:
    if isinstance(settings, SortGANSettings):
        return SortGAN(settings, place)
    return Unshuffle(settings, place)


def _finish(
    work: Work, folder: RunFolder, settings: InputSettings, place: Place, display: Display
) -> None:
    history = _loaded(work, folder)
    with stop_on_signal() as stop_requested:
        while work.part < work.num_parts:
            display.show(work.part, work.num_parts)
            metrics = work.advance(stop_requested)
            if metrics is not None:
                history.append(metrics)
            _save(work, folder, history, place.keep_checkpoints)
            if metrics is not None:  # afterwards, as nobody may be there to read it
                display.say(_in_words(metrics))
            if metrics is None or stop_requested():
                raise Interrupted(f"stopped; {folder.path} is kept, the same command goes on")
    outcome = work.outcome(place)
    _write_images(folder, outcome.images)
    write_json(
        folder.result_file,
        {
            "folder": folder.path.name,
            "settings_hash": settings_hash(settings),
            "parts": work.num_parts,
            "wall_s": round(sum(each["wall_s"] for each in history), 1),
            **outcome.result,
        },
    )


def _in_words(metrics: Metrics) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in metrics.items()
    )


def _save(work: Work, folder: RunFolder, history: list[Metrics], keep: int) -> None:
    """The state with the record in one file, so that neither is ahead of the other."""
    saved = folder.numbered_checkpoints()
    number = int(saved[-1].stem.removeprefix("step-")) + 1 if saved else 1
    state = {"format": 1, "work": work.state_dict(), "history": history}
    save_checkpoint(folder.checkpoints / f"step-{number:09d}.pt", state)
    for old in folder.numbered_checkpoints()[:-keep]:
        old.unlink()
    with written_whole(folder.metrics_file) as file:
        file.write("".join(json.dumps(metrics) + "\n" for metrics in history).encode())


def _loaded(work: Work, folder: RunFolder) -> list[Metrics]:
    """Puts the work where the last checkpoint is; the record until then."""
    saved = folder.numbered_checkpoints()
    if not saved:
        return []
    state = load_checkpoint(saved[-1])
    if set(state) != {"format", "work", "history"} or state["format"] != 1:
        raise CheckpointError(f"{saved[-1]}: no checkpoint of a run that permutes inputs, format 1")
    work.load_state_dict(state["work"])
    history: list[Metrics] = state["history"]
    return history


def _write_images(folder: RunFolder, images: dict[str, Tensor]) -> None:
    with written_whole(folder.path / "images.safetensors") as file:
        file.write(safetensors_bytes({n: each.cpu().contiguous() for n, each in images.items()}))
    if find_spec("matplotlib") is None:  # then: permtrain plot image-grid, elsewhere
        return
    from PIL import Image

    from permtrain.lab.pictures.numbers.images import rows_of_images
    from permtrain.lab.pictures.records import recovered_images

    grid = rows_of_images(recovered_images(folder.path))
    with written_whole(folder.path / "images.png") as file:
        Image.fromarray((grid * 255).round().astype(np.uint8)).save(file, format="png")


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
