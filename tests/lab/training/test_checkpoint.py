"""Checkpoint files that are damaged, foreign, or do not fit on the disk."""

import errno
import os
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import (
    IN_FULL_MESSAGE,
    checkpoint_names,
    interrupted_run,
    outcome,
    place_in,
    plain,
    tiny,
)

from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.training import engine
from permtrain.lab.training.checkpoint import load_checkpoint, save_checkpoint
from permtrain.lab.training.run import ClassifierSession, load_into, load_run, resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import PermutationSettings
from permtrain.lab.training.trainer import Trainer

STATE = {"weights": torch.arange(50.0), "step": 3, "names": ["a", "b"], "nothing": None}


def same(state: dict) -> bool:
    return state.keys() == STATE.keys() and all(
        torch.equal(state[k], v) if isinstance(v, torch.Tensor) else state[k] == v
        for k, v in STATE.items()
    )


def refusal_of(path: Path) -> str | None:
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return None


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "step.pt"
    save_checkpoint(path, STATE)
    return path


def test_saved_and_loaded(saved: Path) -> None:
    assert same(load_checkpoint(saved))
    assert os.listdir(saved.parent) == ["step.pt"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.pt: no such checkpoint$"):
        load_checkpoint(tmp_path / "nothing.pt")


def test_every_flipped_byte_is_detected_or_harmless(saved: Path) -> None:
    whole = saved.read_bytes()
    detected = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        saved.write_bytes(damaged)
        refusal = refusal_of(saved)
        if refusal is None:
            assert same(load_checkpoint(saved)), place
        else:
            assert str(saved) in refusal
            assert "\n" not in refusal
            detected += 1
    assert detected > len(whole) / 7 / 4


def test_a_flipped_weight_is_named(saved: Path) -> None:
    whole = saved.read_bytes()
    place = whole.index(torch.arange(50.0).numpy().tobytes()) + 21
    saved.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(CheckpointError, match=r"damaged, checksum of \S+/data/0 does not fit"):
        load_checkpoint(saved)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
def test_a_file_cut_short(saved: Path, kept: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else int(kept)])
    with pytest.raises(CheckpointError, match=r"step\.pt: not a readable checkpoint") as refused:
        load_checkpoint(saved)
    assert "\n" not in str(refused.value)


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_not_executed(saved: Path, tmp_path: Path, legacy: bool) -> None:
    target = tmp_path / "made by malice"
    if legacy:
        saved.write_bytes(pickle.dumps(Malice(target)))
    else:
        torch.save({"format": 1, "settings": Malice(target)}, saved)
    said = "not a readable checkpoint" if legacy else "holds more than plain tensors"
    with pytest.raises(CheckpointError, match=said) as refused:
        load_checkpoint(saved)
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch advises to run what is in the file
    assert not target.exists()


def test_a_checkpoint_that_unpacks_to_more_is_refused(saved: Path) -> None:
    save_checkpoint(saved, {"zeros": torch.zeros(100_000)})
    with zipfile.ZipFile(saved) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(
        CheckpointError, match=r"step\.pt: claims more than it holds; allowed: a ch"
    ):
        load_checkpoint(saved)


