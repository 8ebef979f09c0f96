"""A run that was interrupted and went on equals the one that was not, bit for bit."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import (
    InterruptAt,
    checkpoint_names,
    interrupted_run,
    metrics_of,
    outcome,
    place_in,
    plain,
    tiny,
)

from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.training import engine
from permtrain.lab.training.display import Silent
from permtrain.lab.training.engine import Session
from permtrain.lab.training.ranking_watch import read_ranking
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder, RunIsBusy
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
    SGPermSettings,
)
from permtrain.lab.training.stopping import Interrupted

SGD = OptimizerSettings(inner="SGD", lr=0.05, inner_options={"momentum": 0.9}, lr_decay=0.5)
CASES = {
    "laperm": tiny(),
    "index per layer": tiny(permutation=PermutationSettings(method="index")),
    "index k=3": tiny(
        permutation=PermutationSettings(method="index", granularity="neuron", sync_period=3)
    ),
    "laperm, dropout, augmentation, biases, momentum": tiny(
        model="run_problem:net_with_dropout",
        augmentation=Augmentation(rotation_degrees=15, shift_fraction=0.1, zoom_fraction=0.1),
        permutation=PermutationSettings(sync_period=4, permute_biases=True),
        optimizer=SGD,
        reestimate_batch_norm=True,
    ),
    "sgperm, biases, evaluations, watched steps": tiny(
        permutation=PermutationSettings(method="sgperm", permute_biases=True),
        sgperm=SGPermSettings(search="any", order="random"),
        evaluate_at=(3, 7, 12),
        watched_steps=9,
    ),
    "sgperm, biases in rows, another optimizer recommends": tiny(
        permutation=PermutationSettings(method="sgperm", permute_biases=True),
        sgperm=SGPermSettings(permuted_biases="row", recommendation="difference"),
    ),
    "plain, cosine": plain(optimizer=OptimizerSettings(lr=0.01, lr_cosine=True)),
    "plain": plain(),
    "lookahead": plain(optimizer=OptimizerSettings(lookahead_period=4)),
    "frozen zeros": tiny(
        permutation=PermutationSettings(method="plain-frozen-zeros"),
        initial=InitialSettings(sparsity=0.5),
        optimizer=SGD,
    ),
    "rewiring, over by then": tiny(
        permutation=PermutationSettings(sync_period=4, permuted_steps=6),
        initial=InitialSettings(sparsity=0.5),
        optimizer=SGD,
    ),
    "rewiring, still to come": tiny(
        permutation=PermutationSettings(method="index", permuted_steps=9),
        initial=InitialSettings(sparsity=0.5),
    ),
    "sync periods by epochs": tiny(
        permutation=PermutationSettings(sync_period=2, sync_milestones=(1, 2), sync_periods=(3, 5)),
    ),
    "sync periods by steps, latent weights": tiny(
        permutation=PermutationSettings(
            method="index",
            sync_milestones=(6, 8),
            sync_periods=(4, 3),
            sync_milestones_in="steps",
        ),
    ),
    "bfloat16": tiny(autocast="bfloat16"),
    "validation": tiny(data=DataSettings(train_images=130, validation_fraction=0.1)),
}
IN_MID_PERIOD = 7  # two batches into the second epoch, one step before the second synchronisation


@pytest.mark.parametrize("case", CASES)
def test_interrupted_in_mid_epoch_and_mid_period(case: str, tmp_path: Path) -> None:
    settings = CASES[case]
    whole = start_run(settings, place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "halves")
    folder = interrupted_run(settings, place, IN_MID_PERIOD)
    assert [line["epoch"] for line in metrics_of(folder)] == [1]
    assert not (folder / "result.json").exists()
    torch.manual_seed(99)  # a new process would not know where the generators stood
    resume_run(folder, place)
    assert outcome(folder) == outcome(whole)


def test_stopped_by_a_job_scheduler(tmp_path: Path) -> None:
    whole = start_run(tiny(), place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "halves")
    stop = InterruptAt(IN_MID_PERIOD, signal_number=signal.SIGTERM)
    with pytest.raises(Interrupted, match=rf"step-{IN_MID_PERIOD:09d}\.pt; go on with: permtrain"):
        start_run(tiny(), place, [stop])
    (folder,) = place.runs_folder.iterdir()
    resume_run(folder, place)
    assert outcome(folder) == outcome(whole)


def test_a_second_signal_while_the_checkpoint_is_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job scheduler's: to the job, and to whoever started it, who hands it on."""

    def broken(signum: int, frame: object) -> None:
        raise AssertionError("broken off")

    save = engine.save

    def signalled(session: Session, folder: RunFolder, keep: int) -> Path:
        if session.step == IN_MID_PERIOD:
            signal.raise_signal(signal.SIGTERM)
        return save(session, folder, keep)

    before = signal.signal(signal.SIGTERM, broken)
    try:
        monkeypatch.setattr(engine, "save", signalled)
        stop = InterruptAt(IN_MID_PERIOD, signal_number=signal.SIGTERM)
        with pytest.raises(Interrupted, match=rf"saved .*step-{IN_MID_PERIOD:09d}\.pt"):
            start_run(tiny(), place_in(tmp_path), [stop])
    finally:
        signal.signal(signal.SIGTERM, before)
    (folder,) = tmp_path.iterdir()
    assert f"step-{IN_MID_PERIOD:09d}.pt" in checkpoint_names(folder)


