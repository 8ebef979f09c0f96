"""One regression run, from its settings to its result.

Suffixes as in `network`: S networks, P points, D variables, H hidden units.
"""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from permtrain.core.cut import Cut
from permtrain.core.granularity import GranularityRule
from permtrain.core.profile import holding
from permtrain.core.vectors import vectors_of
from permtrain.lab.data.order import permutation
from permtrain.lab.recipes.experiments.regression.network import (
    COEFFICIENTS,
    Networks,
    initial_coefficients,
)
from permtrain.lab.recipes.experiments.regression.problem import PROBLEMS
from permtrain.lab.recipes.experiments.regression.settings import RegressionSettings
from permtrain.lab.training.device import device_at
from permtrain.lab.training.engine import Session
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.learning_rate import schedule
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.settings import Place, hash_of, to_dict
from permtrain.lab.training.trainer import Diverged
from permtrain.lab.training.travel import travel_between
from permtrain.lab.training.weights_file import write_weights
from permtrain.optim.index import IndexOptimizer
from permtrain.optim.laperm import LaPerm
from permtrain.optim.permuter import Permuter
from permtrain.verification import Verification

NUM_LOOKS = 20
"""How often a run looks at its errors, and so saves a checkpoint and says how good it is."""

_POINTS_AT_ONCE = 4_096


@dataclass(frozen=True)
class Errors:
    """Of each network, (S,): the largest error, and the root of the mean squared one."""

    linf: Tensor
    rmse: Tensor


def geometric_mean(values: Tensor) -> float:
    """The authors' mean over networks, whose errors they show on a logarithmic scale.

    Example:
        >>> round(geometric_mean(torch.tensor([1.0, 4.0])), 6)
        2.0
    """
    return math.exp(float(values.double().log().mean()))


