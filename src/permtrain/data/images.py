"""What a loaded data set is: two splits of images and labels, and the names of the classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from permtrain.errors import DataError


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
