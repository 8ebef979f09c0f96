"""The Triton program beside torch's sorts on a GPU, by length of the vectors.

Run it from the checkout, where there is a CUDA device and triton:

    python benchmarks/gpu_arrange.py            # all
    python benchmarks/gpu_arrange.py --quick    # a look

Inputs: normal weights, with profiles of their own, `NUM_WEIGHTS` in all, so that caches do not hold
them. Timed are, in turns within a round, each way laying out the profiles in the order of the
weights, `REPEATS` times between two waits for the device:

- ours: `permtrain.core.gpu_kernel.launch`, into memory that is there; profiles of two and
  three levels are selected there, others sorted;
- argsort+scatter and argsort of argsort+gather, as in `synchronize.py`.

Before that, ours is compared with a stable sort and a scatter, bit for bit; the others break ties
as they like. A ratio is the other way's time by ours: *above 1 ours is faster*. Lengths that ours
does not take on this device are left out, and named.
"""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from command import command
from paired import Spread, ratio_spread, spread_of, times_in_turns
from permtrain.core.arrangement import arrange_by_sorting
from permtrain.core.bits import bits_of
from permtrain.core.device_rows import DeviceRows
from permtrain.errors import PermtrainError, SettingError
from permtrain.lab.training.json_files import write_json
from synchronize import argsort_of_argsort_gather, argsort_scatter, machine

LENGTHS = (9, 64, 512, 1152, 2048, 4608, 8192, 16_384)
QUICK_LENGTHS = (9, 1152)
NUM_WEIGHTS = 1 << 26
REPEATS = 10
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LEVELS = (0, 2, 3)
RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "gpu_arrange.json"

OURS = "ours"


@dataclass(frozen=True)
class BenchmarkSettings:
    """The Triton program beside torch's sorts on a GPU."""

    rounds: int = 15
    """How often each way is timed; at least 1."""
    quick: bool = False
    """Two lengths, two rounds."""
    output: Path | None = None
    """A JSON file for settings, machine and every row. Left out: results/benchmarks/
    gpu_arrange.json, and nothing is written with --quick."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError(f"rounds is {self.rounds}; allowed: 1 or more")

    @property
    def result_file(self) -> Path | None:
        return self.output or (None if self.quick else RESULT_FILE)


@dataclass(frozen=True)
class Row:
    """What was measured at one length.

    Attributes:
        length: weights in a vector.
        dtype: of weights and profiles.
        levels: equally frequent ones of the profile; 0: all its values differ.
        num_weights: in all vectors.
        seconds: of `REPEATS` arrangements, by way and round.
        billions_of_weights_per_second: by way.
        ratios: the other ways' times by ours.
    """

    length: int
    dtype: str
    levels: int
    num_weights: int
    seconds: dict[str, list[float]]
    billions_of_weights_per_second: dict[str, Spread]
    ratios: dict[str, Spread]


def measure(length: int, dtype: str, levels: int, rounds: int) -> Row | None:
    """None if the program does not take such vectors on this device."""
    from permtrain.core import gpu_kernel

    shape = (NUM_WEIGHTS // length, length)
    like_VL = torch.randn(shape, device="cuda").to(DTYPES[dtype])
    profile_VL = torch.randn(shape, device="cuda").to(DTYPES[dtype]).sort(1).values
    if levels:
        level_L = torch.arange(length, device="cuda") * levels // length
        profile_VL = level_L.to(DTYPES[dtype]).expand(shape).contiguous()
    if not gpu_kernel.supports(profile_VL, like_VL):
        return None
    out_VL = torch.empty_like(like_VL)
    not_finite = torch.zeros((), dtype=torch.int32, device="cuda")

    def ours(profile_VL: Tensor, like_VL: Tensor) -> Tensor:
        gpu_kernel.launch([DeviceRows(profile_VL, like_VL, out_VL, not_finite)])
        return out_VL

    arrangements: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        OURS: ours,
        "argsort+scatter": argsort_scatter,
        "argsort of argsort+gather": argsort_of_argsort_gather,
    }
    expected_VL = arrange_by_sorting(profile_VL, like_VL)
    if not torch.equal(bits_of(ours(profile_VL, like_VL)), bits_of(expected_VL)):
        raise PermtrainError(f"ours differs from a stable sort at vectors of {length} {dtype}")
    for arrangement in (argsort_scatter, argsort_of_argsort_gather):
        arrangement(profile_VL, like_VL)  # what they load at first is not timed
    ways = {
        name: partial(repeat, arrangement, profile_VL, like_VL)
        for name, arrangement in arrangements.items()
    }
    seconds = times_in_turns(ways, rounds)
    num_weights = like_VL.numel()
    return Row(
        length,
        dtype,
        levels,
        num_weights,
        seconds,
        {
            name: spread_of(num_weights * REPEATS / second / 1e9 for second in times)
            for name, times in seconds.items()
        },
        {
            name: ratio_spread(times, seconds[OURS])
            for name, times in seconds.items()
            if name != OURS
        },
    )


def repeat(
    arrangement: Callable[[Tensor, Tensor], Tensor], profile_VL: Tensor, like_VL: Tensor
) -> None:
    for _ in range(REPEATS):
        arrangement(profile_VL, like_VL)
    torch.cuda.synchronize()


def table_of(rows: list[Row]) -> Table:
    others = list(rows[0].ratios) if rows else []
    table = Table(
        title="G weights/s of ours; the other ways' times by ours, above 1 ours is faster"
    )
    for heading in ("length", "dtype", "levels", "G weights/s", *others):
        table.add_column(heading, justify="right")
    for row in rows:
        ratios = (str(row.ratios[name]) for name in others)
        speed = row.billions_of_weights_per_second[OURS]
        levels = str(row.levels or "all")
        table.add_row(f"{row.length:,}", row.dtype, levels, str(speed), *ratios)
    return table


def require_gpu() -> None:
    """Refuses a machine on which nothing could be measured."""
    if not torch.cuda.is_available():
        raise SettingError("no CUDA device is to be seen; this benchmark needs one")
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise SettingError(
            "triton cannot be imported; this benchmark needs it: pip install 'permtrain[gpu]'"
        ) from error


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the table and writes the result file."""
    require_gpu()
    console = Console()
    rounds = 2 if settings.quick else settings.rounds
    measured_on: dict[str, Any] = machine() | {"gpu": torch.cuda.get_device_name()}
    rows = []
    for dtype in DTYPES:
        lengths = QUICK_LENGTHS if settings.quick else LENGTHS
        for length, levels in itertools.product(lengths, LEVELS):
            row = measure(length, dtype, levels, rounds)
            if row is None:
                console.print(f"vectors of {length:,} {dtype}: too long for this device")
            else:
                rows.append(row)
    console.print(table_of(rows))
    if settings.result_file is not None:
        plain = {
            "settings": {"rounds": rounds, "repeats": REPEATS, "num_weights": NUM_WEIGHTS},
            "machine": measured_on,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        write_json(settings.result_file, plain)
        console.print(f"written: {settings.result_file}")


def main(arguments: list[str] | None = None) -> int:
    return command(run_benchmark, BenchmarkSettings, arguments)


if __name__ == "__main__":
    sys.exit(main())
