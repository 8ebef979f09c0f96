"""The loop: batches made ready, how images lie in memory, a compiled network."""

import shutil

import pytest
import torch
from run_problem import tiny
from torch import Tensor, nn
from training_problem import assert_same, weights_of

from permtrain.lab.data import images as images_module
from permtrain.lab.data.augment import augment, augmentation_generator, draw
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.order import batch_indices
from permtrain.lab.training.evaluation import evaluate, with_measured_batch_norm
from permtrain.lab.training.run import verify_trainer
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Place,
)
from permtrain.lab.training.trainer import Metrics, Trainer, memory_format

HERE = Place(threads=1, device="cpu")


def trained(place: Place = HERE, **changes: object) -> Trainer:
    trainer = Trainer(tiny(epochs=2, **changes), place)
    trainer.run()
    return trainer


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(shift_fraction=0.1)])
def test_batches_made_together_are_those_made_one_by_one(
    augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = trained(augmentation=augmentation)
    monkeypatch.setattr(images_module, "_VALUES_AT_ONCE", 1)
    one_by_one = trained(augmentation=augmentation)
    assert_same(weights_of(together.model), weights_of(one_by_one.model))


def test_batches_hold_every_image_once_and_the_last_is_smaller() -> None:
    trainer = Trainer(tiny(), HERE)
    order = batch_indices(130, 32, seed=0, epoch=0)
    batches = list(trainer._ready_batches())
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 32, 2]
    indices = torch.cat(order)
    assert torch.equal(
        torch.cat([labels for _, labels in batches]), trainer.train_split.labels[indices]
    )
    expected = trainer.scale(trainer.train_split.images[indices])
    assert torch.equal(torch.cat([images for images, _ in batches]), expected)


def test_images_less_their_mean_image() -> None:
    trainer = Trainer(tiny(normalization="mean-image"), HERE)
    pixels = trainer.train_split.images
    mean = pixels.double().mean(0) / 255
    images = torch.cat([images for images, _ in trainer._ready_batches()])
    order = torch.cat(batch_indices(130, 32, seed=0, epoch=0))
    torch.testing.assert_close(images, (pixels[order].double() / 255 - mean).float())
    # Test images take the mean of the training images.
    tested = trainer.scale(trainer.test_split.images)
    expected = trainer.test_split.images.double() / 255 - mean
    torch.testing.assert_close(tested, expected.float())


def test_the_mean_image_is_taken_off_before_images_are_augmented() -> None:
    flips = Augmentation(horizontal_flip=True)
    trainer = Trainer(tiny(normalization="mean-image", augmentation=flips), HERE)
    less_their_mean, _ = next(trainer._ready_batches())
    flipped = draw(32, 8, 8, flips, augmentation_generator(0, 0, 0)).flip
    seen = seen_by(trainer)
    trainer.advance()
    assert 0 < int(flipped.sum()) < 32
    for image, given, is_flipped in zip(less_their_mean, seen[0], flipped, strict=True):
        assert torch.equal(given, image.flip(-1) if is_flipped else image)


def seen_by(trainer: Trainer) -> list[Tensor]:
    """The images that the network gets from now on, batch by batch."""
    seen: list[Tensor] = []
    trainer.model.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    return seen


def test_each_batch_is_augmented_by_the_draws_of_its_epoch_and_place() -> None:
    moves = Augmentation(rotation_degrees=20, shift_fraction=0.2)
    trainer = Trainer(tiny(augmentation=moves, epochs=2, seed=3), HERE)
    trainer._scores = dict  # nothing is evaluated
    expected = []
    for trainer.position.epoch in (1, 0):  # ends where training begins
        augmented = [
            augment(images, moves, augmentation_generator(3, trainer.position.epoch, number))
            for number, (images, _) in enumerate(trainer._ready_batches())
        ]
        expected = augmented + expected
    seen = seen_by(trainer)
    trainer.run()
    assert len(seen) == len(expected) == 10
    assert all(torch.equal(given, made) for given, made in zip(seen, expected, strict=True))


# --- autocast, batch norm measured anew ----------------------------------------------------------


