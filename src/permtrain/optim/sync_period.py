"""When weights are synchronised: the sync period k, a number or a schedule."""

from collections.abc import Callable
from typing import TypeAlias

from permtrain.errors import SettingError

SyncPeriod: TypeAlias = int | Callable[[int], int | None] | None
"""Steps between synchronisations, or a function from the step to them; None: not now."""


def check_sync_period(sync_period: object) -> None:
    """Refuses what is neither a whole number of at least 1, nor a function, nor None.

    Raises:
        SettingError: naming the value.
    """
    if sync_period is None or callable(sync_period):
        return
    if isinstance(sync_period, bool) or not isinstance(sync_period, int) or sync_period < 1:
        raise SettingError(
            f"sync_period is {sync_period!r}; allowed: a whole number of steps from 1, a function "
            "from the step to one, or None for 'not now'"
        )


def period_at(sync_period: SyncPeriod, step: int) -> int | None:
    """The period in force at a step; a schedule is asked, it does not count.

    Example:
        >>> period_at(20, step=7)
        20
        >>> period_at(lambda step: 10 if step <= 1500 else None, step=1501) is None
        True
    """
    period = sync_period(step) if callable(sync_period) else sync_period
    if callable(sync_period):
        check_sync_period(period)
    return period


def is_due(sync_period: SyncPeriod, step: int) -> bool:
    """Whether step t ends with a synchronisation: "if k divides t" (LaPerm, Algorithm 1).

    `step` counts applied optimizer steps from 1.

    Example:
        >>> [step for step in range(1, 7) if is_due(3, step)]
        [3, 6]
    """
    period = period_at(sync_period, step)
    return period is not None and step % period == 0
