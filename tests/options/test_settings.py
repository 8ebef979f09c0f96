"""Every option of a training run changes what it should: `Settings` and `Place`."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from options_problem import (
    Elsewhere,
    Option,
    Table,
    check,
    check_complete,
    each_entry,
    fields_of,
    with_options,
)
from permtrain import SGPerm
from permtrain.errors import SettingError
from permtrain.lab.training.ranking_watch import read_ranking
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place, Settings, from_dict, settings_hash, to_dict
from permtrain.lab.training.trainer import Metrics, Trainer

# Two epochs of five steps, of 40 images of two classes.
BASE: dict[str, Any] = {
    "data.data": "images",
    "data.train_images": 40,
    "model": "logistic",
    "permutation.sync_period": 4,
    "optimizer.lr": 0.125,
    "epochs": 2,
    "batch_size": 8,
}
HERE: dict[str, Any] = {"device": "cpu", "threads": 1}


def settings_with(options: dict[str, Any]) -> Settings:
    given = BASE | options
    if given.get("permutation.method", "laperm") not in ("laperm", "index"):
        given["permutation.sync_period"] = None
    return with_options(Settings(), given)


def newborn(options: dict[str, Any], place: dict[str, Any] = HERE) -> Trainer:
    return Trainer(settings_with(options), Place(**place))


def trained(options: dict[str, Any]) -> Trainer:
    trainer = newborn(options)
    trainer.run()
    return trainer


def matrix(weights: Tensor) -> Tensor:
    """A tensor as a row for each output unit."""
    return weights.flatten(1) if weights.ndim > 1 else weights.reshape(1, -1)


class Noting:
    """Keeps what a function says of the trainer after each step, and the numbers of each epoch."""

    def __init__(self, tell: Callable[[Trainer], Any]) -> None:
        self.tell = tell
        self.steps: list[Any] = []
        self.epochs: list[Metrics] = []

    def after_step(self, trainer: Trainer) -> None:
        self.steps.append(self.tell(trainer))

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        self.epochs.append(metrics)


# --- what is looked at: functions of options ------------------------------------------------------


def sizes(options: dict[str, Any]) -> tuple[int, ...]:
    """Images to train, to validate and to test on, and their classes."""
    trainer = newborn(options)
    splits = (trainer.train_split, trainer.validation_split, trainer.test_split)
    return *(0 if split is None else len(split) for split in splits), len(born(options)["bias"])


def set_aside(options: dict[str, Any]) -> list[Any]:
    """The images to validate on."""
    return newborn(options).validation_split.images.tolist()


def seen(options: dict[str, Any]) -> list[Tensor]:
    """The images that the network gets in training, batch by batch."""
    trainer, batches = newborn(options), []
    trainer.model.register_forward_pre_hook(
        lambda module, given: batches.append(given[0].clone()) if module.training else None
    )
    trainer.run()
    return batches


def pixels(options: dict[str, Any]) -> list[Any]:
    return [batch.tolist() for batch in seen(options)]


def range_of_pixels(options: dict[str, Any]) -> tuple[float, float]:
    together = torch.cat(seen(options))
    return float(together.min()), float(together.max())


def shapes(options: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(batch.shape) for batch in seen(options)]


def born(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix("output."): weights.tolist()
        for name, weights in newborn(options).shown_weights().items()
    }


def values_at_birth(options: dict[str, Any]) -> set[float]:
    return set(matrix(newborn(options).shown_weights()["output.weight"]).flatten().tolist())


def biases_at_birth(options: dict[str, Any]) -> set[float]:
    return set(newborn(options).shown_weights()["output.bias"].tolist())


def rows_at_birth(options: dict[str, Any]) -> Tensor:
    return matrix(newborn(options).shown_weights()["output.weight"]).sort(dim=1).values


def has_equal_rows(options: dict[str, Any]) -> bool:
    rows = rows_at_birth(options)
    return bool((rows == rows[0]).all())


def has_equal_distances(options: dict[str, Any]) -> bool:
    """Within each weight vector, as quantiles of a uniform distribution have."""
    distances = rows_at_birth(options).diff(dim=1)
    return torch.allclose(distances, distances.mean())


def is_of_pairs(options: dict[str, Any]) -> bool:
    rows = rows_at_birth(options)
    return torch.equal(rows, -rows.flip(1))


def values_of_rows(options: dict[str, Any]) -> set[int]:
    """How many values the weight vectors have."""
    return {len(row.unique()) for row in rows_at_birth(options)}


def zeros_at_birth(options: dict[str, Any]) -> list[float]:
    """The zeros' part of each layer."""
    weights = newborn(options).shown_weights().items()
    return [float((each == 0).float().mean()) for name, each in weights if name.endswith("weight")]


