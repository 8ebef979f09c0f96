"""What permuting costs: one synchronisation beside simpler ways to do it, and whole training steps.

Run it from the checkout, on a machine that has nothing else to do:

    python benchmarks/synchronize.py            # all; five minutes or more on two cores
    python benchmarks/synchronize.py --quick    # a look

Everything is timed in one process. The ways that are compared take turns in rounds, and ratios are
taken within a round; tables give the median of the rounds and, in brackets, the quartiles.

**One synchronisation** of all permuted weights of a network: its profiles are laid out in the order
of the weights and written into the parameters, as `LaPerm` does after a step that is due. Timed are

- ours: `permtrain.core.arrangement.arrange_vectors` (a stable sort, which also refuses NaN and
  infinity, and one scatter);
- argsort+scatter: `torch.argsort`, then `scatter_`;
- argsort of argsort+gather: the algorithm of Train by Reconnect's authors, which makes ranks by a
  second sort and indexes the profile by them.

A ratio is the other way's time by ours: *above 1 ours is faster*. Inputs: initial weights by
He-uniform, seed 0, moved by 20 steps of `torch.optim.Adam` (lr 1e-3) with standard normal
gradients, so that most weights keep about their rank, as within a sync period. Before timing, the
three must agree bit for bit on random orders without ties (where weights tie, only ours promises
which goes first). That is also the warm-up.

Kernel granularity permutes layers without kernels (linear ones, 1x1 convolutions) per neuron.

**A whole training step**: forward, backward and optimizer on one batch of random images, by plain
`torch.optim.Adam` and by methods attached to it. The ratio is the method's time by plain Adam's:
*1.05 means permuting adds 5%*. Methods are timed in blocks of whole sync periods, 20 steps where
k=20 and for plain Adam, 4 where k=1; what is recorded is a block's mean step. Two steps of each are
the warm-up (any 20 steps in a row hold one synchronisation). Afterwards, synchronised, every model
must hold exactly its initial values.
"""

import copy
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from command import command
from paired import Spread, ratio_spread, spread_of, times_in_turns
from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.core.arrangement import arrange_vectors
from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut
from permtrain.core.granularity import GranularityRule, decide, named_tensors
from permtrain.core.profile import profile_of
from permtrain.errors import SettingError
from permtrain.initial.initialize import initialize_
from permtrain.lab.models.registry import NETWORKS, build_network
from permtrain.lab.training.environment import environment
from permtrain.lab.training.json_files import write_json
from permtrain.lab.training.settings import Place
from permtrain.optim.permuter import Permuter

SYNCHRONIZED_NETS = ("conv4", "conv13", "resnet50-cifar")
STEPPED_NETS = ("conv4", "resnet50-cifar", "fc500-300")
QUICK_SYNCHRONIZED_NETS = ("resnet50-cifar",)
QUICK_STEPPED_NETS = ("fc500-300",)
RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "synchronize.json"

