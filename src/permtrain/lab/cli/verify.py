"""`permtrain verify`: the invariant of a run, checked anew."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.errors import ChangedWeightsError, SettingError
from permtrain.lab.cli.console import say, say_note
from permtrain.lab.cli.places import PlaceToLook


def verify(
    run: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToLook, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str = "last",
    trust_model: bool = False,
) -> None:
    """Check that every weight vector of a run still holds exactly its initial values.

    The initial values are drawn anew from the run's seed, and compared with the last checkpoint and
    with weights.safetensors. Exit code 1 if any differs.

    Args:
        run: The run's folder.
        checkpoint: last, best, or a checkpoint file.
        trust_model: Run the code of a network of one's own that was not trained here.
    """
    from permtrain.lab.training.run_folder import RunFolder

    RunFolder(run).settings()  # refuses what is no run; what follows imports torch
    from permtrain.lab.training.run import (
        load_run,
        verify_trainer,
        verify_weights_file,
    )

    trainer = load_run(run, place, checkpoint, images=False, trust_model=trust_model, say=say_note)
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
    say(verification)
    say(f"{travel.moved_fraction:.1%} of the weights stand elsewhere than at first")
