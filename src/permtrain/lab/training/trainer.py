"""The training loop. It knows no method by name."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from permtrain.core.granularity import named_tensors
from permtrain.errors import (
    CheckpointError,
    DataError,
    NonFiniteError,
    PermtrainError,
    SettingError,
    one_line,
)
from permtrain.initial.initialize import recorded_initial_weights
from permtrain.lab.data.augment import augment, augmentation_generator
from permtrain.lab.data.images import ImageData
from permtrain.lab.data.load import load_images, open_stream
from permtrain.lab.data.outline import OutlinedData, OutlinedSplit
from permtrain.lab.data.sources import is_streamed, is_text
from permtrain.lab.data.splits import AnySplit, carve_validation, limit
from permtrain.lab.data.stream import StreamedData, StreamedSplit
from permtrain.lab.data.text import DEFAULT_CONTEXT, TextData, TextSplit, load_text
from permtrain.lab.models.registry import NETWORKS
from permtrain.lab.training.birth import newborn_network
from permtrain.lab.training.change import Change, change_between
from permtrain.lab.training.device import device_at, is_small, require_compiler, take_threads
from permtrain.lab.training.evaluation import Scale, Score, evaluate, with_measured_batch_norm
from permtrain.lab.training.learning_rate import rate_factor, schedule
from permtrain.lab.training.optimizers import attach, make_optimizer
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import Place, Settings
from permtrain.optim.method import Method
from permtrain.ranges import require


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        batch: batches done of the epoch after them.
        step: optimizer steps in all.
        wall_s: seconds spent on the batches done of that epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    wall_s: float = 0.0


class Diverged(PermtrainError):
    """The training loss is no longer a number."""


class Callback(Protocol):
    """What watches a training, or sets something between its steps."""

    def after_step(self, trainer: "Trainer") -> None: ...

    def after_epoch(self, trainer: "Trainer", metrics: Metrics) -> None: ...


class Trainer:
    """One run in memory: data, model, optimizer, position. Everything follows from the settings.

    Args:
        settings: what to compute.
        place: where.
        data: images already in memory; None loads them by the settings. An outline is enough for
            what looks at no image.
        trained: the weights that rule shuffle moves (`settings.first_training`).
        import_from: folders that a network of the user's own is imported from; empty for the
            current directory.

    Attributes:
        class_names: one for each label.
        evaluations: those after the steps `settings.evaluate_at`.
        changes: what each of the first `settings.watched_steps` changed.
        gather: by name, functions of callbacks that return, as plain data, what they have gathered
            since the last epoch; checkpoints keep it.
        gathered: what they returned for the checkpoint that the run goes on from.

    Raises:
        SettingError, DataError, GranularityError: settings that do not fit together, before
            anything is trained.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        data: ImageData | StreamedData | TextData | OutlinedData | None = None,
        trained: Mapping[str, Tensor] | None = None,
        import_from: Sequence[Path] = (),
    ) -> None:
        self.settings = settings
        self.device = device_at(place)
        data = data or load_data(settings, place)
        if data.num_classes < 2:
            raise DataError(
                f"{data.source} has one class, {data.class_names[0]}, nothing to tell apart; "
                "allowed: two or more"
            )
        self.train_split, self.validation_split, self.test_split = _splits(settings, data)
        self.class_names = data.class_names
        self._images = data.image_shape, data.num_classes
        self._trained = trained
        self._import_from = import_from
        self.model = self._newborn()
        if place.threads is None and self._is_small():
            take_threads(1)
            # All that rounds comes after, as in a run that goes on with one thread.
            self.model = self._newborn()
        self.model.to(self.device)
        self._to_device()
        self.scale = Scale(
            *self.train_split.statistics(settings.normalization),
            memory_format(place.memory_format, settings.model, self.model),
        )
        if place.compile:
            require_compiler(self.device)
        self._forward = torch.compile(self.model) if place.compile else self.model
        self._check_logits(data.image_shape, data.num_classes)
        self._check_state()
        self._check_last_batch(data.image_shape)
        self.optimizer = make_optimizer(settings, self.model)
        self.method = attach(
            settings.permutation,
            self.optimizer,
            self.model,
            settings.seed,
            self.batches_per_epoch,
        )
        self.position = Position()
        self._schedule = self._scheduled()
        self.evaluations: list[Metrics] = []
        self.changes: list[Change] = []
        self.gather: dict[str, Callable[[], Any]] = {}
        self.gathered: dict[str, Any] = {}
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._images_seen = 0
        self._batches: Iterator[tuple[Tensor, Tensor]] | None = None  # what is left of the epoch

    def run(self, callbacks: Sequence[Callback] = ()) -> None:
        """Train to the last epoch."""
        while not self.is_finished:
            self.advance(callbacks)

    def advance(self, callbacks: Sequence[Callback] = ()) -> Metrics | None:
        """Take a step; with the last one of an epoch, evaluate.

        Returns:
            The epoch's metrics; None within it.

        Raises:
            Diverged: the epoch's training loss is not a number.
        """
        if self.position.batch < self.batches_per_epoch:  # else it was saved before it evaluated
            self.take_step()
            for callback in callbacks:
                callback.after_step(self)
        if self.position.batch < self.batches_per_epoch:
            return None
        metrics = self._end_of_epoch()
        for callback in callbacks:
            callback.after_epoch(self, metrics)
        return metrics

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is over."""
        return self.position.epoch == self.settings.epochs

    @property
    def num_steps(self) -> int:
        return self.settings.epochs * self.batches_per_epoch

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        return self._images[0]

    @property
    def cuts_images(self) -> bool:
        """Whether images are squares, cut from those of any size: streamed ones always are."""
        is_asked_for = self.settings.data.image_size is not None
        return is_asked_for or isinstance(self.test_split, StreamedSplit)

    @property
    def is_text(self) -> bool:
        """Whether windows of text take the place of images."""
        return isinstance(self.test_split, TextSplit)

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.train_split) / self.settings.batch_size)

    def evaluate(self, split: AnySplit, counts_CC: Tensor | None = None) -> Score:
        """Evaluates the arranged model on a split; the training state stays as it is.

        Args:
            counts_CC: a confusion matrix to which the images are added, as `evaluation.evaluate`.
        """
        with self._shown_model() as model:
            return evaluate(model, split, self.scale, bfloat16=self._bfloat16, counts_CC=counts_CC)

    def confusion(self, split: AnySplit) -> tuple[Score, Tensor]:
        """The score, and the confusion matrix beside it, (classes, classes) int64 on the CPU."""
        size = len(self.class_names)
        counts_CC = torch.zeros(size, size, dtype=torch.int64, device=self.device)
        return self.evaluate(split, counts_CC), counts_CC.cpu()

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Of each class, for (N, C, H, W) uint8 images as the network was trained on."""
        with self._shown_model() as model:
            was_training = model.training
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
                logits = model.eval()(self.scale(images.to(self.device)))
            model.train(was_training)
        found: Tensor = logits.float().softmax(1).cpu()
        return found

    @contextmanager
    def _shown_model(self) -> Iterator[nn.Module]:
        """The arranged model, its batch norm measured anew where settings ask for that."""
        with self.method.arranged():
            if not self.settings.reestimate_batch_norm:
                yield self.model
            else:
                yield with_measured_batch_norm(
                    self.model, self.train_split, self.scale, bfloat16=self._bfloat16
                )

    def shown_weights(self) -> dict[str, Tensor]:
        """A copy of the model's state for use: arranged weights, on the CPU."""
        with self.method.arranged():
            return {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in self.model.state_dict().items()
            }

    def initial_weights(self) -> dict[str, Tensor]:
        """What the model's weights were at first, made anew from the settings, on the CPU.

        By the record of how they were drawn, which holds those that were drawn; a network that was
        born of shuffled weights is made once more, and so are its other parameters.
        """
        if self._trained is None:
            return recorded_initial_weights(self.model)
        with torch.random.fork_rng(devices=[]):
            return self._newborn().state_dict()

    def _newborn(self) -> nn.Module:
        return newborn_network(self.settings, *self._images, self._trained, self._import_from)

    def state_dict(self) -> dict[str, Any]:
        """Everything to go on bit for bit, as plain data and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "attached": self.method.state_dict() if self._is_attached else None,
            "position": vars(self.position).copy(),
            "loss_sum": self._loss_sum,
            "images_seen": self._images_seen,
            "evaluations": list(self.evaluations),
            "changes": [vars(change).copy() for change in self.changes],
            "gathered": {name: gather() for name, gather in self.gather.items()},
            "rng_cpu": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state.

        Raises:
            CheckpointError: it is of another model or method.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self._is_attached:
                self.method.load_state_dict(state["attached"])
            self.position = Position(**state["position"])
            self._schedule = self._scheduled()
            self._batches = None
            self._loss_sum = state["loss_sum"].to(self.device)
            self._images_seen = state["images_seen"]
            self.evaluations = list(state["evaluations"])
            self.changes = [Change(**change) for change in state["changes"]]
            self.gathered = state.get("gathered", {})  # older checkpoints have none
            torch.set_rng_state(state["rng_cpu"])
            if self._on_cuda and state["rng_cuda"] is not None:
                torch.cuda.set_rng_state(state["rng_cuda"], self.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, CheckpointError):
                raise
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"checkpoint is of another model or method: {reason}") from error

    @property
    def _is_attached(self) -> bool:
        """Whether the method has a state beside the optimizer's; SGPerm is the optimizer."""
        is_optimizer = isinstance(self.method, torch.optim.Optimizer)
        return not is_optimizer and type(self.method) is not Method

    def take_step(self) -> None:
        """Train on the next batch of the running epoch."""
        settings, position = self.settings, self.position
        begun = time.perf_counter()
        if self._batches is None or position.batch == 0:
            self.model.train()
            self._batches = self._ready_batches()
        if position.step < settings.watched_steps:
            self._watched_step(*next(self._batches))
        else:
            self._step(*next(self._batches))
        position.batch += 1
        position.step += 1
        if position.step in settings.evaluate_at:
            self.evaluations.append({"step": position.step, **self._scores()})
        position.wall_s += time.perf_counter() - begun

    def _diverged(self, what: str) -> Diverged:
        return Diverged(
            f"{what} in epoch {self.position.epoch + 1}; a lower learning rate than "
            f"{self.settings.optimizer.lr} may help"
        )

    def _end_of_epoch(self) -> Metrics:
        begun = time.perf_counter()
        train_loss = float(self._loss_sum) / self._images_seen
        if not math.isfinite(train_loss):
            raise self._diverged(f"training loss is {train_loss}")
        self._batches = None
        self._loss_sum.zero_()
        self._images_seen = 0
        self.position.epoch += 1
        self.position.batch = 0
        metrics = self._metrics(train_loss)
        wall_s = self.position.wall_s + time.perf_counter() - begun
        metrics["wall_s"] = round(wall_s, 3)
        self.position.wall_s = 0.0
        return metrics

    def _scheduled(self) -> LambdaLR:
        """The learning rate's schedule from here on; SGPerm's own rate means nothing."""
        optimizer = getattr(self.optimizer, "inner", None) or self.optimizer
        return schedule(
            optimizer, self.settings.optimizer.lr, self._rate_factor, self.position.step
        )

    def _rate_factor(self, step: int) -> float:
        epoch = step // self.batches_per_epoch
        return rate_factor(self.settings.optimizer, epoch, step / self.num_steps, step)

    def _ready_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images and labels, from the position on to the end of the epoch."""
        position = self.position
        for pixels, labels, sizes in self.train_split.epoch_batches(
            self.settings.batch_size,
            seed=self.settings.seed,
            epoch=position.epoch,
            first=position.batch,
        ):
            yield from zip(self.scale(pixels).split(sizes), labels.split(sizes), strict=True)

    def _watched_step(self, images: Tensor, labels: Tensor) -> None:
        weights = [tensor.parameter for tensor in named_tensors(self.model) if tensor.is_weight]
        before = [weight.detach().clone() for weight in weights]
        self._step(images, labels)
        self.changes.append(change_between(before, weights))

    def _step(self, images: Tensor, labels: Tensor) -> None:
        if not self.settings.augmentation.is_identity:
            generator = augmentation_generator(
                self.settings.seed, self.position.epoch, self.position.batch
            )
            images = augment(images, self.settings.augmentation, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._forward(images.contiguous(memory_format=self.scale.memory_format))
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        if (norm := self.settings.optimizer.clip_gradient) is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), norm)
        try:
            self.optimizer.step()
        except NonFiniteError as error:
            raise self._diverged(str(error)) from error
        self._schedule.step()
        self._loss_sum += loss.detach() * len(labels)
        self._images_seen += len(labels)

    def _metrics(self, train_loss: float) -> Metrics:
        metrics: Metrics = {
            "epoch": self.position.epoch,
            "step": self.position.step,
            "lr": self.settings.optimizer.lr * self._rate_factor(self.position.step - 1),
            "train_loss": train_loss,
        }
        return metrics | self._scores()

    def _scores(self) -> Metrics:
        """Loss and accuracy on each split that is not trained on."""
        scores: Metrics = {}
        for name, split in (("validation", self.validation_split), ("test", self.test_split)):
            if split is not None:
                score = self.evaluate(split)
                scores[f"{name}_loss"] = score.loss
                scores[f"{name}_accuracy"] = score.accuracy
                if isinstance(split, TextSplit):
                    scores[f"{name}_bits"] = score.loss / math.log(2)
        return scores

    def _is_small(self) -> bool:
        """Whether one processor thread is better than several."""
        if self._on_cuda or torch.get_num_threads() == 1:
            return False
        # A network of the user's own may draw at random in passing.
        with torch.random.fork_rng(devices=[]):
            return is_small(self.model, self._images[0], self.settings.batch_size)

    @torch.no_grad()
    def _check_logits(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Refuses a network of the user's own that is made for another number of classes."""
        images = self.scale(torch.zeros(1, *image_shape, dtype=torch.uint8, device=self.device))
        try:
            logits = self.model.eval()(images)
        except Exception as error:  # a network of the user's own may fail in any way
            reason = " ".join(str(error).split())[:200]
            raise SettingError(
                f"model {self.settings.model!r} fails on an image of shape "
                f"{tuple(images.shape[1:])}, float32: {type(error).__name__}: {reason}"
            ) from error
        shape = tuple(getattr(logits, "shape", ()))
        allowed: tuple[int, ...] = (1, num_classes)
        if isinstance(self.train_split, TextSplit):  # for each of the characters
            allowed = (1, num_classes, self.train_split.context)
        seen = shape[:2] if isinstance(self.train_split, OutlinedSplit) else shape
        if seen != allowed:
            raise SettingError(
                f"model {self.settings.model!r} gives outputs of shape {shape} for one image; "
                f"allowed: {allowed}, one for each class"
            )

    def _check_state(self) -> None:
        """Refuses a network of the user's own that cannot be trained, or not saved at the end."""
        for name, value in self.model.state_dict().items():
            if not isinstance(value, Tensor):
                raise SettingError(
                    f"model {self.settings.model!r} has {name} in its state, a "
                    f"{type(value).__name__}; allowed: tensors"
                )

    def _check_last_batch(self, image_shape: tuple[int, int, int]) -> None:
        """Refuses a last batch of one image where batch norm would have one value to normalise."""
        size, num_images = self.settings.batch_size, len(self.train_split)
        if (num_images - 1) % size:
            return
        image = self.scale(torch.zeros(1, *image_shape, dtype=torch.uint8, device=self.device))
        model = self.model.train()
        copies = {
            name: value.detach().clone()
            for name, value in (*model.named_parameters(), *model.named_buffers())
        }
        try:
            # Dropout is active meanwhile, and must not shift later draws.
            devices = [self.device] if self._on_cuda else []
            with torch.no_grad(), torch.random.fork_rng(devices=devices):
                torch.func.functional_call(model, copies, (image,))
        except ValueError as error:
            raise SettingError(
                f"batch_size is {size}, which leaves a last batch of one of {num_images} images, "
                f"and model {self.settings.model!r} cannot be trained on one ({one_line(error)}); "
                "allowed with it: any size that does not"
            ) from error

    def _to_device(self) -> None:
        self.train_split = self.train_split.to(self.device)
        self.test_split = self.test_split.to(self.device)
        if self.validation_split is not None:
            self.validation_split = self.validation_split.to(self.device)

    @property
    def _bfloat16(self) -> bool:
        return self.settings.autocast == "bfloat16"

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"


