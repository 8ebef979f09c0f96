"""Locks between processes, which a file system may lack."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from permtrain.files import NO_LOCKS, left_out_where


@contextmanager
def locked(path: Path, *, wait: bool = True, poll_interval: float = 0.05) -> Iterator[None]:
    """Hold a file locked against other processes; where none can be locked, a warning says so once.

    Args:
        wait: for whoever holds it.

    Raises:
        filelock.Timeout: somebody does, and `wait` is False.
    """
    lock = FileLock(path, timeout=-1 if wait else 0)
    with left_out_where("files cannot be locked", NO_LOCKS):
        lock.acquire(poll_interval=poll_interval)
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
