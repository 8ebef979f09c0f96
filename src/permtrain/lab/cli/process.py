"""The process that a command is born into: closed streams, odd encodings, narrow terminals."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable

from permtrain.lab.training.memory import keep_freed_memory
from permtrain.text import printable_lines

LEAST_COLUMNS = 40
"""Narrower help and tables are not made; libraries that lay them out never end, or fail."""

_SILENT = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DATASETS_VERBOSITY": "critical",
    "HF_HUB_VERBOSITY": "critical",
}
_TRAINING = ("train", "resume", "run")


def settle() -> None:
    """Make the process's own surroundings such that any command can run in them.

    For a process that is one command and nothing else: a caller's process is never changed.

    - A standard stream that is closed gets /dev/null: else the next file that is opened would take
      its number, and a library's message would be written into it.
    - What an encoding lacks is written as an escape.
    - A terminal of fewer than `LEAST_COLUMNS` counts as that wide.
    - Libraries that fetch data show no progress and log no more than errors, unless they are told
      to (their variables).
    - Warnings, of libraries too, show what is not printable as an escape: they may name files.
    - A command that trains keeps the memory that its steps free.
    - `MPLBACKEND` of a notebook is forgotten: pictures are drawn without a backend, and matplotlib
      refuses to be imported where the named one is not installed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    said = os.environ.get("COLUMNS", "")
    if shutil.get_terminal_size().columns < LEAST_COLUMNS or (said.isdigit() and int(said) == 0):
        os.environ["COLUMNS"] = str(LEAST_COLUMNS)
    os.environ.pop("MPLBACKEND", None)
    warnings.formatwarning = _printable_warning(warnings.formatwarning)
    for name, value in _SILENT.items():
        os.environ.setdefault(name, value)
    if sys.argv[1:2] and sys.argv[1] in _TRAINING:
        keep_freed_memory()


def _printable_warning(form: Callable[..., str]) -> Callable[..., str]:
    return lambda *args, **kwargs: printable_lines(form(*args, **kwargs))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
