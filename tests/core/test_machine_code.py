"""Compiled loops, where their machine code can be kept and where not."""

import warnings

import numpy as np
import pytest
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


@pytest.mark.usefixtures("_no_place")
def test_without_a_place_for_it_each_process_compiles_and_is_told_once() -> None:
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR to a folder that can be written"):
        compiled = njit(inline="always")(total)
    assert compiled(np.array([1.0, 2.5])) == 3.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert njit()(total)(np.array([1.0, 2.5])) == 3.5
