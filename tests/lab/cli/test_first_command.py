"""What a newcomer meets first: commands that answer at once, and suggestions that work."""

import subprocess
import sys
from pathlib import Path

import pytest

from permtrain.lab.cli import extras
from permtrain.lab.cli.main import main


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["list"], 0),
        (["recipes"], 0),
        (["plot"], 0),
        (["fetch", "digits"], 0),
        (["run", "none"], 1),
        (["gather", "none"], 1),
        (["report", "none"], 1),
        (["resume", "none"], 1),
        (["evaluate", "none"], 1),
        (["verify", "none"], 1),
        (["pack", "none"], 1),
    ],
    ids=str,
)
def test_what_needs_no_torch_loads_none(words: list[str], code: int, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom permtrain.lab.cli.main import main\n"
        "print(main(sys.argv[1:]), sys.modules.keys() & {'torch', 'datasets', 'sklearn'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == f"{code} set()", done.stderr


@pytest.fixture
def _plain_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What README installs: no packages of extras."""
    monkeypatch.setattr(extras, "find_spec", lambda name: None)


@pytest.mark.usefixtures("_plain_installation")
def test_suggestions_install_what_they_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs", "1", "--train-images", "50", "--method", "plain", "--threads", "1"]
    assert main(["train", *flags, "--runs-folder", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    line = f"report: pip install 'permtrain[report]' && permtrain report {folder}"
    assert line in capsys.readouterr().out.splitlines()
    assert main(["report", str(folder)]) == 1
    assert capsys.readouterr().err == (
        "error: report needs packages that are not installed; allowed after: "
        "pip install 'permtrain[report]'\n"
    )
    assert main(["plot"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "figures need matplotlib: pip install 'permtrain[plots]'"
