"""Measures of a run's record that the page shows as curves, a band for each group of runs."""

from collections.abc import Iterable, Sequence

from permtrain.lab.pictures.numbers.bands import Band, Curve, band_of
from permtrain.lab.training.run_folder import Metrics

# What is asked for first, comes first; what a record lacks is left out.
MEASURES = {
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
    "test_bits": "test bits per character",
    "validation_bits": "validation bits per character",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "validation_loss": "validation loss",
    "lr": "learning rate",
    "wall_s": "seconds an epoch",
}

MOST_POINTS = 400


def measures_of(histories: Iterable[Sequence[Metrics]]) -> list[str]:
    """Keys of the measures that any record holds, in the order of `MEASURES`."""
    recorded = {key for history in histories for metrics in history for key in metrics}
    return [key for key in MEASURES if key in recorded]


def bands_of(
    runs: Sequence[tuple[str, Sequence[Metrics]]], measure: str, most: int = MOST_POINTS
) -> dict[str, Band]:
    """The band of a measure over epochs, for each group that has it, in the order given.

    A run that has not come as far as others does not count where it has no value.

    Args:
        runs: a group's name and a run's record each.
        measure: a key of the records.
        most: points of a band; longer ones are thinned evenly.

    Example:
        >>> first = [{"epoch": 1, "test_loss": 2.0}, {"epoch": 2, "test_loss": 1.0}]
        >>> runs = [("a", first), ("a", [{"epoch": 1, "test_loss": 4.0}])]
        >>> bands_of(runs, "test_loss")["a"].mean
        [3.0, 1.0]
    """
    groups: dict[str, list[Curve]] = {}
    for group, history in runs:
        curve = [(metrics["epoch"], metrics[measure]) for metrics in history if measure in metrics]
        if curve:
            groups.setdefault(group, []).append(curve)
    return {group: band_of(curves).thinned(most) for group, curves in groups.items()}
