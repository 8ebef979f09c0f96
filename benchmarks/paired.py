"""Times of several ways to do one thing, taken in turns in one process, and their ratios.

What slows the machine for a while slows all of them, so ratios within a round hold where times from
different runs could not be compared.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The median of some measurements and the quartiles around it.

    Example:
        >>> print(Spread(1066.6, 0.98765, 2.0))
        1070 (0.988-2)
    """

    median: float
    lower_quartile: float
    upper_quartile: float

    def __str__(self) -> str:
        low, high = _three_digits(self.lower_quartile), _three_digits(self.upper_quartile)
        return f"{_three_digits(self.median)} ({low}-{high})"


def spread_of(values: Iterable[float]) -> Spread:
    """Median and quartiles, by linear interpolation.

    Example:
        >>> spread_of([4.0, 1.0, 2.0, 3.0, 5.0])
        Spread(median=3.0, lower_quartile=2.0, upper_quartile=4.0)
    """
    lower, median, upper = np.quantile(list(values), [0.25, 0.5, 0.75]).tolist()
    return Spread(median, lower, upper)


def times_in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds that each way takes in each round: A B C, B C A, C A B, ..."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            begun = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio_spread(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Spread of the ratios of measurements of the same round.

    Example:
        >>> ratio_spread([2.0, 4.0, 6.0], [1.0, 1.0, 3.0]).median
        2.0
    """
    return spread_of(a / b for a, b in zip(numerators, denominators, strict=True))


def _three_digits(value: float) -> str:
    return np.format_float_positional(value, 3, unique=False, fractional=False, trim="-")