def are_the_smallest_zero(options: dict[str, Any]) -> bool:
    sparse = newborn(options).shown_weights()["output.weight"]
    dense = newborn(options | {"initial.sparsity": 0.0}).shown_weights()["output.weight"].abs()
    return bool(dense[sparse == 0].max() <= dense[sparse != 0].min())


def weights_at_birth(options: dict[str, Any]) -> list[float]:
    return newborn(options).shown_weights()["output.weight"].flatten().tolist()


def residual_weight_at_birth(options: dict[str, Any]) -> float:
    weights = newborn(options).shown_weights()
    return float(weights["blocks.3.mlp.output.weight"][5, 7])


def shown(options: dict[str, Any]) -> dict[str, Any]:
    """The weights after training, arranged."""
    return {name: weights.tolist() for name, weights in trained(options).shown_weights().items()}


def used_fraction(options: dict[str, Any]) -> float:
    return float((trained(options).shown_weights()["output.weight"] != 0).float().mean())


def synchronized(options: dict[str, Any]) -> list[int]:
    """The steps after which the model itself holds its initial values."""
    trainer = newborn(options)
    before = trainer.shown_weights()
    notes = Noting(lambda trainer: _intact(before, trainer.model.state_dict(), "neuron"))
    trainer.run([notes])
    return [step for step, intact in enumerate(notes.steps, 1) if intact["output.weight"]]


def intact(options: dict[str, Any], granularity: str = "neuron") -> dict[str, bool]:
    """Whether tensors hold their initial values after training, arranged, in each row or at all."""
    return _intact(newborn(options).shown_weights(), trained(options).shown_weights(), granularity)


def intact_in_layers(options: dict[str, Any]) -> dict[str, bool]:
    return intact(options, "layer")


def is_linear_intact(options: dict[str, Any]) -> bool:
    return intact(options)["5.weight"]


def _intact(before: dict[str, Tensor], now: dict[str, Tensor], granularity: str) -> dict[str, bool]:
    answers = {}
    for name, first in before.items():
        rows = [matrix(weights) for weights in (first, now[name])]
        if granularity == "layer":
            rows = [each.flatten()[None] for each in rows]
        answers[name] = torch.equal(*(each.sort(dim=1).values for each in rows))
    return answers


def rates(options: dict[str, Any]) -> list[float]:
    """The learning rate of each step."""
    trainer, found = newborn(options), []
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: found.append(optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    return found


def largest_gradient(options: dict[str, Any]) -> float:
    """The largest norm of all gradients together, where the optimizer takes them."""
    trainer, found = newborn(options), []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: found.append(
            float(torch.cat([each.grad.flatten() for each in trainer.model.parameters()]).norm())
        )
    )
    trainer.run()
    return max(found)


def sums_of_gradients(options: dict[str, Any]) -> list[Any]:
    """What recommends SGPerm's first moves."""
    trainer = newborn(options)
    trainer.advance()
    return [state["momentum"].tolist() for state in trainer.optimizer.state.values()]


def seed_of_sgperm(options: dict[str, Any]) -> int:
    """Of its partitions."""
    optimizer = newborn(options).optimizer
    assert isinstance(optimizer, SGPerm)
    return optimizer.seed


def epochs_and_steps(options: dict[str, Any]) -> list[tuple[int, int]]:
    notes = Noting(lambda trainer: None)
    newborn(options).run([notes])
    return [(metrics["epoch"], metrics["step"]) for metrics in notes.epochs]


