"""Small data sets in the working folder, a cache of our own, and torch's threads given back."""

from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from isolation import _own_cache, _own_threads, cache_folder  # noqa: F401

SIDE = 12


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, a bright bar across and one down.

    images/   20 training images and 10 test images of each class
    colours/  the same in colour
    photos/   a streamed folder: 4 in colour of each class, and 2 for validation
    book.txt  a text of 1,000 characters
    table/    Parquet files of two columns of images and two of labels, of which one is text
    kept/     runs that several tests share, as the judges of recovered images
    one/mnist, two/mnist   what --data-folder has for mnist: 3 and 5 training images, 2 of test
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "kept").mkdir()
    random = np.random.default_rng(0)
    counts = {
        "images/train": 20, "images/test": 10, "colours/train": 20, "colours/test": 10,
        "photos/train": 4, "photos/val": 2,
    }  # fmt: skip
    for part, count in counts.items():
        for label, name in enumerate(("across", "down")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = _image(random, label, 1 if part.startswith("images") else 3)
                image.save(folder / part / name / f"{number}.png")
    for source, count in (("one", 3), ("two", 5)):
        for part, num_images in (("train", count), ("test", 2)):
            _write_mnist(folder / source / "mnist" / f"{part}.parquet", random, num_images)
    (folder / "book.txt").write_text("to be or not to be. " * 50)
    (folder / "table").mkdir()
    for part, num_images in (("train", 40), ("test", 6)):
        _write_table(folder / "table" / f"{part}.parquet", random, num_images)
    return folder


def _image(random: np.random.Generator, label: int, channels: int, side: int = SIDE) -> Image.Image:
    pixels = random.integers(0, 60, (side, side, channels))
    place = random.integers(1, side - 2)
    pixels[np.s_[place : place + 2] if label == 0 else np.s_[:, place : place + 2]] += 120
    pixels = pixels.astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def _write_mnist(path: Path, random: np.random.Generator, num_images: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [number % 10 for number in range(num_images)]
    Dataset.from_dict(
        {"image": [_image(random, label % 2, 1, 28) for label in labels], "label": labels},
        features=Features(
            {"image": ImageFeature(), "label": ClassLabel(names=[str(n) for n in range(10)])}
        ),
    ).to_parquet(path)


def _write_table(path: Path, random: np.random.Generator, num_images: int) -> None:
    labels = [number % 2 for number in range(num_images)]
    columns = {
        "near": [_image(random, label, 1) for label in labels],
        "far": [_image(random, label, 1) for label in labels],
        "label": labels,
        "kind": ["abc"[number % 3] for number in range(num_images)],
    }
    kinds = {"near": ImageFeature(), "far": ImageFeature()}
    kinds |= {"label": Value("int64"), "kind": Value("string")}
    Dataset.from_dict(columns, features=Features(kinds)).to_parquet(path)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of data in tables are relative to it."""
    for each in data_folder.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)
