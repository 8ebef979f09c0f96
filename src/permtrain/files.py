"""Files written whole or not at all."""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: files are written whole there too, left-overs stay
    fcntl = None  # type: ignore[assignment]

# What a file system without locks answers, as Lustre where it is mounted so: likewise.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name only when it is complete and on the disk.

    It is written beside, flushed and renamed; whoever reads `path` finds the old file or the new
    one. If anything fails, a full disk too, the old file stays and the part written is removed; an
    OSError names `path`. What a killed process left beside is removed by the next that writes. An
    older file's mode is kept. Of a link it is the file it points to that is written. What is no
    file, as /dev/null or a pipe, cannot be replaced, and gets the bytes as they come.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with written_whole(folder / "a.txt") as file:
        ...     _ = file.write(b"whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            yield file
        return
    named, path = path, Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_overs(path)
    try:
        descriptor, beside = _locked_beside(path)
    except OSError as error:  # it names the file beside, of which nobody knows
        error.filename = str(named)
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(beside, _mode_for(path))
            if fcntl is not None:
                # Before the lock goes with the file's closing, for then others may remove it.
                os.replace(beside, path)
        if fcntl is None:  # Windows renames no open file
            os.replace(beside, path)
    except BaseException as error:
        Path(beside).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(named)
        raise
    _sync_folder(path.parent)


def _locked_beside(path: Path) -> tuple[int, str]:
    """A new file beside, locked while it is open, so that nobody takes it for left over."""
    while True:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        if fcntl is None:
            return descriptor, beside
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return descriptor, beside
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:  # else somebody removed it before it was locked
            return descriptor, beside
        os.close(descriptor)


def _remove_left_overs(path: Path) -> None:
    """Removes files beside that a killed process left: those that nobody holds locked."""
    if fcntl is None:
        return
    own = re.compile(re.escape(f".{path.name}-") + r"[a-z0-9_]{8}")  # as mkstemp names them
    for name in os.listdir(path.parent):
        if not own.fullmatch(name):
            continue
        try:
            descriptor = os.open(path.parent / name, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # gone, or not ours
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (path.parent / name).unlink(missing_ok=True)
        except BlockingIOError:  # being written
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        finally:
            os.close(descriptor)


def _mode_for(path: Path) -> int:
    """The mode of the file to be replaced; for a new one what the user's umask says."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
