"""SGPerm: what an update costs, by search, beside forward and backward and beside Adam's.

Run it from the checkout, on a machine that has nothing else to do:

    python benchmarks/sgperm.py             # all; some minutes
    python benchmarks/sgperm.py --quick     # a look, under a minute

Everything is timed in one process, on one thread and on as many as there are. What is compared
takes turns in rounds, and ratios are taken within a round; tables give the median of the rounds
and, in brackets, the quartiles. Ratios are to forward and backward of `fc500-300` on 64 images: *2
means that it takes twice as long*.

**Searches**, on the rows of `fc500-300`'s three layers, 784, 500 and 300 weights long, dense and
with 90% of the weights zero. Values are uniform, recommendations standard normal and drawn anew in
each round, so that none is searched twice. Five settings of alpha and lambda: the first update of
the published experiment (.07, .05), the same alpha with lambda at its cap (.07, .1), the floor that
most of its updates run at (.005, .1); the first and the last update of the defaults, which cut no
subsets (.05, 1) and (.003, 1).

**Length**: rows of 1e2 to 1e5 weights, 4e5 in all, at (.07, .05), dense and 90% zeros; and 90%
zeros without a partition, so that the run of ties is as long as it can be. *Nanoseconds per weight
that stay the same mean linear time.*

**Whole updates**: `optimizer.step()` in a training, by search, with the published settings and
with the defaults: the momentum, the search, the weights laid out, Adam for the biases; and Adam's
for all of the net.

**Agreement**: the part of the slots in which `bracket` gives what `any` does, on recommendations
recorded in a training of `fc500-300` on MNIST, where its data is found (`PERMTRAIN_DATA`).

**Compiling**: seconds of the first call, each search in a process of its own with an empty cache.
"""

import copy
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from command import command
from paired import Spread, ratio_spread, spread_of
from permtrain import SGPerm, initialize_
from permtrain.errors import DataError, SettingError
from permtrain.graph.partition import equal_subsets, whole_vector
from permtrain.graph.search import SEARCHES, permute_ranks_
from permtrain.lab.data.load import load_images
from permtrain.lab.models.registry import build_network
from permtrain.lab.training.environment import environment
from permtrain.lab.training.json_files import write_json
from permtrain.lab.training.memory import keep_freed_memory
from permtrain.lab.training.settings import Place
from permtrain.optim.sgperm_settings import SGPERM_PUBLISHED

RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "sgperm.json"
FC_SHAPES = ((500, 784), (300, 500), (10, 300))
SETTINGS = ((0.07, 0.05), (0.07, 0.1), (0.005, 0.1), (0.05, 1.0), (0.003, 1.0))
SPARSITIES = (0.0, 0.9)
LENGTHS = (100, 1_000, 10_000, 100_000)
WEIGHTS_PER_LENGTH = 400_000
UPDATES = 60
MOST_THREADS = torch.get_num_threads()
BASELINE = "forward+backward"
ADAM = "Adam"
RECORDED_UPDATES = (1, 2, 5, 10, 25, 50, 100, 200, 400, 800)


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure SGPerm."""

    repeats: int = 7
    """Rounds, in each of which everything compared is timed once; at least 1."""
    quick: bool = False
    """2 rounds, no rows of 1e5, no training, nothing compiled anew; writes nothing unless told."""
    output: Path | None = None
    """A JSON file for machine and every row. Left out: results/benchmarks/sgperm.json."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")

    @property
    def rounds(self) -> int:
        return min(self.repeats, 2) if self.quick else self.repeats

    @property
    def result_file(self) -> Path | None:
        return self.output or (None if self.quick else RESULT_FILE)


@dataclass(frozen=True)
class SearchRow:
    """One search on some rows."""

    search: str
    threads: int
    rows: str
    aggressiveness: float
    partition_ratio: float | None
    sparsity: float
    moved_fraction: float
    nanoseconds_per_weight: Spread
    ratio_to_forward_backward: Spread | None
    seconds: list[float]


