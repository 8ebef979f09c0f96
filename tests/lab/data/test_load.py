import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from permtrain.errors import DataError
from permtrain.lab.data import load, read
from permtrain.lab.data.cache import default_cache_folder
from permtrain.lab.data.crops import middle_square
from permtrain.lab.data.decode import FORMATS
from permtrain.lab.data.load import load_images
from permtrain.lab.data.sources import Columns

MakeData = Callable[..., Path]


def picture(value: int, size: tuple[int, int] = (4, 3), mode: str = "L") -> Image.Image:
    """An image of (width, height) whose pixels count up from `value`."""
    width, height = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = (value + np.arange(height * width * channels)) % 256
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(pixels.astype(np.uint8).reshape(shape), mode if channels > 1 else None)


def write_parquet(
    path: Path,
    images: Sequence[Any],
    labels: Sequence[int | None],
    *,
    names: Sequence[str] | None = ("cat", "dog"),
    image_column: str = "image",
    label_column: str = "label",
) -> Path:
    """A split in the layout of the hub; `names=None` makes the labels plain integers."""
    label: Any = datasets.Value("int64") if names is None else datasets.ClassLabel(names=[*names])
    features = datasets.Features({image_column: datasets.Image(), label_column: label})
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {image_column: list(images), label_column: list(labels)}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
    return path


@pytest.fixture
def own_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of the user's own data; keywords replace parts of train.parquet."""

    def make(**train: Any) -> Path:
        folder = tmp_path / "own"
        settings: dict[str, Any] = {
            "images": [picture(i) for i in range(4)],
            "labels": [0, 1, 1, 0],
        }
        write_parquet(folder / "train.parquet", **{**settings, **train})
        test: dict[str, Any] = {"images": [picture(i) for i in (9, 8)], "labels": [1, 0]}
        kept = {key: train[key] for key in ("names",) if key in train}
        write_parquet(folder / "test.parquet", **test, **kept)
        return folder

    datasets.disable_progress_bars()
    return make


def beside_own(tmp_path: Path) -> Path:
    """The folder of `own_parquet`, for images that its rows only name."""
    folder = tmp_path / "own"
    folder.mkdir(exist_ok=True)
    return folder


def pixels(image: Any) -> torch.Tensor:
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def image_folders(folder: Path, mode: str = "L") -> Path:
    for split, num in (("train", 5), ("test", 2)):
        for c, name in enumerate(("zebra", "ant")):
            (folder / split / name).mkdir(parents=True)
            for i in range(num):
                picture(40 * c + i, mode=mode).save(folder / split / name / f"{i}.png")
    return folder


def no_decoding(*_: Any) -> Any:
    raise AssertionError("decoded again")


# What is read


def test_digits() -> None:
    data = load_images("digits")
    assert data.train.images.shape == (1437, 1, 8, 8)
    assert data.test.images.shape == (360, 1, 8, 8)
    assert data.image_shape == (1, 8, 8)
    assert data.num_classes == 10
    assert data.train.images.max() == 240
    assert (data.train.images % 15 == 0).all()
    assert data.train.labels[:6].tolist() == [6, 6, 6, 2, 5, 6]
    counts = torch.bincount(torch.cat((data.train.labels, data.test.labels)))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.source.startswith("scikit-learn ")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_own_parquet(own_parquet: MakeData, mode: str) -> None:
    images = [picture(i, mode=mode) for i in range(4)]
    folder = own_parquet(images=images, labels=[0, 1, 1, 0])
    if mode == "RGB":
        write_parquet(folder / "test.parquet", [picture(9, mode=mode)], [1])
    data = load_images(str(folder))
    assert torch.equal(data.train.images, torch.stack([pixels(image) for image in images]))
    assert data.train.labels.tolist() == [0, 1, 1, 0]
    assert data.class_names == ("cat", "dog")
    assert (data.name, data.source) == ("own", str(folder.resolve()))
    assert data.train.images.is_contiguous()


def test_integer_labels_and_plain_structs(tmp_path: Path) -> None:
    for split in ("train", "test"):
        path = tmp_path / f"{split}.png"
        picture(3).save(path)
        rows = {"img": [{"bytes": path.read_bytes(), "path": "a.png"}] * 2, "label": [0, 1]}
        pq.write_table(pa.table(rows), tmp_path / f"{split}.parquet")
    data = load_images(tmp_path)
    assert data.class_names == ("0", "1")
    assert torch.equal(data.test.images[1], pixels(picture(3)))


