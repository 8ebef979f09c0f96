"""Learning curves of several seeds as one: their mean, and the range that they span."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from permtrain.lab.pictures.numbers.arrays import evenly

Curve = Sequence[tuple[float, float]]
"""(x, y) of one run, x ascending: epochs or steps, and what was measured there."""


@dataclass(frozen=True)
class Band:
    """Several runs' curves as one.

    Attributes:
        x: ascending; every place that a curve has.
        mean, low, high: over the curves that have the place; None if one of their values there is
            not finite.
        num_curves: how many these are.
    """

    x: list[float]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]
    num_curves: list[int]

    def thinned(self, most: int) -> "Band":
        """The same band at `most` of its places at most, evenly spaced."""
        kept = evenly(len(self.x), most)
        return Band(
            [self.x[i] for i in kept],
            [self.mean[i] for i in kept],
            [self.low[i] for i in kept],
            [self.high[i] for i in kept],
            [self.num_curves[i] for i in kept],
        )


def band_of(curves: Sequence[Curve]) -> Band:
    """Mean, smallest and largest value of several curves, at every place that one of them has.

    Example:
        >>> band = band_of([[(1, 90.0), (2, 94.0), (3, 95.0)], [(1, 92.0), (2, 95.0)]])
        >>> band.x, band.mean, band.low, band.high
        ([1, 2, 3], [91.0, 94.5, 95.0], [90.0, 94.0, 95.0], [92.0, 95.0, 95.0])
        >>> band.num_curves
        [2, 2, 1]
    """
    values: dict[float, list[float]] = {}
    for curve in curves:
        for x, y in curve:
            values.setdefault(x, []).append(y)
    places = sorted(values)
    return Band(
        places,
        [_finite(statistics.fmean, values[x]) for x in places],
        [_finite(min, values[x]) for x in places],
        [_finite(max, values[x]) for x in places],
        [len(values[x]) for x in places],
    )


def _finite(summary: Callable[[list[float]], float], values: list[float]) -> float | None:
    return summary(values) if all(map(math.isfinite, values)) else None
