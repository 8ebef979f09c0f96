"""Synchronisation on the CPU, compiled: what `arrange_vectors` gives, bit for bit, without argsort.

A general sort spends its time on comparisons that branch at random. Here each row's weights are
dealt out to twice as many buckets as it has weights, equally wide over the row's mean and 3.5
deviations to both sides, in two passes; what is left to sort are the few that share a bucket, which
one insertion pass does. How weights are dealt out decides speed alone, never the result: the bucket
grows with the weight, and the insertion pass compares weights and positions exactly. Rows that the
buckets do not fit (outliers, ties) are radix-sorted, known before the first weight is moved.

- Rows up to `MAX_SHORT` weights: all pairs are compared, many rows side by side in registers.
- Rows above `MAX_CACHED`: first dealt out to parts that fit the cache, whose weights are then
  arranged part by part, on all threads.
- Profiles of a few levels: a part whose ranks all lie on one level takes that value without a sort;
  only the parts at the levels' ends are sorted.

Starting from the last order, as nearly sorted, was measured too and is slower than this from
nothing (`benchmarks/arrange_kernel.py`), so that no state is kept between calls.

Importing this module imports numba (0.5 s); the first call of a process loads the compiled code,
the first on a machine compiles it (numbers in `compile_`). Threads are torch's (`core/threads.py`):
numba's own die in a forked process, or must not be started from two threads.

Shape suffixes: V vectors, L weights in a vector, C chunks of a long vector, P parts of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from permtrain.core.machine_code import njit
from permtrain.core.threads import in_threads, ranges

MAX_SHORT = 96
MAX_CACHED = 1 << 16

_LANES = 64
_BUCKETS_PER_WEIGHT = 2
# Sum of squared bucket sizes per weight: 2 for normal and uniform weights. It bounds the moves of
# the insertion pass; beyond 8 the radix sort is faster.
_MAX_CROWDING = 8
_NUM_SAMPLED = 64
_DEVIATIONS = 3.5
_PART_SIZE = 2048
# Weights that one thread arranges in about the time in which another can be woken.
_MIN_WEIGHTS_PER_THREAD = 1 << 14
# Levels are used where they hold 64 weights on average, in rows long enough to gain by it.
_LEVEL_SIZE = 64
_MIN_LEVELLED = 256
_LEVEL_PART_SIZE = 512
# Shorter parts are sorted by insertion alone.
_SMALL = 24

_INT_MIN = -(1 << 31)
_INFINITY_BITS = 0x7F800000

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int32]
Words: TypeAlias = NDArray[np.int64]
# Profiles and results travel as integers of their width: bits are moved, never read.
Bits: TypeAlias = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])


def supports(profile_VL: Tensor, like_VL: Tensor) -> bool:
    """Whether `arrange_on_cpu` takes these: plain CPU tensors, weights of at most 32 bits."""
    return (
        all(type(t) in (Tensor, torch.nn.Parameter) for t in (profile_VL, like_VL))
        and profile_VL.device.type == like_VL.device.type == "cpu"
        and like_VL.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and profile_VL.dtype.is_floating_point
        and profile_VL.layout == like_VL.layout == torch.strided
        and like_VL.shape[1] < 1 << 31
    )


def arrange_on_cpu(profile_VL: Tensor, like_VL: Tensor, out_VL: Tensor) -> int | None:
    """`arrange_vectors` into `out_VL`; the index of a row with NaN or infinity, None without one.

    Args:
        profile_VL: (V, L) or (1, L), ascending, of any floating dtype.
        like_VL: (V, L), float32, float16 or bfloat16.
        out_VL: (V, L), contiguous, of the profile's dtype; shares no memory with the others.

    Returns:
        None if all rows were arranged; else the first row of `like_VL` that is not finite. What
        `out_VL` holds then is undefined.
    Ties: by position, the first one smallest; -0.0 and 0.0 tie.
    Cost: about 8 ns a weight and thread, 2.5 ns in rows of 9, 20 in rows above `MAX_CACHED`; 2.5 to
        5 ns for profiles of a few levels; twice as much at worst. Memory: a thread's scratch for
        one row; a row above `MAX_CACHED` takes a 32-bit position per weight, and once more if most
        of its weights crowd. Half-precision weights are widened, some rows at a time.
        Uses `torch.get_num_threads()` threads.
    """
    V, L = like_VL.shape
    if not V or not L:
        return None
    profile = _bits(profile_VL)
    out = _bits(out_VL)
    assert out_VL.is_contiguous()
    like_VL = like_VL.detach()
    if like_VL.dtype == torch.float32:
        return _first_bad_row(profile, like_VL.contiguous().numpy(), out)
    num_rows = max(MAX_CACHED * 4 // L, 1)
    for first in range(0, V, num_rows):
        rows = slice(first, first + num_rows)
        wide = like_VL[rows].float().contiguous().numpy()
        bad = _first_bad_row(profile if len(profile) == 1 else profile[rows], wide, out[rows])
        if bad is not None:
            return first + bad
    return None


def _bits(values_VL: Tensor) -> Bits:
    integers = _INTEGERS[values_VL.element_size()]
    bits: Bits = values_VL.detach().contiguous().view(integers).numpy()
    return bits


def _first_bad_row(profile_VL: Bits, values_VL: Floats, out_VL: Bits) -> int | None:
    V, L = values_VL.shape
    if L > MAX_CACHED:
        for v in range(V):
            if not _lay_out_long(profile_VL[v % len(profile_VL)], values_VL[v], out_VL[v]):
                return v
        return None
    lay_out_rows = _lay_out_short_rows if L <= MAX_SHORT else _lay_out_rows
    bad = in_threads(
        lambda begin, end: lay_out_rows(profile_VL, values_VL, out_VL, begin, end),
        _cut(V, V * L, pieces_per_thread=4, multiple=_LANES if L <= MAX_SHORT else 1),
    )
    return min((v for v in bad if v >= 0), default=None)


def _lay_out_long(profile: Bits, values: Floats, out: Bits) -> bool:
    """One row, cut into chunks for the threads and into parts by value; False if not finite."""
    L = values.size
    chunks = _cut(L, L, pieces_per_thread=1)
    ranges = in_threads(lambda begin, end: _range_of(values[begin:end]), chunks)
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    if not _is_finite(lowest, highest):
        return False
    level_starts = np.empty(L // _LEVEL_SIZE, np.int32)
    num_levels = _find_levels(profile, level_starts)
    num_parts = max(L // (_PART_SIZE if num_levels < 0 else _LEVEL_PART_SIZE), 1)
    grid = _grid_of(values, num_parts)
    parts_CP = np.zeros((len(chunks), num_parts), np.int32)
    starts_of_chunks = {begin: c for c, (begin, _) in enumerate(chunks)}
    in_threads(
        lambda begin, end: _count(
            values,
            grid,
            parts_CP[starts_of_chunks[begin]],
            np.empty(_PART_SIZE, np.int32),
            begin,
            end,
        ),
        chunks,
    )
    first_ranks = np.empty(num_parts + 1, np.int32)
    is_level = np.empty(num_parts, np.bool_)
    _bound_parts(parts_CP, level_starts[: max(num_levels, 0)], first_ranks, is_level)
    positions = np.empty(L, np.int32)
    in_threads(
        lambda begin, end: _deal_out(
            profile,
            values,
            out,
            grid,
            parts_CP[starts_of_chunks[begin]],
            first_ranks,
            is_level,
            positions,
            np.empty(_PART_SIZE, np.int32),
            begin,
            end,
        ),
        chunks,
    )
    # Longer parts, where most weights tie or crowd, are sorted without leaving `positions`.
    longest = min(int(np.diff(first_ranks).max(initial=0, where=~is_level)), MAX_CACHED)
    in_threads(
        lambda begin, end: _lay_out_parts(
            profile,
            values,
            out,
            first_ranks,
            is_level,
            positions,
            _scratch(longest),
            begin,
            end,
        ),
        _cut(num_parts, L, pieces_per_thread=16),
    )
    return True


def compile_() -> None:
    """Compiles or loads everything for 32-bit profiles, which the first calls would otherwise do.

    Measured on two cores of an EPYC (Zen 4): 13 s to compile, 0.6 s to load (processor time).
    """
    for length in (2, MAX_SHORT + 1, MAX_CACHED + 1):
        row = torch.zeros(1, length, dtype=torch.float32, device="cpu")
        arrange_on_cpu(row, row, torch.empty_like(row))


# --- threads -------------------------------------------------------------------------------------


def _cut(
    num_items: int, num_weights: int, pieces_per_thread: int, multiple: int = 1
) -> list[tuple[int, int]]:
    """Ranges of items for the threads, a single one where more would not pay."""
    num_threads = min(torch.get_num_threads(), num_weights // _MIN_WEIGHTS_PER_THREAD)
    num_pieces = num_threads * pieces_per_thread if num_threads > 1 else 1
    return ranges(num_items, num_pieces, multiple)


# --- compiled: weights, keys, buckets ------------------------------------------------------------


def _compiled(function: F) -> F:
    return njit()(function)


class _Grid(NamedTuple):
    """Equally wide buckets: (weight - low) * scale, with the weight held in [low, high]."""

    low: np.float32
    high: np.float32
    scale: np.float32


class _Scratch(NamedTuple):
    """What arranging one row or part needs, for the longest one to come."""

    values: Floats
    buckets: Integers
    ends: Integers
    words: Words
    order: Integers
    spare: Integers


@_compiled
def _scratch(length: int) -> _Scratch:
    return _Scratch(
        np.empty(length, np.float32),
        np.empty(length, np.int32),
        np.empty(length * _BUCKETS_PER_WEIGHT, np.int32),
        np.empty(length, np.int64),
        np.empty(length, np.int32),
        np.empty(length, np.int32),
    )


@_compiled
def _key(bits: Any) -> Any:
    """The integer that orders as the float of these bits does, with one zero; -_key is -float."""
    return np.int32(bits) if bits >= 0 else np.int32(_INT_MIN - bits)


@_compiled
def _word(bits: Any, position: Any) -> Any:
    """Key and position in one number: equal weights differ by position, and none are equal."""
    return (np.int64(_key(bits)) << 32) | np.int64(position)


@_compiled
def _range_of(values: Floats) -> tuple[np.int32, np.int32]:
    """Smallest and largest key."""
    bits = values.view(np.int32)
    lowest = np.int32(0x7FFFFFFF)
    highest = np.int32(_INT_MIN)
    for i in range(bits.size):
        key = _key(bits[i])
        lowest = min(lowest, key)
        highest = max(highest, key)
    return lowest, highest


@_compiled
def _is_finite(lowest: np.int32, highest: np.int32) -> bool:
    # The keys of NaN lie beyond those of the infinities.
    return bool(lowest > -_INFINITY_BITS and highest < _INFINITY_BITS)


@_compiled
def _grid_of(values: Floats, num_buckets: int) -> _Grid:
    """Buckets over the mean and 3.5 deviations, by a sample; a single one where that fails.

    The second round leaves out what lies beyond, so that a few outliers do not count.
    """
    step = max(values.size // _NUM_SAMPLED, 1)
    low = np.float32(-np.inf)
    high = np.float32(np.inf)
    for _ in range(2):
        total = 0.0
        total_squares = 0.0
        num_sampled = 0
        for i in range(0, values.size, step):
            if low <= values[i] <= high:
                value = np.float64(values[i])
                total += value
                total_squares += value * value
                num_sampled += 1
        mean = total / num_sampled
        reach = _DEVIATIONS * np.sqrt(max(total_squares / num_sampled - mean * mean, 0.0))
        low = np.float32(mean - reach)
        high = np.float32(mean + reach)
    scale = np.float32(num_buckets - 1) / (high - low)
    # Infinite or NaN for weights all equal, subnormal or near the largest float.
    if not (low < high and np.isfinite(high - low) and np.isfinite(scale)):
        return _Grid(np.float32(0), np.float32(0), np.float32(0))
    return _Grid(low, high, scale)


@_compiled
def _find_buckets(values: Floats, grid: _Grid, buckets: Integers) -> None:
    """Bucket of each weight. Each operation rounds monotonically, so that it never falls."""
    low, high, scale = grid
    for i in range(values.size):
        buckets[i] = np.int32((min(max(values[i], low), high) - low) * scale)


# --- compiled: sorting ---------------------------------------------------------------------------


@_compiled
def _sort(values: Floats, lowest: np.int32, highest: np.int32, scratch: _Scratch) -> None:
    """Writes the stable sorting order of finite weights into `scratch.order`."""
    n = values.size
    bits = values.view(np.int32)
    order = scratch.order[:n]
    words = scratch.words[:n]
    if lowest == highest:
        for i in range(n):
            order[i] = i
        return
    if n <= _SMALL:
        for i in range(n):
            words[i] = _word(bits[i], i)
    else:
        ends = scratch.ends[: n * _BUCKETS_PER_WEIGHT]
        grid = _grid_of(values, ends.size)
        buckets = scratch.buckets[:n]
        _find_buckets(values, grid, buckets)
        ends[:] = 0
        for i in range(n):
            ends[np.uint32(buckets[i])] += np.int32(1)
        begin = np.int32(0)
        crowding = 0
        for b in range(ends.size):
            size = ends[b]
            ends[b] = begin
            begin += size
            crowding += np.int64(size) * size
        if crowding > _MAX_CROWDING * n:
            # Zeros of a sparse vector crowd, but in order: the insertion pass moves none of them.
            num_zeros = 0
            for i in range(n):
                num_zeros += values[i] == 0
            crowding -= num_zeros * num_zeros
        if crowding > _MAX_CROWDING * n:
            for i in range(n):
                order[i] = i
            _radix_sort(bits, order, scratch.spare[:n])
            return
        for i in range(n):
            bucket = np.uint32(buckets[i])
            place = ends[bucket]
            ends[bucket] = place + np.int32(1)
            words[np.uint32(place)] = _word(bits[i], i)
    _insertion_sort(words)
    for r in range(n):
        order[r] = np.int32(words[r])


@_compiled
def _insertion_sort(words: Words) -> None:
    largest = words[0]
    for r in range(1, words.size):
        word = words[r]
        if word > largest:
            largest = word
            continue
        words[r] = largest
        place = r - 1
        while place > 0 and words[place - 1] > word:
            words[place] = words[place - 1]
            place -= 1
        words[place] = word


@_compiled
def _radix_sort(bits: Integers, order: Integers, spare: Integers) -> None:
    """Sorts positions by the weights there, stable: one pass for each digit that varies."""
    n = order.size
    digit_bits = 11 if n > 2048 else 8
    num_digits = 3 if n > 2048 else 4
    num_values = 1 << digit_bits
    last = num_values - 1
    counts = np.zeros((num_digits, num_values), np.int32)
    for i in range(n):
        key = np.int64(_key(bits[np.uint32(order[i])])) - _INT_MIN
        for digit in range(num_digits):
            counts[digit, np.uint32((key >> (digit * digit_bits)) & last)] += np.int32(1)
    source = order
    target = spare
    is_in_order = True
    for digit in range(num_digits):
        shift = digit * digit_bits
        ends = counts[digit]
        begin = np.int32(0)
        is_constant = False
        for d in range(num_values):
            size = ends[d]
            is_constant |= size == n
            ends[d] = begin
            begin += size
        if is_constant:
            continue
        for i in range(n):
            position = source[i]
            key = np.int64(_key(bits[np.uint32(position)])) - _INT_MIN
            value = np.uint32((key >> shift) & last)
            place = ends[value]
            ends[value] = place + np.int32(1)
            target[np.uint32(place)] = position
        source, target = target, source
        is_in_order = not is_in_order
    if not is_in_order:
        order[:] = spare


# --- compiled: rows ------------------------------------------------------------------------------


@_compiled
def _lay_out_rows(profile_VL: Bits, values_VL: Floats, out_VL: Bits, begin: int, end: int) -> int:
    """Rows `begin` to `end`; the first one that is not finite, where it stops, or -1."""
    L = values_VL.shape[1]
    scratch = _scratch(L)
    level_starts = np.empty(L // _LEVEL_SIZE if L >= _MIN_LEVELLED else 0, np.int32)
    num_levels = -1
    num_parts = L // 8
    parts_CP = np.empty((1, num_parts), np.int32)
    first_ranks = np.empty(num_parts + 1, np.int32)
    is_level = np.empty(num_parts, np.bool_)
    positions = np.empty(L, np.int32)
    for v in range(begin, end):
        profile = profile_VL[v % profile_VL.shape[0]]
        values = values_VL[v]
        out = out_VL[v]
        lowest, highest = _range_of(values)
        if not _is_finite(lowest, highest):
            return v
        if profile_VL.shape[0] > 1 or v == begin:
            num_levels = _find_levels(profile, level_starts)
        if num_levels >= 0:
            parts_CP[:] = 0
            grid = _grid_of(values, num_parts)
            _count(values, grid, parts_CP[0], scratch.buckets, 0, L)
            _bound_parts(parts_CP, level_starts[:num_levels], first_ranks, is_level)
            _deal_out(
                profile,
                values,
                out,
                grid,
                parts_CP[0],
                first_ranks,
                is_level,
                positions,
                scratch.buckets,
                0,
                L,
            )
            _lay_out_parts(
                profile, values, out, first_ranks, is_level, positions, scratch, 0, num_parts
            )
            continue
        _sort(values, lowest, highest, scratch)
        for r in range(L):
            out[np.uint32(scratch.order[r])] = profile[r]
    return -1


@_compiled
def _lay_out_short_rows(
    profile_VL: Bits, values_VL: Floats, out_VL: Bits, begin: int, end: int
) -> int:
    """As `_lay_out_rows`: a rank is how many weights come before, counted for 64 rows at once."""
    L = values_VL.shape[1]
    bits_VL = values_VL.view(np.int32)
    keys = np.zeros((L, _LANES), np.int32)
    ranks = np.empty((L, _LANES), np.int32)
    for first in range(begin, end, _LANES):
        num_rows = min(_LANES, end - first)
        for lane in range(num_rows):
            lowest = np.int32(0x7FFFFFFF)
            highest = np.int32(_INT_MIN)
            for i in range(L):
                key = _key(bits_VL[first + lane, i])
                keys[i, lane] = key
                lowest = min(lowest, key)
                highest = max(highest, key)
            if not _is_finite(lowest, highest):
                return first + lane
        for i in range(L):
            ranks[i] = L - 1 - i
        for i in range(L):
            earlier = keys[i]
            ranks_of_earlier = ranks[i]
            for j in range(i + 1, L):
                later = keys[j]
                ranks_of_later = ranks[j]
                for lane in range(_LANES):
                    in_order = np.int32(earlier[lane] <= later[lane])
                    ranks_of_later[lane] += in_order
                    ranks_of_earlier[lane] -= in_order
        for lane in range(num_rows):
            profile = profile_VL[(first + lane) % profile_VL.shape[0]]
            for i in range(L):
                out_VL[first + lane, i] = profile[np.uint32(ranks[i, lane])]
    return -1


# --- compiled: parts of a row, by value ----------------------------------------------------------


@_compiled
def _find_levels(profile: Bits, level_starts: Integers) -> int:
    """Ranks at which another value begins, and how many; -1 if they do not fit."""
    num_levels = 0
    for r in range(1, profile.size):
        if profile[r] != profile[r - 1]:
            if num_levels == level_starts.size:
                return -1
            level_starts[num_levels] = r
            num_levels += 1
    return num_levels


@_compiled
def _count(
    values: Floats, grid: _Grid, counts: Integers, buckets: Integers, begin: int, end: int
) -> None:
    """Adds up how many of the weights from `begin` to `end` belong to each part."""
    for first in range(begin, end, buckets.size):
        tile = values[first : min(first + buckets.size, end)]
        _find_buckets(tile, grid, buckets)
        for i in range(tile.size):
            counts[np.uint32(buckets[i])] += np.int32(1)


@_compiled
def _bound_parts(
    parts_CP: Integers, level_starts: Integers, first_ranks: Integers, is_level: NDArray[np.bool_]
) -> None:
    """From counts to where each chunk writes each part, and which parts lie on one level."""
    rank = np.int32(0)
    level = 0
    for p in range(parts_CP.shape[1]):
        first_ranks[p] = rank
        for c in range(parts_CP.shape[0]):
            size = parts_CP[c, p]
            parts_CP[c, p] = rank
            rank += size
        while level < level_starts.size and level_starts[level] <= first_ranks[p]:
            level += 1
        next_start = level_starts[level] if level < level_starts.size else rank
        is_level[p] = level_starts.size > 0 and next_start >= rank
    first_ranks[parts_CP.shape[1]] = rank


@_compiled
def _deal_out(
    profile: Bits,
    values: Floats,
    out: Bits,
    grid: _Grid,
    ends: Integers,
    first_ranks: Integers,
    is_level: NDArray[np.bool_],
    positions: Integers,
    buckets: Integers,
    begin: int,
    end: int,
) -> None:
    """Writes what lies on one level into `out`, and the other positions down, part by part."""
    for first in range(begin, end, buckets.size):
        tile = values[first : min(first + buckets.size, end)]
        _find_buckets(tile, grid, buckets)
        for i in range(tile.size):
            p = np.uint32(buckets[i])
            if is_level[p]:
                out[first + i] = profile[np.uint32(first_ranks[p])]
            else:
                place = ends[p]
                ends[p] = place + np.int32(1)
                positions[np.uint32(place)] = first + i


@_compiled
def _lay_out_parts(
    profile: Bits,
    values: Floats,
    out: Bits,
    first_ranks: Integers,
    is_level: NDArray[np.bool_],
    positions: Integers,
    scratch: _Scratch,
    begin: int,
    end: int,
) -> None:
    """Arranges the weights of parts `begin` to `end` that do not lie on one level."""
    for p in range(begin, end):
        first = first_ranks[p]
        size = first_ranks[p + 1] - first
        if is_level[p] or not size:
            continue
        places = positions[first : first + size]
        if size > scratch.values.size:
            _radix_sort(values.view(np.int32), places, np.empty(size, np.int32))
            for r in range(size):
                out[np.uint32(places[r])] = profile[first + r]
            continue
        part = scratch.values[:size]
        for i in range(size):
            part[i] = values[np.uint32(places[i])]
        lowest, highest = _range_of(part)
        _sort(part, lowest, highest, scratch)
        for r in range(size):
            out[np.uint32(places[np.uint32(scratch.order[r])])] = profile[first + r]