class Rows:
    """Some layers' rows, and one update of all of them by one search after the other."""

    def __init__(
        self,
        shapes: tuple[tuple[int, int], ...],
        sparsity: float,
        aggressiveness: float,
        partition_ratio: float | None,
    ) -> None:
        self.aggressiveness = aggressiveness
        self.num_weights = sum(V * L for V, L in shapes)
        self.generator = torch.Generator().manual_seed(0)
        self.layers = []
        for V, L in shapes:
            weights_VL = torch.rand(V, L, generator=self.generator) - 0.5
            weights_VL[torch.rand(V, L, generator=self.generator) < sparsity] = 0.0
            values_VL, slots_VL = weights_VL.sort(dim=1, stable=True)
            sizes = equal_subsets(L, partition_ratio) if partition_ratio else whole_vector(L)
            self.layers.append((values_VL, slots_VL.int(), sizes))
        self.step = 0
        self.moved: dict[str, list[int]] = {}
        self.given: list[Tensor] = []
        self.maps: list[Tensor] = []
        self.next_round()

    def next_round(self) -> None:
        """New recommendations; maps from before any search."""
        self.step += 1
        self.given = [
            torch.randn(values.shape, generator=self.generator) for values, _, _ in self.layers
        ]

    def update(self, search: str) -> Callable[[], object]:
        """An update of copies of the maps; copying takes under a tenth of a nanosecond a weight."""

        def run() -> None:
            moved = 0
            for (values_VL, slots_VL, sizes), given_VL in zip(self.layers, self.given, strict=True):
                moved_V = permute_ranks_(
                    values_VL,
                    slots_VL.clone(),
                    given_VL,
                    aggressiveness=self.aggressiveness,
                    search=search,
                    sizes=sizes,
                    step=self.step,
                )
                moved += int(moved_V.sum())
            self.moved.setdefault(search, []).append(moved)

        return run


@dataclass(frozen=True)
class UpdateRow:
    """A whole update by one optimizer."""

    optimizer: str
    settings: str
    threads: int
    milliseconds: Spread
    ratio_to_forward_backward: Spread
    ratio_to_adam: Spread


class Training:
    """`fc500-300` and a batch of 64 random images."""

    def __init__(self) -> None:
        self.model = build_network("fc500-300", (1, 28, 28), 10)
        initialize_(self.model, "kaiming_uniform", seed=0)
        self.images, self.labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))

    def forward_backward(self) -> None:
        self.model.zero_grad()
        F.cross_entropy(self.model(self.images), self.labels).backward()

    def sgperm(self, settings: dict[str, Any]) -> SGPerm:
        return SGPerm(self.model.parameters(), model=self.model, inner=torch.optim.Adam, **settings)


