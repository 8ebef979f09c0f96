"""One regression run from start to result, in its folder; interrupted and resumed bit for bit.

Suffixes as in `network`: S networks, P points, D variables, H hidden units.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
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
from permtrain.lab.recipes.experiments.regression.settings import RegressionSettings, run_name
from permtrain.lab.recipes.task import place_of, run_folder
from permtrain.lab.training.checkpoint import load_checkpoint, save_checkpoint
from permtrain.lab.training.device import device_at
from permtrain.lab.training.display import Display
from permtrain.lab.training.learning_rate import schedule
from permtrain.lab.training.record import RunFolder, read_json, write_json
from permtrain.lab.training.settings import Place, hash_of, to_dict
from permtrain.lab.training.stopping import Interrupted, stop_on_signal
from permtrain.lab.training.trainer import Diverged
from permtrain.lab.training.travel import travel_between
from permtrain.optim.index import IndexOptimizer
from permtrain.optim.laperm import LaPerm
from permtrain.optim.permuter import Permuter
from permtrain.verification import Verification

NUM_LOOKS = 20
"""How often a run looks at its errors, saves a checkpoint and says how good it is."""

_POINTS_AT_ONCE = 4_096


@dataclass(frozen=True)
class Errors:
    """Of each network, (S,): the largest error, and the root of the mean squared one."""

    linf: Tensor
    rmse: Tensor

    def __str__(self) -> str:
        return f"L-infinity {geometric_mean(self.linf):.4f}, RMS {geometric_mean(self.rmse):.4f}"


def geometric_mean(values: Tensor) -> float:
    """The authors' mean over networks, whose errors they show on a logarithmic scale.

    Example:
        >>> round(geometric_mean(torch.tensor([1.0, 4.0])), 6)
        2.0
    """
    return math.exp(float(values.double().log().mean()))


@dataclass
class Session:
    """A run in memory.

    Attributes:
        epoch: how many are done.
        history: at each look the epoch and the geometric means of the test errors.
    """

    settings: RegressionSettings
    device: torch.device
    epoch: int = 0
    wall_s: float = 0.0
    history: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.settings
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

    def look(self) -> Errors:
        """Test errors, also noted in the history.

        Raises:
            Diverged: they are no numbers.
        """
        errors = self.errors(self.test_PD, self.test_P)
        if not torch.isfinite(errors.rmse).all():
            raise Diverged(f"epoch {self.epoch}: a network's test error is no number")
        means = (geometric_mean(errors.linf), geometric_mean(errors.rmse))
        self.history.append((self.epoch, *means))
        return errors

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "permuter": None if self.permuter is None else self.permuter.state_dict(),
            "epoch": self.epoch,
            "wall_s": self.wall_s,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.permuter is not None:
            self.permuter.load_state_dict(state["permuter"])
        self.epoch, self.wall_s = state["epoch"], state["wall_s"]
        self._schedule = self._scheduled()
        self.history = [tuple(look) for look in state["history"]]


def run(settings: RegressionSettings, place: Place, display: Display) -> None:
    """Begins a run or goes on with it, to its result.

    Raises:
        RunIsBusy, CheckpointError: the folder is another process's, or its checkpoint damaged.
        Diverged, NonFiniteError: weights are no numbers any more.
        Interrupted: the user stopped it, after the running epoch.
    """
    name = run_name(settings)
    device = device_at(place_of(name, settings, place))
    with run_folder(name, settings, place, device) as folder:
        session = Session(settings, device)
        if checkpoints := folder.numbered_checkpoints():
            session.load_state_dict(load_checkpoint(checkpoints[-1]))
        with stop_on_signal() as stop_requested:
            errors = _train(session, folder, display, stop_requested)
        _write_weights(session, folder)
        write_json(folder.result_file, _result(session, errors))


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


def _train(
    session: Session, folder: RunFolder, display: Display, stop_requested: Callable[[], bool]
) -> Errors:
    settings = session.settings
    every = max(settings.epochs // NUM_LOOKS, 1)
    begun, before = time.monotonic(), session.wall_s
    errors = None
    while session.epoch < settings.epochs:
        session.train_epoch()
        display.show(
            session.epoch * settings.steps_per_epoch, settings.epochs * settings.steps_per_epoch
        )
        is_due = session.epoch % every == 0 or session.epoch == settings.epochs
        if is_due:
            errors = session.look()
        stops = stop_requested()
        if is_due or stops:
            session.wall_s = before + time.monotonic() - begun
            _save(session, folder)
        if is_due:
            display.say(f"epoch {session.epoch}/{settings.epochs}  {errors}")
        if stops:
            raise Interrupted(f"stopped; saved in {folder.path}; the same command goes on")
    return errors or session.errors(session.test_PD, session.test_P)


def _save(session: Session, folder: RunFolder) -> None:
    path = folder.checkpoints / f"step-{session.epoch * session.settings.steps_per_epoch:09d}.pt"
    save_checkpoint(path, session.state_dict())
    for old in folder.numbered_checkpoints()[:-1]:
        old.unlink()


def _write_weights(session: Session, folder: RunFolder) -> None:
    """The trained networks, arranged, and their last errors' history as JSON lines."""
    from safetensors.torch import save

    from permtrain.files import written_whole

    with session._arranged():
        weights = {
            name: tensor.detach().cpu().clone()
            for name, tensor in session.networks.state_dict().items()
        }
    with written_whole(folder.weights_file) as file:
        file.write(save(weights))
    lines = [
        json.dumps({"epoch": epoch, "linf": linf, "rmse": rmse}) + "\n"
        for epoch, linf, rmse in session.history
    ]
    with written_whole(folder.metrics_file) as file:
        file.write("".join(lines).encode())


def _result(session: Session, errors: Errors) -> dict[str, Any]:
    settings = session.settings
    train = session.errors(session.train_PD, session.train_P)
    return {
        "settings_hash": hash_of(settings),
        "settings": to_dict(settings),
        "wall_s": round(session.wall_s, 1),
        "linf": errors.linf.tolist(),
        "rmse": errors.rmse.tolist(),
        "train_rmse": train.rmse.tolist(),
        "scale": float(session.networks.scale.detach().mean()),
        **_permutation_columns(session),
    }


def _permutation_columns(session: Session) -> dict[str, Any]:
    """Whether each network's coefficients are its initial ones, drawn anew, and where they went."""
    if session.permuter is None:
        return {"intact": None, "moved_fraction": None, "mean_ranking_distance": None}
    initial = {COEFFICIENTS: initial_coefficients(session.settings)}
    with session._arranged():
        now = {COEFFICIENTS: session.networks.coefficients.detach().cpu().clone()}
    cuts = {COEFFICIENTS: Cut("neuron").of(tuple(now[COEFFICIENTS].shape))}
    born, last = vectors_of(initial, cuts), vectors_of(now, cuts)
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
