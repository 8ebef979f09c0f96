"""`permtrain evaluate`: a run's accuracy, measured anew."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.lab.cli.console import say, say_note
from permtrain.lab.cli.places import PlaceToEvaluate


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToEvaluate, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str = "last",
    trust_model: bool = False,
    accept_changes: bool = False,
) -> None:
    """Measure a run's arranged weights on its test images, and on its validation images.

    Args:
        run: The run's folder.
        checkpoint: last, best, or a checkpoint file.
        trust_model: Run the code of a network of one's own that was not trained here.
        accept_changes: Take images of other classes than those of the run.
    """
    from permtrain.lab.training.run_folder import RunFolder

    RunFolder(run).settings()  # refuses what is no run; what follows imports torch
    from permtrain.lab.training.run import load_run

    trainer = load_run(
        run,
        place,
        checkpoint,
        trust_model=trust_model,
        accept_changes=accept_changes,
        say=say_note,
    )
    for name, split in (("validation", trainer.validation_split), ("test", trainer.test_split)):
        if split is not None:
            score = trainer.evaluate(split)
            say(f"{name}: accuracy {score.accuracy:.2%}, loss {score.loss:.4f}")
