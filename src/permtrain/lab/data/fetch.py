"""Is a data set on this machine, and if not, getting it. Imports cheaply."""

import os
import shlex
from pathlib import Path

from permtrain.errors import DataError
from permtrain.files import from_home, require_folder, written_whole
from permtrain.lab.data.cache import cache_path, default_cache_folder
from permtrain.lab.data.registry import DATASETS, TEXTS
from permtrain.lab.data.sources import PARQUET_FILES, Source, find_source, is_text, unknown_name


def require_data(name_or_path: str, data_folder: Path | None) -> None:
    """Refuses what is not on this machine yet, so that nobody finds out after hours of training.

    Raises:
        DataError: naming the command that fetches it, or the folder where it is expected.
    """
    if is_text(name_or_path):
        return
    command = fetch_command(name_or_path, data_folder)
    try:
        source = find_source(name_or_path, data_folder)
    except DataError as error:
        if command is None:
            raise
        raise DataError(f"{error}; or fetch it with: {command}") from None
    if source.kind == "hub" and not _decoded_file(source).is_file():
        raise DataError(f"{name_or_path} is not on this machine; fetch it with: {command}")


def fetch_command(name: str, data_folder: Path | None) -> str | None:
    """What fetches a data set in this shell; None where nothing does.

    Example:
        >>> fetch_command("mnist", Path("my data"))
        "permtrain fetch mnist --data-folder 'my data'"
        >>> fetch_command("cifar10-jpeg", None)
    """
    entry = DATASETS.get(name)
    if entry is None or entry.hub_id is None or entry.streamed:
        return None
    folder = "" if data_folder is None else f" --data-folder {shlex.quote(str(data_folder))}"
    return f"permtrain fetch {name}{folder}"


def fetch(name: str, data_folder: Path | None = None) -> str:
    """Fetches a registered data set from the Hugging Face hub, unless it is there.

    Args:
        name: as `permtrain list` has it.
        data_folder: gets its folder with train.parquet and test.parquet. None takes the environment
            variable PERMTRAIN_DATA; where there is none either, the images are decoded into the
            cache, where `load_images` finds them.

    Returns:
        What was done, in a line.

    Raises:
        DataError: there is no such data set, it is not on the hub, or the hub does not answer.
        OSError: the data folder is none.
    """
    if name in TEXTS:
        return f"{name} comes with Python: nothing to fetch"
    entry = DATASETS.get(name)
    if entry is None:
        raise DataError(unknown_name(name))
    if entry.folder is None:
        return f"{name} comes with scikit-learn: nothing to fetch"
    if entry.streamed:
        return f"{name} is too large to be kept: runs stream it from the hub, or from a folder"
    if data_folder is None and (from_environment := os.environ.get("PERMTRAIN_DATA")):
        data_folder = Path(from_environment)
    if data_folder is not None:
        require_folder(from_home(data_folder))
        folder = from_home(data_folder) / entry.folder
        require_folder(folder)
        if all((folder / file).is_file() for file in PARQUET_FILES):
            return f"{name} is there already, in {folder}"
        if entry.hub_id is None:
            find_source(name, data_folder)  # says what is expected where
        assert entry.hub_id is not None
        _write_parquet_files(Source("hub", name, entry.hub_id, entry=entry), folder)
        return f"fetched {entry.hub_id} into {folder}"
    source = find_source(name, None)  # refuses what the hub does not have
    if _decoded_file(source).is_file():
        return f"{name} is there already, decoded in {default_cache_folder()}"
    from permtrain.lab.data.load import load_images  # imports torch

    data = load_images(name)
    images = len(data.train) + len(data.test)
    if not _decoded_file(source).is_file():
        raise DataError(
            f"{name} was fetched, and the cache folder {default_cache_folder()} cannot be written; "
            "set PERMTRAIN_CACHE to one that can, or give --data-folder"
        )
    return f"fetched {source.location}: {images:,} images, decoded in {default_cache_folder()}"


def _write_parquet_files(source: Source, folder: Path) -> None:
    from permtrain.lab.data.read import open_hub  # takes seconds to import

    both = open_hub(source)
    for file in PARQUET_FILES:
        split = file.removesuffix(".parquet")
        if split not in both:
            raise DataError(f"{source.location} has no split {split!r}; it has {', '.join(both)}")
        with written_whole(folder / file) as opened:
            both[split].to_parquet(opened)


def _decoded_file(source: Source) -> Path:
    return cache_path(default_cache_folder(), source.name, source.location)
