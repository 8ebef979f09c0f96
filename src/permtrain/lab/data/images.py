"""What a loaded data set is: two splits of images and labels, and the names of the classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from permtrain.errors import DataError
from permtrain.lab.data.normalize import channel_statistics, mean_image
from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.data.order import batch_indices

_EVALUATED_AT_ONCE = 1000

# Pixels that are taken in one go for training: 4 MiB as float32.
_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, all on one device.

    Shapes: `images` (N, C, H, W) uint8; `labels` (N,) int64.

    Raises: DataError if a tensor has another dtype or number of axes, or the lengths differ.

    Example:
        >>> split = Split(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
        >>> len(split)
        5
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                "images must be uint8 of shape (N, C, H, W), "
                f"got {self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise DataError(
                "labels must be int64 of shape (N,), "
                f"got {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.labels.device

    def statistics(
        self, normalization: Normalization = "z-score"
    ) -> tuple[tuple[float, ...] | Tensor, tuple[float, ...]]:
        """What `normalize` subtracts and divides by, measured."""
        num_channels = self.images.shape[1]
        if normalization == "unit":
            return (0.0,) * num_channels, (1.0,) * num_channels
        if normalization == "mean-image":
            return mean_image(self.images), (1.0,) * num_channels
        return channel_statistics(self.images)

    def part(self, chosen: Tensor) -> "Split":
        """The images that are chosen, a bool for each."""
        chosen = chosen.to(self.device)
        return Split(self.images[chosen], self.labels[chosen])

    def limited(self, num_images: int) -> "Split":
        """The first images, in the same memory; the whole split if it has no more than that."""
        return Split(self.images[:num_images], self.labels[:num_images])

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All images and labels once, at most 1,000 at a time."""
        for start in range(0, len(self), _EVALUATED_AT_ONCE):
            some = slice(start, start + _EVALUATED_AT_ONCE)
            yield self.images[some], self.labels[some]

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """The batches of an epoch from a place on, several together where they are small.

        A small batch costs more in calls than in arithmetic.

        Args:
            batch_size: images a batch; the last may have fewer.
            seed, epoch: the order is a function of these two.
            first: batches that are left out at the beginning.

        Shapes: images (N, C, H, W), labels (N,), and the sizes of the batches that lie together in
            them, whose sum is N.
        """
        batches = batch_indices(len(self), batch_size, seed=seed, epoch=epoch)[first:]
        num_at_once = max(_VALUES_AT_ONCE // (batch_size * self.images[0].numel()), 1)
        for start in range(0, len(batches), num_at_once):
            some = batches[start : start + num_at_once]
            indices = torch.cat(list(some)).to(self.device)
            yield self.images[indices], self.labels[indices], [len(batch) for batch in some]

    def to(self, device: torch.device | str) -> "Split":
        """The same split on a device; itself where it is there already."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in memory.

    Fields:
        name: its registered name, or the name of the user's folder.
        train, test: the two splits; images of both have the same shape.
        class_names: one name for each label; labels are 0 to len(class_names) - 1.
        source: where it was read from: a folder, a hub id, or a package with its version.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
