"""Where a training step's time goes, and which ways to spend less of it pay.

Run it from the checkout, on a machine that has nothing else to do:

    python benchmarks/training_loop.py            # all; ten minutes on two cores
    python benchmarks/training_loop.py --quick    # a look

Ways that are compared take turns in rounds, and ratios are taken within a round; tables give the
median of the rounds and, in brackets, the quartiles. Images are random ones of the data set's
shape; CIFAR's nets get the augmentation of the papers.

**Outside the network**: one epoch of the trainer as `permtrain train` runs it, by the index
optimizer (k=1, per neuron), with its record, but without evaluation and checkpoint, which come once
an epoch; beside it the same number of bare steps (forward, loss, backward, optimizer with the
permuter) on one batch that is ready. The share is 1 - bare / whole.

**Options**: bare steps with plain Adam: images channels last, bfloat16 by autocast, torch.compile;
ratio: time of the contiguous float32 step by the option's, *above 1 the option pays*.

**Kept memory**: bare steps with plain Adam in a process of their own, with `keep_freed_memory` and
without; ratio: without by with, *above 1 keeping pays*.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from command import command
from paired import Spread, ratio_spread, spread_of, times_in_turns
from permtrain.errors import SettingError
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.models.registry import NETWORKS
from permtrain.lab.training.json_files import write_json
from permtrain.lab.training.memory import keep_freed_memory
from permtrain.lab.training.settings import PermutationSettings, Place, Settings
from permtrain.lab.training.trainer import Trainer
from synchronize import BATCH_SIZES, DEFAULT_BATCH_SIZE, NUM_CLASSES, machine, network

NETS = ("fc500-300", "lenet5", "conv4", "resnet20")
QUICK_NETS = ("fc500-300",)
BATCHES = {"fc500-300": 60, "lenet5": 40}
FEW_BATCHES = 4
PAPERS_AUGMENTATION = Augmentation(
    rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1, horizontal_flip=True
)
RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "training_loop.json"


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure the training loop around the network, and options of a step."""

    repeats: int = 7
    """Rounds; at least 1."""
    nets: tuple[str, ...] | None = None
    """Networks (`permtrain list`). Left out: four of the papers'."""
    quick: bool = False
    """2 rounds, a small network, without torch.compile."""
    output: Path | None = None
    """A JSON file. Left out: training_loop.json in results/benchmarks, nothing with --quick."""
    bare_steps_of: str | None = None
    """Only print the milliseconds of a bare step of this network (for a process of its own)."""
    keep_memory: bool = True
    """Call `keep_freed_memory`, as `permtrain train` does."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")

    @property
    def rounds(self) -> int:
        return 2 if self.quick else self.repeats


@dataclass(frozen=True)
class LoopRow:
    """A network's epoch beside its bare steps."""

    net: str
    batch_size: int
    milliseconds_per_step: Spread
    share_outside: Spread


@dataclass(frozen=True)
class RatioRow:
    """A way to make a step, and how often it fits into the time of the plain one."""

    net: str
    way: str
    milliseconds_per_step: Spread
    speed_up: Spread


# --- steps ---------------------------------------------------------------------------------------


def num_batches(net: str) -> int:
    return BATCHES.get(net, FEW_BATCHES)


def batch_size(net: str) -> int:
    return BATCH_SIZES.get(net, DEFAULT_BATCH_SIZE)


