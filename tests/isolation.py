"""Fixtures of tests that train: the user's cache is never used, and torch gets its threads back.

A folder's conftest imports them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_cache(cache_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERMTRAIN_CACHE", cache_folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(Path(cache_folder, "state")))
    monkeypatch.delenv("PERMTRAIN_DATA", raising=False)


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