def scores(options: dict[str, Any]) -> list[float]:
    notes = Noting(lambda trainer: None)
    newborn(options).run([notes])
    return [metrics["test_loss"] for metrics in notes.epochs]


def types_of_logits(options: dict[str, Any]) -> set[torch.dtype]:
    """In training."""
    trainer, found = newborn(options), set()
    trainer.model.register_forward_hook(
        lambda module, given, logits: found.add(logits.dtype) if module.training else None
    )
    trainer.run()
    return found


def evaluated_steps(options: dict[str, Any]) -> list[int]:
    return [evaluation["step"] for evaluation in trained(options).evaluations]


def watched_steps(options: dict[str, Any]) -> int:
    return len(trained(options).changes)


_runs = iter(range(1000))


def run_of(options: dict[str, Any], place: dict[str, Any] | None = None) -> RunFolder:
    """A whole run, in a folder of its own."""
    whereto = HERE | {"runs_folder": Path(f"runs-{next(_runs)}")} | (place or {})
    return RunFolder(start_run(settings_with(options), Place(**whereto)).folder)


def epochs_of_run(options: dict[str, Any]) -> list[int]:
    return [metrics["epoch"] for metrics in run_of(options).metrics()]


def shuffled_from(options: dict[str, Any]) -> dict[str, Any]:
    """The trained weights that rule shuffle takes."""
    weights = run_of(options).trained()
    assert weights is not None
    return {name: each.tolist() for name, each in weights.items()}


def epochs_of_first_run(options: dict[str, Any]) -> int:
    folder = run_of(options)
    (first,) = (each for each in folder.path.parent.glob("*-plain-*") if each.is_dir())
    return len(RunFolder(first).metrics())


def watched_layers(options: dict[str, Any]) -> list[str]:
    file = run_of(options).ranking_file
    return sorted({line["layer"] for line in read_ranking(file)}) if file.exists() else []


# --- the settings --------------------------------------------------------------------------------


CONSTANT = {"initial.rule": "constant", "initial.value": 0.5, "initial.biases": "zero"}
SHARED = {"initial.share": True}
SPARSE = {"initial.sparsity": 0.5}
SHUFFLE = {"initial.rule": "shuffle"}
CONVOLUTIONAL = {"model": "run_problem:net_with_dropout"}
KERNELS = CONVOLUTIONAL | {"permutation.granularity": "kernel", "permutation.fallback": "layer"}
CHANGING = {"permutation.sync_milestones": (1,), "permutation.sync_periods": (2,), "epochs": 3}
SGPERM = {"permutation.method": "sgperm"}
PARTS = SGPERM | {"sgperm.partition_ratio": 0.125}
DECAYING = {"sgperm.aggressiveness_decay": 0.25}
PLAIN = {"permutation.method": "plain"}
LOOKAHEAD = PLAIN | {"optimizer.lookahead_period": 5}
BIASES = {"permutation.permute_biases": True}
DROPS = {"optimizer.lr_milestones": (1,), "optimizer.lr_factors": (0.5,), "epochs": 3}
DECAYS = {"optimizer.lr_decay": 0.5}

NEAR = {"data.data": "table", "data.image_column": "near"}

