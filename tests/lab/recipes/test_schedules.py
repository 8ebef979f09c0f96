"""Profiles that change while training."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import place_in, tiny

from permtrain.core.cut import Cut
from permtrain.core.profile import profile_of
from permtrain.errors import SettingError
from permtrain.lab.recipes.experiments.changing_profiles.arms import (
    FINAL,
    SCHEDULES,
    open_schedules,
    step_by_step,
)
from permtrain.lab.recipes.experiments.changing_profiles.settings import (
    ProfileStage,
    ScheduleSettings,
)
from permtrain.lab.recipes.experiments.changing_profiles.training import (
    ScheduleSession,
    staged_profile,
)
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import DataSettings, PermutationSettings, Place
from permtrain.lab.training.stopping import Interrupted
from permtrain.lab.training.trainer import Trainer

TRAINING = tiny(
    data=DataSettings(train_images=130, validation_fraction=0.5),
    permutation=PermutationSettings(method="index", sync_period=1, granularity="layer"),
)


class Silent:
    """A display that shows nothing, and sends Ctrl-C at a step."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self.interrupt_at = interrupt_at
        self.said: list[str] = []

    def show(self, done: int, total: int) -> None:
        assert total == 15
        if done == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)

    def say(self, text: str) -> None:
        self.said.append(text)


def folder_in(runs_folder: Path, settings: ScheduleSettings) -> RunFolder:
    return RunFolder(runs_folder / SCHEDULES.run_name(settings))


def result_of(settings: ScheduleSettings, folder: Path, display: Silent | None = None) -> dict:
    SCHEDULES.run(settings, place_in(folder), display or Silent())
    result = read_json(folder_in(folder, settings).result_file)
    for metrics in (result, *result["history"]):
        del metrics["wall_s"]
    return result


def test_the_first_stage_is_the_profile_itself() -> None:
    profile = torch.tensor([[-0.1, 0.3, 0.30000001]])
    staged = staged_profile(profile, ProfileStage())
    assert torch.equal(staged, profile)
    assert staged.data_ptr() != profile.data_ptr()


def test_stages_by_hand() -> None:
    profile = torch.tensor([[-4.0, -3.0, -1.0, 0.0, 1.0, 3.0, 4.0, 12.0]])  # its norm is 14
    half = staged_profile(profile, ProfileStage(zeros=0.5))
    scale = (196 / 185) ** 0.5  # of equal magnitudes -3 is the lower place
    assert torch.allclose(
        half, torch.tensor([[-4.0, 0, 0, 0, 0, 3.0, 4.0, 12.0]]) * scale, rtol=1e-6
    )
    both = staged_profile(profile, ProfileStage(zeros=0.5, levels=2))
    means = torch.tensor([[-0.5, -0.5, 0, 0, 0, 0, 8.0, 8.0]])
    assert torch.allclose(both, means * (196 / 128.5) ** 0.5, rtol=1e-6)


def test_every_stage_ascends_and_keeps_the_norm() -> None:
    profile = profile_of(torch.randn(3, 40), Cut("neuron").of((3, 40)))
    for stage in (
        ProfileStage(0.9),
        ProfileStage(levels=3),
        ProfileStage(0.5, 3),
        ProfileStage(0.33, 4),
    ):
        staged = staged_profile(profile, stage)
        assert torch.equal(staged, staged.sort(dim=1).values)
        assert torch.allclose(staged.norm(dim=1), profile.norm(dim=1))
        zeros = (staged == 0).sum(dim=1).tolist()
        assert zeros == [round(40 * stage.zeros)] * 3
        if stage.levels:
            assert all(len(row[row != 0].unique()) == stage.levels for row in staged)


