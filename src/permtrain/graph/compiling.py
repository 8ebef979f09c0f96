"""How loops of this folder are compiled: once per dtype, kept on disk, without the GIL.

Numba compiles a function when it is first called; `core.machine_code` says where the machine code
is kept. Shapes are no part of what is compiled. Floating point is exact: comparisons mean what they
say.

This is the only file of this folder that imports numba.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from permtrain.core.machine_code import njit

P = ParamSpec("P")
R = TypeVar("R")

# Nothing here divides by zero.
# `_nrt=False`: no counting of references to arrays. Counts are atomic, and would be changed
# wherever an array is handed over; what is compiled so must therefore not allocate.


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A loop over the entries of arrays that are given, compiled."""
    return njit(_nrt=False)(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A piece of a loop, put in the place of its call, which would hand over arrays by their parts.

    That costs more than most pieces; but each place is compiled anew.
    """
    return njit(_nrt=False, inline="always")(function)


def compiled_rows(function: Callable[P, R]) -> Callable[P, R]:
    """A loop over a range of rows, for `core.threads.in_threads`; it may allocate."""
    return njit()(function)


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