BATCH_SIZES = {"fc500-300": 64}
DEFAULT_BATCH_SIZE = 50
NUM_CLASSES = 10
LEARNING_RATE = 1e-3
SYNC_PERIOD = 20
WARM_UP_STEPS = 2


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure one synchronisation and whole training steps, as ratios in one run."""

    threads: int | None = None
    """Threads that torch uses; at least 1. Left out: torch's own choice."""
    repeats: int = 3
    """Rounds, in each of which everything compared is timed once; at least 1."""
    nets: tuple[str, ...] | None = None
    """Networks to measure, in both parts (`permtrain list`). Left out: each part's own."""
    quick: bool = False
    """At most 2 rounds, and small networks if none are named."""
    output: Path | None = None
    """A JSON file for settings, machine and every row. Left out: synchronize.json in
    results/benchmarks, and nothing is written with --quick or --nets."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")
        if self.threads is not None and self.threads < 1:
            raise SettingError(f"threads is {self.threads}; allowed: 1 or more")
        for net in self.nets or ():
            if net not in NETWORKS:
                raise SettingError(f"nets has {net!r}; allowed: {', '.join(NETWORKS)}")

    @property
    def rounds(self) -> int:
        return min(self.repeats, 2) if self.quick else self.repeats

    @property
    def synchronized_nets(self) -> tuple[str, ...]:
        return self.nets or (QUICK_SYNCHRONIZED_NETS if self.quick else SYNCHRONIZED_NETS)

    @property
    def stepped_nets(self) -> tuple[str, ...]:
        return self.nets or (QUICK_STEPPED_NETS if self.quick else STEPPED_NETS)

    @property
    def result_file(self) -> Path | None:
        is_partial = self.quick or self.nets is not None
        return self.output or (None if is_partial else RESULT_FILE)


# --- one synchronisation -------------------------------------------------------------------------


def argsort_scatter(profile_VL: Tensor, like_VL: Tensor) -> Tensor:
    """The value at place r of the order goes to the position that holds place r."""
    order_VL = torch.argsort(like_VL, dim=1)
    return torch.empty_like(like_VL).scatter_(1, order_VL, profile_VL.expand_as(like_VL))


def argsort_of_argsort_gather(profile_VL: Tensor, like_VL: Tensor) -> Tensor:
    """Each position takes the value at its rank; ranks are the argsort of the argsort."""
    ranks_VL = torch.argsort(torch.argsort(like_VL, dim=1), dim=1)
    return profile_VL.expand_as(like_VL).gather(1, ranks_VL)


OURS = "ours"
Arrangement = Callable[[Tensor, Tensor], Tensor]
ARRANGEMENTS: dict[str, Arrangement] = {
    OURS: arrange_vectors,
    "argsort+scatter": argsort_scatter,
    "argsort of argsort+gather": argsort_of_argsort_gather,
}

GRANULARITY_RULES: dict[str, GranularityRule] = {
    "kernel": ("kernel", "neuron"),
    "neuron": "neuron",
    "layer": "layer",
}


@dataclass(frozen=True)
class MovedTensor:
    """A parameter to be arranged, and what by.

    Attributes:
        parameter: where the arranged weights go.
        cut: how it is cut into weight vectors.
        profile: its initial values, ascending.
        scores: its weights after some steps, whose order counts.
    """

    parameter: Tensor
    cut: Cut
    profile: Tensor
    scores: Tensor


@dataclass(frozen=True)
class SynchronizationRow:
    """One network at one granularity."""

    net: str
    granularity: str
    num_weights: int
    num_vectors: int
    millions_of_weights_per_second: Spread
    """Ours."""
    ratios: dict[str, Spread]
    """Time of each other way by ours; above 1 ours is faster."""
    seconds: dict[str, list[float]]
    """Of each way, in each round."""


def measure_synchronization(
    net: str, rounds: int, show: Callable[[str], object]
) -> Iterator[SynchronizationRow]:
    """Times one synchronisation of a network at each granularity, ours against the others."""
    show(f"{net}: weights after {SYNC_PERIOD} steps")
    model = network(net)
    scores = weights_after_steps(model)
    for granularity, rule in GRANULARITY_RULES.items():
        show(f"{net}: synchronisation per {granularity}")
        tensors = moved_tensors(model, scores, rule)
        check_agreement(tensors)
        seconds = times_in_turns(
            {
                name: partial(synchronize, tensors, arrangement)
                for name, arrangement in ARRANGEMENTS.items()
            },
            rounds,
        )
        num_weights = sum(tensor.cut.num_weights for tensor in tensors)
        yield SynchronizationRow(
            net=net,
            granularity=granularity,
            num_weights=num_weights,
            num_vectors=sum(tensor.cut.num_vectors for tensor in tensors),
            millions_of_weights_per_second=spread_of(num_weights / s / 1e6 for s in seconds[OURS]),
            ratios={
                name: ratio_spread(seconds[name], seconds[OURS]) for name in seconds if name != OURS
            },
            seconds=seconds,
        )


def weights_after_steps(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights as Adam leaves them after steps with random gradients; not written."""
    weights = {tensor.name: tensor.parameter for tensor in named_tensors(model) if tensor.is_weight}
    moved = {name: nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}
    optimizer = Adam(moved.values(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    for _ in range(SYNC_PERIOD):
        for weight in moved.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return {name: weight.detach() for name, weight in moved.items()}


def moved_tensors(
    model: nn.Module, scores: dict[str, Tensor], rule: GranularityRule
) -> list[MovedTensor]:
    """The weights that a rule permutes, their present values being the initial ones."""
    found = []
    for tensor in named_tensors(model):
        cut = decide(tensor, rule).cut
        if cut is not None:
            initial = tensor.parameter.detach().clone()
            profile = profile_of(initial, cut)
            found.append(MovedTensor(initial, cut, profile, scores[tensor.name]))
    return found


def synchronize(tensors: list[MovedTensor], arrangement: Arrangement) -> None:
    """Lays out every profile in the order of its scores, in the parameter."""
    for tensor in tensors:
        tensor.parameter.copy_(arranged(tensor, arrangement))


def arranged(tensor: MovedTensor, arrangement: Arrangement) -> Tensor:
    vectors = arrangement(tensor.profile, tensor.cut.to_vectors(tensor.scores))
    return tensor.cut.to_tensor(vectors)


def check_agreement(tensors: list[MovedTensor]) -> None:
    """All ways must give the same bits for an order without ties: one drawn at random."""
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors:
        shape, num_weights = tensor.cut.shape, tensor.cut.num_weights
        assert num_weights <= 2**24, "float32 does not tell larger whole numbers apart"
        order = torch.randperm(num_weights, generator=generator).float().reshape(shape)
        tie_free = replace(tensor, scores=order)
        outcomes = [bits_of(arranged(tie_free, way)) for way in ARRANGEMENTS.values()]
        assert all(torch.equal(outcome, outcomes[0]) for outcome in outcomes), shape


# --- a whole training step -----------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        block_steps: steps timed in one go, whole sync periods.
        attach: attaches it to the inner optimizer; None for the plain one.
    """

    block_steps: int
    attach: Callable[[Adam, nn.Module], Permuter | None]


PLAIN = "plain Adam"
METHODS: dict[str, Way] = {
    PLAIN: Way(SYNC_PERIOD, lambda optimizer, model: None),
    "LaPerm k=20, neuron": Way(
        SYNC_PERIOD,
        lambda optimizer, model: LaPerm(optimizer, sync_period=SYNC_PERIOD, model=model),
    ),
    "LaPerm k=1, neuron": Way(
        4, lambda optimizer, model: LaPerm(optimizer, sync_period=1, model=model)
    ),
    "index k=1, neuron": Way(
        4, lambda optimizer, model: IndexOptimizer(optimizer, granularity="neuron", model=model)
    ),
    "index k=1, layer": Way(
        4, lambda optimizer, model: IndexOptimizer(optimizer, granularity="layer", model=model)
    ),
}


@dataclass(frozen=True)
class StepRow:
    """One network trained by one method."""

    net: str
    method: str
    batch_size: int
    block_steps: int
    milliseconds_per_step: Spread
    ratio_to_plain: Spread
    """Time of a step by that of plain Adam; above 1 it is slower."""
    block_milliseconds_per_step: list[float]
    """Mean step of the block timed in each round."""


class Training:
    """A model on its way, on one batch that comes again and again.

    Args:
        model: the initial model; a copy is trained.
        method: by what.
        images, labels: the batch.
    """

    def __init__(self, model: nn.Module, method: Way, images: Tensor, labels: Tensor) -> None:
        self.model = copy.deepcopy(model).train()
        self.optimizer = Adam(self.model.parameters(), lr=LEARNING_RATE)
        self.permuter = method.attach(self.optimizer, self.model)
        self.images, self.labels = images, labels

    def run(self, num_steps: int) -> None:
        for _ in range(num_steps):
            loss = F.cross_entropy(self.model(self.images), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def measure_steps(net: str, rounds: int, show: Callable[[str], object]) -> list[StepRow]:
    """Times blocks of training steps of a network by every method, against plain Adam."""
    show(f"{net}: training steps")
    model = network(net)
    batch_size = BATCH_SIZES.get(net, DEFAULT_BATCH_SIZE)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, *NETWORKS[net].image_shape, generator=generator)
    labels = torch.randint(NUM_CLASSES, (batch_size,), generator=generator)
    trainings = {name: Training(model, method, images, labels) for name, method in METHODS.items()}
    for training in trainings.values():
        training.run(WARM_UP_STEPS)
    seconds = times_in_turns(
        {name: partial(trainings[name].run, METHODS[name].block_steps) for name in METHODS}, rounds
    )
    for training in trainings.values():
        check_values(training)
    milliseconds = {
        name: [1000 * s / METHODS[name].block_steps for s in seconds[name]] for name in METHODS
    }
    return [
        StepRow(
            net=net,
            method=name,
            batch_size=batch_size,
            block_steps=METHODS[name].block_steps,
            milliseconds_per_step=spread_of(milliseconds[name]),
            ratio_to_plain=ratio_spread(milliseconds[name], milliseconds[PLAIN]),
            block_milliseconds_per_step=milliseconds[name],
        )
        for name in METHODS
    ]


def check_values(training: Training) -> None:
    """Synchronised once more, the model holds exactly its initial values."""
    if training.permuter is not None:
        training.permuter.synchronize()
        assert verify(training.model, training.permuter)


# --- both ----------------------------------------------------------------------------------------


def network(net: str) -> nn.Module:
    """A network for the images of its published experiments, by He-uniform, seed 0."""
    model = build_network(net, NETWORKS[net].image_shape, NUM_CLASSES)
    initialize_(model, "kaiming_uniform", seed=0)
    return model


def machine() -> dict[str, Any]:
    """What it is measured on and with; `load_average` (of a minute) tells a busy machine."""
    return {
        "cpu_model": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **environment(torch.device("cpu"), Place()),
    }


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def synchronization_table(rows: list[SynchronizationRow]) -> Table:
    others = [name for name in ARRANGEMENTS if name != OURS]
    table = Table(title="One synchronisation; ratios are time by ours, above 1 ours is faster")
    table.add_column("net", no_wrap=True)
    table.add_column("granularity", no_wrap=True)
    for heading in ("weights", "vectors", "ours, M weights/s", *others):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.net,
            row.granularity,
            f"{row.num_weights:,}",
            f"{row.num_vectors:,}",
            str(row.millions_of_weights_per_second),
            *(str(row.ratios[name]) for name in others),
        )
    return table


def step_table(rows: list[StepRow]) -> Table:
    table = Table(title="A training step: its time by that of plain Adam")
    table.add_column("net, batch", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("ms per step", justify="right")
    table.add_column("by plain", justify="right")
    for row in rows:
        table.add_row(
            f"{row.net}, {row.batch_size}",
            row.method,
            str(row.milliseconds_per_step),
            str(row.ratio_to_plain),
        )
    return table


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the tables and writes the result file."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(0)  # dropout
    console = Console(width=None if sys.stdout.isatty() else 120)
    measured_on = machine()
    with Console(stderr=True).status("") as status:
        synchronizations = [
            row
            for net in settings.synchronized_nets
            for row in measure_synchronization(net, settings.rounds, status.update)
        ]
        console.print(synchronization_table(synchronizations))
        steps = [
            row
            for net in settings.stepped_nets
            for row in measure_steps(net, settings.rounds, status.update)
        ]
        console.print(step_table(steps))
    if settings.result_file is not None:
        plain = {
            "settings": {
                "rounds": settings.rounds,
                "quick": settings.quick,
                "initial_rule": "kaiming_uniform",
                "learning_rate": LEARNING_RATE,
                "steps_before_synchronization": SYNC_PERIOD,
            },
            "machine": measured_on,
            "synchronizations": [asdict(row) for row in synchronizations],
            "steps": [asdict(row) for row in steps],
        }
        write_json(settings.result_file, plain)
        console.print(f"written: {settings.result_file}")


def main(arguments: list[str] | None = None) -> int:
    return command(run_benchmark, BenchmarkSettings, arguments)


if __name__ == "__main__":
    sys.exit(main())
