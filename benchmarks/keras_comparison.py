"""A training step of LaPerm here and in TensorFlow, on the same nets.

Run it from the checkout, on a machine that has nothing else to do, with an interpreter that has
TensorFlow (`pip install tensorflow-cpu scipy` in an environment of its own):

    python benchmarks/keras_comparison.py --keras-python PATH/TO/python

`conv7` as on MNIST (k=20, biases permuted, rotation 10 degrees, shifts and zoom of 10%) and `conv4`
as on CIFAR-10 (k=1000, rotation 15, shifts, flips, L2 1e-4), both by Adam with batches of 50, on
random images. The ways take turns in rounds of whole steps, each framework in a process that stays:

- ours: the trainer of `permtrain train`, with data, augmentation and record;
- fit: Keras's `fit` with its ImageDataGenerator and a callback that ranks by argsort of argsort in
  NumPy, the authors' set-up;
- loop: a plain loop of our own around one `tf.function`, augmentation by Keras's layers inside it,
  ranks in TensorFlow.

First both nets get the same weights, and must give the same logits. The ratio is the other way's
time by ours: *above 1 ours is faster*.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from command import command
from paired import Spread, ratio_spread, spread_of
from permtrain.errors import PermtrainError, SettingError
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.training.json_files import write_json
from permtrain.lab.training.memory import keep_freed_memory
from permtrain.lab.training.settings import (
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
)
from permtrain.lab.training.trainer import Trainer
from synchronize import machine

BATCH = 50
STEPS = {"conv7": 40, "conv4": 6}
EPOCH_STEPS = {"conv7": 1200, "conv4": 1000}
NETS = {
    "conv7": Settings(
        model="conv7",
        batch_size=BATCH,
        augmentation=Augmentation(rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1),
        permutation=PermutationSettings(method="laperm", sync_period=20, permute_biases=True),
    ),
    "conv4": Settings(
        model="conv4",
        batch_size=BATCH,
        augmentation=Augmentation(rotation_degrees=15, shift_fraction=0.1, horizontal_flip=True),
        permutation=PermutationSettings(method="laperm", sync_period=1000),
        optimizer=OptimizerSettings(l2=1e-4),
    ),
}
IMAGE_SHAPES = {"conv7": (1, 28, 28), "conv4": (3, 32, 32)}
# What is left of float32 after up to seven layers summed in another order, by the largest logit.
TOLERANCE = 1e-4
RESULT_FILE = Path(__file__).parents[1] / "results" / "benchmarks" / "keras_comparison.json"


@dataclass(frozen=True)
class BenchmarkSettings:
    """Measure steps of LaPerm here and in TensorFlow."""

    keras_python: Path
    """An interpreter with tensorflow-cpu and scipy."""
    nets: tuple[str, ...] = tuple(NETS)
    """conv7, conv4 or both."""
    repeats: int = 5
    """Rounds; at least 1."""
    output: Path = RESULT_FILE
    """A JSON file for everything measured."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise SettingError(f"repeats is {self.repeats}; allowed: 1 or more")
        if unknown := set(self.nets) - set(NETS):
            raise SettingError(f"nets has {min(unknown)!r}; allowed: {', '.join(NETS)}")


@dataclass(frozen=True)
class Row:
    """A net trained one way."""

    net: str
    way: str
    milliseconds_per_step: Spread
    seconds_per_epoch: float
    """Of the median step."""
    ratio_to_ours: Spread


class Ours:
    """The trainer, some steps at a time."""

    def __init__(self, net: str) -> None:
        generator = torch.Generator().manual_seed(0)

        def split(num_images: int) -> Split:
            shape = (num_images, *IMAGE_SHAPES[net])
            images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
            return Split(images, torch.randint(10, (num_images,), generator=generator))

        data = ImageData("random", split(BATCH * STEPS[net]), split(10), tuple("0123456789"), "")
        self.trainer = Trainer(NETS[net], Place(), data)

    def run(self) -> float:
        self.trainer.position.batch = 0
        self.trainer.position.wall_s = 0.0
        for _ in range(self.trainer.batches_per_epoch):
            self.trainer.take_step()
        return self.trainer.position.wall_s