@pytest.mark.parametrize("case", ["laperm", "index k=3", "rewiring, over by then"])
@pytest.mark.parametrize("steps", [[5], [1, 14], [4, 5, 12]])
def test_interrupted_elsewhere_and_more_than_once(
    case: str, steps: list[int], tmp_path: Path
) -> None:
    settings = CASES[case]
    whole = start_run(settings, place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "parts")
    folder = interrupted_run(settings, place, steps[0])
    for step in steps[1:]:
        with pytest.raises(Interrupted, match=rf"step-{step:09d}\.pt; go on with: permtrain"):
            resume_run(folder, place, [InterruptAt(step)])
    resume_run(folder, place)
    assert outcome(folder) == outcome(whole)


@pytest.mark.parametrize(
    "case", ["laperm", "index per layer", "frozen zeros", "rewiring, still to come"]
)
def test_any_checkpoint_goes_on_to_the_same_end(case: str, tmp_path: Path) -> None:
    place = place_in(tmp_path, checkpoint_steps=3, keep_checkpoints=100)
    whole = start_run(CASES[case], place).folder
    names = [f"step-{step:09d}.pt" for step in (3, 5, 6, 9, 10, 12, 15)]
    assert checkpoint_names(whole) == ["best.pt", *names]
    expected = outcome(whole)
    for name in ("step-000000003.pt", "step-000000010.pt", "step-000000015.pt"):
        copy = tmp_path / f"from {name}"
        shutil.copytree(whole, copy)
        resume_run(copy, place, checkpoint=copy / "checkpoints" / name)
        assert outcome(copy) == expected
        assert checkpoint_names(copy) == checkpoint_names(whole)


def test_going_back_forgets_what_came_after(tmp_path: Path) -> None:
    place = place_in(tmp_path, checkpoint_steps=1, keep_checkpoints=20)
    whole = start_run(tiny(), place).folder
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    narrow = place_in(tmp_path, keep_checkpoints=1)
    with pytest.raises(Interrupted, match=r"step-000000006\.pt"):
        resume_run(copy, narrow, [InterruptAt(6)], copy / "checkpoints" / "step-000000003.pt")
    assert checkpoint_names(copy) == ["best.pt", "step-000000006.pt"]
    assert [line["epoch"] for line in metrics_of(copy)] == [1]
    assert not RunFolder(copy).is_complete
    ends = ("weights.safetensors", "packed.safetensors")
    assert not any((copy / name).exists() for name in ends)  # they would be taken for this run's
    resume_run(copy, narrow)
    assert outcome(copy) == outcome(whole)
    assert all((copy / name).read_bytes() == (whole / name).read_bytes() for name in ends)


