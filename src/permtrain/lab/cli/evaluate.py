"""`permtrain evaluate`: a run's accuracy, measured anew."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from permtrain.lab.cli.console import PlainConsole, say, say_note
from permtrain.lab.cli.places import PlaceToEvaluate

if TYPE_CHECKING:
    from torch import Tensor


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    place: Annotated[PlaceToEvaluate, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes],
    checkpoint: str = "last",
    trust_model: bool = False,
    accept_changes: bool = False,
) -> None:
    """Measure a run's arranged weights on its test images, and on its validation images.

    Of the test images it also tells the accuracy of each class and the confusion matrix: how many
    images of each class the network takes for which one.

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
            score, counts_CC = trainer.confusion(split)
            bits = f", {score.loss / math.log(2):.4f} bits a character" if trainer.is_text else ""
            say(f"{name}: accuracy {score.accuracy:.2%}, loss {score.loss:.4f}{bits}")
    say("")
    _show_classes(counts_CC, trainer.class_names, "characters" if trainer.is_text else "images")


def _show_classes(counts_CC: "Tensor", names: tuple[str, ...], counted: str) -> None:
    from rich.table import Table

    from permtrain.lab.training.confusion import MOST_CLASSES, by_class

    console = PlainConsole()
    table = Table(box=None)
    heads = ("class", counted, "accuracy", "most often taken for")
    for head, right in zip(heads, (False, True, True, False), strict=True):
        table.add_column(head, justify="right" if right else "left", overflow="fold")
    for each in by_class(counts_CC, names):
        accuracy = "" if each.accuracy is None else f"{each.accuracy:.2%}"
        others = ", ".join(f"{name} ({num:,})" for name, num in each.taken_for)
        table.add_row(each.name, f"{each.num_images:,}", accuracy, others)
    console.print(table)
    if len(names) > MOST_CLASSES:
        return
    matrix = Table(
        box=None, title="rows: class; columns: taken for, by number", title_justify="left"
    )
    matrix.add_column("", overflow="fold")
    for label in range(len(names)):
        matrix.add_column(str(label), justify="right", no_wrap=True)
    for label, (name, row) in enumerate(zip(names, counts_CC.tolist(), strict=True)):
        told = f"{label}" if name == f"{label}" else f"{label} {name}"
        matrix.add_row(told, *(str(num) if num else "." for num in row))
    console.print()
    console.print(matrix)
