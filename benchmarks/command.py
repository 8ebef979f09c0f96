"""A benchmark as a command: its settings as flags, what a user can mend as one line."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from permtrain.errors import PermtrainError

Settings = TypeVar("Settings")


def command(
    run: Callable[[Settings], None], settings: type[Settings], arguments: list[str] | None = None
) -> int:
    """Runs a benchmark with the settings of the flags, those of the process where none are given.

    Returns: 0, or 1 after an error of permtrain's or of a file, which stands on the error stream.
    """
    try:
        run(tyro.cli(settings, args=arguments))
    except (PermtrainError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
