"""Parquet files in the hub's layout, and the hub itself, as a stream through `datasets`.

Imported only when such a stream is opened: importing `datasets` takes seconds. An epoch goes on in
its middle by reading past its beginning: `IterableDataset.state_dict` loses what the shuffle buffer
held, and `skip` after `shuffle` gives another order.
"""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
from torch import Tensor

from permtrain.errors import DataError, SettingError
from permtrain.files import require_file
from permtrain.lab.data.decode import EncodedImage
from permtrain.lab.data.read import (
    check_labels,
    image_column,
    is_text,
    label_column,
    names_of_numbers,
    read_labels,
    reason,
)
from permtrain.lab.data.sampled import facts_of
from permtrain.lab.data.sources import STREAMED_SHARDS, Source
from permtrain.lab.data.stream import Labelled, StreamedData, StreamedSplit
from permtrain.text import composed

BUFFER = 10_000
"""Images among which the next one is drawn; files are shuffled whole."""


@dataclass(frozen=True, eq=False)
class ShardImages:
    """Rows with an encoded image and a label, which are read from the beginning only.

    Fields:
        table: a `datasets.IterableDataset` that does not decode.
        num_images: its rows.
        where: how errors name it.
        image_column, label_column: their names.
        num_classes: labels are 0 to num_classes - 1.
        numbers: of labels that are text; None where they are numbers.
        files: local ones.
        hub_bytes: of the split, as the hub has it.
    """

    table: Any
    num_images: int
    where: str
    image_column: str
    label_column: str
    num_classes: int
    numbers: Mapping[str, int] | None = None
    files: tuple[Path, ...] = ()
    hub_bytes: int | None = None

    def __len__(self) -> int:
        return self.num_images

    def in_order(self) -> Iterator[Labelled]:
        return self._rows(self.table)

    def shuffled(self, seed: int, epoch: int, first: int) -> Iterator[Labelled]:
        mixed = self.table.shuffle(seed=seed, buffer_size=BUFFER)
        mixed.set_epoch(epoch)
        return islice(self._rows(mixed), first, None)

    def part(self, chosen: Tensor) -> "ShardImages":
        raise SettingError(
            f"validation_fraction is above 0, and {self.where} is read from its beginning only; "
            "allowed with it: 0"
        )

    def limited(self, num_images: int) -> "ShardImages":
        kept = min(num_images, self.num_images)
        return replace(self, table=self.table.take(kept), num_images=kept)

    def facts(self) -> Iterator[str]:
        """Their number; what `facts_of` tells of local files; the size that the hub tells."""
        yield f"{self.num_images} images {self.hub_bytes}"
        yield from facts_of({composed(path.name): path for path in self.files})

    def _rows(self, table: Any) -> Iterator[Labelled]:
        rows = iter(table)
        for number in range(self.num_images):
            try:
                row = next(rows)
            except StopIteration:
                raise DataError(
                    f"{self.where} ends after {number} of {self.num_images} images"
                ) from None
            except Exception as error:  # a damaged file, or a network that is gone
                raise DataError(f"{self.where} cannot be read ({reason(error)})") from error
            cell, label = row[self.image_column] or {}, row[self.label_column]
            name = f"{self.where} {cell.get('path') or f'row {number}'}"
            if cell.get("bytes") is None:
                raise DataError(f"{name} has no image in its column {self.image_column!r}")
            place = label
            if self.numbers is not None:
                place = None if label is None else self.numbers.get(composed(label))
            if place is None or not 0 <= place < self.num_classes:
                raise DataError(
                    f"{name} has the label {label}; allowed: 0 to {self.num_classes - 1}"
                )
            yield EncodedImage(name, cell["bytes"]), place


def open_shards(source: Source, size: int) -> StreamedData:
    """The splits train and validation, of local files or of the hub.

    Raises: DataError if they cannot be read, have no images, no names of classes, or other ones.
    """
    train, train_names = _opened(source, 0)
    test, test_names = _opened(source, 1, train_names)
    if train_names != test_names:
        extra = [name for name in test_names if name not in train_names]
        difference = f"the class {extra[0]!r}, which it lacks" if extra else "others in number"
        raise DataError(f"{test.where} has not the classes of {train.where}: {difference}")
    return StreamedData(
        name=source.name,
        train=StreamedSplit(train, size),
        test=StreamedSplit(test, size),
        class_names=train_names,
        source=source.location,
    )


def _opened(
    source: Source, place: int, known: tuple[str, ...] | None = None
) -> tuple[ShardImages, tuple[str, ...]]:
    """The images of a split, and the names of their classes; `known` are those of training."""
    pattern = STREAMED_SHARDS[place]
    split = pattern.partition("-")[0]
    where = f"{source.location} {split}"
    files: list[Path] = []
    hub_bytes = None
    try:
        if source.kind == "streamed hub":
            table = datasets.load_dataset(source.location, split=split, streaming=True)
            told = (table.info.splits or {})[split]
            num_images, hub_bytes = told.num_examples, told.num_bytes
        else:
            files = [path for path in source.files if fnmatchcase(path.name, pattern)]
            for path in files:
                require_file(path)
            num_images = sum(pyarrow.parquet.read_metadata(path).num_rows for path in files)
            table = datasets.load_dataset(
                "parquet",
                data_files={split: [glob.escape(str(path)) for path in files]},
                split=split,
                streaming=True,
            )
        wanted = source.columns
        columns = (
            image_column(table, where, wanted.image),
            label_column(table, where, wanted.label),
        )
        # Nothing else is decoded: a column of sounds could name files elsewhere.
        table = table.select_columns([*columns]).cast_column(
            columns[0], datasets.Image(decode=False)
        )
    except DataError:
        raise
    except Exception as error:
        hint = (
            "; log in (hf auth login) and agree to its terms, or give the folder that holds "
            "imagenet/, by --data-folder or PERMTRAIN_DATA"
            if source.kind == "streamed hub"
            else ""
        )
        raise DataError(f"{where} cannot be read ({reason(error)}){hint}") from error
    if not num_images:
        raise DataError(f"{where} has no images; both splits need at least one")
    label, numbers = table.features[columns[1]], None
    if isinstance(label, datasets.ClassLabel):
        names = tuple(map(composed, label.names))
    elif source.kind == "streamed hub":
        raise DataError(
            f"{where} has no names of classes in its column {columns[1]!r}; allowed on the hub: a "
            "ClassLabel column"
        )
    else:
        names = _names_in(files, columns[1], where, known)
        if is_text(label):
            numbers = {name: number for number, name in enumerate(names)}
    found = ShardImages(
        table, num_images, where, *columns, len(names), numbers, tuple(files), hub_bytes
    )
    return found, names


def _names_in(
    files: Sequence[Path], column: str, where: str, known: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The classes of local shards that do not name them: all labels are read, and checked."""
    read = partial(pyarrow.parquet.read_table, columns=[column], partitioning=None)
    try:
        table = datasets.Dataset(pyarrow.concat_tables(map(read, files)))
    except Exception as error:
        raise DataError(f"{where} cannot be read ({reason(error)})") from error
    labels, names = read_labels(table, where, column, known)
    names = names or known or names_of_numbers(labels, where)
    check_labels(labels, len(names), where)
    return names
