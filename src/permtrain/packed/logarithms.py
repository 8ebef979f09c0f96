"""Tables for arithmetic with log-odds, made of integers only, the same on every machine.

A log-odds x stands for the probability 2^y / (1 + 2^y) with y = x / 256.
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

LOG_UNIT = 256
LOG_TABLE_BITS = 10
LARGEST_LOG_ODDS = 12 * LOG_UNIT - 1
PROBABILITY_BITS = 16

_PRECISION = 128


@cache
def logarithms() -> NDArray[np.int32]:
    """floor(256 log2(1 + i / 1024)) for i from 0 to 1023.

    Example:
        >>> logarithms()[[0, 1, 512, 1023]].tolist()
        [0, 0, 149, 255]
    """
    powers = _powers_of_two()
    table = np.zeros(1 << LOG_TABLE_BITS, dtype=np.int32)
    for place in range(1 << LOG_TABLE_BITS):
        number = ((1 << LOG_TABLE_BITS) + place) << (_PRECISION - LOG_TABLE_BITS)
        table[place] = sum(power <= number for power in powers[1:])
    return table


@cache
def probabilities() -> NDArray[np.int32]:
    """The probability, in 1 / 65536, of each log-odds from -3071 to 3071: 17 to 65519.

    floor(65536 q / (1 + q)) with q = 2^(x / 256), and for x below 0 what it is at -x, from 65536.

    Example:
        >>> probabilities()[[0, 3071 - 256, 3071, 3071 + 256, -1]].tolist()
        [17, 21846, 32768, 43690, 65519]
    """
    powers = _powers_of_two()
    table = np.zeros(2 * LARGEST_LOG_ODDS + 1, dtype=np.int32)
    whole = 1 << PROBABILITY_BITS
    for x in range(LARGEST_LOG_ODDS + 1):
        odds = powers[x % LOG_UNIT] << (x // LOG_UNIT)
        likely = (odds << PROBABILITY_BITS) // (odds + (1 << _PRECISION))
        table[LARGEST_LOG_ODDS + x] = likely
        table[LARGEST_LOG_ODDS - x] = whole - likely
    return table


@cache
def rates() -> NDArray[np.int32]:
    """How far a correction goes, in 1 / 4096: max(40, 16384 div (n + 16)).

    n counts what its context has learnt so far: a decision counts 4 p (1 - p), so that contexts in
    which almost everything is clear, as where most weights are zero, go on learning.
    """
    return np.array([max(40, 16384 // (n + 16)) for n in range(1 << 10)], dtype=np.int32)


@cache
def _powers_of_two() -> list[int]:
    """floor(2^(i / 256) 2^128) or very little less, i from 0 to 255, by square roots alone."""
    roots = [1 << (_PRECISION + 1)]
    for _ in range(8):
        roots.append(isqrt(roots[-1] << _PRECISION))
    powers = []
    for i in range(LOG_UNIT):
        product = 1 << _PRECISION
        for bit in range(8):
            if i >> bit & 1:
                product = product * roots[8 - bit] >> _PRECISION
        powers.append(product)
    return powers
