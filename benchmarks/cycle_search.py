"""What finding a permutation costs: nanoseconds per weight of every search, and what it grows with.

Run it from the checkout, on a machine that has nothing else to do:

    python benchmarks/cycle_search.py             # all; a few minutes
    python benchmarks/cycle_search.py --quick     # a look, under a minute

Everything is timed in one process. What is compared takes turns in rounds, and ratios are taken
within a round; tables give the median of the rounds and, in brackets, the quartiles. With one
thread it is the processor's time that is measured, which other programs disturb less.

**`fc500-300`**: the rows of its three layers, 784, 500 and 300 weights long, as SGPerm permutes
them, dense and with 90% of the weights zero. Values are uniform, recommendations standard normal
and drawn anew in each round, so that none is searched twice. Beside them, forward and backward of
the network on 64 images; *a ratio of 2 means that the search takes twice as long*. Three settings
of alpha and lambda: the first update of the published experiment (.07, .05), the same alpha with
lambda at its cap (.07, .1), and the floor that most updates run at (.005, .1).

**Length**: rows of 1e2 to 1e5 weights, 4e5 in all, at (.07, .05), dense and 90% zeros; and 90%
zeros without a partition, so that the run of ties is as long as it can be. *Nanoseconds per weight
that stay the same mean linear time.*

**Compiling**: seconds of the first call, each search in a process of its own with an empty cache.
"""

import dataclasses
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
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from paired import Spread, ratio_spread, spread_of
from permtrain.errors import PermtrainError, SettingError
from permtrain.files import written_whole
from permtrain.graph.partition import equal_subsets, whole_vector
from permtrain.graph.search import SEARCHES, permute_ranks_
from permtrain.models.registry import build_network
from permtrain.training.record import environment

RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "cycle_search.json"
FC_SHAPES = ((500, 784), (300, 500), (10, 300))
SETTINGS = ((0.07, 0.05), (0.07, 0.1), (0.005, 0.1))
SPARSITIES = (0.0, 0.9)
LENGTHS = (100, 1_000, 10_000, 100_000)
WEIGHTS_PER_LENGTH = 400_000
MOST_THREADS = torch.get_num_threads()
BASELINE = "forward+backward"


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure the searches for permutations."""

    threads: int = 1
    """Threads; at least 1."""
    repeats: int = 7
    """Rounds, in each of which everything compared is timed once; at least 1."""
    quick: bool = False
    """At most 2 rounds, no rows of 1e5, nothing compiled anew; writes nothing unless told."""
    output: Path | None = None
    """A JSON file for machine and every row. Left out: results/benchmarks/cycle_search.json."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")
        if not 1 <= self.threads <= MOST_THREADS:
            raise SettingError(f"threads is {self.threads}; allowed: 1 to {MOST_THREADS}")

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


def forward_backward() -> Callable[[], object]:
    """Of `fc500-300`, on a batch of 64."""
    model = build_network("fc500-300", (1, 28, 28), 10)
    images, labels = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))

    def run() -> None:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()

    return run


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
    for heading in ("rows", "zeros", "alpha, lambda", "search"):
        table.add_column(heading)
    for heading in ("moved", "ns per weight", "by forward+backward"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = row.ratio_to_forward_backward
        table.add_row(
            row.rows,
            f"{row.sparsity:.0%}",
            f"{row.aggressiveness}, {row.partition_ratio or 'no partition'}",
            row.search,
            f"{row.moved_fraction:.3f}",
            str(row.nanoseconds_per_weight),
            str(ratio) if ratio else "",
        )
    return table


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the tables and writes the result file."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    console = Console()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    baseline = forward_backward()
    found: list[SearchRow] = []
    with Console(stderr=True).status("fc500-300"):
        for aggressiveness, ratio in SETTINGS:
            for sparsity in SPARSITIES:
                rows = Rows(FC_SHAPES, sparsity, aggressiveness, ratio)
                found += measure("fc500-300", rows, ratio, sparsity, settings.rounds, baseline)
        for length in LENGTHS[:3] if settings.quick else LENGTHS:
            shapes = ((WEIGHTS_PER_LENGTH // length, length),)
            for partition_ratio, sparsity in ((0.05, 0.0), (0.05, 0.9), (None, 0.9)):
                rows = Rows(shapes, sparsity, 0.07, partition_ratio)
                rounds = min(settings.rounds, 3)
                found += measure(f"{length:,}", rows, partition_ratio, sparsity, rounds, None)
    console.print(table_of(found))
    compiling = {}
    if not settings.quick:
        compiling = {search: first_call_seconds(search) for search in ("start", "bracket", "pair")}
        compiling["start"]["also_serves"] = ["any", "authors"]  # type: ignore[assignment]
        for search, times in compiling.items():
            console.print(f"first call of {search}: {times}")
    if settings.result_file is not None:
        plain: dict[str, Any] = {
            "settings": {"threads": settings.threads, "rounds": settings.rounds},
            "machine": {
                "cores": os.cpu_count(),
                "load_average": load,
                "numba": numba.__version__,
                **environment(torch.device("cpu")),
            },
            "rows": [dataclasses.asdict(row) for row in found],
            "first_call_seconds": compiling,
        }
        with written_whole(settings.result_file) as file:
            file.write((json.dumps(plain, indent=1) + "\n").encode())
        console.print(f"written: {settings.result_file}")


def main(arguments: list[str] | None = None) -> int:
    try:
        run_benchmark(tyro.cli(BenchmarkSettings, args=arguments))
    except (PermtrainError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
