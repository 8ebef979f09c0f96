"""Parquet files and the Hugging Face hub to decoded images, through `datasets`.

Imported only when something has to be decoded: importing `datasets` takes seconds. It shows its
progress as its own settings say, which are the process's; the command line begins with it silent
(`cli.process`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import torch

from permtrain.errors import DataError
from permtrain.files import require_file, resolved
from permtrain.lab.data.decode import EncodedImage, PixelFormat, decode_images
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.sources import Source
from permtrain.text import alike, composed

_ROWS_AT_ONCE = 1000


def read_parquet(source: Source) -> ImageData:
    """Read train.parquet and test.parquet."""
    tables = []
    for path in source.files:
        try:
            require_file(path)
            tables.append(datasets.Dataset(pyarrow.parquet.read_table(path, partitioning=None)))
        except Exception as error:
            raise DataError(f"{path} cannot be read as a Parquet file ({reason(error)})") from error
    train, test = tables
    return _to_images(
        source, train, test, str(source.files[0]), str(source.files[1]), Path(source.location)
    )


def open_hub(source: Source) -> Any:
    """Fetch a data set from the Hugging Face hub, or find it where `datasets` keeps its copies.

    Without a network `datasets` tries again for about 20 seconds; HF_HUB_OFFLINE=1 avoids that.

    Raises: DataError if the hub does not answer and there is no copy.
    """
    entry = source.entry
    assert entry is not None
    try:
        return datasets.load_dataset(source.location)
    except Exception as error:
        raise DataError(
            f"{entry.name}: {source.location} cannot be fetched from the Hugging Face hub "
            f"({reason(error)}); without a network, put train.parquet and test.parquet into a "
            f"folder named {entry.folder} and give the folder that holds it, by --data-folder or "
            "PERMTRAIN_DATA"
        ) from error


def hub_facts(source: Source, both: Any) -> list[str]:
    """What tells one revision of a hub data set from another."""
    return [source.location, *(f"{name} {both[name]._fingerprint}" for name in sorted(both))]


def read_hub(source: Source, both: Any) -> ImageData:
    """Decode what `open_hub` gave."""
    for name in ("train", "test"):
        if name not in both:
            raise DataError(f"{source.location} has no split {name!r}; it has {', '.join(both)}")
    where = f"{source.location} (hub)"
    return _to_images(source, both["train"], both["test"], f"{where} train", f"{where} test")


def _no_rows(where: str) -> DataError:
    return DataError(f"{where} has no images; both splits need at least one")


def _to_images(
    source: Source,
    train: Any,
    test: Any,
    train_where: str,
    test_where: str,
    folder: Path | None = None,
) -> ImageData:
    """Both splits decoded; `folder` is where image files that rows only name have to lie."""
    for table, where in ((train, train_where), (test, test_where)):
        if len(table) == 0:
            raise _no_rows(where)
    columns = source.columns
    train_labels, train_names = read_labels(train, train_where, columns.label)
    test_labels, test_names = read_labels(test, test_where, columns.label, train_names)
    if train_names != test_names:
        raise DataError(
            f"{test_where} names its classes {_listed(test_names)}, "
            f"but {train_where} names them {_listed(train_names)}"
        )
    train_names = train_names or names_of_numbers(train_labels, train_where)
    for labels, where in ((train_labels, train_where), (test_labels, test_where)):
        check_labels(labels, len(train_names), where)
    train_images, form = _read_images(train, train_where, source, None, folder)
    test_images, _ = _read_images(test, test_where, source, form, folder)
    return ImageData(
        name=source.name,
        train=Split(torch.from_numpy(train_images), torch.from_numpy(train_labels)),
        test=Split(torch.from_numpy(test_images), torch.from_numpy(test_labels)),
        class_names=train_names,
        source=source.location,
    )


def _read_images(
    table: Any, where: str, source: Source, form: PixelFormat | None, folder: Path | None
) -> tuple[npt.NDArray[np.uint8], PixelFormat]:
    column = image_column(table, where, source.columns.image)
    if isinstance(table.features[column], datasets.Image):
        table = table.cast_column(column, datasets.Image(decode=False))
    encoded = _encoded_images(table, column, where, folder)
    return decode_images(encoded, len(table), form, source.image_size)


def _encoded_images(
    table: Any, column: str, where: str, folder: Path | None
) -> Iterator[EncodedImage]:
    row = 0
    batches = table.select_columns([column]).with_format("arrow").iter(batch_size=_ROWS_AT_ONCE)
    for batch in batches:
        for cell in batch.column(column).to_pylist():
            parts: dict[str, Any] = {"bytes": cell} if isinstance(cell, bytes) else cell or {}
            content, path = parts.get("bytes"), parts.get("path")
            if content is not None:
                yield EncodedImage(f"{where} row {row}" + (f" ({path})" if path else ""), content)
            elif path:
                yield EncodedImage(path, _named_file(path, folder, f"{where} row {row}"))
            else:
                raise DataError(f"{where} row {row} has no image in its column {column!r}")
            row += 1


def _named_file(path: str, folder: Path | None, where: str) -> Path:
    """The file that a row names in place of its bytes: one below the data set's own folder.

    `datasets` keeps what the hub gave elsewhere; its own paths are taken as they are.
    """
    if folder is None:
        return Path(path)
    file = resolved(Path(folder, path))
    if not file.is_relative_to(resolved(folder)):
        raise DataError(f"{where} names {path}; allowed: an image below {folder}")
    return file


def image_column(table: Any, where: str, wanted: str | None = None) -> str:
    """The column of images: the one that is wanted, else the only one."""
    if wanted is not None:
        wanted = alike(wanted, table.features) or wanted
        feature = _feature(table, where, "image_column", wanted)
        is_bytes = isinstance(feature, datasets.Value) and feature.dtype in _BYTES
        if not _holds_images(feature) and not is_bytes:
            raise DataError(
                f"{where} has no images in its column {wanted!r}; allowed: an Image column, a "
                "struct of bytes and path, or bytes"
            )
        return wanted
    columns = [name for name, feature in table.features.items() if _holds_images(feature)]
    if len(columns) != 1:
        raise DataError(
            f"{where} has {len(columns)} image columns among {', '.join(table.features)}; "
            "expected one Image column, or one struct of bytes and path (--image-column names one "
            "of several)"
        )
    return str(columns[0])


_BYTES = ("binary", "large_binary")
_TEXT = ("string", "large_string")


def _feature(table: Any, where: str, setting: str, wanted: str) -> Any:
    if wanted not in table.features:
        raise DataError(
            f"{setting} is {wanted!r}; allowed with {where}: {', '.join(table.features)}"
        )
    return table.features[wanted]


def _holds_images(feature: Any) -> bool:
    if isinstance(feature, datasets.Image):
        return True
    return isinstance(feature, dict) and set(feature) == {"bytes", "path"}


def read_labels(
    table: Any, where: str, wanted: str | None, known: tuple[str, ...] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...] | None]:
    """The labels, and the names of the classes where the column has them.

    Args:
        known: the classes of the training images, which those of text have to be among.
    """
    column = label_column(table, where, wanted)
    cells = table.data.column(column)
    if cells.null_count:
        raise DataError(f"{where} has {cells.null_count} rows without a label in {column!r}")
    feature = table.features[column]
    if is_text(feature):
        return _numbered(
            list(map(composed, cells.to_pylist())), known, f"{where}, column {column!r},"
        )
    labels = cells.to_numpy().astype(np.int64)
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    return labels, None if names is None else tuple(map(composed, names))


def _numbered(
    words: list[str], known: tuple[str, ...] | None, where: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels of text as numbers, by the classes' alphabetical order.

    Example:
        >>> _numbered(["dog", "cat", "dog"], None, "train")
        (array([1, 0, 1]), ('cat', 'dog'))
    """
    names = tuple(sorted(set(words))) if known is None else known
    numbers = {name: number for number, name in enumerate(names)}
    if unknown := sorted(set(words) - set(names)):
        raise DataError(
            f"{where} has the label {unknown[0]!r}; allowed, as in training: {', '.join(names)}"
        )
    return np.array([numbers[word] for word in words], dtype=np.int64), names


