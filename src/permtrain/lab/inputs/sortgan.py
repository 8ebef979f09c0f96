"""sortGAN: a generator learns to say how shuffled pixels are to be laid out.

Source: "Index optimizer and sortGAN", semester thesis, ETH Zurich, 2021, sections 4.3 and 5.2.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from permtrain.errors import SettingError
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.order import batch_indices
from permtrain.lab.data.splits import limit
from permtrain.lab.inputs.losses import discriminator_loss, fooling_loss, place_in_order
from permtrain.lab.inputs.nearest import NearestImages
from permtrain.lab.inputs.networks import (
    ConvolutionalDiscriminator,
    ConvolutionalGenerator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from permtrain.lab.inputs.pixels import in_order, lay_out_pixels, shuffle_generator, shuffled
from permtrain.lab.inputs.quality import laid_out, psnr
from permtrain.lab.inputs.session import (
    InputSession,
    RecoveredImages,
    begun_splits,
    measured,
)
from permtrain.lab.inputs.settings import SortGANSettings
from permtrain.lab.inputs.splits import shuffled_split
from permtrain.lab.training.learning_rate import half_cosine, schedule
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import Place
from permtrain.lab.training.trainer import Diverged

_GENERATORS = {"fc": FullyConnectedGenerator, "conv": ConvolutionalGenerator}
_DISCRIMINATORS = {"fc": FullyConnectedDiscriminator, "conv": ConvolutionalDiscriminator}
_BATCH = 500
_WATCHED = 1000
"""Validation images whose error is told after every epoch."""


class SortGAN(InputSession):
    """One run in memory: images, networks, their optimizers, position.

    Each step trains the generator, then the discriminator on the same batch. Images are shuffled
    anew in every epoch, each by a draw that its seed, epoch and batch name.

    Args:
        settings: what to compute.
        place: where.
        data: images already in memory; None loads them.

    Raises:
        DataError, SettingError: before anything is trained.
    """

    def __init__(
        self, settings: SortGANSettings, place: Place, data: ImageData | None = None
    ) -> None:
        super().__init__(settings, place)
        self.settings = settings
        self.splits = begun_splits(settings, settings.measured_images, self.device, place, data)
        data = self.splits.data
        _check_images(settings, data.image_shape, len(self.splits.train))
        self.num_classes = data.num_classes
        channels, height, width = data.image_shape
        shape = (channels, height * width, data.num_classes)
        torch.manual_seed(settings.seed)
        self.nearest: NearestImages | None = None
        self.networks = nn.ModuleDict()
        if settings.generator == "nearest":
            self.nearest = NearestImages(self.splits.train, settings.neighbours)
        else:
            self.networks["generator"] = _GENERATORS[settings.generator](*shape)
            if settings.discriminator != "none":
                self.networks["discriminator"] = _DISCRIMINATORS[settings.discriminator](*shape)
        self.networks.to(self.device)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
            for name, network in self.networks.items()
        }
        self.averaged = (
            AveragedModel(
                self.networks["generator"],
                multi_avg_fn=get_ema_multi_avg_fn(settings.average),
                use_buffers=True,
            )
            if settings.average and self.nearest is None
            else None
        )
        self.sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        self._batches: list[Tensor] | None = None  # of the running epoch
        self._schedules = self._scheduled()

    @property
    def num_parts(self) -> int:
        return self.settings.epochs

    @property
    def steps_per_part(self) -> int:
        size, num_images = self.settings.batch_size, len(self.splits.train)
        return num_images // size + (num_images % size > 1)  # batch norm wants two

    def advance(self) -> Metrics | None:
        """Train on a batch; with the last one of an epoch, measure on validation images."""
        settings, split = self.settings, self.splits.train
        begun = time.perf_counter()
        if self._batches is None:
            self.networks.train()
            self._batches = batch_indices(
                len(split), settings.batch_size, seed=settings.seed, epoch=self.part
            )
        indices = self._batches[self.step_in_part].to(self.device)
        self.sums += self._step(split.images[indices], split.labels[indices])
        for each in self._schedules:
            each.step()
        self.step_in_part += 1
        self.seconds += time.perf_counter() - begun
        return self._end_of_epoch() if self.step_in_part == self.steps_per_part else None

    def _end_of_epoch(self) -> Metrics:
        means = (self.sums / self.steps_per_part).tolist()
        if not all(math.isfinite(mean) for mean in means):
            raise Diverged(f"losses are {means} in epoch {self.part + 1}; lr is {self.settings.lr}")
        self._batches = None
        self.sums.zero_()
        wall_s = self.end_part()
        return {
            "epoch": self.part,
            "squared_error": means[0],
            "fooling_loss": means[1],
            "discriminator_loss": means[2],
            "validation_psnr": self._validation_psnr(),
            "wall_s": wall_s,
        }

    def says(self, pixels_NCP: Tensor, labels_N: Tensor) -> Tensor:
        """How the pictures look, from shuffled pixels in [0, 1] and labels.

        Shapes: (N, C, P) and (N,) -> (N, C, P).
        """
        if self.settings.reads == "sorted" or self.nearest is not None:
            pixels_NCP = in_order(pixels_NCP)
        if self.nearest is not None:
            return self.nearest.mean_of(pixels_NCP, labels_N)
        generator = self.networks["generator"]
        model = generator if generator.training or self.averaged is None else self.averaged
        out: Tensor = model(pixels_NCP, labels_N)
        return out

    @torch.no_grad()
    def recovered(self, shuffled_NCP: Tensor, labels_N: Tensor) -> Tensor:
        """Shuffled images laid out again, checked to be permutations of what they were.

        Shapes: (N, C, P) uint8 and (N,) -> (N, C, P) uint8.
        """
        with self._evaluating():
            says_NCP = torch.cat(
                [
                    self.says(pixels.float() / 255, labels)
                    for pixels, labels in zip(
                        shuffled_NCP.split(_BATCH), labels_N.split(_BATCH), strict=True
                    )
                ]
            )
        return laid_out(shuffled_NCP, says_NCP, self.settings.matching)

    def measure(self) -> RecoveredImages:
        validation, test, settings = self.splits.validation, self.splits.test, self.settings
        on_validation_NCP = self.recovered(
            self._shuffled(validation, "validation"), validation.labels
        )
        shuffled_NCP = self._shuffled(test, "test")
        recovered_NCP = self.recovered(shuffled_NCP, test.labels)
        return measured(
            self.splits,
            on_validation_NCP,
            shuffled_NCP,
            recovered_NCP,
            settings.judge,
            settings.matching,
            self.place,
        )

    def work_state(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "optimizers": {name: each.state_dict() for name, each in self.optimizers.items()},
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "part": self.part,
            "batch": self.step_in_part,
            "sums": self.sums,
            "seconds": self.seconds,
            "rng_cpu": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
        }

    def load_work_state(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.part, self.step_in_part = state["part"], state["batch"]
        self._batches = None
        self._schedules = self._scheduled()
        self.sums = state["sums"].to(self.device)
        self.seconds = state["seconds"]
        torch.set_rng_state(state["rng_cpu"])
        if self._on_cuda and state["rng_cuda"] is not None:
            torch.cuda.set_rng_state(state["rng_cuda"], self.device)

    def _step(self, images: Tensor, labels_N: Tensor) -> Tensor:
        """Trains both networks on a batch; the three losses."""
        settings = self.settings
        originals_NCP = images.flatten(2).float() / 255
        pixels_NCP = self._given(originals_NCP)
        says_NCP = self.says(pixels_NCP, labels_N)
        discriminator = self._discriminator
        nothing = says_NCP.new_zeros(())
        arranged_NCP = says_NCP
        if discriminator is not None or settings.regress == "arranged":
            arranged_NCP = lay_out_pixels(pixels_NCP, says_NCP)
        compared_NCP = arranged_NCP if settings.regress == "arranged" else says_NCP
        is_of_ranks = settings.regress == "ranks"
        target_NCP = place_in_order(originals_NCP) if is_of_ranks else originals_NCP
        squared_error = F.mse_loss(compared_NCP, target_NCP)
        fooling = nothing
        if discriminator is not None:
            fooling = fooling_loss(discriminator(arranged_NCP, labels_N))
        self._minimise("generator", squared_error + settings.fooling_weight * fooling)
        if self.averaged is not None:
            self.averaged.update_parameters(self.networks["generator"])
        telling = nothing
        if discriminator is not None:
            telling = discriminator_loss(
                discriminator(originals_NCP, labels_N),
                discriminator(arranged_NCP.detach(), labels_N),
            )
            self._minimise("discriminator", telling)
        return torch.stack([squared_error, fooling, telling]).detach().double()

    def _given(self, originals_NCP: Tensor) -> Tensor:
        """What the generator gets of a batch: its pixels, in an order that tells nothing."""
        if self.settings.shuffle == "one":
            generator = shuffle_generator(self.settings.seed, "one")
            return shuffled(originals_NCP, generator, one_for_all=True)
        if self.settings.reads == "sorted" and originals_NCP.shape[1] == 1:
            return in_order(originals_NCP)  # a shuffle before it would change nothing
        generator = shuffle_generator(self.settings.seed, "train", self.part, self.step_in_part)
        return shuffled(originals_NCP, generator)

    def _minimise(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _scheduled(self) -> list[LambdaLR]:
        """The learning rates' schedules from here on."""
        if not self.settings.lr_cosine:
            return []
        num_steps = self.settings.epochs * self.steps_per_part
        done = self.part * self.steps_per_part + self.step_in_part
        return [
            schedule(each, self.settings.lr, lambda step: half_cosine(step / num_steps), done)
            for each in self.optimizers.values()
        ]

    def _validation_psnr(self) -> float:
        split = limit(self.splits.validation, _WATCHED)
        recovered_NCP = self.recovered(self._shuffled(split, "validation"), split.labels)
        return psnr(recovered_NCP, split.images.flatten(2))

    def _shuffled(self, split: Split, name: str) -> Tensor:
        one = self.settings.shuffle == "one"
        return shuffled_split(split, self.settings.seed, name, one_for_all=one)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        modules = [self.networks, *([] if self.averaged is None else [self.averaged])]
        for module in modules:
            module.eval()
        try:
            yield
        finally:
            for module in modules:
                module.train()

    @property
    def _discriminator(self) -> nn.Module | None:
        has_one = "discriminator" in self.networks
        return self.networks["discriminator"] if has_one else None

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"


def _check_images(
    settings: SortGANSettings, image_shape: tuple[int, int, int], num_images: int
) -> None:
    """Refuses what the networks cannot take."""
    if settings.generator == "nearest":
        return
    if num_images < 2:
        raise SettingError(
            f"there is {num_images} training image; allowed with batch norm: 2 or more"
        )
    _, height, width = image_shape
    if "conv" in (settings.generator, settings.discriminator) and (height != width or height % 4):
        raise SettingError(
            f"images are {height}x{width}; allowed with convolutions: squares, the side a multiple "
            "of 4"
        )