def test_a_folder_named_as_a_partition_adds_no_column(
    own_parquet: MakeData, tmp_path: Path
) -> None:
    folder = own_parquet().rename(tmp_path / "label=7")
    assert load_images(folder).train.labels.tolist() == [0, 1, 1, 0]


def test_image_folders(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "own [1]*", mode="RGB")
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / ".DS_Store").write_text("")
    data = load_images(folder)
    assert data.class_names == ("ant", "zebra")
    assert sorted(data.train.labels.tolist()) == [0] * 5 + [1] * 5
    assert data.train.labels.tolist() != [0] * 5 + [1] * 5
    assert len(data.test) == 4
    for image, label in zip(data.train.images, data.train.labels, strict=True):
        assert image[0, 0, 0] // 40 == 1 - label
        assert torch.equal(image, pixels(picture(int(image[0, 0, 0]), mode="RGB")))


@pytest.mark.parametrize("listed", [(0, 1), (1, 0)])
def test_a_file_of_metadata_does_not_replace_the_folders_names(
    listed: tuple[int, int], tmp_path: Path
) -> None:
    """`datasets` would take labels from it, and only the images it lists."""
    plain = load_images(image_folders(tmp_path / "plain"))
    folder = image_folders(tmp_path / "own")
    for split in ("train", "test"):
        labels = zip(("zebra", "ant"), listed, strict=True)
        lines = ["file_name,label", *(f"{name}/0.png,{label}" for name, label in labels)]
        (folder / split / "metadata.csv").write_text("\n".join(lines))
    data = load_images(folder)
    assert data.class_names == plain.class_names
    for found, expected in ((data.train, plain.train), (data.test, plain.test)):
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.images, expected.images)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_modes(own_parquet: MakeData, tmp_path: Path, mode: str, channels: int) -> None:
    image = picture(0, mode="RGB").convert("L" if mode == "LA" else "RGB").convert(mode)
    path = beside_own(tmp_path) / ("one.tif" if mode == "CMYK" else "one.png")
    image.save(path)
    folder = own_parquet(images=[str(path)], labels=[0])
    write_parquet(folder / "test.parquet", [str(path)], [1])
    data = load_images(folder)
    assert data.image_shape == (channels, 3, 4)
    expected = image.convert("L" if channels == 1 else "RGB")
    assert torch.equal(data.train.images[0], pixels(expected))


