"""What Ctrl-C and SIGTERM do while something is trained."""

import signal
from collections.abc import Iterator
from threading import Thread

import pytest

from permtrain.lab.training.stopping import STOPPING_SIGNALS, stop_on_signal


class Broken(Exception):
    """Raised by the handlers that were there before."""


def handler_before(signum: int, frame: object) -> None:
    raise Broken


@pytest.fixture
def own_handlers() -> Iterator[None]:
    before = {number: signal.signal(number, handler_before) for number in STOPPING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_ctrl_c_after_it_breaks_in(first: int) -> None:
    with stop_on_signal() as stop_requested:
        assert not stop_requested()
        signal.raise_signal(first)
        assert stop_requested()
        signal.raise_signal(signal.SIGTERM)  # comes twice where it is also handed on
        assert stop_requested()
        with pytest.raises(Broken):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize("asked", [False, True])
def test_afterwards_signals_are_handled_as_before(asked: bool) -> None:
    with stop_on_signal():
        if asked:
            signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in STOPPING_SIGNALS] == [handler_before] * 2


@pytest.mark.usefixtures("own_handlers")
def test_in_another_thread_signals_are_left_to_whoever_runs_it() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_on_signal() as stop_requested:
            seen.extend([stop_requested(), signal.getsignal(signal.SIGTERM) is handler_before])

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]
