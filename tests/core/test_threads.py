"""Work on several threads: torch's own, or Python's where those cannot be had."""

import threading
from collections.abc import Iterator

import pytest
import torch

from permtrain.core import threads
from permtrain.core.threads import in_threads, ranges

PIECES = [(begin, begin + 10) for begin in range(0, 200, 10)]


@pytest.fixture(autouse=True, params=["torch's threads", "Python's threads"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python's threads":
        monkeypatch.setattr(threads, "_torch_parallel_region", lambda: None)
    elif threads._torch_parallel_region() is None:
        pytest.skip("torch is not built with GNU's OpenMP here")


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(num_threads)


def test_results_stand_in_the_order_of_the_pieces() -> None:
    assert in_threads(lambda begin, end: (begin, end), PIECES) == PIECES


def test_pieces_run_side_by_side() -> None:
    # Nobody passes the barrier before three threads have come to it.
    barrier = threading.Barrier(3, timeout=60)
    names = in_threads(lambda begin, end: barrier.wait() >= 0, PIECES[:3])
    assert names == [True, True, True]


def test_an_error_of_the_work_reaches_the_caller() -> None:
    def fail_at_50(begin: int, end: int) -> None:
        if begin == 50:
            raise ValueError("at 50")

    with pytest.raises(ValueError, match="at 50"):
        in_threads(fail_at_50, PIECES)
    assert in_threads(lambda begin, end: end, PIECES[:2]) == [10, 20]


def test_a_single_piece_stays_on_the_callers_thread() -> None:
    caller = threading.get_ident()
    assert in_threads(lambda begin, end: threading.get_ident(), [(0, 1)]) == [caller]


def test_no_items_are_no_pieces_and_no_work() -> None:
    assert ranges(0, 4) == ranges(0, 0, multiple=8) == []
    assert in_threads(lambda begin, end: 1, []) == []
