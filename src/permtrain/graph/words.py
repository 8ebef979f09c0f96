"""Random words for a row of weights: a function of (seed, step, row) and of nothing else.

The generator is splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014): word i of a key is `mix(key + (i + 1) * GOLDEN)`, in arithmetic modulo
2^64. Rows may therefore be visited in any order, by any number of threads. It serves to shuffle,
not to hide anything.
"""

import numpy as np

from permtrain.errors import SettingError
from permtrain.graph.compiling import inlined

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LOWER_HALF = np.uint64(0xFFFFFFFF)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


def check_words(seed: int, step: int, first_row: int) -> None:
    """Refuses what words cannot be drawn for.

    Raises:
        SettingError: one of them is outside [0, 2^63).
    """
    for name, number in (("seed", seed), ("step", step), ("first_row", first_row)):
        if not 0 <= number < 2**63:
            raise SettingError(f"{name} is {number}; allowed: 0 to 2^63 - 1")


@inlined
def mix(word: np.uint64) -> np.uint64:
    """splitmix64's finisher, a bijection of the 64-bit words under which all bits depend on all."""
    word = (word ^ (word >> _S30)) * _FIRST
    word = (word ^ (word >> _S27)) * _SECOND
    return word ^ (word >> _S31)


@inlined
def row_key(seed: np.uint64, step: np.uint64, row: np.uint64) -> np.uint64:
    """The key of a row's words in one update: mix(mix(mix(seed + G) + step) + row)."""
    return mix(mix(mix(seed + GOLDEN) + step) + row)


@inlined
def word_at(key: np.uint64, i: np.uint64) -> np.uint64:
    """Word i of a key."""
    return mix(key + (i + np.uint64(1)) * GOLDEN)


@inlined
def below(half_word: np.uint64, bound: np.uint64) -> np.int64:
    """A number in [0, bound) from a word of 32 bits, as floor(half_word * bound / 2^32).

    No number is more than bound / 2^32 (relatively) likelier than another.
    """
    return np.int64((half_word * bound) >> _S32)


@inlined
def upper_half(word: np.uint64) -> np.uint64:
    return word >> _S32


@inlined
def lower_half(word: np.uint64) -> np.uint64:
    return word & _LOWER_HALF
