"""The record of a classifier's run, epoch by epoch."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from annotated_types import Interval

from permtrain.errors import CheckpointError
from permtrain.lab.training.json_files import require_values
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.ranges import Count, NotNegative

Accuracy = Annotated[float, Interval(ge=0, le=1)]


class EpochLine(TypedDict, total=False):
    """A line of a classifier's record. A loss may be no number where weights are not.

    Bits are those of a character of text: its loss, divided by log 2.
    """

    epoch: Count
    step: Count
    lr: float
    train_loss: float
    validation_loss: float
    validation_accuracy: Accuracy
    validation_bits: float
    test_loss: float
    test_accuracy: Accuracy
    test_bits: float
    wall_s: NotNegative


ALWAYS_RECORDED = ("epoch", "step", "train_loss", "test_loss", "test_accuracy", "wall_s")


def epochs_since_best(history: Sequence[Metrics]) -> int:
    """How many epochs there were since the one that is best on validation images; 0 before it.

    Of equally good ones the first counts.

    Example:
        >>> epochs_since_best([{"validation_accuracy": each} for each in (0.5, 0.7, 0.6, 0.7)])
        2
    """
    accuracies = [metrics["validation_accuracy"] for metrics in history]
    return len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0


def read_record(folder: RunFolder) -> list[Metrics]:
    """The record of a classifier's run, a line for each completed epoch, from the first on.

    Raises:
        CheckpointError: the file is damaged, or of another kind of run.
    """
    history = folder.metrics()
    for number, line in enumerate(history, 1):
        where = f"{folder.metrics_file}: line {number}"
        require_values(line, EpochLine, where, ALWAYS_RECORDED)
        if line["epoch"] != number:
            raise CheckpointError(f"{where}: epoch is {line['epoch']}; allowed: {number}")
    if len({selection_key(line) for line in history}) > 1:
        raise CheckpointError(
            f"{folder.metrics_file}: tells validation_accuracy of some epochs; allowed: of each"
        )
    return history


def numbers_of(metrics: Metrics) -> Metrics:
    """What loggers are given of a line of the record: its numbers, but for the epoch's.

    Example:
        >>> numbers_of({"epoch": 3, "test_loss": 0.5, "note": "text"})
        {'test_loss': 0.5}
    """
    return {
        name: value
        for name, value in metrics.items()
        if name != "epoch" and isinstance(value, int | float)
    }


def selection_key(metrics: Metrics) -> str:
    """The accuracy by which the best epoch is chosen."""
    return "validation_accuracy" if "validation_accuracy" in metrics else "test_accuracy"
