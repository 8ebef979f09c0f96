"""The user's cache and data folder are never used, but for the checks of the real data."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from permtrain.lab.data.registry import DATASETS

REAL_DATA = Path(
    os.environ.get("PERMTRAIN_DATA") or Path(__file__).parents[3].parent / "shared" / "data"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("PERMTRAIN_DATA", raising=False)


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if MNIST had three images in each split."""
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], num_images=(3, 3)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not (REAL_DATA / "mnist" / "test.parquet").is_file():
        pytest.skip(f"no real data in {REAL_DATA}; set PERMTRAIN_DATA to run this test")
    return REAL_DATA
