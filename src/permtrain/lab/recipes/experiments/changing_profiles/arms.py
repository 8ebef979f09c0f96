"""Profiles that change while training: more zeros, fewer levels, step by step, fixed at the end.

`open-schedules`: Train by Reconnect (section 7) leaves sparsity that grows in training for later.
Nothing is published. Our question: a net whose profile ends with many zeros or few levels, does it
end better if it begins with few zeros and many levels? The index optimizer, per layer; latent
weights stay as they are when the profile changes, so that their order is not lost.

A profile at a stage is made of the first one alone (`staged_profile`): the smallest magnitudes are
zero, the others have equally frequent levels, each the mean of those it replaces, and all are
scaled so that the vector keeps its norm. The zeros of later stages contain those of earlier ones.
The last profile holds for the second half of the training, so what is trained in the end is a
permutation of values that are known beforehand; each run checks that.

Arms end with the same profile, from the start or step by step. 10,000 of MNIST's training images
are set aside for choosing. Quick: 6,000 images, 4 epochs, one seed.
"""

from typing import TYPE_CHECKING, Any

from permtrain.lab.recipes.experiments.changing_profiles.settings import (
    ProfileStage,
    ScheduleSettings,
)
from permtrain.lab.recipes.experiments.open_questions import NETS, SET_ASIDE
from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.task import Measure, Task
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
    hash_of,
)

if TYPE_CHECKING:
    from permtrain.lab.training.engine import Session
    from permtrain.lab.training.run_folder import RunFolder


FINAL = {
    "all values": ProfileStage(),
    "90% zeros": ProfileStage(zeros=0.9),
    "95% zeros": ProfileStage(zeros=0.95),
    "4 levels": ProfileStage(levels=4),
    "2 levels": ProfileStage(levels=2),
    "90% zeros, 2 levels": ProfileStage(zeros=0.9, levels=2),
}


def open_schedules(budget: Budget) -> list[Arm]:
    """Each last profile, from the start and step by step, on two nets."""
    epochs = 6 if budget == "paper" else 4
    arms = []
    for seed in (0, 1) if budget == "paper" else (0,):
        for net, batch_size in NETS.items():
            training = Settings(
                data=DataSettings(
                    data="mnist",
                    validation_fraction=SET_ASIDE,
                    train_images=None if budget == "paper" else 6_000,
                ),
                model=net,
                initial=InitialSettings(rule="kaiming_normal"),
                permutation=PermutationSettings(method="index", sync_period=1, granularity="layer"),
                optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_cosine=True),
                epochs=epochs,
                batch_size=batch_size,
                seed=seed,
            )
            for name, final in FINAL.items():
                ways = {"from the start": (final,) * epochs}
                if final != ProfileStage():
                    ways["step by step"] = step_by_step(final, epochs)
                arms += [
                    Arm(f"{net}: {name}, {way}", ScheduleSettings(training, stages))
                    for way, stages in ways.items()
                ]
    return arms


def step_by_step(final: ProfileStage, epochs: int) -> tuple[ProfileStage, ...]:
    """Stages towards the final one, which holds for the second half.

    Each step leaves the same part of what remained; levels are halved.

    Example:
        >>> [round(stage.zeros, 3) for stage in step_by_step(ProfileStage(zeros=0.9), 6)]
        [0.438, 0.684, 0.822, 0.9, 0.9, 0.9]
        >>> [stage.levels for stage in step_by_step(ProfileStage(levels=2), 6)]
        [16, 8, 4, 2, 2, 2]
    """
    num_steps = epochs // 2
    stages = []
    for epoch in range(epochs):
        part = min((epoch + 1) / (num_steps + 1), 1.0)
        if part == 1.0:
            stages.append(final)
            continue
        zeros = 1 - (1 - final.zeros) ** part
        levels = None if final.levels is None else final.levels * 2 ** (num_steps - epoch)
        stages.append(ProfileStage(zeros, levels))
    return tuple(stages)


def _run_name(settings: ScheduleSettings) -> str:
    return f"mnist-{settings.training.model}-schedule-{hash_of(settings)}"


def _begin(settings: ScheduleSettings, place: Place) -> "Session":
    from permtrain.lab.recipes.experiments.changing_profiles.training import ScheduleSession

    return ScheduleSession(settings, place)


def _row(folder: "RunFolder") -> dict[str, Any]:
    from permtrain.lab.training.json_files import read_json

    result = read_json(folder.result_file)
    names = ("epochs", "validation_percent", "test_percent", "intact", "zeros", "values")
    return {name: result[name] for name in names}


SCHEDULES = Task(
    run_name=_run_name,
    begin=_begin,
    row=_row,
    measures=(
        Measure("validation_percent", "validation accuracy in %"),
        Measure("test_percent", "test, last epoch"),
    ),
)


RECIPES = (
    Recipe(
        "open-schedules",
        "fc500-300 and lenet5 on MNIST, profiles that change while training (ours)",
        "44 runs of 6 epochs, estimated 1 h",
        open_schedules,
        task=SCHEDULES,
    ),
)
