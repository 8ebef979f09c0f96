"""A data set of which only the sizes are known: enough to build a network and check its weights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from permtrain.errors import DataError
from permtrain.lab.data.normalize_settings import Normalization

CPU = torch.device("cpu")


@dataclass(frozen=True)
class OutlinedSplit:
    """A split without its images; it offers what `images.Split` does.

    Example:
        >>> len(OutlinedSplit(5, (1, 2, 2)).limited(3))
        3
    """

    num_images: int
    image_shape: tuple[int, int, int]
    device: torch.device = CPU

    def __len__(self) -> int:
        return self.num_images

    def to(self, device: torch.device | str) -> "OutlinedSplit":
        """The same split."""
        return replace(self, device=torch.device(device))

    def statistics(
        self, normalization: Normalization = "z-score"
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Nothing to subtract, and nothing to divide by."""
        channels = self.image_shape[0]
        return (0.0,) * channels, (1.0,) * channels

    def part(self, chosen: Tensor) -> "OutlinedSplit":
        """As many as are chosen."""
        return replace(self, num_images=int(chosen.sum()))

    def limited(self, num_images: int) -> "OutlinedSplit":
        """At most so many."""
        return replace(self, num_images=min(num_images, self.num_images))

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Refuses: there are none."""
        self._refuse()

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Refuses: there are none."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError("the images were not loaded, only their number and shape are known")


class NotInMemory:
    """What a data set tells of images that are not in memory."""

    train: Any
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        shape: tuple[int, int, int] = self.train.image_shape
        return shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


@dataclass(frozen=True)
class OutlinedData(NotInMemory):
    """A data set without its images; fields as those of `images.ImageData`."""

    train: OutlinedSplit
    test: OutlinedSplit
    class_names: tuple[str, ...]
    source: str


def outlined(
    source: str,
    image_shape: tuple[int, int, int],
    num_images: tuple[int, int],
    class_names: tuple[str, ...],
) -> OutlinedData:
    """A data set of so many training and test images."""
    train, test = (OutlinedSplit(number, image_shape) for number in num_images)
    return OutlinedData(train, test, class_names, source)