def measure_updates(rounds: int) -> list[UpdateRow]:
    """Times updates of one net in training, each after its own forward and backward."""
    ways: dict[tuple[str, str], tuple[Training, Callable[[], object]]] = {}
    for name, settings in (("published", SGPERM_PUBLISHED), ("defaults", {})):
        for search in SEARCHES:
            training = Training()
            ways[search, name] = training, training.sgperm(settings | {"search": search}).step
    training = Training()
    ways[ADAM, ""] = training, torch.optim.Adam(training.model.parameters()).step
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in [*ways, (BASELINE, "")]}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for number in range(rounds + 2):
        taken = []
        for way, (training, update) in ways.items():
            begun = clock()
            training.forward_backward()
            between = clock()
            update()
            if number >= 2:  # the first compile, and make state
                seconds[way].append(clock() - between)
                taken.append(between - begun)
        if taken:
            seconds[BASELINE, ""].append(sorted(taken)[len(taken) // 2])
    return [
        UpdateRow(
            *way,
            torch.get_num_threads(),
            spread_of(1e3 * second for second in seconds[way]),
            ratio_spread(seconds[way], seconds[BASELINE, ""]),
            ratio_spread(seconds[way], seconds[ADAM, ""]),
        )
        for way in ways
    ]


def agreement_in_training(updates: tuple[int, ...] = RECORDED_UPDATES) -> dict[int, float] | None:
    """By update of a training on MNIST: the part of the slots on which `bracket` and `any` agree.

    The training goes on by `any`, with the published settings. None where there is no data.
    """
    try:
        data = load_images("mnist")
    except DataError:
        return None
    images, labels = data.train.images.float().div(255), data.train.labels
    training = Training()
    optimizer = training.sgperm(SGPERM_PUBLISHED | {"search": "any"})
    agreement = {}
    for update in range(1, max(updates) + 1):
        picked = torch.randint(len(labels), (64,))
        training.images, training.labels = images[picked], labels[picked]
        training.forward_backward()
        if update in updates:
            agreement[update] = _agreement_at_next_step(training, optimizer)
        optimizer.step()
    return agreement


def _agreement_at_next_step(training: Training, optimizer: SGPerm) -> float:
    """Both searches do the next step from where the training is."""
    after = []
    for search in ("any", "bracket"):
        model = copy.deepcopy(training.model)
        for own, trained in zip(model.parameters(), training.model.parameters(), strict=True):
            own.grad = None if trained.grad is None else trained.grad.clone()
        settings = SGPERM_PUBLISHED | {"search": search}
        other = SGPerm(model.parameters(), model=model, inner=torch.optim.Adam, **settings)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group in other.param_groups:
            group["search"] = search
        other.step()
        slots = other.state_dict()["permutation"]["rows"]
        after.append([rows["rank_to_slot"] for rows in slots.values()])
    same = sum(int((a == b).sum()) for a, b in zip(*after, strict=True))
    return float(same / sum(a.numel() for a in after[0]))


def measure(
    name: str, rows: Rows, partition_ratio: float | None, sparsity: float, rounds: int,
    baseline: Callable[[], object] | None,
) -> list[SearchRow]:  # fmt: skip
    """Times every search on the same rows, a round at a time."""
    ways = {search: rows.update(search) for search in SEARCHES}
    if baseline is not None:
        ways[BASELINE] = baseline
    for run in ways.values():
        run()  # the warm-up
    rows.moved.clear()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    names = list(ways)
    for number in range(rounds):
        rows.next_round()
        first = number % len(names)
        for way in names[first:] + names[:first]:
            begun = clock()
            ways[way]()
            seconds[way].append(clock() - begun)
    return [
        SearchRow(
            search=search,
            threads=torch.get_num_threads(),
            rows=name,
            aggressiveness=rows.aggressiveness,
            partition_ratio=partition_ratio,
            sparsity=sparsity,
            moved_fraction=sum(rows.moved[search]) / rounds / rows.num_weights,
            nanoseconds_per_weight=spread_of(1e9 * s / rows.num_weights for s in seconds[search]),
            ratio_to_forward_backward=None
            if baseline is None
            else ratio_spread(seconds[search], seconds[BASELINE]),
            seconds=seconds[search],
        )
        for search in SEARCHES
    ]


_COMPILE = """
import time, torch
from permtrain.graph.search import permute_ranks_
slots = torch.arange(20, dtype=torch.int32)[None]
begun = time.perf_counter(), time.process_time()
permute_ranks_(torch.arange(20.0)[None], slots, torch.ones(1, 20), aggressiveness=0.5, search={!r})
print("[%f, %f]" % (time.perf_counter() - begun[0], time.process_time() - begun[1]))
"""


def first_call_seconds(search: str) -> dict[str, float]:
    """Of float32, without and with the machine code on disk; wall and processor time."""
    with tempfile.TemporaryDirectory() as cache:
        found = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", _COMPILE.format(search)],
                    env={**os.environ, "NUMBA_CACHE_DIR": cache},
                    stdout=subprocess.PIPE,
                    check=True,
                ).stdout
            )
            for _ in range(2)
        ]
    return {
        "cold": found[0][0],
        "cold_processor": found[0][1],
        "from_disk": found[1][0],
        "from_disk_processor": found[1][1],
    }


def table_of(rows: list[SearchRow]) -> Table:
    table = Table(title="Finding the permutation")
    for heading in ("rows", "threads", "zeros", "alpha, lambda", "search"):
        table.add_column(heading)
    for heading in ("moved", "ns per weight", "by forward+backward"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = row.ratio_to_forward_backward
        table.add_row(
            row.rows,
            str(row.threads),
            f"{row.sparsity:.0%}",
            f"{row.aggressiveness}, {row.partition_ratio or 'no partition'}",
            row.search,
            f"{row.moved_fraction:.3f}",
            str(row.nanoseconds_per_weight),
            str(ratio) if ratio else "",
        )
    return table


def table_of_updates(rows: list[UpdateRow]) -> Table:
    table = Table(title="Whole updates of fc500-300")
    for heading in ("optimizer", "settings", "threads", "ms", "by forward+backward", "by Adam"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratios = (row.milliseconds, row.ratio_to_forward_backward, row.ratio_to_adam)
        table.add_row(row.optimizer, row.settings, str(row.threads), *map(str, ratios))
    return table


def measure_searches(settings: BenchmarkSettings) -> list[SearchRow]:
    """On the rows of `fc500-300`, and by length."""
    training = Training()
    found = []
    for (aggressiveness, ratio), sparsity in itertools.product(SETTINGS, SPARSITIES):
        rows = Rows(FC_SHAPES, sparsity, aggressiveness, ratio)
        found += measure(
            "fc500-300", rows, ratio, sparsity, settings.rounds, training.forward_backward
        )
    for length in LENGTHS[:3] if settings.quick else LENGTHS:
        shapes = ((WEIGHTS_PER_LENGTH // length, length),)
        for partition_ratio, sparsity in ((0.05, 0.0), (0.05, 0.9), (None, 0.9)):
            rows = Rows(shapes, sparsity, 0.07, partition_ratio)
            rounds = min(settings.rounds, 3)
            found += measure(f"{length:,}", rows, partition_ratio, sparsity, rounds, None)
    return found


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the tables and writes the result file."""
    keep_freed_memory()  # as `permtrain train` does
    torch.manual_seed(0)
    console = Console()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    searches: list[SearchRow] = []
    updates: list[UpdateRow] = []
    for threads in sorted({1, MOST_THREADS}):
        torch.set_num_threads(threads)
        with Console(stderr=True).status(f"{threads} threads"):
            searches += measure_searches(settings)
            updates += measure_updates(2 if settings.quick else UPDATES)
    console.print(table_of(searches))
    console.print(table_of_updates(updates))
    agreement = None if settings.quick else agreement_in_training()
    console.print(f"bracket and any agree, by update: {agreement}")
    compiling = {}
    if not settings.quick:
        compiling = {search: first_call_seconds(search) for search in ("start", "bracket", "pair")}
        compiling["start"]["also_serves"] = ["any", "authors"]  # type: ignore[assignment]
        for search, times in compiling.items():
            console.print(f"first call of {search}: {times}")
    if settings.result_file is not None:
        plain: dict[str, Any] = {
            "settings": {"rounds": settings.rounds, "updates": UPDATES},
            "machine": {
                "cores": os.cpu_count(),
                "load_average": load,
                "numba": numba.__version__,
                **environment(torch.device("cpu"), Place()),
            },
            "searches": [dataclasses.asdict(row) for row in searches],
            "updates": [dataclasses.asdict(row) for row in updates],
            "agreement_of_bracket_with_any": agreement,
            "first_call_seconds": compiling,
        }
        write_json(settings.result_file, plain)
        console.print(f"written: {settings.result_file}")


def main(arguments: list[str] | None = None) -> int:
    return command(run_benchmark, BenchmarkSettings, arguments)


if __name__ == "__main__":
    sys.exit(main())
