"""Image files in one folder for each class, decoded whole or as a stream.

`datasets` reads such folders too (`imagefolder`), and was tried: it takes classes from a
metadata.csv where there is one, drops all labels without a word where an image lies beside the
folders of classes, adds classes that test images alone have, and streams class after class. A
`Dataset` of paths takes as much memory as the lists here (0.4 GB for ImageNet's 1.3 million).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from permtrain.errors import DataError
from permtrain.lab.data.decode import FORMATS, EncodedImage, PixelFormat, decode_images
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.order import permutation
from permtrain.lab.data.sampled import facts_of
from permtrain.lab.data.sources import IMAGE_FOLDERS, STREAMED_FOLDERS, Source
from permtrain.lab.data.stream import Labelled, StreamedData, StreamedSplit
from permtrain.text import composed

_MOST_NAMES = 10


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

    def facts(self) -> Iterator[str]:
        """Label and name of each file, and what `facts_of` tells of them."""
        labelled = zip(self.files, self.labels.tolist(), strict=True)
        return facts_of({f"{label}/{composed(path.name)}": path for path, label in labelled})

    def mixed(self) -> "FolderImages":
        """In a random order that depends on their number only: files lie sorted by class."""
        return self._taken(permutation(len(self), 0, 0))

    def _taken(self, places: npt.NDArray[np.int64]) -> "FolderImages":
        return FolderImages([self.files[place] for place in places], self.labels[places])

    def _at(self, places: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Labelled]:
        for place in places:
            path = self.files[place]
            yield EncodedImage(str(path), path), int(self.labels[place])


def read_folder(source: Source) -> ImageData:
    """Decode train/ and test/ whole; errors as `labelled_files`, `decode_images`."""
    files = sorted(source.files, key=lambda path: composed(str(path)))
    train, test, class_names = labelled_files(files, source.location, IMAGE_FOLDERS)
    train_split, form = _decoded(train, None, source.image_size)
    test_split, _ = _decoded(test, form, source.image_size)
    return ImageData(source.name, train_split, test_split, class_names, source.location)


def open_folder(source: Source, size: int) -> StreamedData:
    """Open train/ and val/ as streams; errors as `labelled_files`."""
    files = sorted(source.files, key=lambda path: [composed(part) for part in path.parts])
    train, test, class_names = labelled_files(files, source.location, STREAMED_FOLDERS)
    return StreamedData(
        source.name,
        StreamedSplit(train, size),
        StreamedSplit(test, size),
        class_names,
        source.location,
    )


def labelled_files(
    files: Sequence[Path], location: str, folders: tuple[str, str]
) -> tuple[FolderImages, FolderImages, tuple[str, ...]]:
    """The images of both splits, mixed, and the names of the classes.

    Classes are the folders of the first split that hold images, in alphabetical order; their names
    are told and compared in one Unicode spelling. Files that do not end as one of `decode.FORMATS`
    are passed over.

    Args:
        files: all below the splits' folders.
        location: the folder that holds these.
        folders: their names, of training and of test images.

    Raises: DataError if an image does not lie in the folder of a class, a split has none, or the
        second split has a class that the first lacks.
    """
    readers = Image.registered_extensions()
    endings = {ending for ending, reader in readers.items() if reader in FORMATS}
    images: dict[Path, list[Path]] = {Path(location, folder): [] for folder in folders}
    for path in files:
        if path.suffix.lower() in endings:
            if path.parent.parent not in images:
                raise DataError(
                    f"{path} does not lie directly in the folder of a class; "
                    "expected one folder of images a class"
                )
            images[path.parent.parent].append(path)
    for folder, found in images.items():
        if not found:
            raise DataError(f"{folder} has no images; both splits need at least one")
    train, test = images.values()
    for found in images.values():
        _check_spelling({path.parent for path in found})
    names = sorted({composed(path.parent.name) for path in train})
    label_of = {name: label for label, name in enumerate(names)}
    for path in test:
        if composed(path.parent.name) not in label_of:
            few = len(names) <= _MOST_NAMES
            raise DataError(
                f"{path.parent} is a class that {Path(location, folders[0])} lacks; "
                f"allowed: {', '.join(names) if few else f'its {len(names)} classes'}"
            )
    first, second = (
        FolderImages(
            found, np.array([label_of[composed(path.parent.name)] for path in found])
        ).mixed()
        for found in (train, test)
    )
    return first, second, tuple(names)


def _check_spelling(classes: Iterable[Path]) -> None:
    """Refuse two folders of classes whose names look the same."""
    first: dict[str, Path] = {}
    for path in sorted(classes):
        other = first.setdefault(composed(path.name), path)
        if other != path:
            raise DataError(
                f"{path} ({path.name!a}) and {other.name!a} beside it are one name in two "
                "Unicode spellings; allowed: one folder a class"
            )


def _decoded(
    images: FolderImages, form: PixelFormat | None, size: int | None
) -> tuple[Split, PixelFormat]:
    encoded = (image for image, _ in images.in_order())
    pixels, form = decode_images(encoded, len(images), form, size)
    return Split(torch.from_numpy(pixels), torch.from_numpy(images.labels)), form
