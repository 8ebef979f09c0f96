"""How loops of this folder are compiled: once per dtype, kept on disk, without the GIL.

Numba compiles a function when it is first called and keeps the machine code beside the source
(`__pycache__`, or `NUMBA_CACHE_DIR`). Shapes are no part of what is compiled. Floating point is
exact: fastmath stays off, and comparisons mean what they say.

This is the only file that imports numba.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")

# The numpy error model only drops the test for division by zero; nothing here divides by zero.
# `_nrt=False`: no counting of references to arrays. Counts are atomic, and would be changed
# wherever an array is handed over; what is compiled so must therefore not allocate.
_njit: Any = partial(numba.njit, cache=True, nogil=True, error_model="numpy")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A loop over the entries of arrays that are given, compiled."""
    return _njit(_nrt=False)(function)  # type: ignore[no-any-return]


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A piece of a loop, put in the place of its call, which would hand over arrays by their parts.

    That costs more than most pieces; but each place is compiled anew.
    """
    return _njit(_nrt=False, inline="always")(function)  # type: ignore[no-any-return]


def compiled_rows(function: Callable[P, R]) -> Callable[P, R]:
    """A loop over a range of rows, for `core.threads.in_threads`; it may allocate."""
    return _njit()(function)  # type: ignore[no-any-return]


def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


def _leading_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


# Zero bits below the lowest one, and above the highest one, of a word that is not 0.
trailing_zeros: Callable[[np.uint64], int] = cast(Any, intrinsic(_trailing_zeros))
leading_zeros: Callable[[np.uint64], int] = cast(Any, intrinsic(_leading_zeros))
