"""Services such as wandb and trackio get the numbers of a run, by a small library of their kind."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from run_problem import InterruptAt, place_in, tiny

from permtrain.errors import SettingError
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import flat, to_dict
from permtrain.lab.training.stopping import Interrupted


class Service(ModuleType):
    """What it was told; it fails in what `fails` names."""

    def __init__(self, name: str, fails: str = "") -> None:
        super().__init__(name)
        self.calls: list[tuple[Any, ...]] = []
        self._fails = fails

    def _told(self, function: str, *values: Any) -> None:
        self.calls.append((function, *values))
        if function == self._fails:
            raise ConnectionError("nobody\nthere")

    def init(self, *, project: str, name: str, config: dict[str, Any]) -> None:
        self._told("init", project, name, config)

    def log(self, metrics: dict[str, Any], *, step: int) -> None:
        self._told("log", metrics, step)

    def finish(self) -> None:
        self._told("finish")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    library = Service("board")
    monkeypatch.setitem(sys.modules, "board", library)
    return library


def test_a_service_gets_every_number_of_every_epoch(tmp_path: Path, service: Service) -> None:
    settings, place = tiny(epochs=3), place_in(tmp_path, logger="board")
    with pytest.raises(Interrupted):
        start_run(settings, place, [InterruptAt(7)])  # in the second epoch
    (path,) = tmp_path.iterdir()
    resume_run(path, place_in(tmp_path))  # the folder remembers it
    history = RunFolder(path).metrics()
    begins = ("init", "permtrain", path.name, flat(to_dict(settings)))
    numbers = [each | {"optimizer_step": each["step"]} for each in history]
    numbers = [{k: v for k, v in each.items() if k not in ("epoch", "step")} for each in numbers]
    assert {"train_loss", "test_accuracy", "optimizer_step"} <= set(numbers[0])
    first, *others = [("log", each, epoch) for epoch, each in enumerate(numbers, 1)]
    end = ("finish",)
    assert service.calls == [begins, first, end, begins, *others, end]


@pytest.mark.parametrize("fails", ["log", "finish"])
def test_a_service_that_fails_ends_no_training(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Service("board", fails)
    monkeypatch.setitem(sys.modules, "board", library)
    told = rf"board\.{fails} failed \(nobody there\); nothing more is logged there"
    with pytest.warns(UserWarning, match=told) as said:
        result = start_run(tiny(epochs=2), place_in(tmp_path, logger="board"))
    assert len(said) == 1
    assert result.epochs == 2
    called = [function for function, *_ in library.calls]
    assert called == (["init", "log"] if fails == "log" else ["init", "log", "log", "finish"])


def test_what_is_no_service_is_refused_before_a_folder_is_made(
    tmp_path: Path, service: Service
) -> None:
    for name, message in (
        ("no_such_board", r"cannot be imported \(No module named 'no_such_board'\); allowed: an"),
        ("json", "lacks init; allowed: a library with init, log and finish"),
        ("", r"cannot be imported \(Empty module name\)"),
    ):
        with pytest.raises(SettingError, match=f"^logger is '{name}', which {message}"):
            start_run(tiny(), place_in(tmp_path, logger=name))
    assert not any(tmp_path.iterdir())


def test_a_service_that_cannot_begin_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "board", Service("board", "init"))
    place = place_in(tmp_path, logger="board")
    message = r"^logger is 'board', which cannot begin \(nobody there\); allowed: one that can, or"
    with pytest.raises(SettingError, match=message):
        start_run(tiny(), place)
    (path,) = tmp_path.iterdir()
    monkeypatch.setitem(sys.modules, "board", library := Service("board"))
    assert resume_run(path, replace(place, logger="board")).epochs == tiny().epochs
    assert [each[0] for each in library.calls] == ["init", "log", "log", "log", "finish"]
