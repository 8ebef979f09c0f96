"""Commands in the processes that shells, notebooks and schedulers start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_problem import place_in, plain

from permtrain.lab.cli.main import main
from permtrain.lab.training.run import start_run

COMMAND = f"{sys.executable} -m permtrain.lab.cli.main"
TRAIN = f"{COMMAND} train --model logistic --epochs 1 --threads 1 --device cpu"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams are closed in a shell")


def in_shell(
    command: str, folder: Path, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, timeout=timeout,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    done = in_shell(f"{TRAIN} --runs-folder r {closed}", tmp_path)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    (folder,) = (tmp_path / "r").iterdir()
    assert (folder / "result.json").is_file()


def test_bad_flags_exit_with_two_though_nobody_listens(tmp_path: Path) -> None:
    assert in_shell(f"{COMMAND} train --nonsense 2>&-", tmp_path).returncode == 2
    done = in_shell(f"{COMMAND} train --nonsense", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(b"--nonsense") == 1


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "latin-1", "ascii"])
def test_encodings_that_lack_a_sign(encoding: str, tmp_path: Path) -> None:
    done = in_shell(f"{COMMAND} --help", tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert b"check-circuit" in done.stdout


@pytest.mark.parametrize("columns", ["0", "1", "6", "39"])
@pytest.mark.parametrize("command", ["--help", "recipes", "recipes regression-1d"])
def test_narrow_terminals_count_as_forty_columns_wide(
    command: str, columns: str, tmp_path: Path
) -> None:
    done = in_shell(f"{COMMAND} {command}", tmp_path, COLUMNS=columns)
    assert done.returncode == 0
    assert done.stdout == in_shell(f"{COMMAND} {command}", tmp_path, COLUMNS="40").stdout


def test_the_backend_of_a_notebook_is_none_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = start_run(plain(epochs=1), place_in(tmp_path)).folder
    command = f"{COMMAND} plot histogram {run} --output o.svg"
    done = in_shell(command, tmp_path, MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert done.returncode == 0
    assert (tmp_path / "o.svg").is_file()


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """As Ctrl-C of what a shell script started in the background, and SIGTERM under some."""
    train = [*COMMAND.split(), "train", "--epochs", "6", "--threads", "1", "--runs-folder", "r"]
    ignoring = f"trap '' INT TERM; exec {' '.join(train)}"
    run = subprocess.Popen(["sh", "-c", ignoring], cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("r/*/metrics.jsonl")):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=120) == 0
    assert list(tmp_path.glob("r/*/result.json"))


def test_a_callers_process_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "39")
    monkeypatch.setenv("MPLBACKEND", "agg")
    streams = sys.stdin, sys.stdout, sys.stderr
    assert main(["train", "--seed", "-1"]) == 1
    assert capsys.readouterr().err == "error: seed is -1; allowed: 0 to 2**63 - 1\n"
    assert (sys.stdin, sys.stdout, sys.stderr) == streams
    assert (os.environ["COLUMNS"], os.environ["MPLBACKEND"]) == ("39", "agg")
