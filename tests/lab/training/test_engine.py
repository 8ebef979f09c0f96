"""The engine, on a session that counts."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from run_problem import checkpoint_names, place_in

from permtrain.errors import CheckpointError
from permtrain.lab.training.checkpoint import load_checkpoint
from permtrain.lab.training.display import SILENT, Display
from permtrain.lab.training.engine import Session, compute
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.stopping import Interrupted


class Counting(Session):
    """Adds its steps up, `stride` of them at a time; every fifth step ends a part."""

    def __init__(self, num_steps: int = 20, stride: int = 1, best: int = 0) -> None:
        self.device = torch.device("cpu")
        self.history: list[Metrics] = []
        self.done = self.sum = 0
        self.total, self.stride, self.best = num_steps, stride, best

    @property
    def step(self) -> int:
        return self.done

    @property
    def num_steps(self) -> int:
        return self.total

    def advance(self) -> Metrics | None:
        for _ in range(self.stride):
            self.done += 1
            self.sum += self.done
        return {"part": self.done // 5, "sum": self.sum} if self.done % 5 == 0 else None

    def is_best(self) -> bool:
        return self.history[-1]["part"] == self.best

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "sum": self.sum, "history": list(self.history)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["done"] > self.total:
            raise CheckpointError(f"done is {state['done']}; allowed: up to {self.total}")
        self.done, self.sum, self.history = state["done"], state["sum"], list(state["history"])

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        assert not folder.is_complete
        return {"sum": self.sum, "parts": len(self.history)}


class Watch:
    """Notes what is shown and said; raises something, or sends a signal, at a step or a text."""

    def __init__(self, at: int | str | None = None, do: Any = None) -> None:
        self.at, self.do = at, do
        self.shown: list[tuple[int, int]] = []
        self.said: list[str] = []

    def show(self, done: int, total: int) -> None:
        self.shown.append((done, total))
        self._act(done)

    def say(self, text: str) -> None:
        self.said.append(text)
        self._act(text)

    def _act(self, seen: int | str) -> None:
        if seen != self.at:
            return
        if isinstance(self.do, signal.Signals):
            signal.raise_signal(self.do)
        else:
            raise self.do


class Killed(Exception):
    """Stands for a process that ends without a word."""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "environment.json").write_text("{}")
    return RunFolder(tmp_path)


def run(
    folder: RunFolder,
    session: Counting | None = None,
    display: Display = SILENT,
    *,
    resumed: bool = False,
    checkpoint: Path | None = None,
    **place: Any,
) -> Counting:
    session = session or Counting()
    here = place_in(folder.path, **place)
    compute(session, folder, here, display, resumed=resumed, checkpoint=checkpoint)
    return session


def test_from_start_to_result(folder: RunFolder) -> None:
    display = Watch()
    run(folder, display=display)
    assert json.loads(folder.result_file.read_text()) == {"sum": 210, "parts": 4}
    assert folder.metrics() == [{"part": n, "sum": 5 * n * (5 * n + 1) // 2} for n in range(1, 5)]
    assert display.shown == [(done, 20) for done in range(1, 21)]
    assert display.said == [f"part {n}  sum {5 * n * (5 * n + 1) // 2}" for n in range(1, 5)]
    assert checkpoint_names(folder.path) == ["step-000000015.pt", "step-000000020.pt"]
    assert json.loads(folder.environment_file.read_text()) == {}


@pytest.mark.parametrize(
    ("stride", "every", "steps"),
    [(1, None, [5, 10, 15, 20]), (1, 6, [5, 6, 10, 12, 15, 18, 20]), (4, 6, [8, 12, 20])],
)
def test_a_checkpoint_after_each_part_and_every_so_many_steps(
    stride: int, every: int | None, steps: list[int], folder: RunFolder
) -> None:
    run(folder, Counting(stride=stride), checkpoint_steps=every, keep_checkpoints=99)
    assert checkpoint_names(folder.path) == [f"step-{step:09d}.pt" for step in steps]


def test_the_best_is_kept(folder: RunFolder) -> None:
    run(folder, Counting(best=2), keep_checkpoints=1)
    assert checkpoint_names(folder.path) == ["best.pt", "step-000000020.pt"]
    assert load_checkpoint(folder.best_checkpoint)["done"] == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 7, 10, 20, "part 2  sum 55", "part 4  sum 210"])
def test_a_stop_saves_and_the_rest_follows(
    at: int | str, number: signal.Signals, folder: RunFolder
) -> None:
    session = Counting()
    with pytest.raises(Interrupted) as stopped:
        run(folder, session, Watch(at, number))
    assert session.step == (at if isinstance(at, int) else 10 if "2" in at[:6] else 20)
    saved = folder.last_checkpoint()
    assert saved.name == f"step-{session.step:09d}.pt"
    assert str(stopped.value) == f"stopped; saved {saved}; the same command goes on"
    assert not folder.is_complete
    run(folder, resumed=True)
    assert json.loads(folder.result_file.read_text()) == {"sum": 210, "parts": 4}
    assert [metrics["part"] for metrics in folder.metrics()] == [1, 2, 3, 4]
    (noted,) = json.loads(folder.environment_file.read_text())["resumed"]
    assert noted["threads"] == torch.get_num_threads()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_killed_run_goes_on_from_its_last_checkpoint(kept: int, folder: RunFolder) -> None:
    """At step 10 the second part is not kept yet, at its words it is."""
    at = "part 2  sum 55" if kept else 10
    with pytest.raises(Killed):
        run(folder, display=Watch(at, Killed()))
    display = Watch()
    run(folder, display=display, resumed=True)
    assert display.shown[0] == (11 if kept else 6, 20)
    assert json.loads(folder.result_file.read_text()) == {"sum": 210, "parts": 4}


def test_going_back_forgets_what_came_after(folder: RunFolder) -> None:
    run(folder, keep_checkpoints=99)
    folder.weights_file.write_text("of the end")
    with pytest.raises(Killed):
        run(
            folder,
            display=Watch(11, Killed()),
            resumed=True,
            checkpoint=folder.checkpoint_after(10),
        )
    assert checkpoint_names(folder.path) == ["step-000000005.pt", "step-000000010.pt"]
    assert [metrics["part"] for metrics in folder.metrics()] == [1, 2]
    assert not folder.is_complete
    assert not folder.weights_file.exists()


def test_a_checkpoint_that_is_refused_is_named_and_nothing_is_lost(folder: RunFolder) -> None:
    run(folder)
    before = sorted(path.name for path in folder.path.rglob("*"))
    with pytest.raises(CheckpointError) as refused:
        run(folder, Counting(num_steps=10), resumed=True)
    saved = folder.checkpoint_after(20)
    assert str(refused.value) == f"{saved}: done is 20; allowed: up to 10"
    assert sorted(path.name for path in folder.path.rglob("*")) == before
    assert json.loads(folder.environment_file.read_text()) == {}


class Remove:
    """Removes something when a step is shown; what is put in its place comes back."""

    def __init__(self, path: Path, step: int, replacement: Path | None = None) -> None:
        self.path, self.step, self.replacement = path, step, replacement

    def show(self, done: int, total: int) -> None:
        if done != self.step:
            return
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink()
        if self.replacement is not None:
            self.replacement.rename(self.path)

    def say(self, text: str) -> None:
        pass


@pytest.mark.parametrize("step", [7, 20])
@pytest.mark.parametrize("every", [None, 3])
def test_a_folder_that_is_removed_ends_the_run(
    step: int, every: int | None, tmp_path: Path
) -> None:
    folder = begun(tmp_path)
    display = Remove(folder.path, step)
    with pytest.raises(CheckpointError, match="run: was removed or replaced while the run went on"):
        compute_in(folder, Counting(), display, every)
    assert not folder.path.exists()


def test_a_folder_that_is_replaced_ends_the_run(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    other = begun(tmp_path, "other", "2026-01-02")
    with pytest.raises(CheckpointError, match="run: was removed or replaced while the run went on"):
        compute_in(folder, Counting(), Remove(folder.path, 7, other.path))
    assert sorted(path.name for path in folder.path.iterdir()) == ["environment.json"]


def test_a_record_that_is_removed_ends_the_run(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: was removed while the run went on"):
        compute_in(folder, Counting(), Remove(folder.metrics_file, 17))
    assert not folder.is_complete


def begun(folder: Path, name: str = "run", when: str = "2026-01-01") -> RunFolder:
    run = RunFolder(folder / name)
    run.path.mkdir()
    run.environment_file.write_text(json.dumps({"begun": when}))
    return run


def compute_in(
    folder: RunFolder, session: Counting, display: Display, every: int | None = None
) -> None:
    place = place_in(folder.path.parent, checkpoint_steps=every)
    compute(session, folder, place, display, resumed=False)
