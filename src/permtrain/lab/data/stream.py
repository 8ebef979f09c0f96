"""Images that are too many for memory: read and decoded as they are needed, in a fixed order.

What a split of them offers is what `images.Split` offers too: batches of an epoch, and all images
in order. Files are decoded on threads, ahead of the training; how many does not change the result.
Pillow is imported when the first image is.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from permtrain.errors import SettingError
from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.data.outline import NotInMemory
from permtrain.text import printable

if TYPE_CHECKING:
    from PIL import Image

    from permtrain.lab.data.decode import EncodedImage

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The usual numbers of ImageNet, of pixels scaled to [0, 1]."""

CPU = torch.device("cpu")
DEFAULT_SIZE = 224
_EVALUATED_AT_ONCE = 128

Labelled = tuple["EncodedImage", int]
Pixels = tuple[npt.NDArray[np.uint8], int, str | None]
"""Of an image, with its label, and its name where transparency was dropped."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Encoded(Protocol):
    """Where encoded images with labels come from, one after the other."""

    def __len__(self) -> int: ...

    def in_order(self) -> Iterator[Labelled]:
        """All, in their own order."""

    def shuffled(self, seed: int, epoch: int, first: int) -> Iterator[Labelled]:
        """All in the order of an epoch, but for the `first` ones."""

    def part(self, chosen: Tensor) -> "Encoded":
        """Those that are chosen, a bool for each."""

    def limited(self, num_images: int) -> "Encoded":
        """The first ones; all where there are no more."""

    def facts(self) -> Iterator[str]:
        """What tells these images from others without reading all of them, in any order."""


class Notice:
    """Says once that transparency is dropped, of the first image that has some."""

    def __init__(self) -> None:
        self.is_due = True

    def of(self, names: Iterable[str | None]) -> None:
        """What was dropped in these images; None for those without."""
        if self.is_due and (first := next(filter(None, names), None)):
            self.is_due = False
            warnings.warn(
                f"{printable(first)} has transparency, which is dropped: what lies under it is "
                "seen; further images of its split may have some too",
                stacklevel=2,
            )


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images with labels that are not in memory.

    Fields:
        encoded: where they come from.
        size: they are cut to squares of this side, in pixels.
        device: where batches are put.
        notice: of what is dropped; one for all parts of a split.
    """

    encoded: Encoded
    size: int
    device: torch.device = CPU
    notice: Notice = field(default_factory=Notice)

    def __len__(self) -> int:
        return len(self.encoded)

    def to(self, device: torch.device | str) -> "StreamedSplit":
        """The same split, its batches on a device."""
        return replace(self, device=torch.device(device))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.size, self.size

    def statistics(
        self, normalization: Normalization = "z-score"
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What `normalize` subtracts and divides by: those usual for ImageNet, not measured.

        Raises: SettingError for a mean image, which would need all images in memory.
        """
        if normalization == "mean-image":
            raise SettingError(
                f"normalization is {normalization!r}; allowed with streamed images: z-score, unit"
            )
        return ((0.0,) * 3, (1.0,) * 3) if normalization == "unit" else (MEAN, STD)

    def part(self, chosen: Tensor) -> "StreamedSplit":
        """The images that are chosen, a bool for each.

        Raises: SettingError where they come from a stream that has to be read from its beginning.
        """
        return replace(self, encoded=self.encoded.part(chosen))

    def limited(self, num_images: int) -> "StreamedSplit":
        """The first images; the whole split if it has no more than that."""
        return replace(self, encoded=self.encoded.limited(num_images))

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, the middle of each.

        Shapes: (N, 3, size, size) uint8 and (N,) int64, N at most 128.
        Raises: DataError for an image that cannot be decoded, by its name.
        """
        from permtrain.lab.data.crops import middle_square

        def middle(_: int, image: "Image.Image") -> npt.NDArray[np.uint8]:
            return middle_square(image, self.size)

        items = enumerate(self.encoded.in_order())
        yield from self._batches(middle, items, _EVALUATED_AT_ONCE)

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """The batches of an epoch from a place on, a random part of each image.

        Args:
            batch_size: images a batch; the last may have fewer.
            seed, epoch: order and crops are functions of these two.
            first: batches that are left out at the beginning.

        Shapes: images (N, 3, size, size) uint8, labels (N,) int64, and the sizes of the batches
            that lie together in them: one here.
        Raises: DataError for an image that cannot be decoded, by its name.
        """
        from permtrain.lab.data.crops import crop_draws, random_square

        start = first * batch_size

        def at_random(place: int, image: "Image.Image") -> npt.NDArray[np.uint8]:
            return random_square(image, self.size, crop_draws(seed, epoch, place))

        items = enumerate(self.encoded.shuffled(seed, epoch, start), start)
        for images, labels in self._batches(at_random, items, batch_size):
            yield images, labels, [len(labels)]

    def _batches(
        self,
        cut: Callable[[int, "Image.Image"], npt.NDArray[np.uint8]],
        items: Iterable[tuple[int, Labelled]],
        batch_size: int,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        from permtrain.lab.data.decode import decode_rgb

        def decoded(item: tuple[int, Labelled]) -> Pixels:
            place, (encoded, label) = item
            image, is_seen_through = decode_rgb(encoded, self.notice.is_due)
            return cut(place, image), label, encoded.where if is_seen_through else None

        ready = _on_threads(decoded, items, batch_size)
        while batch := list(islice(ready, batch_size)):
            pixels, labels, transparent = zip(*batch, strict=True)
            self.notice.of(transparent)
            yield (
                torch.from_numpy(np.stack(pixels)).to(self.device),
                torch.tensor(labels).to(self.device),
            )


@dataclass(frozen=True, eq=False)
class StreamedData(NotInMemory):
    """A data set that is not in memory; fields as those of `images.ImageData`."""

    name: str
    train: StreamedSplit
    test: StreamedSplit
    class_names: tuple[str, ...]
    source: str


def _on_threads(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """The results in the order of the items, so many of them computed ahead.

    From Python 3.14 on, `Executor.map(buffersize=ahead)` does this.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where whoever asked stops, or an image cannot be decoded
        pool.shutdown(cancel_futures=True)
