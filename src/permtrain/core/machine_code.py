"""How numba compiles loops for us: without the GIL, kept on disk where there is a place for it."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[F], F]:
    """`numba.njit`, whose machine code is kept beside the source, or in `NUMBA_CACHE_DIR`.

    Where neither can be written, nor the user's own cache folder, as in a container for a user
    without a home, each process compiles anew.

    Floating point is exact: fastmath stays off. The numpy error model only drops the test for
    division by zero.

    Args:
        options: more of numba's.
    """

    def compiled(function: F) -> F:
        kinds: dict[str, Any] = {"nogil": True, "error_model": "numpy"} | options
        try:
            return cast(F, numba.njit(cache=True, **kinds)(function))
        except RuntimeError:  # numba found no place
            _tell_once()
            return cast(F, numba.njit(**kinds)(function))

    return compiled


@cache
def _tell_once() -> None:
    warnings.warn(
        "compiled code cannot be kept on disk, so that each process compiles anew; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )
