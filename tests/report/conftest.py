"""Two small runs, made once: LaPerm with all its checkpoints, and the plain optimizer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from permtrain.training.run import start_run
from run_problem import place_in, plain, tiny


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_cache(cache_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMTRAIN_CACHE", cache_folder)
    monkeypatch.delenv("PERMTRAIN_DATA", raising=False)


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def permuted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = place_in(tmp_path_factory.mktemp("permuted"), keep_checkpoints=9)
    return start_run(tiny(), place).folder


@pytest.fixture(scope="session")
def unpermuted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(plain(epochs=2), place_in(tmp_path_factory.mktemp("plain"))).folder
