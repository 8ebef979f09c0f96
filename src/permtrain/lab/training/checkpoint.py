"""Checkpoint files: everything to go on bit for bit, written whole or not at all."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

from permtrain.errors import CheckpointError, one_line
from permtrain.files import written_whole


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes plain data and tensors to `path`, beside it first, then renamed.

    Raises:
        CheckpointError: it could not be written, on a full disk for one; the older file stays.
    """
    kept: list[OSError] = []
    try:
        with written_whole(path) as file:
            torch.save(state, cast(IO[bytes], _Telling(file, kept)))
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into the latter
        cause = kept[0] if kept else error
        raise CheckpointError(
            f"{path}: checkpoint not written, earlier ones are kept ({one_line(cause)})"
        ) from error


class _Telling(io.RawIOBase):
    """A file that keeps the error of a write, which torch's writer replaces by its own."""

    def __init__(self, file: IO[bytes], kept: list[OSError]) -> None:
        self._file = file
        self._kept = kept

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._kept.append(error)
            raise

    def flush(self) -> None:
        """Nothing: whoever opened the file flushes it."""


class DamagedError(CheckpointError):
    """A checkpoint's file cannot be read."""


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU. Nothing in the file is executed.

    Raises:
        DamagedError: the file is missing, cut short, damaged (its checksums are compared), or no
            checkpoint.
    """
    if not path.is_file():
        raise DamagedError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise DamagedError(f"{path}: claims more than it holds; allowed: a checkpoint")
            if (damaged := archive.testzip()) is not None:
                raise DamagedError(f"{path}: damaged, checksum of {damaged} does not fit")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedError:
        raise
    except pickle.UnpicklingError as error:  # torch's words advise to run what is in the file
        raise DamagedError(
            f"{path}: holds more than plain tensors, and reading that would run code; allowed: a "
            "checkpoint of a run"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise DamagedError(f"{path}: not a readable checkpoint ({one_line(error)})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}; allowed: a checkpoint")
    return state


def restore(load_state_dict: Callable[[dict[str, Any]], None], path: Path) -> None:
    """Hand the contents of a checkpoint to what takes them.

    Raises:
        CheckpointError: the file is not readable, or refused; the message names it.
    """
    state = load_checkpoint(path)
    try:
        load_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
