"""Lines of a run that no terminal shows: how good it is, and how long it still takes."""

import io

import pytest
from rich.console import Console

from permtrain.lab.cli import progress as module
from permtrain.lab.cli.progress import Progress


def test_the_time_left_is_that_of_the_steps_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    with Progress("laperm", Console(file=file, width=80)) as progress:
        progress.show(10, 310)  # the first step, with what came before it, took as long as it took
        for done, seconds, text in (
            (10, 0.0, "none yet"),
            (60, 25.0, "half a second each"),
            (110, 75.0, "one each by now"),
            (310, 100.0, "the end"),
        ):
            now[0] += seconds
            progress.show(done, 310)
            progress.say(text)
    assert file.getvalue().splitlines() == [
        "laperm  none yet",
        "laperm  half a second each  2 min left",
        "laperm  one each by now  3 min left",
        "laperm  the end",
    ]
