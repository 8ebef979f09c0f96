"""What paths on the command line mean."""

from pathlib import Path

import pytest

from permtrain.lab.cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))  # what Windows looks at
    monkeypatch.chdir(elsewhere)
    return home


def test_a_leading_tilde_is_the_home_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "~/nothing"]) == 1
    assert str(home / "nothing") in capsys.readouterr().err
    main(["gather", "index-layer", "--runs-folder=~/runs", "--results-folder=~/results"])
    assert (home / "results").is_dir()
    assert list(Path().iterdir()) == []