def test_orientation_of_a_camera_is_applied(own_parquet: MakeData, tmp_path: Path) -> None:
    image = picture(0, size=(16, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    path = beside_own(tmp_path) / "turned.jpg"
    image.save(path, exif=exif)
    folder = own_parquet(images=[str(path)], labels=[0])
    write_parquet(folder / "test.parquet", [str(path)], [1])
    assert load_images(folder).image_shape == (1, 16, 8)


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_registered_name_in_a_data_folder(
    small_mnist: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    names = [str(i) for i in range(10)]
    for split in ("train", "test"):
        images = [picture(i, size=(28, 28)) for i in range(3)]
        write_parquet(tmp_path / "mnist" / f"{split}.parquet", images, range(3), names=names)
    if by == "environment":
        monkeypatch.setenv("PERMTRAIN_DATA", str(tmp_path))
    data = load_images("mnist", data_folder=tmp_path if by == "argument" else None)
    assert data.image_shape == (1, 28, 28)
    assert data.name == "mnist"


def test_registered_name_from_the_hub(small_mnist: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(hub_id: str) -> Any:
        asked.append(hub_id)
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)}
        )
        columns = {"image": [picture(i, size=(28, 28)) for i in range(3)], "label": [3, 1, 2]}
        one = datasets.Dataset.from_dict(columns, features=features)
        return datasets.DatasetDict({"train": one, "test": one})

    monkeypatch.setattr(datasets, "load_dataset", fake)
    data = load_images("mnist")
    assert asked == ["ylecun/mnist"]
    assert data.train.labels.tolist() == [3, 1, 2]
    assert data.source == "ylecun/mnist"
    monkeypatch.setattr(read, "read_hub", no_decoding)
    assert torch.equal(load_images("mnist").train.images, data.train.images)


# The cache


def test_a_second_load_decodes_nothing(
    own_parquet: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_parquet()
    first = load_images(folder)
    monkeypatch.setattr(read, "read_parquet", no_decoding)
    second = load_images(folder)
    for one, other in ((first.train, second.train), (first.test, second.test)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert (first.name, first.class_names, first.source) == (
        second.name,
        second.class_names,
        second.source,
    )


def test_a_hit_does_not_import_datasets_nor_does_a_miss_fill_the_home(
    own_parquet: MakeData, tmp_path: Path
) -> None:
    folder, home = own_parquet(), tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from permtrain.lab.data.load import load_images; "
        f"load_images({str(folder)!r}); "
        "print('datasets' in sys.modules or 'PIL' in sys.modules)"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
    environment = {**kept, "HOME": str(home)}
    for imported in ("True", "False"):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (result.stdout.strip(), result.stderr) == (imported, "")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_file_is_read_again(own_parquet: MakeData, change: str) -> None:
    folder = own_parquet()
    load_images(folder)
    if change == "content":
        write_parquet(folder / "train.parquet", [picture(77)], [1])
        assert load_images(folder).train.images[0, 0, 0, 0] == 77
    else:
        os.utime(folder / "test.parquet", ns=(0, 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(read, "read_parquet", no_decoding)
            with pytest.raises(AssertionError, match="decoded again"):
                load_images(folder)
    load_images(folder)
    assert len(list(Path(os.environ["PERMTRAIN_CACHE"]).iterdir())) == 1


def test_a_changed_image_file_is_read_again(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "own")
    assert len(load_images(folder).train) == 10
    picture(5).save(folder / "train" / "ant" / "new.png")
    assert len(load_images(folder).train) == 11


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_lie_alike_in_memory_decoded_or_from_the_cache(tmp_path: Path, mode: str) -> None:
    """Else a convolution lays out what follows in another way, and dropout hits other places."""
    folder = image_folders(tmp_path / "data", mode)
    decoded, cached = (load_images(folder, cache_folder=tmp_path / "cache") for _ in range(2))
    _, channels, height, width = decoded.train.images.shape
    strides = (channels * height * width, height * width, width, 1)
    assert decoded.train.images.stride() == cached.train.images.stride() == strides


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_cache_is_rebuilt(own_parquet: MakeData, tmp_path: Path, damage: str) -> None:
    folder, cache = own_parquet(), tmp_path / "cache"
    first = load_images(folder, cache_folder=cache)
    (path,) = cache.iterdir()
    good = path.read_bytes()
    at = good.index(first.train.images.numpy().tobytes())
    path.write_bytes(
        {
            "cut": good[: len(good) // 2],
            "flip": good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :],
            "empty": b"",
            "other": b"not a zip file",
        }[damage]
    )
    assert torch.equal(load_images(folder, cache_folder=cache).train.images, first.train.images)
    assert path.read_bytes() == good
    assert list(cache.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_does_no_harm(own_parquet: MakeData, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert len(load_images(own_parquet(), cache_folder=blocked / "cache").train) == 4


def test_default_cache_folder(own_parquet: MakeData, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_parquet()
    shared = folder.parent / "shared"
    monkeypatch.delenv("PERMTRAIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    load_images(folder)
    (path,) = (shared / "permtrain").iterdir()
    assert path.name.startswith("own-")
    assert path.suffix == ".npz"


# Errors: one line, naming the thing and what is expected


def refused(message: str, name: str | Path, **keywords: Any) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_images(name, **keywords)
    assert "\n" not in str(caught.value)


def test_unknown_name() -> None:
    refused(r"no data set named 'svhn'; known: digits, mnist, .*; or give the path", "svhn")
    refused(r"'fashion-mnist' \(did you mean fashion_mnist\?\); known:", "fashion-mnist")
    refused(r"'MNIST' \(did you mean mnist\?\)", "MNIST")


def test_data_folder_without_the_set(tmp_path: Path) -> None:
    hint = "set --data-folder or PERMTRAIN_DATA"
    refused(f"no data folder {tmp_path}/none; {hint}", "mnist", data_folder=tmp_path / "none")
    refused(
        f"data folder {tmp_path} is empty; expected mnist/ with train.parquet and test.parquet",
        "mnist",
        data_folder=tmp_path,
    )
    (tmp_path / "other").mkdir()
    refused(f"{tmp_path} holds only other; .*{hint}", "cifar10-jpeg", data_folder=tmp_path)
    (tmp_path / "mnist").mkdir()
    refused(f"no file {tmp_path}/mnist/train.parquet; .*{hint}", "mnist", data_folder=tmp_path)


def test_local_only_without_a_data_folder() -> None:
    refused("cifar10-jpeg is not on the Hugging Face hub: .* by --data-folder or", "cifar10-jpeg")


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_: str) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand a second line")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    refused(
        r"mnist: ylecun/mnist cannot be fetched .* \(Couldn't reach the Hub\); without a network, "
        "put train.parquet and test.parquet into a folder named mnist .*--data-folder or PERM",
        "mnist",
    )


def test_own_path_without_data(tmp_path: Path, own_parquet: MakeData) -> None:
    refused("no folder /no/such/place; expected one with train.parquet", "/no/such/place")
    refused(f"{tmp_path} is empty; expected train.parquet", tmp_path)
    folder = own_parquet()
    refused("train.parquet is a file; give the folder that holds", folder / "train.parquet")
    refused(f"{tmp_path} has neither; expected train.parquet and test.parquet, or", tmp_path)
    (folder / "test.parquet").unlink()
    refused("own has train.parquet but not test.parquet", folder)


def test_image_folders_without_images(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "train").mkdir(parents=True)
    refused("own has train but not test", folder)
    (folder / "test").write_text("")
    (folder / "train" / "ant").mkdir()
    refused("train has no images in folders of classes", folder)
    picture(0).save(folder / "train" / "0.png")
    refused("train has no images in folders of classes", folder)
    picture(0).save(folder / "train" / "ant" / "0.png")
    refused("test is a file; expected a folder with one folder of images a class", folder)
    (folder / "test").unlink()


def test_damaged_parquet(own_parquet: MakeData) -> None:
    folder = own_parquet()
    path = folder / "test.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    refused(rf"{path} cannot be read as a Parquet file \(.+\)", folder)
    path.write_bytes(b"")
    refused(rf"{path} cannot be read as a Parquet file \(.+\)", folder)


def test_columns(own_parquet: MakeData, tmp_path: Path) -> None:
    folder = own_parquet(label_column="class", names=None)
    refused("train.parquet has no label column among image, class; expected one ClassLabel", folder)
    pq.write_table(pa.table({"label": [0, 1]}), folder / "train.parquet")
    write_parquet(folder / "test.parquet", [picture(0)], [0], names=None)
    refused("train.parquet has 0 image columns among label; expected one Image column", folder)


@pytest.mark.parametrize("kind", ["grey size", "channels", "test"])
def test_differing_images(own_parquet: MakeData, kind: str) -> None:
    if kind == "grey size":
        folder = own_parquet(
            images=[picture(0), picture(1), picture(2, size=(5, 3))], labels=[0] * 3
        )
        message = "train.parquet row 2 is 5x3 grey, but .*train.parquet row 0 is 4x3 grey; all"
    elif kind == "channels":
        folder = own_parquet(images=[picture(0), picture(1, mode="RGB")], labels=[0, 1])
        message = "train.parquet row 1 is 4x3 RGB, but .*train.parquet row 0 is 4x3 grey"
    else:
        folder = own_parquet(images=[picture(0, size=(6, 6))], labels=[0])
        message = "test.parquet row 0 is 4x3 grey, but .*train.parquet row 0 is 6x6 grey"
    refused(message, folder)


def test_undecodable_images(own_parquet: MakeData, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    picture(0, size=(50, 50)).save(good)
    cut = {"bytes": good.read_bytes()[:-60], "path": "some/cut.png"}
    folder = own_parquet(images=[cut], labels=[0])
    refused(r"row 0 \(.*cut.png\) cannot be decoded as an image \(.+\)", folder)
    folder = own_parquet(images=[{"bytes": b"text", "path": None}], labels=[0])
    refused(r"row 0 cannot be decoded as an image \(no .*PNG.* file", folder)
    folder = own_parquet(images=[None], labels=[0])
    refused("row 0 has no image in its column 'image'", folder)
    sixteen = beside_own(tmp_path) / "sixteen.png"
    picture(0).convert("I").convert("I;16").save(sixteen)
    folder = own_parquet(images=[str(sixteen)], labels=[0])
    refused(f"^{sixteen} has the pixel mode 'I;16.*'; expected 8-bit", folder)


@pytest.mark.parametrize(
    ("kind", "mode", "channels"), [(4, "RGBA", 2), (2, "RGB", 3), (6, "RGBA", 4)]
)
def test_colours_of_16_bits_are_refused(
    kind: int, mode: str, channels: int, own_parquet: MakeData, tmp_path: Path
) -> None:
    """Pillow would leave half of the bits out. (It writes no such file, so that we do.)"""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 4, 3, 16, kind, 0, 0, 0)
    rows = 3 * (b"\0" + bytes(2 * channels * 4))
    file = beside_own(tmp_path) / "deep.png"
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    message = f"^{file} has the pixel mode '{mode}, 16 bits for each channel'; expected 8-bit"
    refused(message, own_parquet(images=[str(file)], labels=[0]))


def test_an_undecodable_file_is_named(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "own")
    (folder / "train" / "ant" / "1.png").write_bytes(b"damaged")
    refused(rf"^{folder}/train/ant/1.png cannot be decoded as an image", folder)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, -1], ("cat", "dog"), "train.parquet row 1 has the label -1; allowed: 0 to 1"),
        ([0, -3], None, "train.parquet row 1 has the label -3"),
        ([1, 2], None, "train.parquet has 2 different labels but the largest is 2; number the"),
        ([0, None], None, "train.parquet has 1 rows without a label in 'label'"),
        ([0, 0], None, "test.parquet row 0 has the label 1; allowed: 0 to 0"),
    ],
)
def test_labels(own_parquet: MakeData, labels: list[Any], names: Any, message: str) -> None:
    refused(message, own_parquet(images=[picture(0), picture(1)], labels=labels, names=names))


def test_label_above_its_names(own_parquet: MakeData) -> None:
    folder = own_parquet()
    table = pq.read_table(folder / "train.parquet")
    wrong = table.set_column(1, table.schema.field("label"), pa.array([0, 7, 1, 0]))
    pq.write_table(wrong, folder / "train.parquet")
    refused("train.parquet row 1 has the label 7; allowed: 0 to 1", folder)


def test_class_names_must_agree(own_parquet: MakeData) -> None:
    folder = own_parquet()
    write_parquet(folder / "test.parquet", [picture(0)], [0], names=("dog", "cat"))
    refused("test.parquet names its classes dog, cat, but .*train.parquet names them cat", folder)
    write_parquet(folder / "test.parquet", [picture(0)], [0], names=None)
    refused("test.parquet names its classes by number only, but", folder)


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_rows(own_parquet: MakeData, split: str) -> None:
    folder = own_parquet()
    write_parquet(folder / f"{split}.parquet", [], [])
    refused(f"{split}.parquet has no images; both splits need at least one", folder)


def test_registered_name_with_other_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / "mnist" / f"{split}.parquet", [picture(0)], [0])
    refused(
        r"mnist has images of shape \(1, 3, 4\) in 2 classes; mnist has \(1, 28, 28\) in 10",
        "mnist",
        data_folder=tmp_path,
    )


@pytest.mark.parametrize("cached", [False, True])
def test_registered_name_with_fewer_images(
    cached: bool, small_mnist: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(i) for i in range(10)]
    for split, number in (("train", 3), ("test", 2)):
        images = [picture(i, size=(28, 28)) for i in range(number)]
        path = tmp_path / "mnist" / f"{split}.parquet"
        write_parquet(path, images, range(number), names=names)
    if cached:  # as by an older version
        with monkeypatch.context() as context:
            context.setattr(load, "_check_entry", lambda data, source: None)
            load_images("mnist", data_folder=tmp_path)
    refused(
        "mnist has 3 training and 2 test images; mnist has 3 and 3; data of your own are named by "
        "the path of their folder",
        "mnist",
        data_folder=tmp_path,
    )
    assert len(load_images(tmp_path / "mnist").test) == 2


@pytest.mark.parametrize("are_shown", [True, False])
def test_settings_of_datasets_are_the_users(are_shown: bool, own_parquet: MakeData) -> None:
    (datasets.enable_progress_bars if are_shown else datasets.disable_progress_bars)()
    level = datasets.logging.get_verbosity()
    load_images(own_parquet(images=[picture(1)], labels=[0]))
    assert datasets.are_progress_bars_disabled() is not are_shown
    assert datasets.logging.get_verbosity() == level


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, for a user that it does not know."""

    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PERMTRAIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert not default_cache_folder().exists()
    assert len(load_images("digits").train) == 1437
    assert not default_cache_folder().exists()


# What files of others may not do


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 4 3
%%EndComments
(ran) (w) file closefile
showpage
"""


def test_no_decoder_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript, whatever the file is called."""
    monkeypatch.chdir(tmp_path)
    folder = image_folders(tmp_path / "own")
    (folder / "train" / "ant" / "0.png").write_bytes(EPS)
    monkeypatch.setattr(subprocess, "Popen", no_decoding)
    refused("0.png cannot be decoded as an image \\(no AVIF, BMP, .* or WEBP file\\)", folder)
    assert not {"EPS", "WMF", "PSD", "HDF5", "BUFR", "GRIB"} & set(FORMATS)


def write_names(path: Path, *names: str) -> None:
    """A split whose rows only name their images."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": None, "path": name} for name in names], kind)
    pq.write_table(pa.table({"image": images, "label": list(range(len(names)))}), path)


