"""Where a computation shows how far it is. Nothing heavy is imported."""

from typing import Protocol


class Display(Protocol):
    """A line that moves, and lines that stay; `cli.progress` has one."""

    def show(self, done: int, total: int) -> None:
        """So many of all steps are done."""

    def say(self, text: str) -> None:
        """How good it is by now, in a few words."""

    def note(self, text: str) -> None:
        """What a user is to know of it; stays on the screen."""


class Silent:
    """Shows nothing."""

    def show(self, done: int, total: int) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT = Silent()
