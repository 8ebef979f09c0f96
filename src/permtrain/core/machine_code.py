"""How numba compiles loops for us: without the GIL, kept on disk where there is a place for it."""

import pickle
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.runtime.nrt import rtsys

F = TypeVar("F", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[F], F]:
    """`numba.njit`, whose machine code is kept beside the source, or in `NUMBA_CACHE_DIR`.

    What is kept there is not trusted: what is damaged, by its checksum, is compiled and kept anew.
    Where nothing can be kept, on a full disk or for a user without a home, each process compiles
    anew, and a warning says so once.

    Floating point is exact: fastmath stays off. The numpy error model only drops the test for
    division by zero.

    Args:
        options: more of numba's.
    """

    def compiled(function: F) -> F:
        kinds: dict[str, Any] = {"nogil": True, "error_model": "numpy"} | options
        dispatcher = numba.njit(**kinds)(function)
        if not isinstance(dispatcher, Dispatcher):  # NUMBA_DISABLE_JIT: the function itself
            return cast(F, dispatcher)
        try:
            dispatcher.enable_caching()
            kept = cast(Any, dispatcher)
            kept._cache = _Cache(dispatcher.py_func)
        except (RuntimeError, OSError):  # numba found no place
            _tell_once()
            return cast(F, numba.njit(**kinds)(function))
        return cast(F, dispatcher)

    return compiled


class _Cache(FunctionCache):
    """Numba's, but that no error of its files reaches whoever calls the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """As numba's, which before loads all that a compiler needs, scipy too, for 0.3 s.

        Code that was compiled needs numba's runtime alone.
        """
        with self._guard_against_spurious_io_errors():
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        return None

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # a damaged file can raise nearly anything, a full disk OSError
            _tell_once()


class _CheckedFiles(IndexDataCacheFile):
    """Numba's files, with a checksum before each; what does not fit counts as absent."""

    def _load_index(self) -> dict[Any, str]:
        try:
            return dict(super()._load_index())
        except Exception:  # it is written anew with the next function
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        kept = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(zlib.crc32(kept).to_bytes(4, "little") + kept)

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            checksum, kept = file.read(4), file.read()
        if zlib.crc32(kept).to_bytes(4, "little") != checksum:
            raise OSError(f"{name}: damaged")  # which numba takes for a file that is gone
        return pickle.loads(kept)


@cache
def _tell_once() -> None:
    warnings.warn(
        "compiled code cannot be kept on disk, so that each process compiles anew; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )
