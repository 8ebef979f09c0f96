"""What a recipe is: a function that returns the complete settings of all arms of an experiment."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from permtrain.errors import SettingError
from permtrain.lab.recipes.task import Task
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.settings import hash_of, run_name, settings_hash

if TYPE_CHECKING:
    from permtrain.lab.training.trainer import Trainer

Budget: TypeAlias = Literal["quick", "short", "scaled", "paper"]
WITH_SHORT: tuple[Budget, ...] = ("quick", "short", "paper")
"""The budgets of recipes that have one in between."""
WITH_SCALED: tuple[Budget, ...] = get_args(Budget)
"""The budgets of recipes whose full training is out of reach of two cores."""


@dataclass(frozen=True)
class Arm:
    """One training run of an experiment.

    Attributes:
        group: what it shares with its other seeds; results are averaged over a group.
        settings: complete; the seed is among them. Where the recipe has a task, they are its own.
        published: top-1 test accuracy in percent that the paper gives for the group, if any.
        is_other_reading: of an experiment whose published settings are another arm's, of which
            nothing was published; it stands beside that arm and is compared with nothing.
    """

    group: str
    settings: Any
    published: float | None = None
    is_other_reading: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}, seed {self.settings.seed}"


@dataclass(frozen=True)
class Alternative:
    """What else came out of an arm's training.

    Attributes:
        group: as an arm's.
        family: what makes it small, in a word or two.
        test_accuracy: None for that of the arm.
        file_bytes: what storing it takes.
    """

    group: str
    family: str
    test_accuracy: float | None
    file_bytes: int


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Attributes:
        id: its name in `permtrain run`.
        description: one line, with the paper and section.
        cost: what the paper budget takes on two cores, measured or estimated, in words.
        arms: from the budget to all arms; "quick" and "short" keep every arm and train less.
        budgets: those that `arms` knows. "short" is all images, few epochs. "scaled" is a
            fifth of the full length, schedules shrunk alike, and may keep fewer arms.
        copy_of: the recipe that this one repeats on copies of its data, whose published values do
            not hold here; None for most.
        alternatives: what comes out of a trained arm that does not permute; it takes the arm's
            own place in the results. Recipes that have it tell sizes of files.
        task: what arms compute, where it is not the training of a classifier by `Settings`.
    """

    id: str
    description: str
    cost: str
    arms: Callable[[Budget], list[Arm]]
    alternatives: "Callable[[Arm, Trainer], list[Alternative]] | None" = None
    task: Task | None = None
    budgets: tuple[Budget, ...] = ("quick", "paper")
    copy_of: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", cache(self.arms))  # they are asked for again and again

    def arms_within(self, budget: Budget) -> list[Arm]:
        """All arms.

        Raises:
            SettingError: the recipe does not have this budget.
        """
        if budget not in self.budgets:
            raise SettingError(
                f"budget is {budget!r}; allowed with {self.id}: {', '.join(self.budgets)}"
            )
        return self.arms(budget)

    def run_name(self, arm: Arm) -> str:
        """The name of an arm's folder."""
        return run_name(arm.settings) if self.task is None else self.task.run_name(arm.settings)

    def folder(self, arm: Arm, runs_folder: Path) -> Path:
        """An arm's folder, whether it is there or not; it is that of no other settings."""
        return folder_of(runs_folder, self.run_name(arm), arm.settings)

    def settings_hash(self, arm: Arm) -> str:
        """What names an arm's settings in the results."""
        return settings_hash(arm.settings) if self.task is None else hash_of(arm.settings)
