"""Permutation networks reach every order, with the switches that are counted."""

from collections.abc import Iterator
from itertools import permutations
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permtrain.circuit.benes import benes_switches, route, send, waksman_switches


@pytest.mark.parametrize("num_lines", range(7))
def test_every_order_is_reached(num_lines: int) -> None:
    for sources in permutations(range(num_lines)):
        crossed = route(sources)
        assert len(crossed) == benes_switches(num_lines)
        assert send(range(num_lines), crossed) == list(sources)


@given(st.integers(0, 60).flatmap(lambda n: st.permutations(range(n))))
def test_larger_networks_are_routed_too(sources: list[int]) -> None:
    crossed = route(sources)
    assert len(crossed) == benes_switches(len(sources))
    assert send(range(len(sources)), crossed) == sources


def left_out(num_lines: int) -> Iterator[bool]:
    """Whether a Waksman network has no such switch, in the order of `route`."""
    if num_lines <= 2:
        yield from [False] * (num_lines == 2)
        return
    half = num_lines // 2
    yield from [False] * half
    yield from left_out(half)
    yield from left_out(num_lines - half)
    yield from [False] * (half - 1)
    yield num_lines % 2 == 0


@given(st.integers(0, 40).flatmap(lambda n: st.permutations(range(n))))
def test_switches_that_a_waksman_network_leaves_out_are_straight(sources: list[int]) -> None:
    is_left_out = list(left_out(len(sources)))
    crossed = route(sources)
    assert len(crossed) - sum(is_left_out) == waksman_switches(len(sources))
    assert not any(c for c, out in zip(crossed, is_left_out, strict=True) if out)


@pytest.mark.parametrize("num_lines", [1, 2, 4, 8, 64, 1024])
def test_powers_of_two(num_lines: int) -> None:
    """n log2(n) - n / 2, as textbooks have it."""
    assert benes_switches(num_lines) == num_lines * log2(num_lines) - num_lines // 2
    assert waksman_switches(num_lines) == sum(ceil(log2(i)) for i in range(1, num_lines + 1))


def test_four_lines_by_hand() -> None:
    """Place 3 takes line 3 from below, so line 2 goes up; it leaves at place 0, whose place 1 so is
    a lower one: line 1, which shares its switch with line 0, that goes up to place 2."""
    assert route([2, 1, 0, 3]) == [False, False, True, False, False, False]
