"""Un-shuffling: pixels are the parameter, and the index optimizer moves them to their places.

Source: "Index optimizer and sortGAN", semester thesis, ETH Zurich, 2021, appendix B.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from permtrain.errors import SettingError
from permtrain.lab.data.images import ImageData
from permtrain.lab.inputs.guides import Guides, NormalPrior, normal_prior, trained_guides
from permtrain.lab.inputs.losses import border_penalty, roughness
from permtrain.lab.inputs.nearest import NearestImages
from permtrain.lab.inputs.pixels import in_order
from permtrain.lab.inputs.quality import class_means, laid_out, psnr
from permtrain.lab.inputs.session import (
    InputSession,
    RecoveredImages,
    begun_splits,
    measured,
)
from permtrain.lab.inputs.settings import UnshuffleSettings
from permtrain.lab.inputs.splits import shuffled_split
from permtrain.lab.training.learning_rate import half_cosine, schedule
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import Place
from permtrain.optim.index import IndexOptimizer


class Unshuffle(InputSession):
    """One run in memory: images in groups, each image a weight vector of the index optimizer.

    Validation images come first, then test images; every image for itself, so that the groups
    matter for speed alone.

    Args:
        settings: what to compute.
        place: where.
        data: images already in memory; None loads them.

    Raises:
        DataError, SettingError: before anything is trained; as for colours, whose values would be
            moved apart.
    """

    def __init__(
        self, settings: UnshuffleSettings, place: Place, data: ImageData | None = None
    ) -> None:
        super().__init__(settings, place)
        self.settings = settings
        self.splits = begun_splits(settings, settings.images, self.device, place, data)
        num_classes = self.splits.data.num_classes
        _refuse_colours(self.splits.data)
        self.guides: Guides | None = None
        if settings.classifier_weight or settings.discriminator_weight:
            self.guides = trained_guides(
                self.splits,
                settings.seed,
                settings.num_classifiers,
                settings.guide_epochs,
                replace(place, tensorboard=False, logger=None),
            )
        self.means_KCP = class_means(self.splits.train, num_classes)
        self.prior: NormalPrior | None = None
        if settings.prior_weight:
            self.prior = normal_prior(self.splits.train, num_classes, settings.prior_variance)
        self.shuffled = {
            name: shuffled_split(split, settings.seed, name)
            for name, split in (("validation", self.splits.validation), ("test", self.splits.test))
        }
        self.means = self._prior_means()
        self.recovered: dict[str, list[Tensor]] = {"validation": [], "test": []}
        self._started: _Group | None = None

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Split and first image of every group."""
        return [
            (name, first)
            for name, pixels in self.shuffled.items()
            for first in range(0, len(pixels), self.settings.batch_size)
        ]

    @property
    def num_parts(self) -> int:
        return len(self.groups)

    @property
    def steps_per_part(self) -> int:
        return self.settings.steps

    def advance(self) -> Metrics | None:
        """Move the pixels of a group once; after the last step, lay its images out."""
        begun = time.perf_counter()
        group = self._started or self._new_group()
        self._started = group
        counted_from = round(self.settings.steps * (1 - self.settings.averaged_part))
        group.move(self.energy, is_counted=group.step >= counted_from)
        self.step_in_part = group.step
        self.seconds += time.perf_counter() - begun
        return self._end_of_group(group) if group.step == self.settings.steps else None

    def _end_of_group(self, group: "_Group") -> Metrics:
        name, first = self.groups[self.part]
        chosen = slice(first, first + self.settings.batch_size)
        recovered_NCP = laid_out(self.shuffled[name][chosen], group.order())
        self.recovered[name].append(recovered_NCP)
        split = self.splits.validation if name == "validation" else self.splits.test
        in_the_end_N = self.energy(recovered_NCP.float() / 255, group.labels, group.means)
        self._started = None
        wall_s = self.end_part()
        return {
            "part": self.part,
            "split": name,
            "energy": float(in_the_end_N.mean()),
            "psnr": psnr(recovered_NCP, split.images[chosen].flatten(2)),
            "wall_s": wall_s,
        }

    def energy(self, pixels_NCP: Tensor, labels_N: Tensor, means_NCP: Tensor) -> Tensor:
        """What each image's pixels are to make small; one number an image.

        Args:
            pixels_NCP: in [0, 1].
            labels_N: their labels.
            means_NCP: of the prior, for each image.

        Shapes: (N, C, P), (N,), (N, C, P) -> (N,).
        """
        settings = self.settings
        images = pixels_NCP.unflatten(2, self.splits.side_shape)
        total: Tensor = images.new_zeros(len(images))
        if self.guides is not None:
            total = total + self._guided(images, labels_N, self.guides)
        if settings.border_weight:
            total = total + settings.border_weight * border_penalty(images)
        if settings.roughness_weight:
            total = total + settings.roughness_weight * roughness(images)
        if self.prior is not None:
            total = total + settings.prior_weight * self.prior.energy(
                pixels_NCP, labels_N, means_NCP
            )
        return total

    def _guided(self, images: Tensor, labels_N: Tensor, guides: Guides) -> Tensor:
        total: Tensor = images.new_zeros(len(images))
        if self.settings.classifier_weight:
            normal = _normalised(images, guides.scale)
            for classifier in guides.classifiers:
                loss = F.cross_entropy(classifier(normal), labels_N, reduction="none")
                total = total + self.settings.classifier_weight * loss
        if self.settings.discriminator_weight:
            logits = guides.discriminator(_normalised(images, guides.discriminator_scale))
            is_real = torch.ones_like(labels_N)
            loss = F.cross_entropy(logits, is_real, reduction="none")
            total = total + self.settings.discriminator_weight * loss
        return total

    def measure(self) -> RecoveredImages:
        recovered = {name: torch.cat(parts) for name, parts in self.recovered.items()}
        return measured(
            self.splits,
            recovered["validation"],
            self.shuffled["test"],
            recovered["test"],
            self.settings.judge,
            "order",
            self.place,
        )

    def work_state(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "seconds": self.seconds,
            "recovered": {name: list(parts) for name, parts in self.recovered.items()},
            "group": None if self._started is None else self._started.state_dict(),
        }

    def load_work_state(self, state: dict[str, Any]) -> None:
        self.part, self.seconds = state["part"], state["seconds"]
        self.recovered = {
            name: [part.to(self.device) for part in parts]
            for name, parts in state["recovered"].items()
        }
        self._started, self.step_in_part = None, 0
        if state["group"] is not None:
            self._started = self._new_group()
            self._started.load_state_dict(state["group"])
            self.step_in_part = self._started.step

    def _prior_means(self) -> dict[str, Tensor]:
        """The prior's mean for each image that is measured."""
        splits = {"validation": self.splits.validation, "test": self.splits.test}
        if self.settings.prior_mean == "label":
            return {name: self.means_KCP[split.labels] for name, split in splits.items()}
        nearest = NearestImages(self.splits.train, self.settings.neighbours)
        return {
            name: nearest.mean_of(in_order(self.shuffled[name].float() / 255), split.labels)
            for name, split in splits.items()
        }

    def _new_group(self) -> "_Group":
        name, first = self.groups[self.part]
        chosen = slice(first, first + self.settings.batch_size)
        split = self.splits.validation if name == "validation" else self.splits.test
        pixels_NCP, labels_N = self.shuffled[name][chosen], split.labels[chosen]
        if self.settings.start == "class-mean":
            pixels_NCP = laid_out(pixels_NCP, self.means_KCP[labels_N])
        means_NCP = self.means[name][chosen]
        return _Group(pixels_NCP.float() / 255, labels_N, means_NCP, self.settings)


