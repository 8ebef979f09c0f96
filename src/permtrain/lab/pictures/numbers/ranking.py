"""What was watched of the ranking of weights over training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RankingHistory:
    """What was watched of one weight matrix.

    Attributes:
        layer: its name.
        epochs: (T,) where each of the T looks was taken, ascending; 1.5 is the middle of the second
            epoch.
        percentiles: (T, 3, V) of the values of each vector.
        lowest, highest: (T,) smallest and largest weight.
        distance_epochs: (S,) places of the distances.
        mean, deviation: (S,) of the ranking distance from one step to the next, over L.
        losses: (epoch, loss), ascending.
        loss_name: of which images.
    """

    layer: str
    epochs: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    distance_epochs: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    losses: Sequence[tuple[float, float]]
    loss_name: str = "validation loss"
