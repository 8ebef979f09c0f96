"""Synchronisation on CUDA: what `arrange_vectors` gives, for all tensors of a step at once.

Tensors whose rows have the same padded length, and that are alike in what a program is compiled
for, share one launch of it. The programs themselves are in `gpu_programs`.

Importing this module imports triton. It compiles a program for each padded length when that is
first used, which takes 2 to 25 seconds and a C compiler, and keeps it on disk. Everything a launch
needs is on the device after the first one of its kind, so that launches can be captured in a CUDA
graph.

Shape suffixes: V vectors, L weights in a vector.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from permtrain.core.bits import bits_of
from permtrain.core.device_rows import DeviceRows
from permtrain.core.gpu_programs import NUM_FIELDS, lay_out_rows

MAX_LENGTH = 1 << 14
MAX_SELECTED_LEVELS = 3
"""Up to so many levels are selected, more are sorted.

By count of operations, not by measurement: a level costs about 45 passes over a row in place of the
network's 55 exchanges for 1,024 weights, 105 for 16,384, each of which is dearer.
"""

# Not tuned, for want of a GPU: words that a program sorts at least, and words of a warp.
_MIN_WORDS = 1 << 10
_WORDS_PER_WARP = 1 << 9
_MAX_WARPS = 32
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# The bits of infinity: those of a finite weight, without its sign, are less.
_INFINITY_BITS = {torch.float32: 0x7F800000, torch.float16: 0x7C00, torch.bfloat16: 0x7F80}


def supports(profile_VL: Tensor, like_VL: Tensor) -> bool:
    """Whether `launch` takes these: plain CUDA tensors in rows that the device can hold.

    Rows have at most `MAX_LENGTH` weights; half as many of 32 bits, or less, where a block has less
    than 128 KiB of shared memory, by which words pass between warps.
    """
    if not like_VL.is_cuda or profile_VL.device != like_VL.device:
        return False
    return fits(profile_VL, like_VL, _shared_memory(like_VL.device.index))


def fits(profile_VL: Tensor, like_VL: Tensor, shared_memory: int) -> bool:
    """`supports` on a device with so many bytes of shared memory for a block."""
    word_size = 2 * like_VL.element_size()
    return (
        all(type(t) in (Tensor, torch.nn.Parameter) for t in (profile_VL, like_VL))
        and like_VL.dtype in _INFINITY_BITS
        and profile_VL.dtype.is_floating_point
        and profile_VL.layout == like_VL.layout == torch.strided
        and like_VL.shape[1] <= MAX_LENGTH
        and triton.next_power_of_2(like_VL.shape[1]) * word_size <= shared_memory
    )


@cache
def _shared_memory(device_index: int) -> int:
    driver = triton.runtime.driver.active.utils
    return int(driver.get_device_properties(device_index)["max_shared_mem"])


def launch(batch: Iterable[DeviceRows]) -> None:
    """Does to each what `DeviceRows` says, without a host synchronisation once it is warm.

    A profile that is met for the first time is looked at, for its levels, which waits.
    """
    for kind, alike in in_launches(batch).items():
        _launch(kind, alike)


class LaunchKind(NamedTuple):
    """What tensors that share a launch are alike in; the program is compiled for it."""

    device: torch.device
    weights: torch.dtype
    value_size: int
    padded_length: int
    is_contiguous: bool
    has_latent: bool
    num_starts: int


def in_launches(batch: Iterable[DeviceRows]) -> dict[LaunchKind, list[DeviceRows]]:
    """Which tensors share a launch of a program."""
    launches: dict[LaunchKind, list[DeviceRows]] = {}
    for rows in batch:
        if rows.like_VL.numel():
            launches.setdefault(_kind_of(rows), []).append(rows)
    return launches


def _kind_of(rows: DeviceRows) -> LaunchKind:
    tensors = [rows.profile_VL, rows.like_VL, rows.out_VL]
    tensors += [] if rows.latent_VL is None else [rows.latent_VL]
    starts = level_starts(rows.profile_VL)
    return LaunchKind(
        rows.like_VL.device,
        rows.like_VL.dtype,
        rows.profile_VL.element_size(),
        max(triton.next_power_of_2(rows.like_VL.shape[1]), 2),
        all(tensor.stride(1) == 1 for tensor in tensors),
        rows.latent_VL is not None,
        0 if starts is None else starts.shape[1],
    )


_level_starts = WeakIdKeyDictionary()  # profile -> (its version, its level starts)


def level_starts(profile_VL: Tensor) -> Tensor | None:
    """The ranks at which a profile's second and later levels begin, if levels are to be selected.

    Levels are told apart by their bits. Kept as long as the profile is, so that the host waits for
    the device once.

    Returns:
        (V or 1, K - 1) int32 for K levels, 1 < K <= `MAX_SELECTED_LEVELS`; rows with fewer end in
        L. None for other profiles.

    Example:
        >>> profile = torch.tensor([[-1.0, -1.0, 0.0, 1.0], [-1.0, -1.0, -1.0, 2.0]])
        >>> level_starts(profile)
        tensor([[2, 3],
                [3, 4]], dtype=torch.int32)
        >>> level_starts(torch.arange(4.0)[None]) is None
        True
    """
    if profile_VL.is_inference():  # has no version that would tell of writes
        return _find_level_starts(bits_of(profile_VL))
    known = _level_starts.get(profile_VL)
    if known is None or known[0] != profile_VL._version:
        known = (profile_VL._version, _find_level_starts(bits_of(profile_VL)))
        _level_starts[profile_VL] = known
    starts: Tensor | None = known[1]
    return starts


def _find_level_starts(bits_VL: Tensor) -> Tensor | None:
    L = bits_VL.shape[1]
    begins_VL = bits_VL[:, 1:] != bits_VL[:, :-1]
    num_starts = int(begins_VL.sum(dim=1).max()) if begins_VL.numel() else 0
    if not 0 < num_starts < MAX_SELECTED_LEVELS:
        return None
    ranks_L = torch.arange(1, L, dtype=torch.int32, device=bits_VL.device)
    starts_VL = torch.where(begins_VL, ranks_L, L)
    return starts_VL.sort(dim=1).values[:, :num_starts].contiguous()


def _launch(kind: LaunchKind, alike: Sequence[DeviceRows]) -> None:
    words = kind.padded_length
    rows_of_program = max(_MIN_WORDS // words, 1)
    table, num_programs = _table(
        kind.device, rows_of_program, tuple(_line(rows, kind.num_starts) for rows in alike)
    )
    if table.is_cuda and torch.cuda.is_current_stream_capturing():
        _captured_tables[table.data_ptr()] = table
    with torch.cuda.device_of(table):  # Triton launches on the current device
        lay_out_rows[(num_programs,)](
            table,
            len(alike),
            BITS=8 * kind.weights.itemsize,
            PROFILE_BITS=8 * kind.value_size,
            INFINITY=_INFINITY_BITS[kind.weights],
            R=rows_of_program,
            LOG_N=words.bit_length() - 1,
            PADDED_T=triton.next_power_of_2(len(alike)),
            IS_CONTIGUOUS=kind.is_contiguous,
            HAS_LATENT=kind.has_latent,
            NUM_STARTS=kind.num_starts,
            num_warps=min(max(rows_of_program * words // _WORDS_PER_WARP, 1), _MAX_WARPS),
        )


def _line(rows: DeviceRows, num_starts: int) -> tuple[int, ...]:
    """A tensor's line of the table without the first field, in the order of `gpu_programs`."""
    starts = level_starts(rows.profile_VL) if num_starts else None
    of_starts = (0, 0) if starts is None else (starts.data_ptr(), _stride_V(starts))
    line = (*rows.like_VL.shape, rows.not_finite.data_ptr(), *of_starts)
    for tensor in (rows.profile_VL, rows.like_VL, rows.out_VL, rows.latent_VL):
        line += (
            (0, 0, 0)
            if tensor is None
            else (tensor.data_ptr(), _stride_V(tensor), tensor.stride(1))
        )
    return line


def _stride_V(tensor_VL: Tensor) -> int:
    """From row to row; 0 where one row is that of all."""
    return 0 if tensor_VL.shape[0] == 1 else tensor_VL.stride(0)


# A CUDA graph holds a table's address and not the table: these are kept for good.
_captured_tables: dict[int, Tensor] = {}


@lru_cache(maxsize=256)
def _table(
    device: torch.device, rows_of_program: int, lines: tuple[tuple[int, ...], ...]
) -> tuple[Tensor, int]:
    """The table on the device, and how many programs do its work.

    Parameters stay where they are from step to step, so that the table is copied once.
    """
    num_programs = 0
    table = []
    for line in lines:
        table.append((num_programs, *line))
        num_programs += triton.cdiv(line[0], rows_of_program)
    return torch.tensor(table, dtype=torch.int64, device=device).view(-1, NUM_FIELDS), num_programs