class RegressionSession(Session):
    """A run in memory, an epoch after the other.

    Args:
        settings: what to compute.
        place: where.

    Attributes:
        epoch: how many are done.
        history: at each look the epoch and the geometric means of the test errors.
    """

    def __init__(self, settings: RegressionSettings, place: Place) -> None:
        self.settings = settings
        self.device = device_at(place)
        self.epoch = 0
        self.wall_s = 0.0
        self.history: list[Metrics] = []
        problem = PROBLEMS[settings.target]
        self.networks = Networks(settings).to(self.device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=settings.lr, fused=True)
        self._schedule = self._scheduled()
        self.permuter = _attach(settings, self.optimizer, self.networks)
        self.train_PD = problem.train_points(settings.train_points).to(self.device)
        self.train_P = problem.function(self.train_PD)
        self.test_PD = problem.test_points().to(self.device)
        self.test_P = problem.function(self.test_PD)

    def _scheduled(self) -> LambdaLR:
        """The learning rate's schedule from here on, in epochs."""
        decay = self.settings.lr_decay
        return schedule(self.optimizer, self.settings.lr, lambda epoch: decay**epoch, self.epoch)

    @property
    def step(self) -> int:
        return self.epoch * self.settings.steps_per_epoch

    @property
    def num_steps(self) -> int:
        return self.settings.epochs * self.settings.steps_per_epoch

    def advance(self) -> Metrics | None:
        """Train an epoch, and look at the errors if that is due."""
        epochs = self.settings.epochs
        begun = time.monotonic()
        self.train_epoch()
        is_due = self.epoch % max(epochs // NUM_LOOKS, 1) == 0 or self.epoch == epochs
        metrics = self.look() if is_due else None
        self.wall_s += time.monotonic() - begun
        return metrics

    def train_epoch(self) -> None:
        for places_SP in self._batches():
            self.networks.set_gradients(self.train_PD[places_SP], self.train_P[places_SP])
            self.optimizer.step()
        self._schedule.step()
        self.epoch += 1

    def _batches(self) -> Iterator[Tensor]:
        """Places of training points, (S, batch), in an order of its own for each network."""
        settings = self.settings
        orders = [
            torch.from_numpy(
                permutation(settings.train_points, settings.seed, self.epoch + (network << 32))
            )
            for network in range(settings.networks)
        ]
        order_SP = torch.stack(orders).to(self.device)
        return iter(order_SP.split(settings.batch_size, dim=1))

    @torch.no_grad()
    def errors(self, points_PD: Tensor, wanted_P: Tensor) -> Errors:
        """Of the arranged networks."""
        num = self.settings.networks
        worst_S = torch.zeros(num, device=self.device)
        squares_S = torch.zeros(num, dtype=torch.float64, device=self.device)
        with self._arranged():
            chunks = zip(
                points_PD.split(_POINTS_AT_ONCE), wanted_P.split(_POINTS_AT_ONCE), strict=True
            )
            for chunk_PD, chunk_P in chunks:
                off_SP = (self.networks(chunk_PD.expand(num, *chunk_PD.shape)) - chunk_P).abs()
                worst_S = torch.maximum(worst_S, off_SP.amax(dim=1))
                squares_S += off_SP.double().square().sum(dim=1)
        return Errors(worst_S.cpu(), (squares_S / len(points_PD)).sqrt().cpu())

    def _arranged(self) -> AbstractContextManager[None]:
        return nullcontext() if self.permuter is None else self.permuter.arranged()

    def look(self) -> Metrics:
        """Return the geometric means of the test errors.

        Raises:
            Diverged: they are not numbers.
        """
        errors = self.errors(self.test_PD, self.test_P)
        if not torch.isfinite(errors.rmse).all():
            raise Diverged(f"epoch {self.epoch}: a network's test error is no number")
        return {
            "epoch": self.epoch,
            "linf": geometric_mean(errors.linf),
            "rmse": geometric_mean(errors.rmse),
        }

    def in_words(self, metrics: Metrics) -> str:
        return (
            f"epoch {metrics['epoch']}/{self.settings.epochs}  "
            f"L-infinity {metrics['linf']:.4f}, RMS {metrics['rmse']:.4f}"
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "permuter": None if self.permuter is None else self.permuter.state_dict(),
            "epoch": self.epoch,
            "wall_s": self.wall_s,
            "history": [tuple(look.values()) for look in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.permuter is not None:
            self.permuter.load_state_dict(state["permuter"])
        self.epoch, self.wall_s = state["epoch"], state["wall_s"]
        self._schedule = self._scheduled()
        names = ("epoch", "linf", "rmse")
        self.history = [dict(zip(names, look, strict=True)) for look in state["history"]]

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        with self._arranged():
            weights = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.networks.state_dict().items()
            }
        write_weights(folder.weights_file, weights)
        test = self.errors(self.test_PD, self.test_P)
        train = self.errors(self.train_PD, self.train_P)
        return {
            "settings_hash": hash_of(self.settings),
            "settings": to_dict(self.settings),
            "wall_s": round(self.wall_s, 1),
            "linf": test.linf.tolist(),
            "rmse": test.rmse.tolist(),
            "train_rmse": train.rmse.tolist(),
            "scale": float(self.networks.scale.detach().mean()),
            **_permutation_columns(self.settings, weights[COEFFICIENTS]),
        }


def row(folder: RunFolder) -> dict[str, Any]:
    """The columns of a complete run's results."""
    result = read_json(folder.result_file)
    settings = read_json(folder.settings_file)
    own = ("target", "width", "init", "method", "networks", "epochs")
    columns = {name: settings[name] for name in own}
    for name in ("linf", "rmse", "train_rmse"):
        values = torch.tensor(result[name])
        columns[name] = _short(geometric_mean(values))
        columns[f"{name}_each"] = " ".join(f"{value:.4g}" for value in result[name])
    return columns | {
        "scale": _short(result["scale"]),
        "intact": result["intact"],
        "moved_fraction": result["moved_fraction"],
        "mean_ranking_distance": result["mean_ranking_distance"],
    }


def _permutation_columns(settings: RegressionSettings, coefficients: Tensor) -> dict[str, Any]:
    """Whether each network's coefficients are its initial ones, drawn anew, and where they went."""
    if settings.method == "adam":
        return {"intact": None, "moved_fraction": None, "mean_ranking_distance": None}
    initial = {COEFFICIENTS: initial_coefficients(settings)}
    cuts = {COEFFICIENTS: Cut("neuron").of(tuple(coefficients.shape))}
    born, last = vectors_of(initial, cuts), vectors_of({COEFFICIENTS: coefficients}, cuts)
    intact = bool(Verification(holding(last, born)))
    travel = travel_between(born, last, cuts) if intact else None
    return {
        "intact": intact,
        "moved_fraction": None if travel is None else round(travel.moved_fraction, 6),
        "mean_ranking_distance": (
            None if travel is None else round(travel.mean_ranking_distance, 6)
        ),
    }


def _attach(
    settings: RegressionSettings, optimizer: torch.optim.Optimizer, networks: Networks
) -> Permuter | None:
    """The method: a row of the coefficients, one network's, is a weight vector."""
    rule: GranularityRule = {COEFFICIENTS: "neuron"}
    if settings.method == "laperm":
        return LaPerm(optimizer, sync_period=settings.sync_period, model=networks, granularity=rule)
    if settings.method == "index":
        return IndexOptimizer(optimizer, granularity=rule, model=networks)
    return None


def _short(value: float) -> float:
    return float(f"{value:.6g}")