@pytest.mark.parametrize(
    ("autocast", "dtype"), [("off", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_is_of_training_and_of_evaluation(autocast: str, dtype: torch.dtype) -> None:
    trainer = Trainer(tiny(model="logistic", autocast=autocast), HERE)
    found: set[tuple[bool, torch.dtype]] = set()
    trainer.model.register_forward_hook(
        lambda module, given, logits: found.add((module.training, logits.dtype))
    )
    trainer.run()
    assert found == {(True, dtype), (False, dtype)}
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("measures", [False, True])
def test_batch_norm_is_measured_anew_for_each_evaluation(measures: bool) -> None:
    trainer = Trainer(
        tiny(model="run_problem:net_with_dropout", epochs=1, reestimate_batch_norm=measures), HERE
    )
    rows: list[Metrics] = []
    trainer.run([Noting(rows)])
    with trainer.method.arranged():
        measured = with_measured_batch_norm(trainer.model, trainer.train_split, trainer.scale)
        scores = [
            evaluate(model, trainer.test_split, trainer.scale)
            for model in (trainer.model, measured)
        ]
    assert scores[0].loss != scores[1].loss
    assert [row["test_loss"] for row in rows] == [scores[measures].loss]


class Noting:
    """Keeps the numbers of each epoch."""

    def __init__(self, rows: list[Metrics]) -> None:
        self.rows = rows

    def after_step(self, trainer: Trainer) -> None:
        pass

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        self.rows.append(metrics)


# --- memory format -------------------------------------------------------------------------------

CONVOLUTIONAL, LINEAR = nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Sequential(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("name", "network", "model", "expected"),
    [
        ("auto", "lenet5", CONVOLUTIONAL, torch.channels_last),
        ("auto", "fc500-300", LINEAR, torch.contiguous_format),
        ("auto", "my_module:net", CONVOLUTIONAL, torch.contiguous_format),
        ("channels-last", "my_module:net", LINEAR, torch.channels_last),
        ("contiguous", "lenet5", CONVOLUTIONAL, torch.contiguous_format),
    ],
)
def test_memory_format_by_name(
    name: str, network: str, model: nn.Module, expected: torch.memory_format
) -> None:
    assert memory_format(name, network, model) == expected


# Of one channel, both formats are the same memory.
def colour_images(num_images: int) -> Split:
    images = torch.randint(256, (num_images, 3, 8, 8), dtype=torch.uint8)
    return Split(images, torch.arange(num_images) % 10)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(rotation_degrees=5)])
@pytest.mark.parametrize("name", ["auto", "contiguous"])
def test_the_network_sees_images_in_that_format(name: str, augmentation: Augmentation) -> None:
    names = tuple("abcdefghij")
    data = ImageData("colours", colour_images(40), colour_images(10), names, "made")
    settings = tiny(data=DataSettings(), model="digits-cnn", epochs=1, augmentation=augmentation)
    trainer = Trainer(settings, Place(threads=1, device="cpu", memory_format=name), data)
    seen: list[Tensor] = []
    trainer.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    trainer.run()
    for images in seen:
        assert images.is_contiguous(memory_format=torch.channels_last) == (name == "auto")


def test_formats_compute_the_same_but_for_rounding() -> None:
    first = [
        Trainer(tiny(model="digits-cnn"), Place(threads=1, memory_format=name)).evaluate
        for name in ("contiguous", "channels-last")
    ]
    losses = [evaluate(evaluate.__self__.test_split).loss for evaluate in first]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# --- torch.compile -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_a_compiled_network_trains_to_about_the_same() -> None:
    settings = {"model": "logistic"}
    compiled = trained(Place(threads=1, device="cpu", compile=True), **settings)
    plainly = trained(**settings)
    losses = [each.evaluate(each.test_split).loss for each in (compiled, plainly)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert set(compiled.model.state_dict()) == set(plainly.model.state_dict())


# --- within an epoch -----------------------------------------------------------------------------


def test_evaluations_stand_where_they_were_asked_for() -> None:
    steps = (1, 5, 7, 10)
    trainer = trained(evaluate_at=steps)
    assert tuple(each["step"] for each in trainer.evaluations) == steps
    alone = Trainer(tiny(epochs=2), HERE)
    for each in trainer.evaluations:
        while alone.position.step < each["step"]:
            alone.advance()
        assert alone.evaluate(alone.test_split).accuracy == each["test_accuracy"]


def test_watched_steps_record_what_changed() -> None:
    trainer = trained(
        permutation=PermutationSettings(method="sgperm"), watched_steps=3, evaluate_at=(3,)
    )
    assert len(trainer.changes) == 3
    for change in trainer.changes:
        assert 0 < change.changed_fraction < 1
        assert 0 < change.mean_change < change.norm
    plainly = trained(permutation=PermutationSettings(method="plain"), watched_steps=1)
    # Adam's first step moves each weight that has a gradient by the learning rate.
    (first,) = plainly.changes
    assert first.mean_change == pytest.approx(1e-3 * first.changed_fraction, rel=1e-2)


def test_the_inner_optimizer_moves_what_is_not_permuted() -> None:
    trainer = trained(
        permutation=PermutationSettings(method="sgperm"),
        optimizer=OptimizerSettings(lr=0.5, lr_decay=0.1, inner="SGD"),
    )
    assert trainer.method is trainer.optimizer
    verification, travel = verify_trainer(trainer)
    assert verification
    assert travel.moved_fraction > 0.1
    before = Trainer(trainer.settings, HERE).model.state_dict()
    for name, after in trainer.model.state_dict().items():
        if name.endswith("bias"):
            assert not torch.equal(after, before[name])
