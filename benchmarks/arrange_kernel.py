"""The compiled synchronisation beside torch's sorts and a warm start, by length of the vectors.

Run it from the checkout:

    python benchmarks/arrange_kernel.py            # all; about two minutes on two cores
    python benchmarks/arrange_kernel.py --quick    # a look

Inputs: He-normal weights in a running training, after 20 steps of `torch.optim.Adam` (lr 1e-3) with
standard normal gradients; their profile is that of the initial weights. Timed are, in turns within
a round, each way laying out the profiles in the order of the weights:

- ours: `permtrain.core.cpu_kernel.arrange_on_cpu`, which starts from nothing;
- argsort+scatter and argsort of argsort+gather, as in `synchronize.py`;
- from the last order: one insertion pass over the weights as the step before ordered them, compiled
  too. It keeps a 32-bit place per weight, and is measured to show that keeping it does not pay. Not
  run on a single long vector, in which weights move too many places.

A ratio is the other way's time by ours: *above 1 ours is faster*. With one thread times are the
processor's, so that a busy machine blurs them less; with more, the clock's.

**Hard inputs** are timed against ours on the weights above: *2 means twice as long*. A profile of
two levels is one of them, the only one that is easier.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from command import command
from paired import Spread, ratio_spread, spread_of, times_in_turns
from permtrain.core.cpu_kernel import arrange_on_cpu, compile_
from permtrain.core.ranking import sorting_order
from permtrain.errors import SettingError
from permtrain.lab.training.json_files import write_json
from synchronize import argsort_of_argsort_gather, argsort_scatter, machine

LENGTHS = (9, 500, 784, 1152, 4608, 2_400_000)
QUICK_LENGTHS = (9, 784, 4608)
NUM_WEIGHTS = 500_000
NUM_STEPS = 20
RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "arrange_kernel.json"

OURS = "ours"
WARM = "from the last order"
TWO_LEVELS = "two levels"


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure the compiled synchronisation, as ratios in one run."""

    repeats: int = 7
    """Rounds, in each of which everything compared is timed once; at least 1."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads to measure with; at least 1."""
    quick: bool = False
    """At most 3 rounds, and fewer lengths."""
    output: Path | None = None
    """A JSON file for settings, machine and every row. Left out: results/benchmarks/
    arrange_kernel.json, and nothing is written with --quick."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")
        if min(self.threads, default=1) < 1:
            raise SettingError(f"threads is {self.threads}; allowed: 1 or more")

    @property
    def rounds(self) -> int:
        return min(self.repeats, 3) if self.quick else self.repeats

    @property
    def lengths(self) -> tuple[int, ...]:
        return QUICK_LENGTHS if self.quick else LENGTHS

    @property
    def result_file(self) -> Path | None:
        return self.output or (None if self.quick else RESULT_FILE)


@dataclass(frozen=True)
class Row:
    """Vectors of one length with one number of threads."""

    length: int
    num_vectors: int
    threads: int
    mean_displacement: float
    """Places by which a step moves a weight in its vector's order, on average."""
    millions_of_weights_per_second: dict[str, Spread]
    ratios: dict[str, Spread]
    """Time of each other way by ours; above 1 ours is faster."""
    hard_inputs: dict[str, Spread]
    """Time of ours on hard inputs by ours on the training's weights; below 1 it is faster."""
    seconds: dict[str, list[float]]


@dataclass(frozen=True)
class Inputs:
    """Weights of a running training.

    Attributes:
        profile: (V, L), of the initial weights.
        weights: (V, L), after the last step.
        last_order: (V, L) int32, the sorting order before it.
    """

    profile: Tensor
    weights: Tensor
    last_order: Tensor


