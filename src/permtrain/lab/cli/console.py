"""Where commands print: names come from files of others, and may hold what moves a terminal."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from permtrain.text import printable, printable_lines


class PlainConsole(Console):
    """Rich's console without its markup and emoji; what is not printable is shown as an escape."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            shown = text if control else printable_lines(text)
            yield Segment(shown, style, control)


def say(text: object, file: TextIO | None = None) -> None:
    """Print a line, at once; what is not printable is shown as an escape."""
    print(printable(str(text)), file=file or sys.stdout, flush=True)


def say_note(text: str) -> None:
    """Print a line that is no result."""
    say(f"note: {text}", sys.stderr)