def test_rows_name_no_files_outside_the_data_set(own_parquet: MakeData, tmp_path: Path) -> None:
    outside = tmp_path / "private.png"
    picture(0).save(outside)
    for path in (str(outside), "../private.png"):
        folder = own_parquet(names=None)
        write_names(folder / "train.parquet", path, path)
        refused("row 0 names .*private.png; allowed: an image below .*own", folder)
    picture(7).save(folder / "inside.png")
    for split in ("train", "test"):
        write_names(folder / f"{split}.parquet", "inside.png")
    assert torch.equal(load_images(folder).train.images[0], pixels(picture(7)))


def test_a_pipe_is_not_waited_for(own_parquet: MakeData, tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "images")
    os.mkfifo(folder / "train" / "ant" / "pipe.png")
    refused("pipe.png cannot be decoded as an image .*is no regular file", folder)
    folder = own_parquet()
    (folder / "test.parquet").unlink()
    os.mkfifo(folder / "test.parquet")
    refused("test.parquet cannot be read as a Parquet file .*is no regular file", folder)


def test_links_do_not_lead_in_circles(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "own")
    classes = [folder / "train" / name for name in ("ant", "zebra")]
    for one in classes:  # in each class many links to the other: following them never ends
        for number in range(8):
            (one / f"link{number}").symlink_to(classes[one == classes[0]])
    refused("ant/link0 is a link to a folder; allowed in the folder of a class: images", folder)
    folder = image_folders(tmp_path / "loop")
    (folder / "train" / "loop").symlink_to(folder / "train")
    refused("train/loop/loop is a link to a folder", folder)


