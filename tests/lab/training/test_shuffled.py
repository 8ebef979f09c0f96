"""Runs that begin with the shuffled weights of a trained network."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from run_problem import InterruptAt, interrupted_run, outcome, place_in, plain, tiny
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from permtrain.core.profile import profile_of
from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.training.run import (
    load_run,
    resume_run,
    start_run,
    verify_trainer,
    verify_weights_file,
)
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    first_training,
    run_name,
)
from permtrain.lab.training.stopping import Interrupted
from permtrain.lab.training.trainer import Trainer

SHUFFLED = tiny(
    initial=InitialSettings(rule="shuffle", trained_rule="xavier_normal", trained_epochs=2),
    permutation=PermutationSettings(sync_period=4, permute_biases=True),
    watched_steps=2,
    evaluate_at=(3,),
    epochs=2,
)
FIRST = plain(initial=InitialSettings(rule="xavier_normal"), epochs=2)


def folder_of(settings, folder: Path) -> RunFolder:
    return RunFolder(folder / run_name(settings))


def test_a_first_run_trains_what_is_shuffled(tmp_path: Path) -> None:
    assert first_training(SHUFFLED) == FIRST
    result = start_run(SHUFFLED, place_in(tmp_path))
    first, second = folder_of(FIRST, tmp_path), RunFolder(result.folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        each.path.name for each in (first, second)
    )
    trained, kept = load_file(first.weights_file), load_file(second.trained_file)
    assert trained.keys() == kept.keys()
    assert all(torch.equal(trained[name], kept[name]) for name in trained)

    trainer = load_run(second.path, place_in(tmp_path))
    initial, last = trainer.initial_weights(), load_file(second.weights_file)
    for tensor in trainer.method.tensors:
        profiles = [profile_of(x[tensor.name], tensor.cut) for x in (trained, initial, last)]
        assert torch.equal(profiles[0], profiles[1])
        assert torch.equal(profiles[0], profiles[2])
        assert not torch.equal(trained[tensor.name], initial[tensor.name])
    moved = [n for n in initial if n.endswith("weight") and not torch.equal(initial[n], last[n])]
    assert len(moved) == 4
    assert len(trainer.method.tensors) == 8
    assert result.intact
    assert result.travel.moved_fraction > 0
    assert verify_trainer(trainer)[0]
    assert verify_weights_file(trainer, second.weights_file)
    drawn, _ = run_weights(second.path).by_unit()
    assert all((initial[name].flatten(1).numpy() == drawn[name]).all() for name in drawn)


def test_a_first_run_that_is_there_is_taken(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    start_run(FIRST, place)
    before = (folder_of(FIRST, tmp_path).path / "metrics.jsonl").stat().st_mtime_ns
    start_run(SHUFFLED, place)
    assert (folder_of(FIRST, tmp_path).path / "metrics.jsonl").stat().st_mtime_ns == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_first_run_in_training_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    whole = start_run(SHUFFLED, place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "shared")
    first = interrupted_run(FIRST, place, 3)
    held, warned, said = threading.Event(), threading.Event(), []

    def other_process() -> None:  # is killed while we wait
        with FileLock(first / ".lock"):
            held.set()
            warned.wait()

    def warn(text: str, stacklevel: int) -> None:
        said.append(text)
        warned.set()

    monkeypatch.setattr("warnings.warn", warn)
    threading.Thread(target=other_process, daemon=True).start()
    held.wait()
    start_run(SHUFFLED, place)
    assert said == [f"{first} is being trained by another process; its end is waited for"]
    assert outcome(folder_of(SHUFFLED, place.runs_folder).path) == outcome(whole)


def test_interrupted_in_either_run_it_ends_the_same(tmp_path: Path) -> None:
    whole = start_run(SHUFFLED, place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "parts")
    with pytest.raises(Interrupted, match=folder_of(FIRST, place.runs_folder).path.name):
        start_run(SHUFFLED, place, [InterruptAt(7)])
    assert not folder_of(FIRST, place.runs_folder).is_complete
    start_run(SHUFFLED, place)  # goes on with the first one
    assert outcome(folder_of(SHUFFLED, place.runs_folder).path) == outcome(whole)

    other = place_in(tmp_path / "other")
    start_run(FIRST, other)
    stopped = interrupted_run(SHUFFLED, other, 7)
    (stopped / "trained.safetensors").unlink()  # as if it was killed before that
    resume_run(stopped, other)
    assert outcome(stopped) == outcome(whole)
    assert (stopped / "trained.safetensors").is_file()


def test_weights_that_are_not_there_are_missed(tmp_path: Path) -> None:
    settings = replace(SHUFFLED, epochs=1)
    with pytest.raises(SettingError, match="there are no trained weights to shuffle"):
        Trainer(settings, place_in(tmp_path))
    folder = start_run(settings, place_in(tmp_path)).folder
    (folder / "trained.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"trained\.safetensors: not readable"):
        load_run(folder, place_in(tmp_path))
    with pytest.raises(CheckpointError, match=r"trained\.safetensors: not readable"):
        resume_run(folder, place_in(tmp_path))


def test_a_first_run_whose_weights_were_damaged(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    start_run(FIRST, place)
    weights = folder_of(FIRST, tmp_path).weights_file
    for text, message in (
        (b"nothing", r"weights\.safetensors: not readable as safetensors"),
        (
            safetensors_bytes({"x": torch.ones(2)}),
            "the trained weights to shuffle are of another mo",
        ),
    ):
        weights.write_bytes(text)
        with pytest.raises(CheckpointError, match=message):
            start_run(SHUFFLED, place)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_same_first_run_serves_other_methods() -> None:
    """What belongs to the second run alone is not in the first one's settings."""
    other = replace(
        SHUFFLED,
        permutation=PermutationSettings(method="index"),
        watched_steps=0,
        epochs=9,
    )
    assert first_training(other) == FIRST
    as_long = replace(other, initial=replace(other.initial, trained_epochs=None))
    assert first_training(as_long) == replace(FIRST, epochs=9)
    assert first_training(FIRST) is None
    slower = replace(other, optimizer=OptimizerSettings(lr=1e-4))
    assert first_training(slower).optimizer == OptimizerSettings(lr=1e-4)
