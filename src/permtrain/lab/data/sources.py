"""A name or a path to the place where the images lie. Nothing is opened here."""

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from permtrain.errors import DataError
from permtrain.files import from_home, resolved
from permtrain.lab.data.digits import digits_source
from permtrain.lab.data.registry import DATASETS, TEXTS, DatasetEntry

PARQUET_FILES = ("train.parquet", "test.parquet")
"""The files of a data set in Parquet form."""

IMAGE_FOLDERS = ("train", "test")
"""The folders of a data set of image files; in each, one folder for each class."""

STREAMED_FOLDERS = ("train", "val")
"""The same for a data set that is streamed: ImageNet's usual layout."""

STREAMED_SHARDS = ("train-*.parquet", "validation-*.parquet")
"""The files of a streamed data set in Parquet form, as the hub has them, in data/ or beside it."""

STREAMED_KINDS = ("streamed folder", "streamed shards", "streamed hub")

_EXPECTED = "train.parquet and test.parquet, or train/ and test/ with one folder of images a class"
_STREAMED = (
    "train/ and val/ with one folder of images a class, or train-*.parquet and "
    "validation-*.parquet, in data/ or beside it"
)


@dataclass(frozen=True)
class Columns:
    """Which columns of Parquet files hold images and labels; None where they tell it themselves."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a data set is to be read from.

    Fields:
        kind: "digits" (bundled), "parquet" or "folder" (local files), or "hub"; or one of
            `STREAMED_KINDS`, which is read as it is needed.
        name: the registered name, or that of the user's folder.
        location: the folder, the hub id, or the package of the digits.
        files: every local file that is read, in a fixed order.
        entry: what is registered under the name; None for the user's own data.
        columns: those of Parquet files that the user named.
        image_size: side of the squares that images are cut to; None leaves those in memory whole.
    """

    kind: Literal[
        "digits",
        "parquet",
        "folder",
        "hub",
        "streamed folder",
        "streamed shards",
        "streamed hub",
    ]
    name: str
    location: str
    files: tuple[Path, ...] = ()
    entry: DatasetEntry | None = None
    columns: Columns = Columns()
    image_size: int | None = None

    def read_as(self, columns: Columns, image_size: int | None) -> "Source":
        """The same, read from these columns, in squares of this size.

        Raises:
            DataError: there are no columns here, or no image files.
        """
        if image_size is not None and self.kind == "digits":
            raise DataError(
                f"image_size is {image_size}; allowed with {self.name}, which are no image files: "
                "nothing"
            )
        for name, value in (("image_column", columns.image), ("label_column", columns.label)):
            if value is not None and self.kind not in ("parquet", "hub", *_STREAMED_TABLES):
                raise DataError(
                    f"{name} is {value!r}; allowed with {self.name}, which is no Parquet file: "
                    "nothing"
                )
        return replace(self, columns=columns, image_size=image_size)


_STREAMED_TABLES = ("streamed shards", "streamed hub")


def find_source(name_or_path: str, data_folder: Path | None) -> Source:
    """Decide where to read from; `load_images` states the rules.

    Raises: DataError if there is no such name, folder or file.
    """
    entry = DATASETS.get(name_or_path)
    if entry is None:
        if _looks_like_path(name_or_path):
            return _own_data(from_home(name_or_path))
        hint = "; or give the path of a folder, or a text file, of your own"
        raise DataError(unknown_name(name_or_path) + hint)
    if entry.name == "digits":
        return Source("digits", entry.name, digits_source(), entry=entry)
    if data_folder is None and (from_environment := os.environ.get("PERMTRAIN_DATA")):
        data_folder = Path(from_environment)
    if data_folder is not None:
        return _registered_files(entry, from_home(data_folder))
    if entry.hub_id is None:
        raise DataError(
            f"{entry.name} is not on the Hugging Face hub: put {' and '.join(PARQUET_FILES)} into "
            f"a folder named {entry.folder} and give the folder that holds it, by --data-folder or "
            "PERMTRAIN_DATA"
        )
    kind: Literal["hub", "streamed hub"] = "streamed hub" if entry.streamed else "hub"
    return Source(kind, entry.name, entry.hub_id, entry=entry)


def is_streamed(name_or_path: str) -> bool:
    """Whether the images are too many for memory; False for what does not exist.

    A registered data set says so itself; a folder of the user's own does by its layout: ImageNet's,
    train/ and val/ without test/, or the hub's shards.

    Example:
        >>> is_streamed("imagenet"), is_streamed("mnist")
        (True, False)
    """
    if name_or_path in DATASETS:
        return DATASETS[name_or_path].streamed
    folder = from_home(name_or_path)
    return folder.is_dir() and _streamed_files(folder) is not None