def bare_steps(
    forward: Callable[[Tensor], Tensor],
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    num_steps: int,
    bfloat16: bool = False,
) -> None:
    for _ in range(num_steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ready_batch(net: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size(net), *NETWORKS[net].image_shape, generator=generator)
    return images, torch.randint(NUM_CLASSES, (batch_size(net),), generator=generator)


def random_images(net: str) -> ImageData:
    """An epoch of random images, and some to test on."""
    generator = torch.Generator().manual_seed(0)

    def split(num_images: int) -> Split:
        shape = (num_images, *NETWORKS[net].image_shape)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return Split(images, torch.randint(NUM_CLASSES, (num_images,), generator=generator))

    names = tuple(str(label) for label in range(NUM_CLASSES))
    return ImageData("random", split(batch_size(net) * num_batches(net)), split(10), names, "made")


# --- what is measured ----------------------------------------------------------------------------


class Epochs:
    """The trainer's epochs, one after the other, and bare steps of its model."""

    def __init__(self, net: str) -> None:
        is_rgb = NETWORKS[net].image_shape[0] == 3
        settings = Settings(
            model=net,
            batch_size=batch_size(net),
            epochs=1,
            augmentation=PAPERS_AUGMENTATION if is_rgb else Augmentation(),
            permutation=PermutationSettings(method="index", granularity="neuron"),
        )
        data = random_images(net)
        self.trainer = Trainer(settings, Place(), data)
        split = data.train.to(self.trainer.device)
        self.images = self.trainer.scale(split.images[: settings.batch_size])
        self.labels = split.labels[: settings.batch_size]

    def whole(self) -> None:
        self.trainer.position.batch = 0
        for _ in range(self.trainer.batches_per_epoch):
            self.trainer.take_step()

    def bare(self) -> None:
        trainer = self.trainer
        steps = trainer.batches_per_epoch
        bare_steps(trainer.model, trainer.optimizer, self.images, self.labels, steps)


def measure_loop(net: str, rounds: int) -> LoopRow:
    epochs = Epochs(net)
    epochs.whole()
    seconds = times_in_turns({"whole": epochs.whole, "bare": epochs.bare}, rounds)
    outside = [1 - b / w for b, w in zip(seconds["bare"], seconds["whole"], strict=True)]
    milliseconds = [1000 * s / num_batches(net) for s in seconds["whole"]]
    return LoopRow(net, batch_size(net), spread_of(milliseconds), spread_of(outside))


def measure_options(net: str, rounds: int, with_compile: bool) -> list[RatioRow]:
    images, labels = ready_batch(net)
    model = network(net).train()
    steps = max(num_batches(net) // 4, 1)

    def steps_of(
        images: Tensor, *, bfloat16: bool = False, compiled: bool = False
    ) -> Callable[[], None]:
        own: nn.Module = copy.deepcopy(model)
        forward: Callable[[Tensor], Tensor] = torch.compile(own) if compiled else own
        optimizer = Adam(own.parameters(), lr=1e-3)
        run = partial(bare_steps, forward, optimizer, images, labels, bfloat16=bfloat16)
        run(1)
        return partial(run, steps)

    ways = {
        "contiguous float32": steps_of(images),
        "channels last": steps_of(images.contiguous(memory_format=torch.channels_last)),
        "bfloat16": steps_of(images, bfloat16=True),
    }
    if with_compile:
        ways["torch.compile"] = steps_of(images, compiled=True)
    seconds = times_in_turns(ways, rounds)
    return ratio_rows(net, seconds, "contiguous float32", steps)


def measure_kept_memory(net: str, rounds: int) -> list[RatioRow]:
    def process(flag: str) -> float:
        command = [sys.executable, __file__, "--bare-steps-of", net, flag]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    ways = {"freed memory given back": "--no-keep-memory", "kept": "--keep-memory"}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in sorted(ways, reverse=bool(number % 2)):
            seconds[way].append(process(ways[way]) / 1000)
    return ratio_rows(net, seconds, "freed memory given back", 1)


def ratio_rows(
    net: str, seconds: dict[str, list[float]], plain: str, num_steps: int
) -> list[RatioRow]:
    return [
        RatioRow(
            net,
            way,
            spread_of(1000 * s / num_steps for s in seconds[way]),
            ratio_spread(seconds[plain], seconds[way]),
        )
        for way in seconds
    ]


def print_bare_step(net: str) -> None:
    """Median milliseconds of a bare step by plain Adam, after some to warm up."""
    model = network(net).train()
    images, labels = ready_batch(net)
    run = partial(bare_steps, model, Adam(model.parameters(), lr=1e-3), images, labels)
    steps = max(num_batches(net) // 4, 1)
    run(steps)
    seconds = times_in_turns({"": partial(run, steps)}, rounds=5)[""]
    print(1000 * spread_of(seconds).median / steps)


# --- all -----------------------------------------------------------------------------------------


def table(title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    made = Table(title=title)
    for column in columns:
        made.add_column(column)
    for row in rows:
        made.add_row(*map(str, row))
    return made


def run_benchmark(settings: BenchmarkSettings) -> None:
    """Measures, prints the tables and writes the result file."""
    torch.manual_seed(0)
    if settings.keep_memory:
        keep_freed_memory()
    if settings.bare_steps_of is not None:
        print_bare_step(settings.bare_steps_of)
        return
    nets = settings.nets or (QUICK_NETS if settings.quick else NETS)
    console, measured_on = Console(), machine()
    loops = [measure_loop(net, settings.rounds) for net in nets]
    shown: list[tuple[object, ...]] = [
        (row.net, row.batch_size, row.milliseconds_per_step, row.share_outside) for row in loops
    ]
    columns = ("net", "batch", "ms per step", "share outside the network")
    console.print(table("Index optimizer, per neuron: the loop", columns, shown))
    options = [
        row
        for net in nets
        for row in measure_options(net, settings.rounds, with_compile=not settings.quick)
    ]
    memory = [row for net in nets for row in measure_kept_memory(net, settings.rounds)]
    for title, rows in (("Plain Adam: options", options), ("Plain Adam: memory", memory)):
        shown = [(row.net, row.way, row.milliseconds_per_step, row.speed_up) for row in rows]
        console.print(table(title, ("net", "way", "ms per step", "speed-up"), shown))
    output = settings.output or (None if settings.quick or settings.nets else RESULT_FILE)
    if output is not None:
        result = {
            "settings": {"rounds": settings.rounds, "quick": settings.quick},
            "machine": measured_on,
            "loops": [asdict(row) for row in loops],
            "options": [asdict(row) for row in options],
            "memory": [asdict(row) for row in memory],
        }
        write_json(output, result)
        console.print(f"written: {output}")


if __name__ == "__main__":
    sys.exit(command(run_benchmark, BenchmarkSettings))
