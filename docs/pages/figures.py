"""Figures for the sentences of the pages, computed from rows of results.

Templates call these functions. A template names an arm or asserts a claim; where the rows no longer
have the arm or no longer bear the claim out, the page fails to build.
"""

import re
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Found: TypeAlias = Mapping[str, float]
"""One value for each arm."""

Values: TypeAlias = float | Iterable[float] | Found
"""What a sentence tells of: one number, or several."""


class ClaimError(Exception):
    """A sentence of a page is not true of the rows."""


def each_seed(rows: Iterable[Mapping[str, Any]], column: str = "test_percent") -> dict[str, float]:
    """Return the value of each arm and seed; rows without a value are left out.

    Args:
        column: of the rows; "column[key]" for one value of a cell as `25=80 100=90.5`.

    Example:
        >>> each_seed([{"arm": "a", "seed": seed, "loss": 4} for seed in (0, 1)], "loss")
        {'a, seed 0': 4, 'a, seed 1': 4}
        >>> each_seed([{"arm": "a", "seed": 0, "at": "25=80 100=90.5"}], "at[100]")
        {'a, seed 0': 90.5}
    """
    return {
        f"{row['arm']}, seed {row['seed']}": value
        for row in rows
        if (value := _value(row, column)) is not None
    }


def means(rows: Iterable[Mapping[str, Any]], column: str = "test_percent") -> dict[str, float]:
    """Return each arm's mean over its seeds; `each_seed` says what a column is.

    Example:
        >>> means([{"arm": "a", "seed": seed, "loss": seed} for seed in (1, 2)], "loss")
        {'a': 1.5}
    """
    return {arm: statistics.mean(values) for arm, values in _by_arm(rows, column).items()}


def spreads(rows: Iterable[Mapping[str, Any]], column: str = "test_percent") -> dict[str, float]:
    """Return each arm's standard deviation over its seeds; arms of one seed are left out.

    Example:
        >>> spreads([{"arm": "a", "seed": seed, "loss": seed} for seed in (1, 2, 3)], "loss")
        {'a': 1.0}
    """
    each = _by_arm(rows, column)
    return {arm: statistics.stdev(values) for arm, values in each.items() if len(values) > 1}