def test_steps_end_with_the_final_profile() -> None:
    for final in FINAL.values():
        for epochs in (4, 6):
            stages = step_by_step(final, epochs)
            assert stages[epochs // 2 :] == (final,) * (epochs // 2)
            assert len(stages) == epochs
            zeros = [stage.zeros for stage in stages]
            assert zeros == sorted(zeros)


def test_arms_differ_in_their_stages_only() -> None:
    for budget in ("quick", "paper"):
        for net in ("fc500-300", "lenet5"):
            arms = [arm for arm in open_schedules(budget) if arm.settings.training.model == net]
            training = [arm.settings.training for arm in arms if arm.settings.seed == 0]
            assert all(each == training[0] for each in training)
            assert len({arm.settings.stages for arm in arms}) == 11
            assert {arm.settings.training.data.validation_fraction for arm in arms} == {1 / 6}


def test_what_is_trained_in_the_end_is_the_last_profile(tmp_path: Path) -> None:
    stages = (ProfileStage(), ProfileStage(0.5), ProfileStage(0.75, 2))
    display = Silent()
    settings = ScheduleSettings(TRAINING, stages)
    result = result_of(settings, tmp_path, display)
    assert result["intact"] is True
    assert result["zeros"] == pytest.approx(0.75, abs=0.01)
    assert result["values"] == 3
    assert result["epochs"] == 3
    assert [said.split("  ")[0] for said in display.said] == [
        "epoch 1/3", "epoch 2/3", "epoch 3/3",
    ]  # fmt: skip
    row = SCHEDULES.row(folder_in(tmp_path, settings))
    assert row["test_percent"] == result["test_percent"]


def test_the_order_of_what_a_stage_ties_is_not_lost(tmp_path: Path) -> None:
    """Latent weights begin at the first values, not at those that the first stage makes of them."""
    initial = Trainer(TRAINING, place_in(tmp_path)).shown_weights()
    settings = ScheduleSettings(TRAINING, (ProfileStage(0.9, 2),) * 3)
    trainer = ScheduleSession(settings, place_in(tmp_path)).trainer
    shown = trainer.shown_weights()
    for tensor in trainer.method.tensors:
        assert len(shown[tensor.name].unique()) == 3
        assert torch.equal(tensor.latent, initial[tensor.name])


def test_the_stages_count(tmp_path: Path) -> None:
    sparse, at_once = ProfileStage(0.75), ProfileStage()
    first = result_of(ScheduleSettings(TRAINING, (sparse,) * 3), tmp_path / "1")
    second = result_of(ScheduleSettings(TRAINING, (at_once, at_once, sparse)), tmp_path / "2")
    assert first["zeros"] == second["zeros"]
    assert first["history"] != second["history"]


@pytest.mark.parametrize("step", [3, 5, 7, 10, 15])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, step: int) -> None:
    settings = ScheduleSettings(TRAINING, (ProfileStage(), ProfileStage(0.5), ProfileStage(0.75)))
    with pytest.raises(Interrupted):
        result_of(settings, tmp_path / "stopped", Silent(interrupt_at=step))
    assert result_of(settings, tmp_path / "stopped") == result_of(settings, tmp_path / "whole")


class Unread(Silent):
    """Whoever read what is said has gone, as `tee` after Ctrl-C."""

    def say(self, text: str) -> None:
        raise BrokenPipeError


def test_an_epoch_is_kept_even_if_nobody_reads_of_it(tmp_path: Path) -> None:
    settings = ScheduleSettings(TRAINING, (ProfileStage(), ProfileStage(0.5), ProfileStage(0.75)))
    with pytest.raises(BrokenPipeError):
        result_of(settings, tmp_path / "unread", Unread())
    (saved,) = folder_in(tmp_path / "unread", settings).numbered_checkpoints()
    assert saved.name == "step-000000005.pt"
    assert result_of(settings, tmp_path / "unread") == result_of(settings, tmp_path / "whole")


def test_it_goes_on_with_the_threads_of_its_beginning(tmp_path: Path) -> None:
    """Others round otherwise."""
    settings = ScheduleSettings(TRAINING, (ProfileStage(), ProfileStage(0.5), ProfileStage(0.75)))
    with pytest.raises(Interrupted):
        result_of(settings, tmp_path, Silent(interrupt_at=5))
    torch.set_num_threads(2)
    SCHEDULES.run(settings, Place(tmp_path), Silent())
    environment = read_json(folder_in(tmp_path, settings).environment_file)
    assert environment["resumed"][0]["threads"] == environment["threads"] == 1


def test_a_stage_for_each_epoch() -> None:
    with pytest.raises(SettingError, match="stages are 2; allowed: one for each of the 3 epochs"):
        ScheduleSettings(TRAINING, (ProfileStage(), ProfileStage()))
    assert replace(ScheduleSettings(TRAINING, (ProfileStage(),) * 3)).seed == TRAINING.seed