def accuracies(folder: Path) -> list[float]:
    return [line["test_accuracy"] for line in metrics_of(folder)]


def epoch_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["trainer"]["position"]["epoch"]


@pytest.mark.parametrize("step", [5, 7])
def test_going_back_forgets_a_later_best_and_all_that_watched(step: int, tmp_path: Path) -> None:
    """After step 5 the first epoch is the best so far; 7 is in the midst of the second one."""
    settings = tiny(watch_ranking_distance=True)
    place = place_in(tmp_path, checkpoint_steps=1, keep_checkpoints=20)
    folder = start_run(settings, place).folder
    best = folder / "checkpoints" / "best.pt"
    assert accuracies(folder)[0] < max(accuracies(folder))
    assert epoch_of(best) > 1
    early = folder / "checkpoints" / f"step-{step:09d}.pt"
    with pytest.raises(Interrupted):
        resume_run(folder, place, [InterruptAt(step + 1)], early)
    kept = [path.name for path in (folder / "checkpoints").iterdir()]
    assert max(kept) == f"step-{step + 1:09d}.pt"
    assert best.exists() == (step == 5)
    assert not best.exists() or epoch_of(best) == 1
    epochs = [line["epoch"] for line in read_ranking(folder / "ranking.jsonl")]
    assert epochs == [0, 1]
    resume_run(folder, place)
    assert epoch_of(best) == 1 + accuracies(folder).index(max(accuracies(folder)))


class Killed(Exception):
    """Stands for a process that ends without a word."""


def test_killed_between_epochs(tmp_path: Path) -> None:
    class Kill(Silent):
        def say(self, text: str) -> None:
            if text.startswith("epoch 2/3"):
                raise Killed

    whole = start_run(tiny(), place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "killed")
    with pytest.raises(Killed):
        start_run(tiny(), place, display=Kill())
    (folder,) = (tmp_path / "killed").iterdir()
    resume_run(folder, place)
    assert outcome(folder) == outcome(whole)
    assert checkpoint_names(folder) == checkpoint_names(whole)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_killed_between_record_and_checkpoint(
    epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start_run(tiny(), place_in(tmp_path / "whole")).folder
    place = place_in(tmp_path / "killed")
    save = engine.save

    def killed(session, folder, keep):
        if session.step == 5 * epoch:
            raise Killed
        return save(session, folder, keep)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "save", killed)
        with pytest.raises(Killed):
            start_run(tiny(), place)
    (folder,) = (tmp_path / "killed").iterdir()
    assert len(metrics_of(folder)) == epoch
    resume_run(folder, place)
    assert outcome(folder) == outcome(whole)
    best = [path / "checkpoints" / "best.pt" for path in (folder, whole)]
    weights = [torch.load(path, weights_only=True)["trainer"]["model"] for path in best]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_resuming_a_complete_run_changes_nothing(tmp_path: Path) -> None:
    folder = start_run(tiny(), place_in(tmp_path)).folder
    before = outcome(folder)
    resume_run(folder, place_in(tmp_path))
    assert outcome(folder) == before


