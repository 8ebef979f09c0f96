"""A name or a path to images in memory."""

from pathlib import Path

from permtrain.errors import DataError
from permtrain.files import from_home
from permtrain.lab.data.cache import (
    cache_path,
    default_cache_folder,
    files_key,
    read_cache,
    text_key,
    write_cache,
)
from permtrain.lab.data.digits import read_digits
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.sources import STREAMED_KINDS, Columns, Source, find_source
from permtrain.lab.data.stream import DEFAULT_SIZE, StreamedData

__all__ = ["ImageData", "Split", "load_images", "open_stream"]


def load_images(
    name_or_path: str | Path,
    *,
    data_folder: Path | None = None,
    cache_folder: Path | None = None,
    image_size: int | None = None,
    columns: Columns = Columns(),
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
    one of labels (a `ClassLabel`, or a column named label: integers, numbered from 0 without gaps,
    or text, whose classes are the different values in alphabetical order). Where there are several
    columns, or they are called otherwise, `columns` names them; images may then be bytes alone.
    Rows keep their order; image files, which lie sorted by class, are put in a fixed random order,
    so that the first images of a split are of all classes. Decoded images are kept in the cache
    folder; they are decoded again when a file's path, size or time of change differs, or when the
    hub has another revision. (A Parquet row without bytes names an image file, which has to lie
    below the folder; a change of it alone goes unnoticed.)

    Args:
        name_or_path: a registered name goes before a folder of that name; write ./mnist for that.
        data_folder: None takes the environment variable PERMTRAIN_DATA.
        cache_folder: None takes PERMTRAIN_CACHE, else the user's cache folder.
        image_size: side of the squares that images of any sizes are cut to, once, RGB, as a stream
            cuts them in evaluation; None wants images of one size, grey or RGB.
        columns: of Parquet files.

    Shapes: images (N, C, H, W) uint8, C being 1 for grey and 3 for RGB; labels (N,) int64.
    Raises: DataError, one line, if something is missing, damaged, empty or inconsistent, or data of
        a registered name have another shape or other numbers of images or classes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = load_images("digits", cache_folder=Path(folder))
        >>> data.train.images.shape
        torch.Size([1437, 1, 8, 8])
    """
    try:
        source = find_source(str(name_or_path), data_folder).read_as(columns, image_size)
        key = text_key(source.location) if source.kind == "digits" else files_key(source.files)
    except OSError as error:
        raise DataError(f"{name_or_path} cannot be read ({error})") from error
    key = _read_as(key, source)
    if source.kind in STREAMED_KINDS:
        raise DataError(f"{name_or_path} is streamed, and cannot be loaded whole")
    folder = default_cache_folder() if cache_folder is None else from_home(cache_folder)
    path = cache_path(folder, source.name, source.location)
    if source.kind == "hub":
        return _load_hub(source, path)
    kept = read_cache(path, key, source.name, source.location)
    data = kept or _read_local(source)
    _check_entry(data, source)
    if kept is None:
        write_cache(path, key, data)
    return data


def open_stream(
    name_or_path: str | Path,
    *,
    data_folder: Path | None = None,
    image_size: int | None = None,
    columns: Columns = Columns(),
) -> StreamedData:
    """Open a data set that is too large for memory; its images are decoded as they are asked for.

    What is read:

    - `imagenet`, with a data folder: imagenet/ inside it, in one of the forms below.
    - `imagenet`, without one: the Hugging Face hub, streamed; it asks to log in.
    - a path: train/ and val/ with one folder of images for each class, ImageNet's usual layout; or
      train-*.parquet and validation-*.parquet, in data/ or beside it, as the hub has them. Labels
      are as in `load_images`; on the hub, a `ClassLabel`.

    The images of folders are shuffled whole, those of Parquet files and of the hub by files and
    within a buffer of 10,000. Both orders are functions of seed and epoch.

    Args:
        name_or_path: as for `load_images`.
        data_folder: None takes the environment variable PERMTRAIN_DATA.
        image_size: side of the squares that images are cut to; None for 224.
        columns: of Parquet files.

    Raises: DataError, one line, if something is missing, empty or inconsistent; later, from the
        splits, for an image that cannot be decoded.
    """
    size = image_size or DEFAULT_SIZE
    try:
        source = find_source(str(name_or_path), data_folder).read_as(columns, image_size)
    except OSError as error:
        raise DataError(f"{name_or_path} cannot be read ({error})") from error
    if source.kind == "streamed folder":
        from permtrain.lab.data import folders  # imports Pillow

        data = folders.open_folder(source, size)
    else:
        from permtrain.lab.data import stream_shards  # takes seconds to import

        data = stream_shards.open_shards(source, size)
    _check_entry(data, source)
    return data


def _check_entry(data: ImageData | StreamedData, source: Source) -> None:
    """Refuse data that is not what its registered name promises: results would bear that name.

    Raises: DataError if the shape of the images, the number of classes or of images differs.
    """
    entry = source.entry
    if entry is None:
        return
    is_whole = isinstance(data, ImageData) and source.image_size is None
    shape = entry.image_shape if is_whole else data.image_shape
    if (data.image_shape, data.num_classes) != (shape, entry.num_classes):
        of_shape = f"of shape {data.image_shape} " if is_whole else ""
        expected = f"{shape} in {entry.num_classes}" if of_shape else entry.num_classes
        raise DataError(
            f"{data.source} has images {of_shape}in {data.num_classes} classes; "
            f"{entry.name} has {expected}"
        )
    found = len(data.train), len(data.test)
    if found != entry.num_images:
        raise DataError(
            "{} has {:,} training and {:,} test images; {} has {:,} and {:,}; data of your own are "
            "named by the path of their folder".format(
                data.source, *found, entry.name, *entry.num_images
            )
        )


def _read_as(key: str, source: Source) -> str:
    """Other columns are other images, and so are squares of another size."""
    columns, size = source.columns, source.image_size
    if size is not None:
        key = text_key([key, size])
    return key if columns == Columns() else text_key([key, columns.image, columns.label])


def _read_local(source: Source) -> ImageData:
    if source.kind == "digits":
        return read_digits(source.name)
    if source.kind == "folder":
        from permtrain.lab.data import folders  # imports Pillow

        return folders.read_folder(source)
    from permtrain.lab.data import read  # takes seconds to import

    return read.read_parquet(source)


def _load_hub(source: Source, path: Path) -> ImageData:
    from permtrain.lab.data import read  # takes seconds to import

    both = read.open_hub(source)
    key = _read_as(text_key(read.hub_facts(source, both)), source)
    kept = read_cache(path, key, source.name, source.location)
    data = kept or read.read_hub(source, both)
    _check_entry(data, source)
    if kept is None:
        write_cache(path, key, data)
    return data
