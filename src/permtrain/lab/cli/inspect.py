"""`permtrain evaluate` and `permtrain verify`: a look at a run, changing nothing."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import ChangedWeightsError, SettingError
from permtrain.lab.training.settings import Place

_PLACE = Annotated[Place, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes]


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    place: _PLACE,
    checkpoint: str = "last",
) -> None:
    """Measure a run's arranged weights on its test images, and on its validation images.

    Args:
        run: The run's folder.
        checkpoint: last, best, or a checkpoint file.
    """
    from permtrain.lab.training.run import load_run

    trainer = load_run(run, place, checkpoint)
    for name, split in (("validation", trainer.validation_split), ("test", trainer.test_split)):
        if split is not None:
            score = trainer.evaluate(split)
            print(f"{name}: accuracy {score.accuracy:.2%}, loss {score.loss:.4f}")


def verify(
    run: Annotated[Path, tyro.conf.Positional],
    place: _PLACE,
    checkpoint: str = "last",
) -> None:
    """Check that every weight vector of a run still holds exactly its initial values.

    The initial values are drawn anew from the run's seed, and compared with the last checkpoint and
    with weights.safetensors. Exit code 1 if any differs.

    Args:
        run: The run's folder.
        checkpoint: last, best, or a checkpoint file.
    """
    from permtrain.lab.training.record import RunFolder
    from permtrain.lab.training.run import (
        load_run,
        verify_trainer,
        verify_weights_file,
    )

    trainer = load_run(run, place, checkpoint)
    verified = verify_trainer(trainer)
    if verified is None:
        method = trainer.settings.permutation.method
        raise SettingError(f"{run} was trained by {method}, which permutes nothing")
    verification, travel = verified
    if travel is None:
        raise ChangedWeightsError(str(verification))
    file = RunFolder(run).weights_file
    if checkpoint == "last" and file.is_file():  # the one that is used
        in_file = verify_weights_file(trainer, file)
        if in_file is not None and not in_file:
            raise ChangedWeightsError(f"{file}: {in_file}")
    print(verification)
    print(f"{travel.moved_fraction:.1%} of the weights stand elsewhere than at first")
