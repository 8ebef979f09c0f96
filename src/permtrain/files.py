"""Files written whole or not at all, and read only if they are files.

What a file system lacks (locks on NFS without a lock daemon, `fsync` of a folder on SMB, `chmod` on
FAT) is left out there, and a warning says so once.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from permtrain.text import alike

try:
    import fcntl
except ImportError:  # Windows: files are written whole there too, temporary files stay
    fcntl = None  # type: ignore[assignment]

# Answers of file systems that lack something; others, as of a full disk, are errors.
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
_NO_SYNC = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_NO_FOLDER_SYNC = (*_NO_SYNC, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR)
_NO_MODES = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EPERM)


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


def require_folder(path: Path) -> None:
    """Refuse what is there and is no folder; one that is still to be made is none yet.

    Raises:
        OSError: a file, a link that leads nowhere, anything else.

    Example:
        >>> require_folder(Path(os.devnull))
        Traceback (most recent call last):
        NotADirectoryError: [Errno 20] is no folder: '/dev/null'
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(path))


def resolved(path: Path | str) -> Path:
    """The whole path without links; of links in a circle as far as they can be followed.

    `Path.resolve` raises a RuntimeError there.
    """
    return Path(os.path.realpath(path))


def from_home(path: Path | str) -> Path:
    """The path that a user means.

    A leading ~ is the home folder; of a user who is not known it stays. Of names that Unicode can
    spell in two ways, as é, the spelling is taken that exists.

    Example:
        >>> str(from_home("~nobody-of-this-name/runs"))
        '~nobody-of-this-name/runs'
    """
    found = Path(os.path.expanduser(path))
    return found if str(found).isascii() or os.path.lexists(found) else _as_it_exists(found)


def _as_it_exists(path: Path) -> Path:
    found = Path(path.anchor)
    for name in path.parts[1:] if path.anchor else path.parts:
        if not os.path.lexists(found / name):
            with suppress(OSError):  # no folder, or none that may be read
                name = alike(name, os.listdir(found)) or name
        found /= name
    return found


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write, which takes its name only when it is complete and on the disk.

    The bytes go to a temporary file in the same folder, which is flushed and renamed. A reader of
    `path` finds the old file or the new one. On any failure, a full disk too, the old file stays,
    the temporary file is removed, and an OSError names `path`. A temporary file that a killed
    process left is removed by the next writer. The mode of the old file is kept. If the path is a
    link, the file it points to is written. A pipe or a device such as /dev/null cannot be
    replaced: it gets the bytes as they come. A pipe that nobody reads is an OSError.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with written_whole(folder / "a.txt") as file:
        ...     _ = file.write(b"whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        # A pipe that nobody reads is an error; to wait for a reader is to hang.
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
        if os.name == "posix":
            os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
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
            with left_out_where("files cannot be flushed to the disk", _NO_SYNC):
                os.fsync(file.fileno())
            _keep_mode(path, beside)
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
        descriptor, beside = _created_beside(path)
        if fcntl is None:
            return descriptor, beside
        try:
            with left_out_where("files cannot be locked", NO_LOCKS):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            raise
        if os.path.exists(beside):  # else somebody removed it before it was locked
            return descriptor, beside
        os.close(descriptor)


def _created_beside(path: Path) -> tuple[int, str]:
    """Create a temporary file with the mode of the file to be replaced, else that of a new one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    mode = 0o666 if (old := _mode_of(path)) is None else old
    while True:
        beside = str(path.parent / f".{path.name}-{secrets.token_hex(4)}")
        try:
            return os.open(beside, flags, mode), beside
        except FileExistsError:
            continue


def _remove_left_overs(path: Path) -> None:
    """Remove the temporary files that killed processes left: those that nobody holds locked."""
    if fcntl is None:
        return
    own = re.compile(re.escape(f".{path.name}-") + r"[a-z0-9_]{8}")
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
            if error.errno not in NO_LOCKS:
                raise
        finally:
            os.close(descriptor)


def _keep_mode(path: Path, beside: str) -> None:
    """Give a temporary file the mode of the file that it replaces, what the umask took away too."""
    mode = _mode_of(path)
    if mode is not None and mode != _mode_of(Path(beside)):
        with left_out_where("modes of files cannot be set", _NO_MODES):
            os.chmod(beside, mode)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Make an empty folder in another, hidden one beside it, to be filled and renamed to `path`.

    What is not renamed is removed at the end. Such folders in the same place that killed processes
    left are removed, whatever they were to become.

    Example:
        >>> import tempfile
        >>> parent = Path(tempfile.mkdtemp())
        >>> with folder_beside(parent / "run") as prepared:
        ...     _ = prepared.rename(parent / "run")
        >>> os.listdir(parent)
        ['run']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(path.parent):
        if named := re.fullmatch(r"\.(.+)-[a-z0-9_]{8}", name):
            _remove_left_over_folder(path.parent / name, named[1])
    while True:
        outer = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        with _held(outer):
            if not outer.is_dir():  # somebody removed it before it was locked
                continue
            try:
                prepared = outer / path.name
                prepared.mkdir()
                yield prepared
            finally:
                shutil.rmtree(outer, ignore_errors=True)
            return


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder locked, where that can be done."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with left_out_where("files cannot be locked", NO_LOCKS):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left_over_folder(outer: Path, name: str) -> None:
    """Remove a folder of `folder_beside` that nobody holds; others of such a name stay."""
    if fcntl is None:
        return
    try:
        if set(os.listdir(outer)) - {name}:
            return
        descriptor = os.open(outer, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # gone, or no folder
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(outer, ignore_errors=True)
    except OSError:  # being filled, or nobody can tell
        pass
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere folders cannot be opened
        return
    with left_out_where("folders cannot be flushed to the disk", _NO_FOLDER_SYNC):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def left_out_where(lacks: str, answers: tuple[int, ...]) -> Iterator[None]:
    """Leave out what a file system answers that it has not; a warning says so once.

    Args:
        lacks: what it lacks, in words.
        answers: numbers of the errors that say so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in answers:
            raise
        _tell_once(f"on this file system {lacks} ({os.strerror(error.errno)}): that is left out")


@cache
def _tell_once(text: str) -> None:
    warnings.warn(text, stacklevel=2)
