"""Bits and speed of the packed file's coders beside other ways to store an arrangement, in one run.

Run it from the checkout, with `zstandard` and `constriction` installed:

    python benchmarks/codec.py --runs runs/mnist-fc500-300-laperm-4342febb   # trained nets too
    python benchmarks/codec.py --quick

**ResNet-50's shapes**: its 25.5 million weights of two or more dimensions, one random permutation
per neuron. Coded are the levels, so that values, sorting and checksums are left out; `whole file`
is `pack` and `unpack` of a model's tensors with everything, verification included. Other ways, on
the same tensors: fixed-width packing (ceil(log2 L) bits a weight, computed), zstd and xz of the
float32 values, and `constriction`'s range coder fed with Lehmer digits under uniform models.
Random permutations are what the conditional coder cannot shorten; it is timed on them all the same.

**Trained nets** (`--runs`): bits of each tensor by both coders against the information limit.

Times are the clock's, of one thread. A busy machine shows in all of them.
"""

import json
import lzma
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import zstandard
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from command import command
from permtrain.core.cut import Cut
from permtrain.initial.record import TensorRecord, initial_values
from permtrain.lab.training.json_files import write_json
from permtrain.packed.coders import (
    conditional_code,
    conditional_levels,
    uniform_code,
    uniform_levels,
)
from permtrain.packed.multiset import Levels, Multisets, multisets_of
from permtrain.packed.reader import PackedFile
from permtrain.packed.report import report_of
from permtrain.packed.writer import TensorToPack, packed_bytes
from synchronize import machine

RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "codec.json"


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Args:
        runs: Finished runs' folders, whose packed files are looked at too.
        quick: Only a twentieth of ResNet-50's tensors.
        output: The result file.
    """

    runs: tuple[Path, ...] = ()
    quick: bool = False
    output: Path = RESULT_FILE


@dataclass(frozen=True)
class Measured:
    """One way to store the tensors: bits a weight, seconds each way; None where not measured."""

    way: str
    bits_per_weight: float
    encode_s: float | None
    decode_s: float | None


def resnet50_shapes() -> list[tuple[int, ...]]:
    """Weights of ResNet-50 for 1,000 classes, in order."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if block == 0:
                shapes.append((4 * width, inputs, 1, 1))
            inputs = 4 * width
    return [*shapes, (1000, 2048)]


@dataclass(frozen=True, eq=False)
class Problem:
    """A tensor of distinct values, permuted at random in each neuron."""

    tensor: TensorToPack
    cut: Cut
    levels: Levels
    initial: Levels
    multisets: Multisets