class Keras:
    """The process with TensorFlow."""

    def __init__(self, python: Path, net: str) -> None:
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("keras_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.built = self.ask(do="build", net=net, threads=torch.get_num_threads())

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SettingError(
                f"{self.process.args[0]!s} failed at {command['do']!r}; allowed: an interpreter "  # type: ignore[index]
                "with tensorflow-cpu and scipy installed"
            )
        return json.loads(answer)  # type: ignore[no-any-return]

    def run(self, way: str, steps: int) -> float:
        seconds: float = self.ask(do="steps", way=way, steps=steps)["seconds"]
        return seconds

    def close(self) -> None:
        self.process.communicate()


# --- the same net on both sides ------------------------------------------------------------------


def keras_weights(model: nn.Module, num_spatial: int) -> list[NDArray[np.float32]]:
    """The model's tensors in Keras's order and layout.

    Convolutions are (rows, columns, in, out), linear layers (in, out); the first linear layer sees
    its inputs as rows, columns, channels (`num_spatial` = rows times columns) instead of channels
    first. A batch norm is scale, shift, mean, variance.
    """
    found: list[Tensor] = []
    is_first_linear = True
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            found.append(module.weight.permute(2, 3, 1, 0))
        elif isinstance(module, nn.Linear):
            weight = module.weight
            if is_first_linear:
                weight = weight.unflatten(1, (-1, num_spatial)).transpose(1, 2).flatten(1)
                is_first_linear = False
            found.append(weight.T)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            found += [module.weight, module.bias, module.running_mean, module.running_var]
            continue
        else:
            continue
        assert module.bias is not None
        found.append(module.bias)
    return [tensor.detach().numpy() for tensor in found]


def check_same_net(net: str, model: nn.Module, keras: Keras) -> float:
    """Largest difference of the logits of 20 images, by the largest logit; both nets must agree."""
    num_parameters = sum(p.numel() for p in model.parameters())
    num_buffers = sum(b.numel() for n, b in model.named_buffers() if "running" in n)
    assert keras.built["parameters"] == num_parameters + num_buffers
    images = torch.randn(20, *IMAGE_SHAPES[net], generator=torch.Generator().manual_seed(0))
    num_spatial = {"conv7": 1, "conv4": 64}[net]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}" for name in ("weights.npz", "images.npy", "logits.npy")}
        weights = {str(i): each for i, each in enumerate(keras_weights(model, num_spatial))}
        np.savez(files["weights.npz"], **weights)  # type: ignore[arg-type]
        np.save(files["images.npy"], images.permute(0, 2, 3, 1).numpy())
        keras.ask(
            do="logits",
            weights=files["weights.npz"],
            images=files["images.npy"],
            to=files["logits.npy"],
        )
        theirs = torch.from_numpy(np.load(files["logits.npy"]))
    with torch.no_grad():
        ours = model.eval()(images)
    difference = float((ours - theirs).abs().max() / ours.abs().max())
    if difference > TOLERANCE:
        raise PermtrainError(f"{net}: logits differ by {difference:.2g}; allowed: {TOLERANCE}")
    return difference


# --- all -----------------------------------------------------------------------------------------


def measure(net: str, settings: BenchmarkSettings) -> tuple[list[Row], dict[str, Any]]:
    ours, keras = Ours(net), Keras(settings.keras_python, net)
    difference = check_same_net(net, ours.trainer.model, keras)
    ways: dict[str, Callable[[], float]] = {
        "ours": ours.run,
        "fit": partial(keras.run, "fit", STEPS[net]),
        "loop": partial(keras.run, "loop", STEPS[net]),
    }
    for run in ways.values():
        run()
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(settings.repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(ways[name]() / STEPS[net])
    keras.close()
    rows = [
        Row(
            net,
            name,
            spread_of(1000 * s for s in seconds[name]),
            spread_of(seconds[name]).median * EPOCH_STEPS[net],
            ratio_spread(seconds[name], seconds["ours"]),
        )
        for name in names
    ]
    facts = {"logits_differ_by": difference, "tensorflow": keras.built["tensorflow"]}
    return rows, facts


def run_benchmark(settings: BenchmarkSettings) -> None:
    keep_freed_memory()
    console, measured_on = Console(), machine()
    table = Table(title="A step of LaPerm; time by ours, above 1 ours is faster")
    for column in ("net", "way", "ms per step", "s an epoch", "by ours"):
        table.add_column(column)
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    for net in settings.nets:
        measured, facts[net] = measure(net, settings)
        rows += measured
        for row in measured:
            epoch = f"{row.seconds_per_epoch:.0f}"
            step, ratio = str(row.milliseconds_per_step), str(row.ratio_to_ours)
            table.add_row(row.net, row.way, step, epoch, ratio)
    console.print(table)
    result = {
        "settings": {"rounds": settings.repeats, "batch": BATCH, "steps": STEPS, "facts": facts},
        "machine": measured_on,
        "rows": [asdict(row) for row in rows],
    }
    write_json(settings.output, result)
    console.print(f"written: {settings.output}")


def main(arguments: list[str] | None = None) -> int:
    return command(run_benchmark, BenchmarkSettings, arguments)


if __name__ == "__main__":
    sys.exit(main())
