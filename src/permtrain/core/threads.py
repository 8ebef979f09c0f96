"""Compiled code on several threads: torch's own, which are awake between two tensor operations.

A training step hands work to torch's OpenMP threads dozens of times, and they wait for the next in
a busy loop. Threads of another pool have to be woken, and then share the cores with those that
wait: measured in training steps of `fc500-300` by the index optimizer on two cores, that costs
1.5 ms of 7.5. So the work is handed to the same threads,
through the entry point that compilers call for a parallel region. Where there is none (torch built
without GNU's OpenMP, a forked process, which has lost its threads), a pool of Python's does it.
"""

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import torch

R = TypeVar("R")

_Region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def in_threads(work: Callable[[int, int], R], pieces: list[tuple[int, int]]) -> list[R]:
    """`work(begin, end)` for each piece, in that order; a thread that is done takes the next one.

    Args:
        work: must let go of Python's lock to run beside itself (compiled with `nogil`).
        pieces: ranges of items, on at most `torch.get_num_threads()` threads.

    Raises:
        the first error of `work`, after all threads have stopped.

    Example:
        >>> in_threads(lambda begin, end: end - begin, [(0, 3), (3, 5)])
        [3, 2]
    """
    if len(pieces) <= 1:
        return [work(*piece) for piece in pieces]
    results: list[Any] = [None] * len(pieces)
    errors: list[BaseException] = []
    todo = itertools.count()

    def run() -> None:
        try:
            while not errors and (index := next(todo)) < len(pieces):
                results[index] = work(*pieces[index])
        except BaseException as error:  # nothing may leave a thread that is not Python's
            errors.append(error)

    parallel_region = None if _is_forked else _torch_parallel_region()
    if parallel_region is not None:
        # As many as torch's own regions have: of a smaller one, the threads left over would end.
        parallel_region(_Region(lambda _: run()), None, torch.get_num_threads(), 0)
    else:
        _run_in_pool(run, min(torch.get_num_threads(), len(pieces)))
    if errors:
        raise errors[0]
    return results


def ranges(num_items: int, num_pieces: int, multiple: int = 1) -> list[tuple[int, int]]:
    """About equal ranges of items, at most so many; their length is a multiple, but the last's.

    Example:
        >>> ranges(10, 3), ranges(10, 3, multiple=8)
        ([(0, 4), (4, 8), (8, 10)], [(0, 8), (8, 10)])
    """
    size = -(-num_items // max(num_pieces, 1))
    size = max(-(-size // multiple) * multiple, 1)
    return [(begin, min(begin + size, num_items)) for begin in range(0, num_items, size)]


@cache
def _torch_parallel_region() -> Callable[..., None] | None:
    """GNU OpenMP's entry to a parallel region, of the library torch itself runs on."""
    if "OpenMP" not in torch.__config__.parallel_info():
        return None
    try:
        region = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # another runtime; TypeError: Windows
        return None
    region.argtypes = [_Region, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    region.restype = None
    return region


_pool: ThreadPoolExecutor | None = None
_is_forked = False


def _forget_threads() -> None:
    """In a forked process: its parent's threads are not there."""
    global _pool, _is_forked
    _pool = None
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _run_in_pool(run: Callable[[], None], num_threads: int) -> None:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), "permtrain")
    helpers = [_pool.submit(run) for _ in range(num_threads - 1)]
    run()
    for helper in helpers:
        # A helper that never got a core has nothing left to do.
        if not helper.cancel():
            helper.result()
