"""Ranges of settings: what is allowed, and what is said."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from annotated_types import Interval

from permtrain.errors import SettingError
from permtrain.ranges import Ascending, OneOf, Seed, check_fields, in_words, lies_in


@dataclass
class Kinds:
    seed: Seed | None = None
    rate: float = 0.0
    is_on: bool = False
    name: str = ""
    choice: Literal["a", "b"] = "a"
    parts: tuple[Seed, ...] = ()
    rates: dict[str, float] | None = None
    place: object = None


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (Interval(gt=0), [1e-300, 5], [0, -1, math.inf, math.nan], "above 0"),
        (Interval(ge=2), [2, 3], [1.9, math.inf, math.nan], "2 or more"),
        (Interval(ge=1, le=1024), [1, 1024], [0, 1025], "1 to 1,024"),
        (Interval(ge=0, lt=1), [0, 0.99], [-0.1, 1, math.nan], "0 to 1, without 1"),
        (Interval(gt=0, le=1), [0.1, 1], [0, 1.1], "above 0, at most 1"),
        (Interval(gt=0, lt=1), [0.5], [0, 1], "above 0, below 1"),
    ],
)
def test_intervals(
    allowed: Interval, inside: list[float], outside: list[float], words: str
) -> None:
    assert [value for value in inside + outside if lies_in(value, allowed)] == inside
    assert in_words(allowed) == words


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (OneOf(("a", "b")), ["a"], ["c"], "a, b"),
        (Ascending("steps"), [(), (1,), (1, 3)], [(0,), (3, 3), (3, 1)], "ascending steps from 1"),
    ],
)
def test_other_ranges(allowed: Any, inside: list[Any], outside: list[Any], words: str) -> None:
    assert [value for value in inside + outside if allowed.allows(value)] == inside
    assert str(allowed) == words


@pytest.mark.parametrize(
    "fine",
    [
        {"seed": 2**63 - 1, "rate": 1, "is_on": True, "name": "x", "choice": "b", "place": {}},
        {"seed": 0, "rate": 0.5, "parts": (1, 2), "rates": {"a": 1}},
    ],
)
def test_what_is_allowed(fine: dict[str, Any]) -> None:
    check_fields(Kinds(**fine))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", -1, "seed is -1; allowed: 0 to 2**63 - 1"),
        ("seed", True, "seed is True; allowed: a whole number, 0 to 2**63 - 1"),
        ("rate", "1", "rate is '1'; allowed: a number"),
        ("rate", True, "rate is True; allowed: a number"),
        ("is_on", 1, "is_on is 1; allowed: True or False"),
        ("name", 1, "name is 1; allowed: text"),
        ("choice", "c", "choice is 'c'; allowed: a, b"),
        ("choice", None, "choice is None; allowed: a, b"),
        ("parts", 3, "parts is 3; allowed: a tuple of values"),
        ("parts", (0, -1), "parts[1] is -1; allowed: 0 to 2**63 - 1"),
        ("rates", {"x": None}, "rates['x'] is None; allowed: a number"),
    ],
)
def test_what_is_refused(name: str, value: Any, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        check_fields(Kinds(**{name: value}))
    assert str(refused.value) == said


def test_numbers_of_numpy_become_pythons() -> None:
    kinds = Kinds(
        seed=np.int64(3),
        rate=np.float32(0.5),
        is_on=np.True_,
        parts=(np.uint8(1), 2),
        rates={"a": np.float64(0.25)},
    )
    check_fields(kinds)
    assert kinds == Kinds(3, 0.5, True, parts=(1, 2), rates={"a": 0.25})
    found = [kinds.seed, kinds.rate, kinds.is_on, *kinds.parts, kinds.rates["a"]]
    assert [type(each) for each in found] == [int, float, bool, int, int, float]
    with pytest.raises(SettingError, match=r"^seed is -1; allowed: 0 to"):
        check_fields(Kinds(seed=np.int64(-1)))