class Notes(Silent):
    """A display that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_where_sums_round_otherwise_a_line_says_so_in_the_record_and_the_report_too(
    tmp_path: Path,
) -> None:
    folder = interrupted_run(tiny(), place_in(tmp_path), 3)
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    two = replace(place_in(tmp_path), threads=2)
    with pytest.raises(SettingError) as refused:
        resume_run(folder, two, strict=True)
    assert str(refused.value) == (
        f"{folder} would go on with threads 2 in place of 1, so that sums round otherwise; allowed "
        "with --strict: as at its beginning"
    )
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before
    display = Notes()
    with pytest.raises(Interrupted):
        resume_run(folder, two, [InterruptAt(5)], display=display)
    assert display.notes == [
        "goes on with threads 2 in place of 1: sums round otherwise, no longer bit for bit"
    ]
    (noted,) = json.loads((folder / "environment.json").read_text())["resumed"]
    assert noted["rounds_otherwise"] == "threads 2 in place of 1"
    assert main(["report", str(folder), "--output", str(tmp_path / "page.html")]) == 0
    said = "Gone on with threads 2 in place of 1: from there on sums round otherwise"
    assert said in (tmp_path / "page.html").read_text()
    resume_run(folder, place_in(tmp_path), strict=True, display=display)  # as at its beginning
    assert len(display.notes) == 1


def test_other_instructions_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Those that torch takes are chosen when it is loaded."""
    here = torch.backends.cpu.get_cpu_capability()
    if here in ("DEFAULT", "NO AVX"):
        pytest.skip("this processor has none that could be left out")
    folder = interrupted_run(tiny(), place_in(tmp_path), 3)
    command = [sys.executable, "-m", "permtrain.lab.cli.main", "resume", str(folder)]
    fewer = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    assert subprocess.run([*command, "--strict"], env=fewer).returncode == 1
    assert subprocess.run(command, env=fewer).returncode == 0
    said = capfd.readouterr()
    for text in (said.err, said.out):
        assert f" in place of cpu, {platform.machine()}, {here}" in text


def test_times_add_up_over_sessions(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    folder = interrupted_run(tiny(), place, IN_MID_PERIOD)
    saved = torch.load(folder / "checkpoints" / "step-000000007.pt", weights_only=True)
    state = saved["trainer"]
    assert state["position"]["wall_s"] > 0
    state["position"]["wall_s"] += 1000
    torch.save(saved, folder / "checkpoints" / "step-000000007.pt")
    result = resume_run(folder, place)
    assert [line["wall_s"] > 1000 for line in RunFolder(folder).metrics()] == [False, True, False]
    assert result.wall_s >= 1000  # in tenths of a second


def test_a_run_in_training_is_left_alone(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    seen = []

    class Intruder(InterruptAt):
        def after_step(self, trainer):
            if trainer.position.step == 6:
                (folder,) = tmp_path.iterdir()
                before = (folder / "metrics.jsonl").read_text()
                with pytest.raises(RunIsBusy, match="is being trained by another process"):
                    resume_run(folder, place)
                assert (folder / "metrics.jsonl").read_text() == before
                seen.append(checkpoint_names(folder))

    start_run(tiny(), place, [Intruder()])
    assert seen == [["best.pt", "step-000000005.pt"]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), r"metrics\.jsonl: holds epochs \[\]; allowed: 1 to 1"),
        (lambda file: file.write_text('{"epo'), r"metrics\.jsonl: not readable as JSON"),
    ],
)
def test_a_damaged_record_is_refused(damage, message: str, tmp_path: Path) -> None:
    place = place_in(tmp_path)
    folder = interrupted_run(tiny(), place, IN_MID_PERIOD)
    damage(folder / "metrics.jsonl")
    before = checkpoint_names(folder)
    with pytest.raises(CheckpointError, match=message):
        resume_run(folder, place)
    assert checkpoint_names(folder) == before


def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real thing: a signal from outside, and a new process to go on."""
    flags = ["--epochs", "15", "--train-images", "130", "--threads", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "permtrain.lab.cli.main", "train", *flags]
    process = subprocess.Popen(
        [*command, "--runs-folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if "epoch 2/15" in line:
            break
    process.send_signal(signal.SIGINT)
    assert "proof" not in process.stdout.read()
    said = process.stderr.read()
    assert process.wait() == 130
    process.stdout.close()
    process.stderr.close()
    (folder,) = tmp_path.iterdir()
    assert said.startswith("stopped; saved ")
    assert said.endswith(f"go on with: permtrain resume {folder}\n")
    assert said.count("\n") == 1
    assert not (folder / "result.json").exists()
    assert main(["resume", str(folder), "--threads", "1", "--device", "cpu"]) == 0
    assert f"folder: {folder}" in capsys.readouterr().out
    settings = Settings(data=DataSettings(train_images=130), epochs=15)
    whole = start_run(settings, place_in(tmp_path / "whole")).folder
    assert outcome(folder) == outcome(whole)
