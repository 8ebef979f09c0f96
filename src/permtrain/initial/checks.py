"""Checks that rules, structures and records share."""

import difflib
import numbers
from collections.abc import Sequence
from typing import Any

from permtrain.errors import SettingError


def check(name: str, value: object, is_fine: bool, allowed: str) -> None:
    """Refuse a value that is not fine: name the thing, its value and what is allowed."""
    if not is_fine:
        raise SettingError(f"{name} is {value!r}; allowed: {allowed}")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is none of some choices, which are of one type.

    Raises:
        SettingError: lists the choices, and the nearest one where there is one.

    Example:
        >>> check_choice("share", True, (True, False))
        >>> check_choice("granularity", "neurons", ("kernel", "neuron", "layer"))
        Traceback (most recent call last):
        ...
        permtrain.errors.SettingError: granularity is 'neurons'; allowed: kernel, neuron, layer; \
did you mean 'neuron'?
    """
    if not (isinstance(value, type(choices[0])) and value in choices):
        names = [str(each) for each in choices]
        check(name, value, False, ", ".join(names) + nearest(value, names))


def nearest(value: object, names: Sequence[str]) -> str:
    """End of an error text that suggests the name nearest to a misspelled one; empty if none is."""
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def as_integer(number: Any) -> Any:
    """Return NumPy's integers as Python's; anything else as it is, to be refused by its name."""
    is_integer = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    return int(number) if is_integer else number


def as_number(number: Any) -> Any:
    """Return real numbers as Python's float; anything else as it is, to be refused by its name."""
    is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
    return float(number) if is_number else number