def training_inputs(length: int) -> Inputs:
    num_vectors = max(NUM_WEIGHTS // length, 1)
    generator = torch.Generator().manual_seed(0)
    initial = torch.randn(num_vectors, length, generator=generator) * (2 / min(length, 4608)) ** 0.5
    weight = torch.nn.Parameter(initial.clone())
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    last_order = torch.empty(0)
    for step in range(NUM_STEPS):
        if step == NUM_STEPS - 1:
            last_order = sorting_order(weight)
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return Inputs(initial.sort(dim=1).values, weight.detach(), last_order.int())


@numba.njit(nogil=True, cache=True)
def insertion_from(profile_VL: Any, bits_VL: Any, places_VL: Any, out_VL: Any) -> None:
    """Packs key and position in the last order, sorts by insertion, keeps the order."""
    L = bits_VL.shape[1]
    words = np.empty(L, np.int64)
    for v in range(bits_VL.shape[0]):
        for r in range(L):
            i = np.uint32(places_VL[v, r])
            bits = bits_VL[v, i]
            key = bits if bits >= 0 else -(1 << 31) - bits
            words[r] = (np.int64(key) << 32) | np.int64(i)
        for r in range(1, L):
            word = words[r]
            place = r
            while place > 0 and words[place - 1] > word:
                words[place] = words[place - 1]
                place -= 1
            words[place] = word
        for r in range(L):
            i = np.uint32(words[r])
            places_VL[v, r] = i
            out_VL[v, i] = profile_VL[v, r]


def arranged_by_us(profile: Tensor, weights: Tensor) -> Tensor:
    out = torch.empty_like(weights)
    assert arrange_on_cpu(profile, weights, out) is None
    return out


def arranged_from_last_order(inputs: Inputs) -> Tensor:
    out = torch.empty_like(inputs.weights)
    insertion_from(
        inputs.profile.numpy().view(np.int32),
        inputs.weights.numpy().view(np.int32),
        inputs.last_order.clone().numpy(),
        out.numpy().view(np.int32),
    )
    return out


def hard_inputs(inputs: Inputs) -> dict[str, tuple[Tensor, Tensor]]:
    """Profiles and weights."""
    profile, weights = inputs.profile, inputs.weights
    L = weights.shape[1]
    sawtooth = torch.arange(L).remainder(17).expand_as(weights).float()
    hard = {
        "reversed": weights.sort(dim=1, descending=True).values,
        "constant": torch.ones_like(weights),
        "sawtooth": sawtooth,
        "rising sawtooth": sawtooth + torch.arange(L) / L,
        "half zeros": weights.relu(),
        "outlier": torch.cat([weights[:, :1] * 1e6, weights[:, 1:]], 1),
        "heavy tails": weights**9,
        "two clusters": weights.sign() + 1e-4 * weights,
    }
    two_levels = torch.where(torch.arange(L) < L // 2, -1.0, 1.0)[None]
    return {name: (profile, w) for name, w in hard.items()} | {TWO_LEVELS: (two_levels, weights)}


def measure(length: int, threads: int, rounds: int) -> Row:
    torch.set_num_threads(threads)
    inputs = training_inputs(length)
    profile, weights = inputs.profile, inputs.weights
    ways: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: arranged_by_us(profile, weights),
        "argsort+scatter": lambda: argsort_scatter(profile, weights),
        "argsort of argsort+gather": lambda: argsort_of_argsort_gather(profile, weights),
    }
    if threads == 1 and weights.shape[0] > 1:
        ways[WARM] = lambda: arranged_from_last_order(inputs)
    hard: dict[str, Callable[[], Tensor]] = {
        name: lambda pair=pair: arranged_by_us(*pair)  # type: ignore[misc]
        for name, pair in hard_inputs(inputs).items()
    }
    expected = torch.empty_like(weights).scatter_(1, sorting_order(weights), profile)
    for name in (OURS, WARM):  # the others do not promise which of two equal weights goes first
        assert name not in ways or torch.equal(ways[name](), expected), name
    seconds = seconds_in_turns(ways, threads, rounds)
    seconds_hard = seconds_in_turns({OURS: ways[OURS], **hard}, threads, rounds)
    now = sorting_order(weights)
    places = torch.empty_like(now).scatter_(1, now, torch.arange(length).expand_as(now))
    moved = places.gather(1, inputs.last_order.long()) - torch.arange(length)
    return Row(
        length=length,
        num_vectors=weights.shape[0],
        threads=threads,
        mean_displacement=moved.abs().double().mean().item(),
        millions_of_weights_per_second={
            name: spread_of(weights.numel() / s / 1e6 for s in seconds[name]) for name in ways
        },
        ratios={name: ratio_spread(seconds[name], seconds[OURS]) for name in ways if name != OURS},
        hard_inputs={name: ratio_spread(seconds_hard[name], seconds_hard[OURS]) for name in hard},
        seconds=seconds | {name: seconds_hard[name] for name in hard},
    )


def seconds_in_turns(
    ways: dict[str, Callable[[], Tensor]], threads: int, rounds: int
) -> dict[str, list[float]]:
    """By the clock; with one thread the processor's time, to which other programs do not add."""
    if threads > 1:
        return times_in_turns(ways, rounds)
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def noted(name: str) -> None:
        begun = time.process_time()
        ways[name]()
        seconds[name].append(time.process_time() - begun)

    times_in_turns({name: partial(noted, name) for name in ways}, rounds)
    return seconds


def ways_table(rows: list[Row]) -> Table:
    others = list(rows[0].ratios)
    table = Table(title="The other way's time by ours, above 1 ours is faster")
    for heading in ("length", "threads", "moved", "ours, M weights/s", *others):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.length:,}",
            str(row.threads),
            f"{row.mean_displacement:.2g}",
            str(row.millions_of_weights_per_second[OURS]),
            *(str(row.ratios.get(name, "")) for name in others),
        )
    return table


def hard_inputs_table(rows: list[Row]) -> Table:
    table = Table(title="Ours on hard inputs by ours in training, above 1 it takes longer")
    for heading in ("length", "threads", *rows[0].hard_inputs):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.length:,}",
            str(row.threads),
            *(f"{spread.median:.2g}" for spread in row.hard_inputs.values()),
        )
    return table


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the tables and writes the result file."""
    console = Console()
    measured_on = machine()
    rows = []
    with Console(stderr=True).status("compiling") as status:
        compile_()
        for threads in settings.threads:
            for length in settings.lengths:
                status.update(f"vectors of {length:,}, threads: {threads}")
                rows.append(measure(length, threads, settings.rounds))
    rows.sort(key=lambda row: row.threads)
    console.print(ways_table(rows))
    console.print(hard_inputs_table(rows))
    if settings.result_file is not None:
        plain = {
            "settings": {
                "rounds": settings.rounds,
                "threads": settings.threads,
                "num_weights": NUM_WEIGHTS,
                "steps": NUM_STEPS,
            },
            "machine": measured_on,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        write_json(settings.result_file, plain)
        console.print(f"written: {settings.result_file}")


def main(arguments: list[str] | None = None) -> int:
    return command(run_benchmark, BenchmarkSettings, arguments)


if __name__ == "__main__":
    sys.exit(main())
