"""Settings of one regression run. Nothing heavy is imported."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from permtrain.lab.training.settings import hash_of
from permtrain.ranges import (
    Count,
    OneOf,
    Positive,
    Seed,
    Share,
    check_fields,
    require,
)

TARGETS: dict[str, str] = {
    "sine": "-sin(2 pi x)",
    "legendre": "(5 x^3 - 3 x) / 2",
    "sine-2d": "-sin(pi x y)",
    "sine-3d": "sin(3 x) cos(y) sin(2 z)",
}
"""Functions on [-1, 1] in one to three variables."""

INITS: dict[str, str] = {
    "equidistant": "biases and coefficients equidistant",
    "pairwise": "random biases, random coefficients in pairs +v and -v",
    "uniform": "random biases, random coefficients",
    "he": "random biases, He normal coefficients",
    "glorot": "random biases, Glorot uniform coefficients",
    "he, biases too": "He normal biases and coefficients",
    "glorot, biases too": "Glorot uniform biases and coefficients",
}
"""How biases and coefficients are born; "random" is uniform over the range of the biases."""

METHODS: dict[str, str] = {
    "laperm": "LaPerm: coefficients move freely, every sync period their order lays out the values",
    "index": "index optimizer: latent coefficients are kept",
    "adam": "Adam alone",
}


@dataclass(frozen=True)
class RegressionSettings:
    """All that decides what a run computes: several networks of one width, side by side.

    Attributes:
        target: a name in `TARGETS`.
        width: n, biases for each direction; the hidden layer has n units for each direction.
        init: a name in `INITS`.
        method: a name in `METHODS`.
        sync_period: steps between LaPerm's synchronisations; the index optimizer arranges at every
            step, and Adam never.
        epochs: passes over the training points.
        batch_size: points in one step of one network.
        lr: Adam's rate in the first epoch.
        lr_decay: it is multiplied by this every epoch.
        train_points: at random places, the same for all networks.
        networks: how many, each with initial values and batches of its own.
        seed: of all of them.
    """

    target: Annotated[str, OneOf(tuple(TARGETS))]
    width: Annotated[int, Interval(ge=2)]
    init: Annotated[str, OneOf(tuple(INITS))]
    method: Annotated[str, OneOf(tuple(METHODS))]
    sync_period: Count = 1_000
    epochs: Count = 6_400
    batch_size: Count = 8
    lr: Positive = 1e-3
    lr_decay: Share = 0.998
    train_points: Count = 1_600
    networks: Count = 10
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        whole = self.train_points % self.batch_size == 0
        require("batch_size", self.batch_size, whole, f"what divides {self.train_points} points")

    @property
    def steps_per_epoch(self) -> int:
        return self.train_points // self.batch_size


def run_name(settings: RegressionSettings) -> str:
    """The name of a run's folder: target, width, method and the settings' hash."""
    return f"regression-{settings.target}-{settings.width}-{settings.method}-{hash_of(settings)}"