def test_another_zip_and_another_object(saved: Path) -> None:
    torch.save([1, 2], saved)
    with pytest.raises(CheckpointError, match="holds a list; allowed: a checkpoint"):
        load_checkpoint(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(saved)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_keeps_the_earlier_file(
    saved: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(os, failing, full_disk)
    with pytest.raises(CheckpointError, match=IN_FULL_MESSAGE):
        save_checkpoint(saved, STATE)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["step.pt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_while_torch_writes(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, opened = saved.read_bytes(), os.fdopen

    def on_full_disk(descriptor: int, *more: object) -> object:
        os.close(descriptor)
        return opened(os.open("/dev/full", os.O_WRONLY), *more)

    monkeypatch.setattr(os, "fdopen", on_full_disk)
    with pytest.raises(CheckpointError, match=IN_FULL_MESSAGE):
        save_checkpoint(saved, {"weights": torch.zeros(100_000)})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["step.pt"]


def test_a_run_whose_disk_fills_up_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start_run(tiny(), place_in(tmp_path / "whole")).folder
    written = []
    fsync = os.fsync

    def fills_up(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 20:
            full_disk()
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        with pytest.raises((CheckpointError, OSError), match="No space left on device"):
            start_run(tiny(), place_in(tmp_path / "full", checkpoint_steps=3))
    (folder,) = (tmp_path / "full").iterdir()
    left = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith(".") and name != ".lock"]
    assert len(RunFolder(folder).numbered_checkpoints()) >= 1
    for path in RunFolder(folder).numbered_checkpoints():
        load_checkpoint(path)
    resume_run(folder, place_in(tmp_path))
    assert outcome(folder) == outcome(whole)


def test_a_disk_that_is_full_at_the_start_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match=r"No space left on device: '.*/settings\.json'"):
            start_run(tiny(), place_in(tmp_path))
    assert os.listdir(tmp_path) == []
    start_run(tiny(epochs=1), place_in(tmp_path))


@pytest.mark.parametrize(("keep", "steps"), [(1, [15]), (2, [10, 15]), (3, [5, 10, 15])])
def test_the_last_checkpoints_and_the_best_are_kept(
    keep: int, steps: list[int], tmp_path: Path
) -> None:
    result = start_run(tiny(), place_in(tmp_path, keep_checkpoints=keep))
    names = [f"step-{step:09d}.pt" for step in steps]
    assert checkpoint_names(result.folder) == ["best.pt", *names]
    assert RunFolder(result.folder).last_checkpoint().name == names[-1]


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_the_best_is_the_first_epoch_of_the_highest_accuracy(
    fraction: float, tmp_path: Path
) -> None:
    settings = plain(epochs=4)
    settings = replace(settings, data=replace(settings.data, validation_fraction=fraction))
    result = start_run(settings, place_in(tmp_path))
    history = RunFolder(result.folder).metrics()
    key = "validation_accuracy" if fraction else "test_accuracy"
    accuracies = [line[key] for line in history]
    assert result.best_epoch == 1 + accuracies.index(max(accuracies))
    assert result.best_test_accuracy == history[result.best_epoch - 1]["test_accuracy"]
    trainer = load_run(result.folder, place_in(tmp_path), "best")
    assert trainer.position.epoch == result.best_epoch
    assert trainer.evaluate(trainer.test_split).accuracy == result.best_test_accuracy


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return interrupted_run(tiny(), place_in(tmp_path_factory.mktemp("runs")), 7)


def test_a_checkpoint_of_other_settings(stopped: Path, tmp_path: Path) -> None:
    path = RunFolder(stopped).last_checkpoint()
    for settings in (tiny(seed=1), tiny(model="logistic"), plain()):
        trainer = Trainer(settings, place_in(tmp_path))
        with pytest.raises(CheckpointError, match=r"pt: is of settings \w{8}; allowed: \w{8}$"):
            load_into(trainer, path)


def test_a_state_of_another_model_or_method(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    state = Trainer(tiny(), place).state_dict()
    for settings in (
        tiny(model="logistic"),
        tiny(permutation=PermutationSettings(method="index")),
        tiny(permutation=PermutationSettings(method="plain-frozen-zeros")),
    ):
        with pytest.raises(CheckpointError) as refused:
            Trainer(settings, place).load_state_dict(state)
        assert "\n" not in str(refused.value)
    for name in ("model", "rng_cpu"):
        less = {key: value for key, value in state.items() if key != name}
        with pytest.raises(CheckpointError, match="checkpoint is of another model or method"):
            Trainer(tiny(), place).load_state_dict(less)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.update(format=2), CheckpointError, "no checkpoint of a permtrain run, format"),
        (lambda s: s.pop("settings"), CheckpointError, "no checkpoint of a permtrain run"),
        (lambda s: s["settings"].update(epoks=3), SettingError, "settings has unknown 'epoks'"),
        (lambda s: s.update(settings=3), SettingError, "settings is 3; allowed: an object"),
        (lambda s: s.update(trainer=3), CheckpointError, "checkpoint is of another model"),
    ],
)
def test_contents_that_are_refused(
    change, error: type[Exception], message: str, stopped: Path, tmp_path: Path
) -> None:
    state = torch.load(RunFolder(stopped).last_checkpoint(), weights_only=True)
    change(state)
    torch.save(state, tmp_path / "changed.pt")
    with pytest.raises(error, match=message):
        load_run(stopped, place_in(tmp_path), str(tmp_path / "changed.pt"))


def test_a_damaged_checkpoint_leaves_the_folder_as_it_is(stopped: Path) -> None:
    path = RunFolder(stopped).last_checkpoint()
    whole = path.read_bytes()
    others = checkpoint_names(stopped)
    try:
        path.write_bytes(whole[:-500])
        with pytest.raises(CheckpointError, match=r"step-000000007\.pt: not a readable"):
            resume_run(stopped, place_in(stopped.parent))
    finally:
        path.write_bytes(whole)
    assert checkpoint_names(stopped) == others
    assert not RunFolder(stopped).is_complete


@pytest.mark.parametrize(
    ("accuracies", "is_best"),
    [([0.5], True), ([0.5, 0.75], True), ([0.75, 0.75], False), ([0.5, 0.8, 0.7], False)],
)
def test_of_equal_epochs_the_first_is_the_best(
    accuracies: list[float], is_best: bool, tmp_path: Path
) -> None:
    trainer = Trainer(tiny(), place_in(tmp_path))
    session = ClassifierSession(trainer, RunFolder(tmp_path), place_in(tmp_path), [])
    session.history = [{"test_accuracy": accuracy} for accuracy in accuracies]
    assert session.is_best() == is_best


def test_a_damaged_last_checkpoint_names_the_one_before(stopped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    *_, before, last = RunFolder(folder).numbered_checkpoints()
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(CheckpointError) as refused:
        resume_run(folder, place_in(tmp_path))
    assert str(refused.value).startswith(f"{last}: not a readable checkpoint (")
    assert str(refused.value).endswith(f"; remove it to go on from {before}")
    with pytest.raises(CheckpointError, match=f"; earlier: --checkpoint {before}$"):
        load_run(folder, place_in(tmp_path))
    load_run(folder, place_in(tmp_path), str(before))
    last.unlink()
    resume_run(folder, place_in(tmp_path))


def test_a_run_killed_before_it_pruned_keeps_no_checkpoint_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def killed(file: Path, plain: object) -> None:
        raise Killed

    place = place_in(tmp_path, keep_checkpoints=1)
    monkeypatch.setattr(engine, "write_json", killed)
    with pytest.raises(Killed):
        start_run(tiny(), place)
    monkeypatch.undo()
    (folder,) = tmp_path.iterdir()
    saved = folder / "checkpoints"
    shutil.copy(saved / "step-000000015.pt", saved / "step-000000014.pt")
    resume_run(folder, place)
    assert checkpoint_names(folder) == ["best.pt", "step-000000015.pt"]