def names_of_numbers(labels: npt.NDArray[np.int64], where: str) -> tuple[str, ...]:
    """Names of classes that training images have by number only.

    Example:
        >>> names_of_numbers(np.array([1, 0, 1]), "train")
        ('0', '1')
    """
    num_different = len(np.unique(labels))
    largest = int(labels.max())
    if labels.min() >= 0 and largest >= num_different:
        raise DataError(
            f"{where} has {num_different} different labels but the largest is {largest}; "
            "number the classes from 0 without gaps"
        )
    return tuple(str(label) for label in range(num_different))


def label_column(table: Any, where: str, wanted: str | None = None) -> str:
    """The column of labels: the one that is wanted, else the only one, or the one named label."""
    if wanted is not None:
        wanted = alike(wanted, table.features) or wanted
        feature = _feature(table, where, "label_column", wanted)
        if not (isinstance(feature, datasets.ClassLabel) or _is_label(feature)):
            raise DataError(
                f"{where} has no labels in its column {wanted!r}; allowed: a ClassLabel column, "
                "integers or text"
            )
        return wanted
    classes = [
        name for name, found in table.features.items() if isinstance(found, datasets.ClassLabel)
    ]
    if len(classes) == 1:
        return str(classes[0])
    label = table.features.get("label")
    if isinstance(label, datasets.ClassLabel) or _is_label(label):
        return "label"
    raise DataError(
        f"{where} has no label column among {', '.join(table.features)}; "
        "expected one ClassLabel column, or a column named label of integers or text "
        "(--label-column names another)"
    )


def _is_label(feature: Any) -> bool:
    is_integer = isinstance(feature, datasets.Value) and feature.dtype.lstrip("u").startswith("int")
    return is_integer or is_text(feature)


def is_text(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in _TEXT


def check_labels(labels: npt.NDArray[np.int64], num_classes: int, where: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{where} row {row} has the label {labels[row]}; allowed: 0 to {num_classes - 1}"
        )


def _listed(names: tuple[str, ...] | None) -> str:
    return "by number only" if names is None else ", ".join(names)


def reason(error: BaseException) -> str:
    """The first line of the error at the bottom of a chain, at most 160 characters of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:160]