SETTINGS: Table = {
    "data.data": Option("digits", sizes, gives=(40, 0, 360, 10)),
    "data.validation_fraction": Option(
        0.25, sizes, gives=(30, 10, 20, 2), beside={"data.train_images": None}
    ),
    "data.train_images": Option(7, sizes, gives=(7, 0, 20, 2)),
    "data.test_images": Option(5, sizes, gives=(40, 0, 5, 2)),
    "data.image_size": Option(
        16, shapes, gives=[(8, 3, 16, 16)] * 2,
        beside={"data.data": "photos", "data.image_size": 12},
    ),
    "data.context": Option(
        16, shapes, gives=[(8, 1, 1, 16)] * 10,
        beside={"data.data": "book.txt", "data.context": 8, "model": "gpt-char"},
    ),
    "data.image_column": Option("far", pixels, beside=NEAR),
    "data.label_column": Option("kind", sizes, gives=(40, 0, 6, 3), beside=NEAR),
    "augmentation.rotation_degrees": Option(20.0, pixels, keeps=born),
    "augmentation.shift_fraction": Option(0.25, pixels, keeps=born),
    "augmentation.zoom_fraction": Option(0.25, pixels, keeps=born),
    "augmentation.horizontal_flip": Option(True, pixels, keeps=born),
    "normalization": Option("unit", range_of_pixels, keeps=born),
    "model": Option("fc500-300", shown),
    "initial.rule": Option("xavier_normal", born, keeps=pixels),
    "initial.value": Option(
        0.5, values_at_birth, gives={0.5},
        beside={"initial.rule": "constant", "initial.value": 0.25},
    ),
    "initial.trained_rule": Option("xavier_uniform", shuffled_from, beside=SHUFFLE),
    "initial.trained_epochs": Option(1, epochs_of_first_run, gives=1, beside=SHUFFLE),
    "initial.vectors": Option("layer", has_equal_rows, gives=False, beside=SHARED),
    "initial.share": Option(True, has_equal_rows, gives=True),
    "initial.quantiles": Option(True, has_equal_distances, gives=True),
    "initial.pairwise": Option(True, is_of_pairs, gives=True),
    "initial.levels": Option(4, values_of_rows, gives={4}),
    "initial.sparsity": Option(0.5, zeros_at_birth, gives=[0.5]),
    "initial.layer_sparsity": Option({"output.weight": 0.25}, zeros_at_birth, gives=[0.25]),
    "initial.sparsity_by": Option("magnitude", are_the_smallest_zero, gives=True, beside=SPARSE),
    "initial.first_layer_sparsity_cap": Option(0.25, zeros_at_birth, gives=[0.25], beside=SPARSE),
    "initial.sparse_fans": Option(
        True, weights_at_birth, beside={"initial.sparsity": 0.75},
        gives=lambda before: [2 * weight for weight in before],  # a fourth of the inputs
    ),
    "initial.biases": Option("zero", biases_at_birth, gives={0.0}),
    "initial.branches": (
        Option(
            {"*": 1}, residual_weight_at_birth, beside={"model": "vit-tiny"},
            gives=lambda before: pytest.approx(8**0.5 * before, rel=1e-6),  # of four blocks
        ),
        Option(
            {"output.*": 4}, weights_at_birth, gives=lambda before: [each / 2 for each in before]
        ),
    ),
    "permutation.method": Option("index", shown, keeps=born),
    "permutation.sync_period": Option(3, synchronized, gives=[3, 6, 9]),
    "permutation.sync_milestones": Option(
        (2,), synchronized, gives=[4, 8, 12, 14], beside=CHANGING
    ),
    "permutation.sync_periods": Option((7,), synchronized, gives=[4, 7, 14], beside=CHANGING),
    "permutation.sync_milestones_in": Option(
        "steps", synchronized, gives=[2, 4, 6, 8, 10, 12, 14], beside=CHANGING
    ),
    "permutation.permuted_steps": Option(8, synchronized, gives=[4, 8], beside={"epochs": 3}),
    "permutation.granularity": Option(
        "layer", intact, gives={"output.weight": False, "output.bias": False},
        keeps=intact_in_layers,
    ),
    "permutation.fallback": Option(
        "neuron", is_linear_intact, gives=True, beside=KERNELS
    ),
    "permutation.linear_granularity": Option(
        "layer", intact, gives={"output.weight": False, "output.bias": False},
        keeps=intact_in_layers, beside={"permutation.granularity": "neuron"},
    ),
    "permutation.permute_biases": Option(
        True, intact, gives={"output.weight": True, "output.bias": True}
    ),
    "permutation.keep": Option(
        0.25, used_fraction, gives=0.25, beside={"permutation.method": "supermask"}
    ),
    "sgperm.recommendation": Option("difference", shown, keeps=born, beside=SGPERM),
    "sgperm.search": Option("authors", shown, keeps=born, beside=SGPERM),
    "sgperm.order": Option(
        "farthest", shown, keeps=born, beside=SGPERM | {"sgperm.search": "authors"}
    ),
    "sgperm.aggressiveness": Option(0.5, shown, keeps=born, beside=SGPERM),
    "sgperm.aggressiveness_min": Option(
        0.5, shown, keeps=born, beside=SGPERM | {"sgperm.aggressiveness": 0.5, **DECAYING}
    ),
    "sgperm.aggressiveness_decay": Option(0.25, shown, keeps=born, beside=SGPERM),
    "sgperm.partition_ratio": Option(0.125, shown, keeps=born, beside=SGPERM),
    "sgperm.partition_ratio_max": Option(
        0.25, shown, keeps=born, beside=PARTS | {"sgperm.partition_ratio_growth": 4.0}
    ),
    "sgperm.partition_ratio_growth": Option(4.0, shown, keeps=born, beside=PARTS),
    "sgperm.momentum": Option(0.0, shown, keeps=born, beside=SGPERM),
    "sgperm.momentum_max": Option(
        0.8125, shown, keeps=born, beside=SGPERM | {"sgperm.momentum_approach": 0.5}
    ),
    "sgperm.momentum_approach": Option(0.5, shown, keeps=born, beside=SGPERM),
    "sgperm.dampening": Option(
        0.75, sums_of_gradients, beside=SGPERM,
        gives=lambda before: [[[each / 4 for each in row] for row in sums] for sums in before],
    ),
    "sgperm.permuted_biases": Option(
        "row", intact, gives={"output.weight": False, "output.bias": False},
        beside=SGPERM | BIASES | {"initial.biases": "zero"},
    ),
    "optimizer.inner": Option("SGD", shown, keeps=born),
    "optimizer.lr": Option(0.5, rates, gives=[0.5] * 10),
    "optimizer.lookahead_period": Option(5, shown, keeps=born, beside=PLAIN),
    "optimizer.lookahead_step": Option(0.25, shown, keeps=born, beside=LOOKAHEAD),
    "optimizer.inner_options": Option({"eps": 1.0}, shown, keeps=born),
    "optimizer.l2": Option(0.5, shown, keeps=born, beside=CONVOLUTIONAL),
    "optimizer.lr_decay": Option(0.5, rates, gives=[0.125] * 5 + [0.0625] * 5),
    "optimizer.lr_decay_epochs": Option(2, rates, gives=[0.125] * 10, beside=DECAYS),
    "optimizer.lr_milestones": Option(
        (2,), rates, gives=[0.125] * 10 + [0.0625] * 5, beside=DROPS
    ),
    "optimizer.lr_factors": Option(
        (0.25,), rates, gives=[0.125] * 5 + [0.03125] * 10, beside=DROPS
    ),
    "optimizer.lr_cosine": Option(
        True,
        rates,
        gives=pytest.approx([0.0625 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]),
    ),
    "optimizer.lr_warmup": Option(4, rates, gives=[0.03125, 0.0625, 0.09375] + [0.125] * 7),
    "optimizer.betas": Option((0.5, 0.75), shown, keeps=born),
    "optimizer.clip_gradient": Option(
        0.0625, largest_gradient, gives=pytest.approx(0.0625, rel=1e-4), keeps=born
    ),
    "epochs": Option(3, epochs_and_steps, gives=[(1, 5), (2, 10), (3, 15)]),
    "batch_size": Option(16, shapes, gives=[(16, 1, 12, 12), (16, 1, 12, 12), (8, 1, 12, 12)] * 2),
    "seed": (
        Option(1, born),
        Option(1, pixels),
        Option(1, set_aside, beside={"data.validation_fraction": 0.25}),
        Option(1, seed_of_sgperm, gives=1, beside=SGPERM),
        Option(1, born, beside=CONSTANT | {"permutation.method": "supermask"}),
    ),
    "autocast": Option("bfloat16", types_of_logits, gives={torch.bfloat16}, keeps=born),
    "reestimate_batch_norm": Option(True, scores, keeps=shown, beside=CONVOLUTIONAL),
    "patience": Option(
        1, epochs_of_run, gives=lambda epochs: epochs[:2],
        beside=PLAIN | {"data.validation_fraction": 0.25, "optimizer.lr": 1e-12, "epochs": 4},
    ),
    "evaluate_at": Option((3, 7), evaluated_steps, gives=[3, 7], keeps=shown),
    "watched_steps": Option(3, watched_steps, gives=3, keeps=shown),
    "watch_ranking_distance": Option(True, watched_layers, gives=["output.weight"], keeps=shown),
    "watch_every_layer": Option(
        True, watched_layers, gives=["0.weight", "5.weight"],
        beside=CONVOLUTIONAL | {"watch_ranking_distance": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), each_entry(SETTINGS))
def test_an_option_of_a_run(name: str, option: Option) -> None:
    check(name, option)


def test_every_option_of_a_run_has_an_entry() -> None:
    check_complete(SETTINGS, fields_of(Settings))


@pytest.mark.parametrize(("name", "option"), each_entry(SETTINGS))
def test_an_option_counts_in_the_hash_and_goes_through_json(name: str, option: Option) -> None:
    left_out = settings_with(dict(option.beside))
    given = settings_with({**option.beside, name: option.value})
    assert settings_hash(given) != settings_hash(left_out)
    assert from_dict(json.loads(json.dumps(to_dict(given)))) == given


# --- the place -----------------------------------------------------------------------------------


def folder_above(place: dict[str, Any]) -> Path:
    return run_of({}, place).path.parent


def checkpoints(place: dict[str, Any]) -> list[str]:
    return [path.stem for path in run_of({}, place).numbered_checkpoints()]


def where(place: dict[str, Any]) -> str:
    """The device, or why there is none of that name."""
    try:
        return str(newborn({}, {"threads": 1} | place).device)
    except SettingError as refused:
        return str(refused)


def threads(place: dict[str, Any]) -> int:
    newborn({}, {"device": "cpu"} | place)
    return torch.get_num_threads()


def images_there(place: dict[str, Any]) -> int:
    mnist = {"data.data": "mnist", "data.train_images": None}
    with patch("permtrain.lab.data.load._check_entry"):  # which refuses so small a MNIST
        return len(newborn(mnist, HERE | place).train_split)


def compilations(place: dict[str, Any]) -> int:
    with patch("torch.compile", side_effect=lambda model: model) as compiled:
        newborn({}, HERE | place)
    # Beside the network a line is, which shows that a compiler is there.
    return sum(isinstance(call.args[0], torch.nn.Module) for call in compiled.call_args_list)


def has_event_files(place: dict[str, Any]) -> bool:
    return run_of({}, place).tensorboard_folder.exists()


PLACE: Table = {
    "runs_folder": Option(
        Path("elsewhere"), folder_above, gives=Path("elsewhere"), beside={"runs_folder": Path("a")}
    ),
    "data_folder": Option(
        Path("two"), images_there, gives=5, beside={"data_folder": Path("one")}
    ),
    "device": Option("cuda:97", where, beside={"device": "cpu"}),
    "threads": Option(2, threads, gives=2, beside={"threads": 1}),
    "memory_format": Elsewhere(
        "lab/training/test_trainer.py::test_the_network_sees_images_in_that_format"
    ),
    "compile": Option(True, compilations, gives=1),
    "checkpoint_steps": Option(
        3, checkpoints, beside={"keep_checkpoints": 9},
        gives=[f"step-{step:09d}" for step in (3, 5, 6, 9, 10)],
    ),
    "keep_checkpoints": Option(1, checkpoints, gives=["step-000000010"]),
    "tensorboard": Option(True, has_event_files, gives=True),
    "logger": Elsewhere(
        "lab/training/test_service.py::test_a_service_gets_every_number_of_every_epoch"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), each_entry(PLACE))
def test_an_option_of_the_place(name: str, option: Option) -> None:
    check(name, option)


def test_every_option_of_the_place_has_an_entry() -> None:
    check_complete(PLACE, fields_of(Place))
