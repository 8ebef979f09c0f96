"""Stopping a run so that it can go on: Ctrl-C, and what job schedulers send before they kill."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias

from permtrain.errors import PermtrainError

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(PermtrainError):
    """The user or a scheduler stopped the run; a checkpoint was written."""


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM asks for a stop after the running step; Ctrl-C after that breaks in.

    A signal that the process was born to ignore stays ignored, as Ctrl-C of jobs in the background.

    SIGTERM does not: schedulers send it to a job's processes and to whoever started them, who hand
    it on. What is left to save is to be saved inside.

    Yields:
        Whether a stop was asked for.
    """
    asked = False
    handlers = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    before = {number: how for number, how in handlers.items() if how is not signal.SIG_IGN}

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        if signal.SIGINT in before:
            _handle_as({signal.SIGINT: before[signal.SIGINT]})

    try:
        _handle_as(dict.fromkeys(before, ask))
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        _handle_as(before)


def _handle_as(handlers: Mapping[signal.Signals, Handler]) -> None:
    for number, handler in handlers.items():
        if handler is not None:  # as it is where code outside Python handles the signal
            signal.signal(number, handler)
