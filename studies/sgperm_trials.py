"""Changes to SGPerm that settings cannot express, tried on the validation split of `sgperm-study`.

    python studies/sgperm_trials.py --output results/studies/sgperm-trials.csv

Each trial changes the default settings in one point, over 800 updates of `fc500-300`. Test images
are never looked at. Trials that the file holds are not run again.
"""

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from permtrain.lab.recipes.experiments.sgperm_ahead import CHOSEN, DATA, NUM_UPDATES, study_settings
from permtrain.lab.recipes.rows import write_csv
from permtrain.lab.training.memory import keep_freed_memory
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import PermutationSettings, Place
from permtrain.lab.training.trainer import Trainer
from permtrain.optim.sgperm import SGPerm

Group = dict[str, Any]


class Rounds(SGPerm):
    """The search several times in an update, the recommendations left in their slots."""

    num_rounds = 2

    def _permute(self, rows: Any, recommended: dict[Tensor, Tensor]) -> None:
        for _ in range(self.num_rounds):
            super()._permute(rows, recommended)


class FourRounds(Rounds):
    num_rounds = 4


class Nesterov(SGPerm):
    """Momentum as it will be after the next step, were the gradient the same."""

    def _momentum(self, parameter: Tensor, group: Group) -> Tensor:
        momentum = super()._momentum(parameter, group)
        assert parameter.grad is not None
        momentum_after: Tensor = parameter.grad + group["momentum"] * momentum
        return momentum_after


class Gated(SGPerm):
    """No recommendation where Adam's normalised momentum is small: the gradient's sign varies."""

    threshold = 0.3

    def _momentum(self, parameter: Tensor, group: Group) -> Tensor:
        beta_1, beta_2 = group["momentum"], 0.999
        momentum = super()._momentum(parameter, group)
        assert parameter.grad is not None
        state = self.state[parameter]
        squares = state.setdefault("squares", torch.zeros_like(parameter))
        squares.mul_(beta_2).addcmul_(parameter.grad, parameter.grad, value=1 - beta_2)
        mean = momentum * (1 - beta_1) / (1 - beta_1**self.num_steps)
        size = (squares / (1 - beta_2**self.num_steps)).sqrt_()
        return torch.where(mean.abs() >= self.threshold * size, mean, 0.0)


def momentum_grows(group: Group, progress: float) -> None:
    """1 - momentum falls from .2 to .03, by the same factor at each step."""
    group["current_momentum"] = 1 - 0.2 * (0.03 / 0.2) ** progress


def alpha_falls_late(group: Group, progress: float) -> None:
    """Alpha from start to floor along half a cosine wave."""
    floor, start = group["aggressiveness_min"], group["aggressiveness"]
    wave = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress)).item())
    group["aggressiveness_decay"] = 1.0
    group["current_aggressiveness"] = floor + (start - floor) * wave


def pair_first(group: Group, progress: float) -> None:
    """The pair search for the first half, bracket for the second."""
    group["search"] = "pair" if progress < 0.5 else "bracket"


def start_last(group: Group, progress: float) -> None:
    """The bracket search for the first half, START for the second."""
    group["search"] = "bracket" if progress < 0.5 else "start"


@dataclass(frozen=True)
class Trial:
    """What is changed.

    Attributes:
        optimizer: in place of SGPerm.
        before_step: sets a group's settings, from the part of the updates that is done.
        settings: other settings than the chosen ones.
    """

    optimizer: type[SGPerm] = SGPerm
    before_step: Callable[[Group, float], None] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


TRIALS = {
    "two rounds": Trial(Rounds),
    "four rounds": Trial(FourRounds),
    "two rounds, alpha from .03": Trial(Rounds, settings={"aggressiveness": 0.03}),
    "Nesterov momentum": Trial(Nesterov),
    "gate .3": Trial(Gated),
    "momentum .8 to .97": Trial(before_step=momentum_grows),
    "alpha by cosine": Trial(before_step=alpha_falls_late),
    "pair, then bracket": Trial(before_step=pair_first),
    "bracket, then START": Trial(before_step=start_last),
}


class Schedule:
    """Sets the groups before the first step, and after each for the next one."""

    def __init__(self, trainer: Trainer, set_group: Callable[[Group, float], None]) -> None:
        self.set_group = set_group
        self.after_step(trainer)

    def after_step(self, trainer: Trainer) -> None:
        for group in trainer.optimizer.param_groups:
            self.set_group(group, trainer.position.step / NUM_UPDATES)

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        pass


def run(trial: Trial, data: str, seed: int) -> float:
    """Trains; the accuracy on the images set aside, in percent."""
    settings = replace(
        study_settings(data, "paper"),
        permutation=PermutationSettings(method="sgperm"),
        sgperm=replace(CHOSEN, **trial.settings),
        seed=seed,
    )
    trainer = Trainer(settings, Place(device="cpu", threads=1))
    changed = asdict(settings.sgperm)
    del changed["permuted_biases"]  # they are left to Adam
    trainer.optimizer = trial.optimizer(
        trainer.model.parameters(),
        model=trainer.model,
        inner=lambda parameters: torch.optim.Adam(parameters, lr=settings.optimizer.lr),
        seed=seed,
        **changed,
    )
    trainer.run([] if trial.before_step is None else [Schedule(trainer, trial.before_step)])
    assert trainer.validation_split is not None
    return 100 * trainer.evaluate(trainer.validation_split).accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", default="*", help="a pattern of trials' names, as in 'gate*'")
    arguments = parser.parse_args()
    output: Path = arguments.output
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    if output.exists():
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
    output.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["arm"], row["seed"]) for row in rows}
    for seed, (title, data), (name, trial) in product(range(2), DATA.items(), TRIALS.items()):
        arm = f"{title}: {name}"
        if (arm, str(seed)) in done or not fnmatchcase(name, arguments.only):
            continue
        begun = time.perf_counter()
        percent = run(trial, data, seed)
        rows.append(
            {
                "arm": arm,
                "seed": str(seed),
                "validation_percent": f"{percent:.4f}",
                "wall_s": f"{time.perf_counter() - begun:.1f}",
                "torch": torch.__version__,
            }
        )
        write_csv(output, rows)
        print(arm, seed, f"{percent:.2f}", flush=True)


if __name__ == "__main__":
    main()
