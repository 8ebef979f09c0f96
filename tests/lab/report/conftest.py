"""Two small runs, made once: LaPerm with all its checkpoints, and the plain optimizer."""

from pathlib import Path

import pytest
from run_problem import place_in, plain, tiny

from isolation import _own_cache, _own_threads, cache_folder  # noqa: F401
from permtrain.lab.training.run import start_run


@pytest.fixture(scope="session")
def permuted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = place_in(tmp_path_factory.mktemp("permuted"), keep_checkpoints=9)
    return start_run(tiny(), place).folder


@pytest.fixture(scope="session")
def unpermuted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(plain(epochs=2), place_in(tmp_path_factory.mktemp("plain"))).folder
