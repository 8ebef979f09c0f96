"""When weights are synchronised: the sync period k, a number or a schedule."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import TypeAlias

from permtrain.errors import SettingError

SyncPeriod: TypeAlias = int | Callable[[int], int | None] | None
"""Steps between synchronisations, or a function from the step to them; None: not now."""


@dataclass(frozen=True)
class StepwisePeriod:
    """A schedule that changes the period after some steps.

    Attributes:
        first: the period in force at first.
        changes: (step, period), ascending: after that step the period is that one.

    Raises:
        SettingError: a step is before the one ahead of it.

    Example:
        >>> schedule = StepwisePeriod(20, ((1000, 100), (3000, 500)))
        >>> [schedule(step) for step in (1000, 1001, 3000, 3001)]
        [20, 100, 100, 500]
    """

    first: int
    changes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.changes]
        if any(later < earlier for earlier, later in pairwise(steps)):
            raise SettingError(
                f"changes are at steps {steps}; allowed: none before the one ahead of it"
            )

    def __call__(self, step: int) -> int:
        place = bisect_right([change for change, _ in self.changes], step - 1)
        return self.changes[place - 1][1] if place else self.first


def check_sync_period(sync_period: object) -> None:
    """Refuses what is neither a whole number of at least 1, nor a function, nor None.

    Raises:
        SettingError: naming the value.
    """
    if sync_period is None or callable(sync_period):
        return
    if not isinstance(sync_period, Integral) or isinstance(sync_period, bool) or sync_period < 1:
        raise SettingError(
            f"sync_period is {sync_period!r}; allowed: a whole number of steps from 1, a function "
            "from the step to one, or None for 'not now'"
        )


def period_at(sync_period: SyncPeriod, step: int) -> int | None:
    """The period k in force at a step t, which ends with a synchronisation "if k divides t".

    Steps are applied optimizer steps, counted from 1 (LaPerm, Algorithm 1). A schedule is asked, it
    does not count.

    Example:
        >>> period_at(20, step=7)
        20
        >>> period_at(lambda step: 10 if step <= 1500 else None, step=1501) is None
        True
    """
    period = sync_period(step) if callable(sync_period) else sync_period
    check_sync_period(period)
    return period
