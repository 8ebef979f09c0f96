"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from permtrain.lab.cli.console import PlainConsole

# The first time, images are decoded for good, and the kernels compiled (15 s of two cores).
STARTING = "starting (the first time here: up to half a minute)"


class Progress:
    """Shows how far a run is, and how good."""

    def __init__(self, label: str, console: Console | None = None) -> None:
        self.console = console or PlainConsole()
        self.label = label
        self._begun = False
        self._first = 0, 0.0
        self._steps = 0, 0
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(f"{label}  {STARTING}", total=None)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        if not self._begun:
            self._begun = True
            self._first = done, time.monotonic()
            self._bar.update(self._task, description=self.label)
        self._steps = done, total
        self._bar.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        self.console.print(f"{self.label}  {text}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        line = f"{self.label}  {text}"
        if self.console.is_terminal:
            self._bar.update(self._task, description=line)
        else:
            self.console.print(line + self._left(), highlight=False, soft_wrap=True)

    def _left(self) -> str:
        """What the steps so far make one expect of those to come; nothing at the end."""
        (first, begun), (done, total) = self._first, self._steps
        if not first < done < total:
            return ""
        seconds = (time.monotonic() - begun) / (done - first) * (total - done)
        return f"  {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """About how long it takes.

    Example:
        >>> in_words(7.4), in_words(150), in_words(5000), in_words(9000)
        ('7 s', '2 min', '83 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
