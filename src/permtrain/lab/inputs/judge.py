"""The classifier that says whether a recovered image still shows what it should."""

from dataclasses import replace

import torch

from permtrain.lab.data.images import ImageData
from permtrain.lab.models.registry import build_network
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.locks import locked
from permtrain.lab.training.run import load_run, resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
    run_name,
)
from permtrain.lab.training.trainer import Trainer


def judge_settings(data: str, model: str, epochs: int, train_images: int | None) -> Settings:
    """Plain Adam on real images; one judge for all arms and seeds."""
    return Settings(
        data=DataSettings(data=data, train_images=train_images),
        model=model,
        permutation=PermutationSettings(method="plain"),
        optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.7),
        epochs=epochs,
        batch_size=128,
        seed=0,
    )


def check_judge(model: str, data: ImageData) -> None:
    """Refuses a judge that there is not, or that does not fit the images: it is wanted at the end.

    Raises:
        SettingError: naming the network.
    """
    with torch.random.fork_rng(devices=[]):
        build_network(model, data.image_shape, data.num_classes)


def trained(settings: Settings, place: Place) -> Trainer:
    """The network of `trained_run`, in memory."""
    return load_run(trained_run(settings, place).path, place, trust_model=True)


def trained_run(settings: Settings, place: Place) -> RunFolder:
    """A network trained by our own trainer in the folder of runs; at once if it is there.

    Processes that want the same one wait for the first.

    Raises:
        as `start_run` and `resume_run`.
    """
    name = run_name(settings)
    plain = replace(place, tensorboard=False, logger=None, checkpoint_steps=None)
    place.runs_folder.mkdir(parents=True, exist_ok=True)
    with locked(place.runs_folder / f".{name}.lock"):
        folder = RunFolder(folder_of(place.runs_folder, name, settings))
        if not folder.is_complete:
            if folder.path.exists():
                resume_run(folder.path, plain)
            else:
                start_run(settings, plain)
    return folder
