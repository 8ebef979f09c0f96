"""Data sets that are absent, and how they come; the hub is a made-up one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from permtrain.errors import DataError
from permtrain.lab.data.fetch import fetch, fetch_command, require_data
from permtrain.lab.data.load import load_images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PERMTRAIN_DATA", raising=False)


@pytest.fixture
def hub(small_mnist: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A hub with three pictures in each split; returns which sets were asked for."""
    asked: list[str] = []

    def load_dataset(hub_id: str, *rest: Any, **more: Any) -> Any:
        if hub_id == "parquet":
            return real(hub_id, *rest, **more)
        asked.append(hub_id)
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)}
        )
        pictures = [np.full((28, 28), 10 * label, dtype=np.uint8) for label in (3, 1, 2)]
        columns = {"image": pictures, "label": [3, 1, 2]}
        one = datasets.Dataset.from_dict(columns, features=features)
        return datasets.DatasetDict({"train": one, "test": one})

    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return lambda: asked


def refused(message: str, name: str, data_folder: Path | None = None) -> None:
    with pytest.raises(DataError, match="^" + re.escape(message) + "$"):
        require_data(name, data_folder)


def test_the_digits_are_always_there() -> None:
    require_data("digits", None)
    assert fetch("digits") == "digits comes with scikit-learn: nothing to fetch"


def test_absent_data_names_its_command() -> None:
    refused("mnist is not on this machine; fetch it with: permtrain fetch mnist", "mnist")


def test_absent_data_in_a_data_folder_names_its_command(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    with pytest.raises(DataError) as error:
        require_data("mnist", tmp_path / "sets")
    command = f"permtrain fetch mnist --data-folder {tmp_path}/sets"
    assert str(error.value).endswith(f"; or fetch it with: {command}")
    assert "is empty; expected mnist/ with train.parquet and test.parquet" in str(error.value)


def test_what_no_command_fetches_says_where_it_is_expected(tmp_path: Path) -> None:
    for refuse in (require_data, fetch):
        with pytest.raises(DataError, match="not on the Hugging Face hub: put"):
            refuse("cifar10-jpeg", None)
        with pytest.raises(DataError, match=f"there is no data folder {tmp_path}/none; set"):
            refuse("cifar10-jpeg", tmp_path / "none")


def test_an_unknown_name() -> None:
    with pytest.raises(DataError, match=r"no data set named .mnits. \(did you mean mnist"):
        require_data("mnits", None)
    with pytest.raises(DataError, match=r"'mnits' \(did you mean mnist\?\); known: digits, mnist"):
        fetch("mnits")


def test_fetched_into_the_cache(tmp_path: Path, hub: Callable[[], list[str]]) -> None:
    assert fetch("mnist") == f"fetched ylecun/mnist: 6 images, decoded in {tmp_path}/cache"
    require_data("mnist", None)
    assert fetch("mnist") == f"mnist is there already, decoded in {tmp_path}/cache"
    assert hub() == ["ylecun/mnist"]


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, hub: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PERMTRAIN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written; set PERMTRAIN_CACHE"):
        fetch("mnist")


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_fetched_into_a_data_folder(
    tmp_path: Path, hub: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("PERMTRAIN_DATA", str(tmp_path))
    given = tmp_path if by == "argument" else None
    assert fetch("mnist", given) == f"fetched ylecun/mnist into {tmp_path}/mnist"
    require_data("mnist", given)
    assert fetch("mnist", given) == f"mnist is there already, in {tmp_path}/mnist"
    assert hub() == ["ylecun/mnist"]
    data = load_images("mnist", data_folder=given)
    assert data.train.labels.tolist() == [3, 1, 2]
    assert data.train.images[:, 0, 0, 0].tolist() == [30, 10, 20]
    assert data.image_shape == (1, 28, 28)


def test_a_hub_that_does_not_answer_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(_: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"from the Hugging Face hub \(no route"):
        fetch("mnist", tmp_path)
    assert not (tmp_path / "mnist").exists()


def test_what_is_streamed_is_not_fetched() -> None:
    assert fetch_command("imagenet", None) is None
    assert fetch("imagenet") == (
        "imagenet is too large to be kept: runs stream it from the hub, or from a folder"
    )
