"""Weights counted over bins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import drawable

NUM_BINS = 60


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of several sets of weights over the same bins, exact zeros apart.

    Attributes:
        edges: (B + 1,) ascending.
        counts: by name, (B,) int64.
        num_zeros: by name; a pruned network's zeros would dwarf all else.
        num_weights: by name, zeros included.
    """

    edges: NDArray[np.float64]
    counts: dict[str, NDArray[np.int64]]
    num_zeros: dict[str, int]
    num_weights: dict[str, int]


def histogram_of(sets: Mapping[str, ArrayLike], num_bins: int = NUM_BINS) -> Histogram:
    """Counts weights over equal bins, from the smallest to the largest weight of all sets.

    A weight that is exactly 0 is counted apart.

    Args:
        sets: name to weights of any shape, "before" and "after" for one.

    Raises:
        PictureError: no set, an empty one, or weights that are not finite.

    Example:
        >>> made = histogram_of({"w": [0.0, 1.0, 2.0, 5.0]}, num_bins=2)
        >>> made.edges.tolist(), made.counts["w"].tolist(), made.num_zeros["w"]
        ([1.0, 3.0, 5.0], [2, 1], 1)
    """
    if not sets:
        raise PictureError("there are no weights to draw")
    flat = {name: drawable(np.ravel(values), name, ndim=1) for name, values in sets.items()}
    others = {name: values[values != 0] for name, values in flat.items()}
    filled = [values for values in others.values() if len(values)]
    low = min((float(values.min()) for values in filled), default=0.0)
    high = max((float(values.max()) for values in filled), default=0.0)
    if low == high:  # one shared value
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    edges = np.linspace(low, high, num_bins + 1)
    return Histogram(
        edges,
        {name: np.histogram(values, edges)[0] for name, values in others.items()},
        {name: len(flat[name]) - len(values) for name, values in others.items()},
        {name: len(values) for name, values in flat.items()},
    )