def _by_arm(rows: Iterable[Mapping[str, Any]], column: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if (value := _value(row, column)) is not None:
            found.setdefault(row["arm"], []).append(value)
    return found


def _value(row: Mapping[str, Any], column: str) -> float | None:
    name, _, key = column.removesuffix("]").partition("[")
    cell = row[name]
    if not key or cell is None:
        return cell
    value = dict(pair.split("=") for pair in cell.split()).get(key)
    return None if value is None else float(value)


def arms(found: Mapping[str, Any], pattern: str, but: str = "") -> dict[str, Any]:
    """Return the arms whose whole name matches a regular expression, and `but` does not.

    Raises:
        ClaimError: there is none.

    Example:
        >>> arms({"net: Adam": 1, "net: LaPerm": 2, "Adam": 3}, "net: .*", but=".*Adam")
        {'net: LaPerm': 2}
    """
    chosen = {
        arm: value
        for arm, value in found.items()
        if re.fullmatch(pattern, arm) and not re.fullmatch(but, arm)
    }
    if not chosen:
        raise ClaimError(f"no arm matches {pattern!r}; there are: {', '.join(found)}")
    return chosen


def pairs(
    found: Found, pattern: str, beside: str, among: Found | None = None
) -> dict[str, tuple[float, float]]:
    """Return the value of each arm that matches, and that of the arm beside which it stands.

    Args:
        pattern: a regular expression for the whole name.
        beside: the other arm's name; `{}` stands for the groups of the pattern in turn.
        among: where the other arm is; `found` if None.

    Raises:
        ClaimError: no arm matches, or one has no other.

    Example:
        >>> pairs({"a, Adam": 3, "a, LaPerm": 2}, "(.*), LaPerm", "{}, Adam")
        {'a, LaPerm': (2, 3)}
    """
    others = found if among is None else among
    chosen = {}
    for arm, value in arms(found, pattern).items():
        match = re.fullmatch(pattern, arm)
        other = beside.format(*match.groups()) if match else beside
        if other not in others:
            raise ClaimError(f"{arm!r} has no {other!r} beside it")
        chosen[arm] = (value, others[other])
    return chosen


def gaps(
    found: Found, pattern: str, beside: str, among: Found | None = None, *, reverse: bool = False
) -> dict[str, float]:
    """Return how far each arm is above the one beside which it stands; `pairs` says which.

    Args:
        reverse: how far it is below.

    Example:
        >>> gaps({"Adam": 3, "LaPerm": 2}, "LaPerm", "Adam")
        {'LaPerm': -1}
    """
    both = pairs(found, pattern, beside, among)
    return {arm: b - a if reverse else a - b for arm, (a, b) in both.items()}


def ratios(
    found: Found, pattern: str, beside: str, among: Found | None = None, *, reverse: bool = False
) -> dict[str, float]:
    """Return each arm's value by that of the one beside which it stands; `pairs` says which.

    Args:
        reverse: the other's by this one's.

    Example:
        >>> ratios({"Adam": 4, "LaPerm": 2}, "LaPerm", "Adam")
        {'LaPerm': 0.5}
    """
    both = pairs(found, pattern, beside, among)
    return {arm: b / a if reverse else a / b for arm, (a, b) in both.items()}


def number(values: Values, digits: int = 1) -> str:
    """Return a number in words of a page, or the least and the greatest of several.

    Example:
        >>> number(2.04), number({"a": 0.31, "b": 0.68}), number([81.2, 81.4], 0)
        ('2', '0.3 to 0.7', '81')
    """
    each = _all(values)
    ends = (f"{end:z.{digits}f}".removesuffix(".0") for end in (min(each), max(each)))
    return " to ".join(dict.fromkeys(ends))


def percent(values: Values, digits: int = 0) -> str:
    """Return parts of 1 as percentages, as `number` does.

    Example:
        >>> percent([0.149, 0.18])
        '15 to 18%'
    """
    return f"{number([100 * value for value in _all(values)], digits)}%"


def mean(values: Values) -> float:
    """Return the mean over arms.

    Example:
        >>> mean({"a": 1, "b": 2})
        1.5
    """
    return statistics.mean(_all(values))


def points(values: Values, digits: int = 1) -> str:
    """Return how far one is ahead of the other, as `number` does.

    Raises:
        ClaimError: it is not ahead, in any of the cases.

    Example:
        >>> points([1.51, 2.88])
        '1.5 to 2.9'
    """
    text = number(values, digits)
    return claim(text, min(_all(values)) > 0)


def claim(text: str, holds: object) -> str:
    """Return the text where the rows bear it out.

    Raises:
        ClaimError: they do not.

    Example:
        >>> claim("ahead of Adam", 98.2 > 97.9)
        'ahead of Adam'
    """
    if not holds:
        raise ClaimError(f"the rows do not say so: {text!r}")
    return text


def below(values: Values, limit: float) -> bool:
    """Return whether every value is below a limit."""
    return max(_all(values)) < limit


def above(values: Values, limit: float) -> bool:
    """Return whether every value is above a limit."""
    return min(_all(values)) > limit


def within(values: Values, limit: float) -> bool:
    """Return whether no value is farther from 0 than a limit: no arm of a pair is ahead."""
    return max(abs(value) for value in _all(values)) < limit


def _all(values: Values) -> list[float]:
    if isinstance(values, (int, float)):
        return [values]
    return list(values.values() if isinstance(values, Mapping) else values)


def standing(difference: float, digits: int = 1) -> str:
    """Return in words where something stands beside another, from the difference in points.

    Example:
        >>> standing(1.79), standing(-0.62), standing(0.04)
        ('1.8 points ahead of', '0.6 points below', 'level with')
    """
    size = number(abs(difference), digits)
    if float(size) == 0:
        return "level with"
    return f"{size} points {'ahead of' if difference > 0 else 'below'}"
