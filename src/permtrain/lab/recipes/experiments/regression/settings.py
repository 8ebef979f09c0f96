"""Settings of one regression run. Nothing heavy is imported."""

import math
from dataclasses import dataclass

from permtrain.errors import SettingError
from permtrain.lab.training.settings import hash_of

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

    target: str
    width: int
    init: str
    method: str
    sync_period: int = 1_000
    epochs: int = 6_400
    batch_size: int = 8
    lr: float = 1e-3
    lr_decay: float = 0.998
    train_points: int = 1_600
    networks: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, names in (("target", TARGETS), ("init", INITS), ("method", METHODS)):
            value = getattr(self, name)
            if value not in names:
                raise SettingError(f"{name} is {value!r}; allowed: {', '.join(names)}")
        for name in ("sync_period", "epochs", "batch_size", "train_points", "networks"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _check("width", self.width, self.width >= 2, "2 or more")
        _check("lr", self.lr, 0 < self.lr < math.inf, "above 0")
        _check("lr_decay", self.lr_decay, 0 < self.lr_decay <= 1, "above 0, up to 1")
        _check("seed", self.seed, 0 <= self.seed < 2**63, "0 to 2**63 - 1")
        whole = self.train_points % self.batch_size == 0
        _check("batch_size", self.batch_size, whole, f"what divides {self.train_points} points")

    @property
    def steps_per_epoch(self) -> int:
        return self.train_points // self.batch_size

    def rate_in(self, epoch: int) -> float:
        """The learning rate in an epoch, counted from 0.

        Example:
            >>> settings = RegressionSettings("sine", 10, "pairwise", "adam", lr=0.5, lr_decay=0.5)
            >>> settings.rate_in(0), settings.rate_in(2)
            (0.5, 0.125)
        """
        return self.lr * self.lr_decay**epoch


def run_name(settings: RegressionSettings) -> str:
    """The name of a run's folder: target, width, method and the settings' hash."""
    return f"regression-{settings.target}-{settings.width}-{settings.method}-{hash_of(settings)}"


def _check(name: str, value: object, fine: bool, allowed: str) -> None:
    if not fine:
        raise SettingError(f"{name} is {value!r}; allowed: {allowed}")
