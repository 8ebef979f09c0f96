"""Compiled loops, where their machine code can be kept and where not."""

import errno
import os
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

from permtrain.core import machine_code
from permtrain.core.machine_code import njit


def total(numbers: np.ndarray) -> float:
    found = 0.0
    for number in numbers:
        found += number
    return found


@pytest.fixture
def _no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, for a user without a home."""

    def refuse(dispatcher: Dispatcher) -> None:
        raise RuntimeError("cannot cache function 'total': no locator available for file 'a.py'")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    machine_code._tell_once.cache_clear()


def test_machine_code_is_kept() -> None:
    compiled = njit()(total)
    assert compiled(np.array([1.0, 2.5])) == 3.5
    assert compiled._cache.cache_path


SOURCE = """
from permtrain.core.machine_code import njit

@njit()
def total(numbers):
    found = 0.0
    for number in numbers:
        found += number
    return found
"""


def fresh_total(source: Path) -> Dispatcher:
    """The function of another process: compiled code only comes from the disk."""
    spec = spec_from_file_location("kept_on_disk", source)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.total(np.array([1.0, 2.5])) == 3.5
    return module.total


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "kept"))
    machine_code._tell_once.cache_clear()
    (tmp_path / "kept_on_disk.py").write_text(SOURCE)
    return tmp_path / "kept_on_disk.py"


def empty(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("damage", [empty, cut, flipped])
def test_what_is_damaged_on_disk_is_compiled_and_kept_anew(damage, kind: str, source: Path) -> None:
    assert sum(fresh_total(source).stats.cache_misses.values()) == 1
    assert sum(fresh_total(source).stats.cache_hits.values()) == 1
    (file,) = source.parent.rglob(kind)
    file.write_bytes(damage(file.read_bytes()))
    if damage is not flipped or kind == "*.nbc":  # a flipped bit of the list may do no harm
        assert sum(fresh_total(source).stats.cache_misses.values()) == 1
    fresh_total(source)
    assert sum(fresh_total(source).stats.cache_hits.values()) == 1


def test_a_full_disk_under_the_kept_code_is_said_once(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    with pytest.warns(UserWarning, match="compiled code cannot be kept on disk"):
        fresh_total(source)
    fresh_total(source)


@pytest.mark.usefixtures("_no_place")
def test_without_a_place_for_it_each_process_compiles_and_is_told_once() -> None:
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR to a folder that can be written"):
        compiled = njit(inline="always")(total)
    assert compiled(np.array([1.0, 2.5])) == 3.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert njit()(total)(np.array([1.0, 2.5])) == 3.5
