"""Files are written whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from permtrain import files
from permtrain.files import folder_beside, written_whole
from permtrain.lab.training.locks import locked


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_new_file_and_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with written_whole(path) as file:
        file.write(b"1")
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert os.listdir(path.parent) == ["b.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes are posix's")
def test_the_mode_is_what_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "a"):
            pass
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with written_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be_written_is_no_matter_of_the_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(name: str, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(PermissionError) as raised, written_whole(tmp_path / "a"):
        pass
    assert raised.value.filename == str(tmp_path / "a")


def test_without_locks_the_file_is_closed_when_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows, which has no locks of this kind, refuses to rename an open file."""
    replace = os.replace

    def replace_closed(source: str, target: Path) -> None:
        assert file.closed
        replace(source, target)

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(os, "replace", replace_closed)
    with written_whole(tmp_path / "a") as file:
        file.write(b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o666)  # which the umask takes away from a new file
    monkeypatch.setattr(os, failing, full_disk)
    message = r"No space left on device: '.*/a'"
    with pytest.raises(OSError, match=message) as raised, written_whole(path) as file:
        file.write(b"new")
    assert raised.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere folders cannot be opened")
def test_the_file_is_on_the_disk_before_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a failure of power could leave the new name to an empty file, or lose it."""
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(old: str, new: str) -> None:
        done.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with written_whole(tmp_path / "a") as file:
        file.write(b"new")
        assert done == []
    assert done == ["file", "name", "folder"]


def test_any_other_failure_leaves_the_old_file_too(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as file:  # noqa: PT012
        file.write(b"ne")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that really fail: the file beside is opened on /dev/full."""
    opened = os.fdopen

    def on_full_disk(descriptor: int, *more: object) -> object:
        os.close(descriptor)
        return opened(os.open("/dev/full", os.O_WRONLY), *more)

    monkeypatch.setattr(os, "fdopen", on_full_disk)
    full = pytest.raises(OSError, match="No space left on device")
    with full, written_whole(tmp_path / "a") as file:
        file.write(b"x" * 100_000)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="modes are posix's")
def test_an_older_files_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o604)
    with written_whole(path) as file:
        file.write(b"new")
    assert path.stat().st_mode & 0o777 == 0o604


@pytest.mark.skipif(os.name != "posix", reason="locks are posix's")
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left_over, other = tmp_path / ".a-abcd_123", tmp_path / ".a-abcd_1234"
    left_over.write_bytes(b"half")
    other.write_bytes(b"somebody else's")
    with written_whole(tmp_path / "a"):
        assert not left_over.exists()
    assert sorted(os.listdir(tmp_path)) == [".a-abcd_1234", "a"]


@pytest.mark.skipif(os.name != "posix", reason="locks are posix's")
def test_what_another_writes_at_the_same_time_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with written_whole(path) as first:
        first.write(b"1")
        with written_whole(path) as second:
            second.write(b"2")
        assert path.read_bytes() == b"2"
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="locks, modes and folders are posix's")
@pytest.mark.parametrize(
    ("lacks", "number", "said"),
    [
        ("flock", errno.ENOSYS, "files cannot be locked (Function not implemented)"),
        ("flock", errno.EOPNOTSUPP, "files cannot be locked (Operation not supported)"),
        ("flock", errno.ENOLCK, "files cannot be locked (No locks available)"),
        ("fsync of folders", errno.EINVAL, "folders cannot be flushed to the disk (Invalid arg"),
        ("fsync", errno.ENOSYS, "s cannot be flushed to the disk (Function not implemented)"),
        ("chmod", errno.EPERM, "modes of files cannot be set (Operation not permitted)"),
    ],
)
def test_what_a_file_system_lacks_is_left_out_and_said_once(
    lacks: str, number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written whole all the same; nobody knows what is left over without locks."""
    fsync = os.fsync
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o666)

    def write_often(path: Path) -> None:
        for content in (b"old", b"new", b"newer"):
            with written_whole(path) as file:
                file.write(content)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    def no_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refuse()
        fsync(descriptor)

    if lacks == "flock":
        monkeypatch.setattr("fcntl.flock", refuse)
        (tmp_path / ".a-abcd_123").write_bytes(b"half, or being written")
    elif lacks == "fsync of folders":
        monkeypatch.setattr(os, "fsync", no_folders)
    else:
        monkeypatch.setattr(os, lacks, refuse)
    files._tell_once.cache_clear()
    with pytest.warns(UserWarning, match="on this file system") as warned:
        write_often(tmp_path / "a")
    texts = {str(each.message) for each in warned}
    assert len(warned) == len(texts) == (2 if lacks == "fsync" else 1)  # of files and of folders
    assert all(said in text for text in texts)
    assert (tmp_path / "a").read_bytes() == b"newer"
    assert set(os.listdir(tmp_path)) - {".a-abcd_123"} == {"a"}
    files._tell_once.cache_clear()


@pytest.mark.skipif(os.name != "posix", reason="locks are posix's")
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_lock_that_no_file_system_gives_is_left_out(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    files._tell_once.cache_clear()
    with pytest.warns(UserWarning, match="files cannot be locked"), locked(tmp_path / ".lock"):
        pass
    with locked(tmp_path / ".lock", wait=False):
        pass
    files._tell_once.cache_clear()


@pytest.mark.skipif(os.name != "posix", reason="locks are posix's")
def test_folders_that_killed_processes_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".run-abcd_123" / "run").mkdir(parents=True)
    (tmp_path / ".other-abcd_123").mkdir()
    (tmp_path / ".git-abcd_123" / "refs").mkdir(parents=True)  # somebody else's
    with folder_beside(tmp_path / "run") as prepared:
        with folder_beside(tmp_path / "run") as second:
            assert prepared.is_dir()  # held
            second.rename(tmp_path / "run")
        assert prepared.is_dir()
    assert sorted(os.listdir(tmp_path)) == [".git-abcd_123", "run"]


def test_the_umask_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread would create files that anybody can write."""
    monkeypatch.setattr(os, "umask", full_disk)
    with written_whole(tmp_path / "a"):
        pass
    with written_whole(tmp_path / "a"):
        pass


def test_a_link_stays_and_the_file_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    target = tmp_path / "shared" / "a.csv"
    for is_there in (False, True):
        link = tmp_path / f"link {is_there}"
        link.symlink_to(target)
        with written_whole(link) as file:
            file.write(b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "shared") == ["a.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are posix's")
def test_what_is_no_file_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written_whole(pipe) as file:
        file.write(b"new")
    assert os.read(reading, 9) == b"new"
    os.close(reading)
    assert pipe.is_fifo()


def test_a_folder_is_refused_by_its_own_name(tmp_path: Path) -> None:
    with (
        pytest.raises(IsADirectoryError, match=f"directory: '{tmp_path}'"),
        written_whole(tmp_path),
    ):
        pass
    assert os.listdir(tmp_path) == []
