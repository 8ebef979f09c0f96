"""A name or a path to images in memory."""

from pathlib import Path

from permtrain.data.cache import (
    cache_path,
    default_cache_folder,
    files_key,
    read_cache,
    text_key,
    write_cache,
)
from permtrain.data.digits import read_digits
from permtrain.data.images import ImageData, Split
from permtrain.data.sources import Source, find_source
from permtrain.errors import DataError

__all__ = ["ImageData", "Split", "load_images"]


def load_images(
    name_or_path: str | Path,
    *,
    data_folder: Path | None = None,
    cache_folder: Path | None = None,
) -> ImageData:
    """Load a data set whole, as uint8 tensors on the CPU.

    What is read:

    - `digits`: bundled with scikit-learn; `read_digits` says how it is split.
    - another registered name (`registry.DATASETS`), with a data folder: train.parquet and
      test.parquet in the data set's folder inside it.
    - another registered name, without one: the Hugging Face hub.
    - a path, that is an existing folder or anything with a separator: the user's own data, either
      train.parquet and test.parquet, or train/ and test/ with one folder of images for each class.
      Where both are there, the Parquet files are read.

    Parquet files have one column of images (the `Image` feature, or a struct of bytes and path) and
    one of labels (a `ClassLabel`, or an integer column named label, numbered from 0 without gaps).
    Rows keep their order; image files, which lie sorted by class, are put in a fixed random order,
    so that the first images of a split are of all classes. Decoded images are kept in the cache
    folder; they are decoded again when a file's path, size or time of change differs, or when the
    hub has another revision. (A Parquet row without bytes points to an image file elsewhere; that
    file is read, but a change of it alone goes unnoticed.)

    Args:
        name_or_path: a registered name goes before a folder of that name; write ./mnist for that.
        data_folder: None takes the environment variable PERMTRAIN_DATA.
        cache_folder: None takes PERMTRAIN_CACHE, else the user's cache folder.

    Shapes: images (N, C, H, W) uint8, C being 1 for grey and 3 for RGB; labels (N,) int64.
    Raises: DataError, one line, if something is missing, damaged, empty or inconsistent.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = load_images("digits", cache_folder=Path(folder))
        >>> data.train.images.shape
        torch.Size([1437, 1, 8, 8])
    """
    try:
        source = find_source(str(name_or_path), data_folder)
        key = text_key(source.location) if source.kind == "digits" else files_key(source.files)
    except OSError as error:
        raise DataError(f"{name_or_path} cannot be read ({error})") from error
    folder = default_cache_folder() if cache_folder is None else cache_folder.expanduser()
    path = cache_path(folder, source.name, source.location)
    if source.kind == "hub":
        return _load_hub(source, path)
    data = read_cache(path, key, source.name, source.location)
    if data is None:
        data = _read_local(source)
        write_cache(path, key, data)
    return data


def _read_local(source: Source) -> ImageData:
    if source.kind == "digits":
        return read_digits(source.name)
    from permtrain.data import read  # takes seconds to import

    data = read.read_parquet(source) if source.kind == "parquet" else read.read_folder(source)
    if source.entry is not None:
        read.check_entry(data, source.entry)
    return data


def _load_hub(source: Source, path: Path) -> ImageData:
    from permtrain.data import read  # takes seconds to import

    both = read.open_hub(source)
    key = text_key(read.hub_facts(source, both))
    data = read_cache(path, key, source.name, source.location)
    if data is None:
        data = read.read_hub(source, both)
        assert source.entry is not None
        read.check_entry(data, source.entry)
        write_cache(path, key, data)
    return data
