"""Learning curves: means over the seeds of a group, with the range they span."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from permtrain.lab.pictures.arrays import evenly
from permtrain.lab.training.trainer import Metrics

# What is asked for first, comes first; what a record lacks is left out.
MEASURES = {
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "validation_loss": "validation loss",
    "lr": "learning rate",
    "wall_s": "seconds an epoch",
}

MOST_POINTS = 400


@dataclass(frozen=True)
class Curve:
    """One group's course of one measure.

    Attributes:
        group: its name.
        epochs: ascending; those that any of its runs has completed, at most `MOST_POINTS`.
        mean, low, high: over the runs that have completed the epoch; None where one of their
            values is no finite number.
        num_runs: how many those are.
    """

    group: str
    epochs: list[int]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]
    num_runs: list[int]


def measures_of(histories: Iterable[Sequence[Metrics]]) -> list[str]:
    """Keys of the measures that any record holds, in the order of `MEASURES`."""
    recorded = {key for history in histories for metrics in history for key in metrics}
    return [key for key in MEASURES if key in recorded]


def curves(
    runs: Sequence[tuple[str, Sequence[Metrics]]], measure: str, most: int = MOST_POINTS
) -> list[Curve]:
    """The curves of a measure, one for each group that has it, in the order given.

    Args:
        runs: a group's name and a run's record each.
        measure: a key of the records.
        most: points of a curve; longer ones are thinned evenly.

    Example:
        >>> first = [{"epoch": 1, "test_loss": 2.0}, {"epoch": 2, "test_loss": 1.0}]
        >>> (curve,) = curves([("a", first), ("a", [{"epoch": 1, "test_loss": 4.0}])], "test_loss")
        >>> curve.mean, curve.low, curve.high, curve.num_runs
        ([3.0, 1.0], [2.0, 1.0], [4.0, 1.0], [2, 1])
    """
    found = []
    for group in dict.fromkeys(group for group, _ in runs):
        values: dict[int, list[float]] = {}
        for of_group, history in runs:
            if of_group == group:
                for metrics in history:
                    if measure in metrics:
                        values.setdefault(metrics["epoch"], []).append(metrics[measure])
        if values:
            epochs = sorted(values)
            kept = [epochs[place] for place in evenly(len(epochs), most)]
            found.append(
                Curve(
                    group,
                    kept,
                    [_finite(values[epoch], statistics.fmean) for epoch in kept],
                    [_finite(values[epoch], min) for epoch in kept],
                    [_finite(values[epoch], max) for epoch in kept],
                    [len(values[epoch]) for epoch in kept],
                )
            )
    return found


def _finite(values: list[float], summary: Callable[[list[float]], float]) -> float | None:
    return summary(values) if all(math.isfinite(value) for value in values) else None
