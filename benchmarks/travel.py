"""What looking on costs: `permuter.travel()` beside a synchronization, in one process.

    python benchmarks/travel.py            # a minute on one core
    python benchmarks/travel.py --nets fc500-300 --rounds 5

Weights are moved by a step of Adam with standard normal gradients before each pair, which is not
timed. The ratio is the time of a call by that of a synchronization, median of the rounds and, in
brackets, the quartiles. *4 means: called every 100 steps it adds 4% of a synchronization a step.*
"""

import sys
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from command import command
from paired import ratio_spread, spread_of, times_in_turns
from permtrain import IndexOptimizer, LaPerm
from permtrain.errors import SettingError
from permtrain.lab.models.registry import NETWORKS, build_network
from permtrain.optim.permuter import Permuter

NUM_CLASSES = 10


@dataclass(frozen=True)
class TravelSettings:
    """Measure a look at the weights' travel, as ratio to a synchronization."""

    nets: tuple[str, ...] = ("fc500-300", "conv4", "resnet20")
    """Networks to measure (`permtrain list`)."""
    rounds: int = 15
    """Rounds, in each of which both are timed once; at least 1."""
    threads: int | None = None
    """Threads that torch uses; left out: torch's own choice."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError(f"rounds is {self.rounds}; allowed: 1 or more")
        for net in self.nets:
            if net not in NETWORKS:
                raise SettingError(f"nets has {net!r}; allowed: {', '.join(NETWORKS)}")


def permuters(model: nn.Module, optimizer: torch.optim.Optimizer, method: str) -> Permuter:
    """A permuter that has made no step."""
    if method == "LaPerm":
        return LaPerm(optimizer, sync_period=10**6, model=model)
    return IndexOptimizer(optimizer, granularity="neuron", model=model, sync_period=10**6)


def measure(net: str, method: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round."""
    torch.manual_seed(0)
    model = build_network(net, NETWORKS[net].image_shape, NUM_CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    permuter = permuters(model, optimizer, method)
    seconds: dict[str, list[float]] = {"travel": [], "synchronize": []}

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    step()
    permuter.synchronize()  # compiles
    permuter.travel()
    for number in range(rounds):
        step()
        ways = {"travel": permuter.travel, "synchronize": permuter.synchronize}
        order = ways if number % 2 else dict(reversed(ways.items()))
        for name, (taken,) in times_in_turns(order, 1).items():
            seconds[name].append(taken)
    return seconds


def run(settings: TravelSettings) -> None:
    """Prints the table."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    table = Table("net", "method", "synchronization, ms", "travel(), ms", "ratio")
    for net in settings.nets:
        for method in ("LaPerm", "index"):
            seconds = measure(net, method, settings.rounds)
            table.add_row(
                net,
                method,
                str(spread_of(1e3 * each for each in seconds["synchronize"])),
                str(spread_of(1e3 * each for each in seconds["travel"])),
                str(ratio_spread(seconds["travel"], seconds["synchronize"])),
            )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(command(run, TravelSettings))
