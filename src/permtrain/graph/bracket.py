"""Bracket matching: the exchange of neighbours that the search comes down to, in one pass.

Under ANY with the nearest move first, nearly every cycle is the swap of a neighbour that wants to
grow with the next one above that wants to shrink, and the path waits below like open brackets. One
pass over the ascending order with a stack per subset finds these swaps. It does not start from the
largest recommendation; that is all it gives up.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.graph.compiling import compiled, compiled_rows
from permtrain.graph.partition import Sizes, draw_subset_ids
from permtrain.graph.words import row_key

Ints = NDArray[np.int32]
Values = NDArray[np.float64]
Signs = NDArray[np.int8]
_LOWER_HALF = 0xFFFFFFFF
_ALL, _NONE = np.int64(-1), np.int64(0)


@compiled_rows
def match_rows(
    values_VL: NDArray[np.floating],
    rank_to_slot_VL: Ints,
    recommendations_VL: NDArray[np.floating],
    sizes_P: Sizes,
    aggressiveness: float,
    seed: np.uint64,
    step: np.uint64,
    first_row: np.uint64,
    moved_V: Ints,
    begin: int,
    end: int,
) -> None:
    """Matches and swaps in rows `begin` to `end`; see `permtrain.graph.search.permute_ranks_`."""
    L = rank_to_slot_VL.shape[1]
    P = sizes_P.shape[0]
    ids_L = np.empty(L, dtype=np.int32)
    v = np.empty(L, dtype=np.float64)
    signs_L = np.empty(L, dtype=np.int8)
    below_L = np.empty(L, dtype=np.int32)
    tops_P = np.empty(P, dtype=np.int32)
    lower_P = np.empty(P, dtype=np.float64)
    seen_P = np.empty(P, dtype=np.float64)
    for row in range(begin, end):
        profile_L = values_VL[row] if values_VL.shape[0] > 1 else values_VL[0]
        slots_L, recommendations_L = rank_to_slot_VL[row], recommendations_VL[row]
        draw_subset_ids(row_key(seed, step, first_row + np.uint64(row)), sizes_P, ids_L)
        lower_P[:] = np.inf
        seen_P[:] = -np.inf
        has_ties = False
        before = -np.inf
        for k in range(L):
            value = np.float64(profile_L[k])
            p = ids_L[k]
            v[k] = value
            lower_P[p] = min(lower_P[p], value - seen_P[p])
            has_ties |= value == before
            before = value
            seen_P[p] = value
        tops_P[:] = -1
        width = aggressiveness * (v[L - 1] - v[0])
        moved = 0
        k = 0
        while k < L:
            run, run_end = L, L  # the next run of equal weights
            if has_ties:
                run = k
                while run + 1 < L and v[run] != v[run + 1]:
                    run += 1
                run_end = run + 1
                while run_end < L and v[run_end] == v[run]:
                    run_end += 1
            moved += _match(
                k, run, _ALL, v, slots_L, recommendations_L, ids_L, width, lower_P, tops_P,
                below_L, signs_L,
            )  # fmt: skip
            # Equal weights are not exchanged: those that close go before those that open.
            if run < run_end:
                moved += _match(
                    run, run_end, _NONE, v, slots_L, recommendations_L, ids_L, width, lower_P,
                    tops_P, below_L, signs_L,
                )  # fmt: skip
                _open(run, run_end, signs_L, ids_L, tops_P, below_L)
            k = run_end
        moved_V[row] = moved


@compiled
def _match(
    first: int,
    end: int,
    may_open: np.int64,
    v: Values,
    slots_L: Ints,
    recommendations_L: NDArray[np.floating],
    ids_L: Ints,
    width: float,
    lower_P: Values,
    tops_P: Ints,
    below_L: Ints,
    signs_L: Signs,
) -> int:
    """Opens and closes weights of a stretch, in ascending order; how many ranks moved.

    Opening puts a weight on its subset's stack; closing swaps one with the top, if that is within
    the bounds.

    Args:
        may_open: -1, or 0 if only those are to open that a later call of `_open` names.
        tops_P, below_L: the stacks: their tops, and what lies below k in its own; -1: nothing.
        signs_L: becomes the signs of the stretch's recommendations, as they were before any swap.
    """
    moved = 0
    k = first
    while k < end:
        stop, swapped = _match_until_too_close(
            k, end, may_open, v, slots_L, recommendations_L, ids_L, width, lower_P, tops_P,
            below_L, signs_L,
        )  # fmt: skip
        moved += swapped
        if stop < end:
            p = ids_L[stop]
            moved += _close_below_top(stop, tops_P[p], v, slots_L, lower_P[p] + width, below_L)
        k = stop + 1
    return moved


@compiled
def _match_until_too_close(
    first: int,
    end: int,
    may_open: np.int64,
    v: Values,
    slots_L: Ints,
    recommendations_L: NDArray[np.floating],
    ids_L: Ints,
    width: float,
    lower_P: Values,
    tops_P: Ints,
    below_L: Ints,
    signs_L: Signs,
) -> tuple[int, int]:
    """Stops before the first that closes, and is too close to the top; how many moved till there.

    Signs and gaps are random, and a branch on one is mispredicted: that took most of the time. So
    what either way writes is chosen by masks, and a swap of k with itself changes nothing. Indices
    are unsigned, because a signed one may be negative, which is looked at wherever it is used.
    """
    moved = 0
    for k in range(first, end):
        here = np.uint64(k)
        p = np.uint64(ids_L[here])
        top = np.int64(tops_P[p])
        some = top & ~(top >> 63)  # a place to read at if there is no top
        gap = v[here] - v[np.uint64(some)]
        lower = lower_P[p]
        slot = slots_L[here]
        r = recommendations_L[np.uint64(slot)]
        sign = np.int64(r > 0) - np.int64(r < 0)
        signs_L[here] = sign
        closes = (-sign >> 63) & ~(top >> 63)
        if gap <= lower and closes:
            return k, moved
        is_near = np.int64(gap < lower + width)
        # What lies below the top; nothing if k is too far away, for who comes later is further.
        # Shifted out instead of chosen, which would be compiled into a branch.
        under = np.int64(below_L[np.uint64(some)])
        left = (((under + 1) << (32 - 32 * is_near)) & _LOWER_HALF) - 1
        new_top = top ^ ((top ^ left) & closes)
        opens = (sign >> 63) & may_open
        below_L[here] = top
        tops_P[p] = new_top ^ ((new_top ^ k) & opens)
        swaps = closes & -is_near
        partner = np.uint64(k ^ ((k ^ some) & swaps))
        slots_L[here] = slots_L[partner]
        slots_L[partner] = slot
        moved -= 2 * int(swaps)
    return end, moved


@compiled
def _open(first: int, end: int, signs_L: Signs, ids_L: Ints, tops_P: Ints, below_L: Ints) -> None:
    """Puts those on their stacks that want to grow."""
    for k in range(first, end):
        here = np.uint64(k)
        p = np.uint64(ids_L[here])
        top = np.int64(tops_P[p])
        below_L[here] = top
        tops_P[p] = top ^ ((top ^ k) & (np.int64(signs_L[here]) >> 63))


@compiled
def _close_below_top(
    k: int,
    top: int,
    v: Values,
    slots_L: Ints,
    upper: float,
    below_L: Ints,
) -> int:
    """The top is too close to swap, but the one below is not: two gaps exceed the smallest one."""
    partner = below_L[top]
    if partner < 0:
        return 0
    if v[k] - v[partner] < upper:
        below_L[top] = below_L[partner]
        slots_L[k], slots_L[partner] = slots_L[partner], slots_L[k]
        return 2
    below_L[top] = -1
    return 0
