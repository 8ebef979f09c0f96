"""`permtrain predict`: what a run's network takes images for."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import DataError, SettingError
from permtrain.lab.cli.console import say, say_note
from permtrain.lab.cli.places import PlaceToEvaluate


def predict(
    run: Annotated[Path, tyro.conf.Positional],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional],
    place: Annotated[PlaceToEvaluate, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str = "last",
    most: int = 3,
    trust_model: bool = False,
) -> None:
    """Tell which class a run's network takes each image for, and how sure it is.

    An image is brought to the size and the colors of the images that the network was trained on,
    and normalized as they were; these are read for that.

    Args:
        run: The run's folder.
        images: Image files.
        checkpoint: last, best, or a checkpoint file.
        most: How many classes are told of each image, the likeliest first.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    from permtrain.lab.training.run_folder import RunFolder

    RunFolder(run).settings()  # refuses what is no run; what follows imports torch
    if most < 1:
        raise SettingError(f"most is {most}; allowed: 1 or more")
    if not images:
        raise DataError("predict got no image; allowed: image files")
    from permtrain.lab.data.single import read_image
    from permtrain.lab.training.run import load_run

    trainer = load_run(run, place, checkpoint, trust_model=trust_model, say=say_note)
    if trainer.is_text:
        raise SettingError(
            f"{run}: was trained on text; allowed: runs on images (permtrain sample)"
        )
    names = trainer.class_names
    for path in images:
        image, note = read_image(path, trainer.image_shape, trainer.cuts_images)
        (sure,) = trainer.probabilities(image.unsqueeze(0))
        likeliest = sure.argsort(descending=True, stable=True)[:most].tolist()
        told = ", ".join(f"{names[label]} {float(sure[label]):.2%}" for label in likeliest)
        say(f"{path}: {told}{f'  ({note})' if note else ''}")