def problem(number: int, shape: tuple[int, ...]) -> Problem:
    cut = Cut("neuron", 0, 0, shape=shape)
    record = TensorRecord(
        name=f"{number}.weight",
        shape=shape,
        dtype="float32",
        rule="kaiming_uniform",
        seed=0,
        fan_in=cut.vector_length,
        fan_out=shape[0],
        granularity="neuron",
    )
    rng = np.random.default_rng(number)
    initial_VL = cut.to_vectors(initial_values(record))
    ranks = initial_VL.argsort(axis=1).argsort(axis=1).astype(np.int32)
    order = rng.random(initial_VL.shape).argsort(axis=1)
    values = cut.to_tensor(np.take_along_axis(initial_VL, order, axis=1))
    counts = np.arange(cut.vector_length, dtype=np.uint32)[None]
    return Problem(
        TensorToPack(record.name, "float32", values.view(np.uint32), (cut,), record),
        cut,
        np.take_along_axis(ranks, order, axis=1),
        ranks,
        multisets_of(counts, cut.num_vectors),
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun


def lehmer_digits(levels_VL: Levels) -> NDArray[np.int32]:
    """How many smaller levels are still free at each place, by counting pairs (slow)."""
    later = np.triu(np.ones((levels_VL.shape[1],) * 2, dtype=np.bool_), 1)
    return np.array(
        [((row[None, :] < row[:, None]) & later).sum(axis=1) for row in levels_VL], dtype=np.int32
    )


def by_constriction(problems: list[Problem]) -> Measured:
    """A second implementation: its range coder, uniform models, digits in the order of places."""
    num_bytes, encode_s, decode_s, num_weights = 0, 0.0, 0.0, 0
    uniform = constriction.stream.model.Uniform()
    for each in problems:
        digits = lehmer_digits(each.levels)
        sizes = np.arange(each.cut.vector_length, 0, -1, dtype=np.int32)
        digits, sizes = digits[:, :-1].ravel(), np.tile(sizes[:-1], each.cut.num_vectors)
        encoder = constriction.stream.queue.RangeEncoder()
        _, seconds = timed(lambda: encoder.encode(digits, uniform, sizes))  # noqa: B023
        encode_s += seconds
        code = encoder.get_compressed()
        decoder = constriction.stream.queue.RangeDecoder(code)
        found, seconds = timed(lambda: decoder.decode(uniform, sizes))  # noqa: B023
        assert np.array_equal(found, digits)
        decode_s += seconds
        num_bytes += code.nbytes
        num_weights += each.levels.size
    return Measured(
        "constriction (digits given; part)", 8 * num_bytes / num_weights, encode_s, decode_s
    )


def by_our_coders(problems: list[Problem], num_weights: int) -> list[Measured]:
    measured = []
    for way in ("uniform", "conditional"):
        num_bytes, encode_s, decode_s = 0, 0.0, 0.0
        for each in problems:
            given = each.initial, each.multisets, each.cut
            if way == "uniform":
                code, seconds = timed(lambda: uniform_code(each.levels, each.multisets))  # noqa: B023
                back = timed(lambda: uniform_levels(code, each.multisets))  # noqa: B023
            else:
                code, seconds = timed(lambda: conditional_code(each.levels, *given))  # noqa: B023
                back = timed(lambda: conditional_levels(code, *given))  # noqa: B023
            assert np.array_equal(back[0], each.levels)
            num_bytes += len(code)
            encode_s += seconds
            decode_s += back[1]
        measured.append(Measured(way, 8 * num_bytes / num_weights, encode_s, decode_s))
    return measured


def by_general_compressors(problems: list[Problem], num_weights: int) -> list[Measured]:
    """On the first million weights or so: at these levels they are slow."""
    measured = []
    zstd = zstandard.ZstdCompressor(level=19)
    few: list[Problem] = []
    while sum(each.levels.size for each in few) < 1_000_000 and len(few) < len(problems):
        few.append(problems[len(few)])
    for way, compress, decompress in (
        ("zstd -19 of float32 (part)", zstd.compress, zstandard.ZstdDecompressor().decompress),
        ("xz -6 of float32 (part)", lzma.compress, lzma.decompress),
    ):
        data = b"".join(each.tensor.bits.tobytes() for each in few)
        packed, encode_s = timed(lambda: compress(data))  # noqa: B023
        _, decode_s = timed(lambda: decompress(packed))  # noqa: B023
        count = sum(each.levels.size for each in few)
        measured.append(Measured(way, 8 * len(packed) / count, encode_s, decode_s))
    return measured


def whole_file(problems: list[Problem], num_weights: int) -> Measured:
    """Packing with verification, and unpacking, uniform coder, one thread."""
    tensors = [each.tensor for each in problems]
    data, encode_s = timed(lambda: packed_bytes(tensors, threads=1, coders=("uniform",)))
    _, decode_s = timed(lambda: PackedFile(data).all_bits(threads=1))
    return Measured(
        "whole file, uniform, verified", 8 * len(data) / num_weights, encode_s, decode_s
    )


def fixed_width(problems: list[Problem], num_weights: int) -> Measured:
    bits = sum(each.levels.size * (each.cut.vector_length - 1).bit_length() for each in problems)
    return Measured("fixed width", bits / num_weights, None, None)


def of_run(run: Path) -> dict[str, Any]:
    """A trained net's packed file, tensor by tensor, and what the run says of itself."""
    settings = json.loads((run / "settings.json").read_text())
    result = json.loads((run / "result.json").read_text())
    report = report_of(PackedFile(run / "packed.safetensors"))
    arranged = [tensor for tensor in report.tensors if tensor.limit_bits is not None]
    return {
        "net": settings["model"],
        "data": settings["data"]["data"],
        "method": settings["permutation"]["method"],
        "lr": settings["optimizer"]["lr"],
        "epochs": result["epochs"],
        "test_accuracy": result["test_accuracy"],
        "initial": settings["initial"],
        "file_bytes": report.file_bytes,
        "header_bytes": report.header_bytes,
        "stored_bytes": report.stored_bytes,
        "code_bytes": report.code_bytes,
        "limit_bytes": report.limit_bytes,
        "code_by_limit": report.code_bytes / report.limit_bytes,
        "tensors": [asdict(tensor) for tensor in arranged],
    }


def main(settings: Settings) -> None:
    console = Console(markup=False)
    shapes = resnet50_shapes()
    problems = [problem(number, shape) for number, shape in enumerate(shapes)]
    if settings.quick:
        problems = problems[:4]
    by_our_coders(problems[:1], problems[0].levels.size)  # compiles
    num_weights = sum(each.levels.size for each in problems)
    limit = math.fsum(each.multisets.limit_bits() for each in problems) / num_weights
    small = [each for each in problems if each.cut.vector_length <= 256][:6]
    measured = [
        *by_our_coders(problems, num_weights),
        whole_file(problems, num_weights),
        fixed_width(problems, num_weights),
        *by_general_compressors(problems, num_weights),
        by_constriction(small),
    ]
    small_weights = sum(each.levels.size for each in small)
    ours_on_small = by_our_coders(small, small_weights)[0]
    table = Table(title=f"ResNet-50's shapes, {num_weights:,} weights, limit {limit:.4f} bits")
    for column in ("way", "bits a weight", "encode s", "decode s"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for each in measured:
        times = ["" if s is None else f"{s:.2f}" for s in (each.encode_s, each.decode_s)]
        table.add_row(each.way, f"{each.bits_per_weight:.4f}", *times)
    console.print(table)
    plain: dict[str, Any] = {
        "machine": machine(),
        "num_weights": num_weights,
        "limit_bits_per_weight": limit,
        "measured": [asdict(each) for each in measured],
        "constriction_beside_ours": {
            "num_weights": small_weights,
            "constriction": asdict(measured[-1]),
            "ours": asdict(ours_on_small),
        },
    }
    plain["trained"] = [of_run(run) for run in settings.runs]
    for trained in plain["trained"]:
        console.print(
            f"{trained['net']} by {trained['method']}, test accuracy "
            f"{trained['test_accuracy']:.2%}: file {trained['file_bytes']:,} bytes, codes "
            f"{trained['code_by_limit']:.4f} of the limit"
        )
    write_json(settings.output, plain)
    console.print(f"written to {settings.output}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(command(main, Settings))
