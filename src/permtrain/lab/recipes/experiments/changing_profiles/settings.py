"""A training whose profile changes between epochs: its settings."""

from dataclasses import dataclass

from permtrain.errors import SettingError
from permtrain.lab.training.settings import DataSettings, Settings
from permtrain.ranges import Count, Fraction, check_fields


@dataclass(frozen=True)
class ProfileStage:
    """What a profile is made to be.

    Attributes:
        zeros: fraction of each vector that is zero, in [0, 1).
        levels: how many different values the others have; None for their own.
    """

    zeros: Fraction = 0.0
    levels: Count | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ScheduleSettings:
    """A training whose profile changes between epochs.

    Attributes:
        training: all but that; its method is index.
        stages: the profile in each epoch.
    """

    training: Settings
    stages: tuple[ProfileStage, ...]

    def __post_init__(self) -> None:
        epochs = self.training.epochs
        if len(self.stages) != epochs:
            raise SettingError(
                f"stages are {len(self.stages)}; allowed: one for each of the {epochs} epochs"
            )

    @property
    def seed(self) -> int:
        return self.training.seed

    @property
    def data(self) -> DataSettings:
        return self.training.data

    @property
    def epochs(self) -> int:
        return self.training.epochs
