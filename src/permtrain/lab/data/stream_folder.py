"""Image files in ImageNet's usual layout, train/CLASS/*.JPEG and val/CLASS/*.JPEG, as a stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from permtrain.errors import DataError
from permtrain.lab.data.decode import EncodedImage
from permtrain.lab.data.order import permutation
from permtrain.lab.data.sources import STREAMED_FOLDERS, Source
from permtrain.lab.data.stream import Labelled, StreamedData, StreamedSplit


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Image files and their labels.

    Fields:
        files: in an order of their own.
        labels: one for each file.
    """

    files: Sequence[Path]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def in_order(self) -> Iterator[Labelled]:
        return self._at(range(len(self)))

    def shuffled(self, seed: int, epoch: int, first: int) -> Iterator[Labelled]:
        return self._at(permutation(len(self), seed, epoch)[first:])

    def part(self, chosen: Tensor) -> "FolderImages":
        return self._taken(np.flatnonzero(chosen.cpu().numpy()))

    def limited(self, num_images: int) -> "FolderImages":
        return FolderImages(self.files[:num_images], self.labels[:num_images])

    def mixed(self) -> "FolderImages":
        """In a random order that depends on their number only: files lie sorted by class."""
        return self._taken(permutation(len(self), 0, 0))

    def _taken(self, places: npt.NDArray[np.int64]) -> "FolderImages":
        return FolderImages([self.files[place] for place in places], self.labels[places])

    def _at(self, places: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Labelled]:
        for place in places:
            path = self.files[place]
            yield EncodedImage(str(path), path), int(self.labels[place])


def open_folder(source: Source, size: int) -> StreamedData:
    """The two splits; classes are the folders of train/ that hold images, in alphabetical order.

    Raises: DataError if an image does not lie in the folder of a class, a split has none, or val/
        has a class that train/ lacks.
    """
    train_folder, val_folder = (Path(source.location, name) for name in STREAMED_FOLDERS)
    extensions = Image.registered_extensions()
    images = [path for path in source.files if path.suffix.lower() in extensions]
    for path in images:
        if path.parent.parent not in (train_folder, val_folder):
            raise DataError(
                f"{path} does not lie directly in the folder of a class; "
                "expected one folder of images a class"
            )
    by_folder = {
        folder: [path for path in images if path.parent.parent == folder]
        for folder in (train_folder, val_folder)
    }
    for folder, files in by_folder.items():
        if not files:
            raise DataError(f"{folder} has no images; both splits need at least one")
    class_names = tuple(sorted({path.parent.name for path in by_folder[train_folder]}))
    label_of = {name: label for label, name in enumerate(class_names)}
    splits = []
    for files in by_folder.values():
        for path in files:
            if path.parent.name not in label_of:
                raise DataError(
                    f"{path.parent} is a class that {train_folder} lacks; "
                    f"allowed: its {len(class_names)} classes"
                )
        labels = np.array([label_of[path.parent.name] for path in files], dtype=np.int64)
        splits.append(StreamedSplit(FolderImages(files, labels).mixed(), size))
    return StreamedData(
        name=source.name,
        train=splits[0],
        test=splits[1],
        class_names=class_names,
        source=source.location,
    )