def memory_format(name: str, model_name: str, model: nn.Module) -> torch.memory_format:
    """The memory format of a name; `auto` is channels last for convolutional networks of ours.

    A network of the user's own may flatten images by `view`, which wants them contiguous.

    Example:
        >>> memory_format("auto", "lenet5", nn.Sequential(nn.Conv2d(1, 6, 5)))
        torch.channels_last
    """
    is_convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if name == "channels-last" or (name == "auto" and model_name in NETWORKS and is_convolutional):
        return torch.channels_last
    return torch.contiguous_format


def data_name(settings: Settings, location: str | None) -> str:
    """A registered name, or the folder of data of the user's own.

    Args:
        location: where they were when the run began. It is taken if something is still there: the
            settings' name may be relative to another folder.
    """
    if location is not None and Path(location).exists():
        return location
    return settings.data.data


def load_data(
    settings: Settings, place: Place, location: str | None = None
) -> ImageData | StreamedData | TextData:
    """What the settings name, in memory or streamed; `location` as in `data_name`."""
    name, size = data_name(settings, location), settings.data.image_size
    columns = settings.data.columns
    folder = place.data_folder
    if is_text(name):
        _refuse_for_images(settings)
        return load_text(name, settings.data.context or DEFAULT_CONTEXT)
    if (context := settings.data.context) is not None:
        raise SettingError(f"context is {context}; allowed with images: nothing")
    if is_streamed(name):
        return open_stream(name, data_folder=folder, image_size=size, columns=columns)
    return load_images(name, data_folder=folder, image_size=size, columns=columns)


def _refuse_for_images(settings: Settings) -> None:
    """Refuse what means nothing for text."""
    data, default = settings.data, Settings()
    given: dict[str, tuple[object, object]] = {
        "image_size": (data.image_size, None),
        "image_column": (data.image_column, None),
        "label_column": (data.label_column, None),
        "augmentation": (settings.augmentation, default.augmentation),
        "normalization": (settings.normalization, default.normalization),
    }
    for name, (value, left_out) in given.items():
        require(name, value, value == left_out, "nothing with text")


def _splits(
    settings: Settings, data: ImageData | StreamedData | TextData | OutlinedData
) -> tuple[AnySplit, AnySplit | None, AnySplit]:
    train, validation = carve_validation(
        data.train, settings.data.validation_fraction, settings.seed
    )
    test: AnySplit = data.test
    if settings.data.train_images is not None:
        train = limit(train, settings.data.train_images)
    if settings.data.test_images is not None:
        test = limit(test, settings.data.test_images)
    return train, validation, test
