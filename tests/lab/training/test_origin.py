"""A run's folder may come from anybody: what it was computed from, and whose code it may run."""

import json
import sys
from pathlib import Path

import pytest
from run_problem import place_in, plain, tiny

from permtrain.errors import PermtrainError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.training.origin import Origin
from permtrain.lab.training.run import load_run, resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Settings

NET = """
from pathlib import Path
from torch import nn

with Path(__file__).with_name("ran").open("a") as file:
    file.write("x")


class Net(nn.Sequential):
    pass


def build(image_shape, num_classes):
    return Net(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a network of one's own in it."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_net.py").write_text(NET)
    monkeypatch.chdir(folder)
    forget_code(monkeypatch)
    return folder


def forget_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.delitem(sys.modules, "own_net", raising=False)


def with_own_net(epochs: int = 1) -> Settings:
    return tiny(model="own_net:build", epochs=epochs)


def as_another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))


LOOKING = ("verify", "evaluate", "pack")


@pytest.mark.parametrize("command", LOOKING)
def test_looking_at_a_foreign_run_runs_no_code(
    command: str,
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    forget_code(monkeypatch)
    (code / "ran").unlink()
    as_another_user(monkeypatch, tmp_path)
    assert main([command, str(run)]) == 1
    said = capsys.readouterr().err
    assert "its model is 'own_net:build', code that was not trained here by you" in said
    assert "--trust-model" in said
    assert not (code / "ran").exists()
    assert main([command, str(run), "--trust-model"]) == 0
    assert (code / "ran").exists()


def test_report_and_figures_of_a_foreign_run_run_no_code(
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("plotly")
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    forget_code(monkeypatch)
    (code / "ran").unlink()
    as_another_user(monkeypatch, tmp_path)
    assert main(["report", str(run), "--output", "page.html"]) == 0
    assert "--trust-model" in Path("page.html").read_text()
    assert main(["plot", "histogram", str(run), "--output", "h.svg"]) == 0
    assert "weights before training are not known" in capsys.readouterr().out
    assert not (code / "ran").exists()
    assert main(["plot", "cycles", str(run), "--trust-model", "--output", "c.svg"]) == 0
    assert (code / "ran").exists()


@pytest.mark.parametrize("model", ["os:abort", "http.server:test"])
def test_no_function_of_a_library_is_called(model: str, tmp_path: Path) -> None:
    """With the old code the first of them ends this process."""
    run = start_run(plain(epochs=1), place_in(tmp_path)).folder
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"model": model}))
    with pytest.raises(SettingError, match="code that was not trained here by you"):
        load_run(run, place_in(tmp_path))


def test_own_code_is_imported_from_where_it_was_trained(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own_net.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(elsewhere)
    forget_code(monkeypatch)
    assert load_run(run, place_in(tmp_path)).is_finished
    assert sys.modules["own_net"].__file__ == str(code / "own_net.py")


def test_a_mark_fits_only_its_network(code: Path, tmp_path: Path) -> None:
    run = start_run(with_own_net(), place_in(tmp_path / "runs")).folder
    for change in ({"model": "os:abort"}, {"folder": str(tmp_path)}, {"mark": None}):
        origin = json.loads((run / "origin.json").read_text())
        origin["network"] |= change
        (tmp_path / "origin.json").write_text(json.dumps(origin))
        network = Origin.read(tmp_path / "origin.json").network
        assert network is not None
        assert not network.is_of_this_user
    network = RunFolder(run).origin().network  # type: ignore[union-attr]
    assert network is not None
    assert network.is_of_this_user


def test_the_key_is_readable_by_its_owner_alone(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    start_run(plain(epochs=1), place_in(tmp_path / "runs"))
    assert not (tmp_path / "state").exists()  # networks of ours need none
    start_run(with_own_net(), place_in(tmp_path / "runs"))
    (key,) = (tmp_path / "state" / "permtrain").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32


def test_without_a_home_training_works_and_looking_asks(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    run = start_run(with_own_net(), place_in(tmp_path)).folder
    with pytest.raises(SettingError, match="--trust-model"):
        load_run(run, place_in(tmp_path))
    assert load_run(run, place_in(tmp_path), trust_model=True).is_finished


def test_an_older_run_has_no_origin(code: Path, tmp_path: Path) -> None:
    ours = start_run(plain(epochs=1), place_in(tmp_path)).folder
    (ours / "origin.json").unlink()
    assert load_run(ours, place_in(tmp_path)).is_finished
    own = start_run(with_own_net(), place_in(tmp_path)).folder
    (own / "origin.json").unlink()
    with pytest.raises(SettingError, match="--trust-model"):
        load_run(own, place_in(tmp_path))
    assert resume_run(own, place_in(tmp_path)).epochs == 1


@pytest.mark.parametrize("text", ["[]", '{"network": {"model": 1}}', '{"network": "a"}', "{"])
def test_a_damaged_origin_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(text)
    with pytest.raises(PermtrainError, match=r"origin\.json"):
        Origin.read(tmp_path / "origin.json")
