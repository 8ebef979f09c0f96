"""Files written whole or not at all, and read only if they are files."""

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
except ImportError:  # Windows: files are written whole there too, temporary files stay
    fcntl = None  # type: ignore[assignment]

# Answers of a file system without locks, such as Lustre mounted that way: the same holds there.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def require_file(path: Path) -> None:
    """Refuse what is no regular file before it is opened.

    A pipe would be waited for, a device may be read for ever. A link to a file is one.

    Raises:
        OSError: nothing is there, or something else.

    Example:
        >>> require_file(Path(os.devnull))
        Traceback (most recent call last):
        OSError: [Errno 22] is no regular file: '/dev/null'
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write, which takes its name only when it is complete and on the disk.

    The bytes go to a temporary file in the same folder, which is flushed and renamed. A reader of
    `path` finds the old file or the new one. On any failure, a full disk too, the old file stays,
    the temporary file is removed, and an OSError names `path`. A temporary file that a killed
    process left is removed by the next writer. The mode of the old file is kept. If the path is a
    link, the file it points to is written. A pipe or a device such as /dev/null cannot be
    replaced: it gets the bytes as they come.

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
    except OSError as error:  # it names the temporary file, which nobody knows
        error.filename = str(named)
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(beside, _mode_for(path))
            if fcntl is not None:
                # While the lock holds: once the file is closed, other writers may remove it.
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
    """Create a temporary file in the same folder, locked while open: no writer removes it then."""
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
    """Remove the temporary files that killed processes left: those that nobody holds locked."""
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
    """Return the mode of the file to be replaced; for a new file, the one the umask gives."""
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