def is_text(name_or_path: str) -> bool:
    """Whether data of this name are text, not images: a registered text, or the path of a file.

    Example:
        >>> is_text("text"), is_text("mnist"), is_text(__file__)
        (True, False, True)
    """
    if name_or_path in DATASETS:
        return False
    return name_or_path in TEXTS or from_home(name_or_path).is_file()


def _looks_like_path(text: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    return any(separator in text for separator in separators) or Path(text).is_dir()


def unknown_name(name: str) -> str:
    """What to say of a name that is not registered: the nearest one that is, and all of them."""
    close = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no data set named {name!r}{hint}; known: {', '.join(DATASETS)}"


def _registered_files(entry: DatasetEntry, data_folder: Path) -> Source:
    assert entry.folder is not None
    hint = "set --data-folder or PERMTRAIN_DATA to the folder that holds it"
    if entry.hub_id is not None:
        hint += f", or leave both unset to fetch {entry.hub_id} from the Hugging Face hub"
    if not data_folder.is_dir():
        raise DataError(f"{entry.name}: there is no data folder {data_folder}; {hint}")
    folder = data_folder / entry.folder
    if not folder.is_dir():
        held = sorted(path.name for path in data_folder.iterdir() if path.is_dir())
        holds = f"holds only {', '.join(held)}" if held else "is empty"
        raise DataError(
            f"{entry.name}: the data folder {data_folder} {holds}; "
            f"expected {entry.folder}/ with {_layout(entry)}; {hint}"
        )
    if entry.streamed:
        found = _streamed_source(entry.name, folder, entry)
        if found is None:
            raise DataError(f"{entry.name}: {folder} has no images; expected {_STREAMED}")
        return found
    files = tuple(folder / name for name in PARQUET_FILES)
    for path in files:
        if not path.is_file():
            raise DataError(
                f"{entry.name}: there is no file {path}; "
                f"expected {' and '.join(PARQUET_FILES)} in {folder}; {hint}"
            )
    return Source("parquet", entry.name, str(resolved(folder)), files, entry)


def _own_data(folder: Path) -> Source:
    if not folder.exists():
        raise DataError(
            f"there is no folder {folder}; expected one with {_EXPECTED}; or a text file"
        )
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds {_EXPECTED}")
    name, location = resolved(folder).name, str(resolved(folder))
    streamed = _streamed_source(name, resolved(folder))
    if streamed is not None:
        return streamed
    held = {path.name for path in folder.iterdir()}
    for parts, kind in ((PARQUET_FILES, "parquet"), (IMAGE_FOLDERS, "folder")):
        present = [part for part in parts if part in held]
        if not present:
            continue
        for part in parts:
            if part not in held:
                raise DataError(f"{folder} has {present[0]} but not {part}; expected {_EXPECTED}")
        if kind == "parquet":
            return Source("parquet", name, location, tuple(folder / part for part in parts))
        files = tuple(file for part in parts for file in _class_files(Path(location, part)))
        return Source("folder", name, location, files)
    raise DataError(
        f"{folder} is empty; expected {_EXPECTED}"
        if not held
        else f"{folder} has neither; expected {_EXPECTED}"
    )


def _layout(entry: DatasetEntry) -> str:
    return _STREAMED if entry.streamed else " and ".join(PARQUET_FILES)


def _streamed_files(folder: Path) -> tuple[Literal["folder", "shards"], tuple[Path, Path]] | None:
    """The two folders of images of a folder, or the two that hold its shards; None if neither."""
    train, val = (folder / name for name in STREAMED_FOLDERS)
    if train.is_dir() and val.is_dir() and not (folder / "test").exists():
        return "folder", (train, val)
    for place in (folder, folder / "data"):
        if all(any(place.glob(pattern)) for pattern in STREAMED_SHARDS):
            return "shards", (place, place)
    return None


def _streamed_source(name: str, folder: Path, entry: DatasetEntry | None = None) -> Source | None:
    folder = resolved(folder)  # files are compared with it; it may be a link
    found = _streamed_files(folder)
    if found is None:
        return None
    kind, places = found
    location = str(folder)
    if kind == "folder":
        files = tuple(file for place in places for file in _class_files(place))
        return Source("streamed folder", name, location, files, entry)
    shards = tuple(
        file
        for place, pattern in zip(places, STREAMED_SHARDS, strict=True)
        for file in sorted(place.glob(pattern))
    )
    return Source("streamed shards", name, location, shards, entry)


def _class_files(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted, without hidden ones; a class may be a link to a folder.

    Raises: DataError if there is none in a folder of a class, or a class holds a link to a folder:
        following it may never end.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a folder with one folder of images a class")
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = [Path(parent, name) for name in folders if Path(parent) != folder]
        if links := [path for path in inside if path.is_symlink()]:
            raise DataError(
                f"{links[0]} is a link to a folder; allowed in the folder of a class: images"
            )
        files += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    if all(path.parent == folder for path in files):
        raise DataError(
            f"{folder} has no images in folders of classes; expected one folder of images a class"
        )
    return files
