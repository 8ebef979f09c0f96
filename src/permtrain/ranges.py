"""Ranges of settings: declared beside the field, checked for a whole class at once.

A field's type says what it may hold (`int`, `float`, `bool`, `str`, a `Literal`, tuples and dicts
of them, or None), and `Annotated` narrows it. Other types are not looked at. Nothing heavy is
imported.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin, get_type_hints

from annotated_types import Interval

from permtrain.errors import SettingError


class Range(Protocol):
    """Which values are allowed; `str` of it says so in words."""

    def allows(self, value: Any, /) -> bool: ...


def lies_in(value: float, interval: Interval) -> bool:
    """Whether a number is finite and within an interval."""
    bounds: Any = interval  # which are of any type that compares
    return (
        math.isfinite(value)
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.ge is None or value >= bounds.ge)
        and (bounds.lt is None or value < bounds.lt)
        and (bounds.le is None or value <= bounds.le)
    )


def in_words(interval: Interval) -> str:
    """What an interval allows.

    Example:
        >>> in_words(Interval(ge=0, lt=1)), in_words(Interval(gt=0, le=1)), in_words(Interval(ge=2))
        ('0 to 1, without 1', 'above 0, at most 1', '2 or more')
    """
    if interval.gt is not None:
        low = f"above {interval.gt:,}"
        if interval.le is not None:
            return f"{low}, at most {interval.le:,}"
        return low if interval.lt is None else f"{low}, below {interval.lt:,}"
    low = f"{interval.ge:,}"
    if interval.le is not None:
        return f"{low} to {interval.le:,}"
    if interval.lt is None:
        return f"{low} or more"
    if interval.lt == 2**63:
        return f"{low} to 2**63 - 1"
    return f"{low} to {interval.lt:,}, without {interval.lt:,}"


@dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def allows(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class Ascending:
    """Whole numbers from 1, each larger than the one before.

    Attributes:
        unit: what they count.
    """

    unit: str

    def allows(self, value: tuple[int, ...]) -> bool:
        return all(low < high for low, high in zip((0, *value), value, strict=False))

    def __str__(self) -> str:
        return f"ascending {self.unit} from 1"


Count = Annotated[int, Interval(ge=1)]
Positive = Annotated[float, Interval(gt=0)]
NotNegative = Annotated[float, Interval(ge=0)]
Growth = Annotated[float, Interval(ge=1)]
Fraction = Annotated[float, Interval(ge=0, lt=1)]
"""From 0 to 1, without 1."""
Share = Annotated[float, Interval(gt=0, le=1)]
"""Above 0, at most 1."""
Seed = Annotated[int, Interval(ge=0, lt=2**63)]

_TYPES: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    bool: (bool, "True or False"),
    str: (str, "text"),
    tuple: (tuple, "a tuple of values"),
    dict: (dict, "values by name"),
}

_NO_DEFAULT = object()


def as_plain(value: Any) -> Any:
    """NumPy's numbers as Python's, in tuples and dicts too; anything else as it is.

    What a setting holds is compared, saved and written as JSON.

    Example:
        >>> import numpy as np
        >>> as_plain((np.int64(3), {"lr": np.float32(0.5)}, np.True_))
        (3, {'lr': 0.5}, True)
    """
    if type(value) is tuple:
        return value if all(as_plain(x) is x for x in value) else tuple(map(as_plain, value))
    if type(value) is dict:
        is_plain = all(as_plain(x) is x for x in value.values())
        return value if is_plain else {key: as_plain(x) for key, x in value.items()}
    is_number = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_number else value


def check_fields(settings: Any) -> None:
    """Raise if a field of a dataclass's instance is not of its type, or out of its range.

    NumPy's numbers become Python's.

    Raises:
        SettingError: naming the field, its value and what is allowed.

    Example:
        >>> @dataclass(frozen=True)
        ... class Walk:
        ...     steps: Count = 1
        ...     leg: Literal["left", "right"] | None = None
        ...     pauses: tuple[Fraction, ...] = ()
        ...
        ...     def __post_init__(self):
        ...         check_fields(self)
        >>> Walk(steps=0)
        Traceback (most recent call last):
        permtrain.errors.SettingError: steps is 0; allowed: 1 or more
        >>> Walk(leg="middle")
        Traceback (most recent call last):
        permtrain.errors.SettingError: leg is 'middle'; allowed: left, right
        >>> Walk(pauses=(0.5, 1.0))
        Traceback (most recent call last):
        permtrain.errors.SettingError: pauses[1] is 1.0; allowed: 0 to 1, without 1
    """
    for name, value in vars(settings).items():
        if (plain := as_plain(value)) is not value:
            object.__setattr__(settings, name, plain)  # frozen
    check_values(type(settings), vars(settings))


def check_values(cls: type, values: Mapping[str, Any]) -> None:
    """Raise if one of the values by name is not what that field of the dataclass may hold."""
    for name, kind in _kinds(cls).items():
        # Most are the class's own defaults, and recipes make thousands of settings.
        if name in values and values[name] is not getattr(cls, name, _NO_DEFAULT):
            _check(name, values[name], kind)


def require(name: str, value: object, fine: bool, allowed: str) -> None:
    """Raise unless a setting is fine beside the others."""
    if not fine:
        raise SettingError(f"{name} is {shortened(value)}; allowed: {allowed}")


def shortened(value: object) -> str:
    """A value as an error says it, on one line of a screen.

    Example:
        >>> shortened("a"), shortened("a" * 5000)
        ("'a'", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...")
    """
    said = repr(value)
    return said if len(said) <= 200 else f"{said[:65]}..."


@cache
def _kinds(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _check(name: str, value: Any, kind: Any, ranges: tuple[Range | Interval, ...] = ()) -> None:
    origin, args = get_origin(kind), get_args(kind)
    if type(None) in args:  # X | None
        if value is not None:
            _check(name, value, args[0], ranges)
    elif origin is Annotated:
        _check(name, value, args[0], args[1:])
    elif origin is Literal:
        require(name, value, value in args, ", ".join(args))
    elif (base := origin or kind) in _TYPES:
        accepted, words = _TYPES[base]
        is_of_type = isinstance(value, accepted) and (base is bool or not isinstance(value, bool))
        require(name, value, is_of_type, ", ".join([words, *map(_words, ranges)]))
        for key, each in _parts(value):
            _check(f"{name}[{key!r}]", each, args[0] if base is tuple else args[1])
        for allowed in ranges:
            require(name, value, _allows(allowed, value), _words(allowed))


def _allows(allowed: Range | Interval, value: Any) -> bool:
    return lies_in(value, allowed) if isinstance(allowed, Interval) else allowed.allows(value)


def _words(allowed: Range | Interval) -> str:
    return in_words(allowed) if isinstance(allowed, Interval) else str(allowed)


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, tuple) else ()