class _Group:
    """Images that are moved together, each a weight vector, by Adam and the index optimizer."""

    def __init__(
        self, pixels_NCP: Tensor, labels_N: Tensor, means_NCP: Tensor, settings: UnshuffleSettings
    ) -> None:
        self.labels = labels_N
        self.means = means_NCP
        self.shape = pixels_NCP.shape
        self.parameter = torch.nn.Parameter(pixels_NCP.flatten(1).clone())
        self.adam = torch.optim.Adam([self.parameter], lr=settings.lr)
        self.index = IndexOptimizer(self.adam, model=None, granularity="neuron")
        self.settings = settings
        self.step = 0
        self._schedule = self._scheduled()
        self.sums = torch.zeros_like(self.parameter, requires_grad=False)
        self.num_counted = 0

    def move(self, energy: Callable[[Tensor, Tensor, Tensor], Tensor], *, is_counted: bool) -> None:
        """One step; if it is counted, what is then shown adds to the mean."""
        self.adam.zero_grad()
        energy(self.parameter.view(self.shape), self.labels, self.means).sum().backward()
        self.adam.step()
        self._schedule.step()
        self.step += 1
        if is_counted:
            self.sums += self.parameter.detach()
            self.num_counted += 1

    def order(self) -> Tensor:
        """What the pixels are laid out like: the mean of what was shown, or the latent weights."""
        (tensor,) = self.index.tensors
        order = self.sums / self.num_counted if self.num_counted else tensor.scores.detach()
        return order.view(self.shape)

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "parameter": self.parameter.detach(),
            "sums": self.sums,
            "num_counted": self.num_counted,
            "adam": self.adam.state_dict(),
            "index": self.index.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.num_counted = state["step"], state["num_counted"]
        self.sums.copy_(state["sums"])
        with torch.no_grad():
            self.parameter.copy_(state["parameter"])
        self.adam.load_state_dict(state["adam"])
        self.index.load_state_dict(state["index"])
        self._schedule = self._scheduled()

    def _scheduled(self) -> LambdaLR:
        """The learning rate's schedule from here on."""
        num_steps = self.settings.steps

        def factor(step: int) -> float:
            return half_cosine(step / num_steps) if self.settings.lr_cosine else 1.0

        return schedule(self.adam, self.settings.lr, factor, self.step)


def _refuse_colours(data: ImageData) -> None:
    num_channels = data.image_shape[0]
    if num_channels != 1:
        raise SettingError(
            f"images have {num_channels} channels; allowed in an un-shuffling: 1, for a weight "
            "vector's values change places one by one, and a colour's belong together"
        )


def _normalised(images: Tensor, scale: Any) -> Tensor:
    """`Scale` for pixels that a gradient passes through."""
    mean = images.new_tensor(scale.mean).reshape(-1, 1, 1)
    std = images.new_tensor([value or 1.0 for value in scale.std]).reshape(-1, 1, 1)
    normal: Tensor = (images - mean) / std
    return normal.contiguous(memory_format=scale.memory_format)