def test_the_folder_of_a_class_may_be_a_link(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "own")
    (folder / "train" / "ant").rename(tmp_path / "ants")
    (folder / "train" / "ant").symlink_to(tmp_path / "ants")
    assert len(load_images(folder).train) == 10


def own_table(folder: Path, train: dict[str, list[Any]], test: dict[str, list[Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, columns in (("train", train), ("test", test)):
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    return folder


def png(value: int) -> bytes:
    file = io.BytesIO()
    picture(value).save(file, "PNG")
    return file.getvalue()


def encoded(*values: int) -> list[dict[str, Any]]:
    return [{"bytes": png(value), "path": None} for value in values]


def test_labels_of_text_are_numbered_in_alphabetical_order(tmp_path: Path) -> None:
    train = {"image": encoded(0, 1, 2), "label": ["zebra", "ant", "zebra"]}
    folder = own_table(tmp_path / "own", train, {"image": encoded(3), "label": ["ant"]})
    for _ in range(2):  # decoded, and from the cache
        data = load_images(folder)
        assert data.class_names == ("ant", "zebra")
        assert data.train.labels.tolist() == [1, 0, 1]
        assert data.test.labels.tolist() == [0]
    own_table(folder, train, {"image": encoded(3), "label": ["bee"]})
    refused(
        "test.parquet, column 'label', has the label 'bee'; allowed, as in .*: ant, zebra", folder
    )
    own_table(
        folder, train | {"label": ["ant", None, "bee"]}, {"image": encoded(3), "label": ["ant"]}
    )
    refused("train.parquet has 1 rows without a label in 'label'", folder)


def test_columns_by_name(tmp_path: Path) -> None:
    train = {
        "front": encoded(0, 1),
        "back": [png(4), png(5)],
        "kind": ["b", "a"],
        "number": [0, 1],
    }
    folder = own_table(tmp_path / "own", train, {name: each[:1] for name, each in train.items()})
    front = load_images(folder, columns=Columns("front", "number"))
    assert (front.class_names, front.train.labels.tolist()) == (("0", "1"), [0, 1])
    assert torch.equal(front.train.images[1], pixels(picture(1)))
    back = load_images(folder, columns=Columns("back", "kind"))  # not the cache of the other one
    assert (back.class_names, back.train.labels.tolist()) == (("a", "b"), [1, 0])
    assert torch.equal(back.train.images[1], pixels(picture(5)))
    refused("has no label column among front, back, kind, number; .*--label-column", folder)
    for columns, message in (
        (
            Columns("side", "kind"),
            "image_column is 'side'; allowed with .*train.parquet: front, back, kind",
        ),
        (Columns("kind", "kind"), "train.parquet has no images in its column 'kind'; allowed: an"),
        (Columns("front", "front"), "train.parquet has no labels in its column 'front'; allowed"),
        (Columns("front", "x"), "label_column is 'x'; allowed with .*train.parquet: front, back"),
    ):
        with pytest.raises(DataError, match=message):
            load_images(folder, columns=columns)
    with pytest.raises(DataError, match="image_column is 'x'; allowed with digits, which is no"):
        load_images("digits", columns=Columns("x"))


@pytest.mark.parametrize("layout", ["parquet", "folders"])
def test_images_of_mixed_sizes_are_cut_as_streams_cut_them_in_evaluation(
    layout: str, tmp_path: Path
) -> None:
    """The train split has grey and RGB images, wide and long, the test split other sizes."""
    own = tmp_path / "own"
    pictures = [picture(3, (9, 5)), picture(1, (5, 17), "RGB"), picture(7, (40, 40)), picture(2)]
    if layout == "parquet":
        write_parquet(own / "train.parquet", pictures[:3], [0, 1, 0])
        write_parquet(own / "test.parquet", pictures[3:], [1])
    else:
        for number, image in enumerate(pictures):
            split, label = ("test" if number == 3 else "train"), ("cat", "dog")[number % 2]
            (own / split / label).mkdir(parents=True, exist_ok=True)
            image.save(own / split / label / f"{number}.png")
    for size in (6, 4, 6):  # the cache tells sizes apart
        data = load_images(own, image_size=size)
        assert data.image_shape == (3, size, size)
        wanted = {middle_square(each.convert("RGB"), size).tobytes() for each in pictures}
        both = torch.cat([data.train.images, data.test.images])
        assert {each.numpy().tobytes() for each in both} == wanted
        assert sorted(data.train.labels.tolist()) == [0, 0, 1]
    refused(r"\(--image-size cuts them to squares of one, in RGB\)", own)


def test_a_registered_set_is_cut_too_but_no_digits(small_mnist: None, tmp_path: Path) -> None:
    images = [picture(value, (28, 28)) for value in range(3)]
    names = [str(digit) for digit in range(10)]
    for split in ("train", "test"):
        write_parquet(tmp_path / "mnist" / f"{split}.parquet", images, [0, 1, 2], names=names)
    data = load_images("mnist", data_folder=tmp_path, image_size=8)
    assert data.image_shape == (3, 8, 8)
    refused(
        "image_size is 8; allowed with digits, which are no image files: nothing",
        "digits",
        image_size=8,
    )


def test_transparency_that_is_dropped_is_said(own_parquet: MakeData, tmp_path: Path) -> None:
    """Once for a split, and of pixels alone that are less than opaque."""
    opaque = picture(0, mode="RGB").convert("RGBA")
    clear = opaque.copy()
    clear.putpixel((1, 1), (9, 9, 9, 254))
    (tmp_path / "own").mkdir()  # rows name images below it only
    paths = [tmp_path / "own" / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, (opaque, clear, clear), strict=True):
        image.save(path)
    folder = own_parquet(images=list(map(str, paths)), labels=[0, 1, 0])
    write_parquet(folder / "test.parquet", [str(paths[0])], [1])
    with pytest.warns(UserWarning, match="transparency") as said:
        data = load_images(folder)
    (only,) = [str(each.message) for each in said]
    assert only.startswith("2 of 3 images have transparency, which is dropped: what lies under it")
    assert only.endswith(f"the first is {paths[1]}")
    assert torch.equal(data.train.images[1], pixels(clear.convert("RGB")))
