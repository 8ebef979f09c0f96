"""Permutation networks of two-way switches: how many they take, and how to set them.

A switch has two lines in and two out, and is straight or crossed. A Benes network of n lines is a
column of floor(n / 2) switches, a network of floor(n / 2) lines above one of ceil(n / 2), and a
second column; the last of an odd number of lines passes both columns by. It reaches every order of
its lines.

Sources: V. E. Benes, Mathematical Theory of Connecting Networks, 1965; for any n C. Chang and
R. Melhem, Arbitrary size Benes networks, Parallel Processing Letters 7(3), 1997. A Waksman network
goes without the last switch of each even network's second column: A. Waksman, A permutation
network, JACM 15(1), 1968; for any n B. Beauquier and E. Darrot, On arbitrary size Waksman networks
and their vulnerability, Parallel Processing Letters 12, 2002.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def benes_switches(num_lines: int) -> int:
    """Switches of a Benes network: B(n) = B(floor(n/2)) + B(ceil(n/2)) + 2 floor(n/2), B(2) = 1.

    For n = 2^k this is n k - n / 2.

    Example:
        >>> [benes_switches(n) for n in (1, 2, 3, 4, 5, 8, 784)]
        [0, 1, 3, 6, 8, 20, 7024]
    """
    if num_lines <= 2:
        return max(num_lines - 1, 0)
    half = num_lines // 2
    if num_lines % 2 == 0:
        return 2 * benes_switches(half) + num_lines
    return benes_switches(half) + benes_switches(half + 1) + 2 * half


def waksman_switches(num_lines: int) -> int:
    """Switches of a Waksman network: the sum of ceil(log2(i)) for i from 1 to n.

    Example:
        >>> [waksman_switches(n) for n in (1, 2, 3, 4, 5, 8, 784)]
        [0, 1, 3, 5, 8, 17, 6817]
    """
    if num_lines == 0:
        return 0
    depth = (num_lines - 1).bit_length()
    return num_lines * depth - (1 << depth) + 1


def route(sources: Sequence[int]) -> list[bool]:
    """Settings that bring line `sources[i]` to place i: which switches are crossed.

    The order is that of construction: first column, upper network, lower network, second column.
    The last switch of an even network's second column is always straight, so that a Waksman
    network, which has none there, is set alike.

    Args:
        sources: a permutation of 0 to n - 1.

    Source: the looping algorithm of the papers above: of two lines that share a switch one goes up
        and one goes down, followed from column to column and back.
    Cost: O(n log n), in plain Python.

    Example:
        >>> route([1, 0]), route([2, 0, 1])
        ([True], [False, True, True])
        >>> send("abc", route([2, 0, 1]))
        ['c', 'a', 'b']
    """
    num_lines = len(sources)
    if num_lines <= 2:
        return [sources[0] == 1] if num_lines == 2 else []
    is_lower = _lower_lines(sources)
    first_column = [is_lower[line] for line in range(0, num_lines - 1, 2)]
    second_column = [is_lower[sources[place]] for place in range(0, num_lines - 1, 2)]
    upper = [source // 2 for source in sources if not is_lower[source]]
    lower = [source // 2 for source in sources if is_lower[source]]
    return [*first_column, *route(upper), *route(lower), *second_column]


def send(values: Sequence[_T], crossed: Sequence[bool]) -> list[_T]:
    """What comes out of a Benes network into which these values go, its switches set so."""
    return _sent(values, iter(crossed))


def _sent(values: Sequence[_T], crossed: Iterator[bool]) -> list[_T]:
    if len(values) <= 2:
        return _through_column(values, crossed)
    num_paired = len(values) // 2 * 2
    entering = _through_column(values[:num_paired], crossed)
    upper = _sent(entering[0::2], crossed)
    lower = _sent([*entering[1::2], *values[num_paired:]], crossed)
    leaving = [value for pair in zip(upper, lower, strict=False) for value in pair]
    return [*_through_column(leaving, crossed), *lower[num_paired // 2 :]]


def _through_column(values: Sequence[_T], crossed: Iterator[bool]) -> list[_T]:
    out = list(values)
    for first in range(0, len(out) - 1, 2):
        if next(crossed):
            out[first], out[first + 1] = out[first + 1], out[first]
    return out


def _lower_lines(sources: Sequence[int]) -> list[bool]:
    """Which lines take the lower network: one of each two that enter or leave by one switch."""
    num_lines = len(sources)
    place_of = [0] * num_lines
    for place, source in enumerate(sources):
        place_of[source] = place
    is_lower: list[bool | None] = [None] * num_lines
    for start in reversed(range(num_lines)):  # of an odd number the last place is a lower one
        place = start
        while is_lower[sources[place]] is None:
            line = sources[place]
            is_lower[line] = True
            beside = line ^ 1
            if beside == num_lines:
                break
            is_lower[beside] = False
            place = place_of[beside] ^ 1
    return [bool(each) for each in is_lower]
