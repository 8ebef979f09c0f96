"""A small data set of 12 x 12 images in a folder, and torch's threads given back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isolation import _own_cache, _own_threads, cache_folder  # noqa: F401

SIDE = 12


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: a bright bar across and one down, 40 training and 12 test images of each."""
    return _written(tmp_path_factory.mktemp("bars"), channels=1)


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in colour."""
    return _written(tmp_path_factory.mktemp("colour-bars"), channels=3)


def _written(folder: Path, channels: int) -> Path:
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 12)):
        for label, name in enumerate(("across", "down")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = random.integers(0, 60, (SIDE, SIDE, channels))
                place = random.integers(3, 8)
                bar = np.s_[place : place + 2] if label == 0 else np.s_[:, place : place + 2]
                image[bar] += random.integers(90, 190, channels)
                pixels = image.astype(np.uint8)
                Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(
                    folder / split / name / f"{number}.png"
                )
    return folder
