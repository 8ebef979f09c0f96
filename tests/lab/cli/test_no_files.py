"""What is no file where a file is expected, no folder where a folder is: a line, and no waiting."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_problem import place_in, plain

from permtrain.lab.cli.main import main
from permtrain.lab.training.run import start_run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices have names there")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # a longer path does not fit


KINDS: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": _socket,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link in a circle": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: None,
}

READ = [
    "inspect ODD", "unpack ODD out", "export-circuit ODD", "check-circuit ODD", "pack ODD",
    "plot profiles ODD", "plot curves ODD", "plot error-width ODD", "plot image-grid ODD",
    "predict RUN ODD", "predict ODD a.png", "evaluate RUN --checkpoint ODD",
    "resume RUN --checkpoint ODD", "evaluate ODD", "verify ODD", "resume ODD", "report ODD",
    "train --data ./ODD", "train --data mnist --data-folder ODD",
]  # fmt: skip
"""ODD is read; a folder is none of what is wanted either."""

FOLDERS = [
    "train --runs-folder ODD", "recipes index-layer --runs-folder ODD",
    "recipes index-layer --results-folder ODD", "gather index-layer --runs-folder ODD",
    "gather index-layer --more-runs-folders ODD", "report index-layer --runs-folder ODD",
    "run index-layer --runs-folder ODD --part 1/12", "fetch mnist --data-folder ODD",
    "export-circuit RUN --output ODD",
]  # fmt: skip
"""ODD is a folder, or is made one where nothing is."""

WRITTEN = ["unpack RUN ODD", "pack RUN --output ODD"]
"""ODD is written; a link's file is, and a device gets the bytes."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return start_run(plain(epochs=1), place_in(tmp_path_factory.mktemp("run"))).folder


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    def raise_(*_: object) -> None:
        raise AssertionError("waits")

    before = signal.signal(signal.SIGALRM, raise_)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


CASES = [
    *((command, KINDS.keys()) for command in READ),
    *((command, KINDS.keys() - {"folder", "nothing"}) for command in FOLDERS),
    *((command, {"folder", "pipe", "socket", "link in a circle"}) for command in WRITTEN),
    ("report RUN --output ODD", {"pipe"}),
]


@pytest.mark.parametrize(("command", "kinds"), CASES, ids=[command for command, _ in CASES])
def test_one_line_and_nothing_made(
    command: str, kinds: set[str], run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    for kind in sorted(kinds):
        here = tmp_path / kind
        here.mkdir()
        monkeypatch.chdir(here)
        KINDS[kind](here / "odd")
        words = [
            {"RUN": str(run), "ODD": "odd", "./ODD": "./odd"}.get(each, each)
            for each in command.split()
        ]
        assert main(words) == 1, kind
        said = capsys.readouterr()
        assert said.err.startswith("error: "), kind
        assert said.err.count("\n") == 1, kind
        assert "odd" in said.err or "a.png" in command or "report ODD" in command, kind
        assert os.listdir(here) == ([] if kind == "nothing" else ["odd"]), kind
