"""Bracket matching: the exchange of neighbours that the search comes down to, in one pass.

Under ANY with the nearest move first, nearly every cycle is the swap of a neighbour that wants to
grow with the next one above that wants to shrink, and the path waits below like open brackets. One
pass over the ascending order with a stack per subset finds these swaps. It does not start from the
largest recommendation; that is all it gives up.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.graph.compiling import compiled, compiled_rows, inlined
from permtrain.graph.partition import Sizes, draw_subset_ids
from permtrain.graph.words import row_key

Ints = NDArray[np.int32]
_OPENS, _OTHER = -2, -3


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
    """Matches and swaps in rows `begin` to `end`; see `permtrain.graph.search.permute_ranks`."""
    L = rank_to_slot_VL.shape[1]
    P = sizes_P.shape[0]
    ids_L = np.empty(L, dtype=np.int32)
    v = np.empty(L, dtype=np.float64)
    below_L = np.empty(L, dtype=np.int32)
    tops_P = np.empty(P, dtype=np.int32)
    lower_P = np.empty(P, dtype=np.float64)
    seen_P = np.empty(P, dtype=np.float64)
    for row in range(begin, end):
        profile_L = values_VL[row] if values_VL.shape[0] > 1 else values_VL[0]
        draw_subset_ids(row_key(seed, step, first_row + np.uint64(row)), sizes_P, ids_L)
        lower_P[:] = np.inf
        seen_P[:] = -np.inf
        has_ties = False
        before = -np.inf
        for k in range(L):
            value = np.float64(profile_L[k])
            p = ids_L[k]
            v[k] = value
            gap = value - seen_P[p]
            if gap < lower_P[p]:
                lower_P[p] = gap
            has_ties |= value == before
            before = value
            seen_P[p] = value
        tops_P[:] = -1
        moved_V[row] = _match_row(
            v,
            rank_to_slot_VL[row],
            recommendations_VL[row],
            ids_L,
            aggressiveness * (v[L - 1] - v[0]),
            lower_P,
            tops_P,
            below_L,
            has_ties,
        )


@compiled
def _match_row(
    v: NDArray[np.float64],
    slots_L: Ints,
    recommendations_L: NDArray[np.floating],
    ids_L: Ints,
    width: float,
    lower_P: NDArray[np.float64],
    tops_P: Ints,
    below_L: Ints,
    has_ties: bool,
) -> int:
    """Matches along the ascending row; how many ranks moved.

    `tops_P` are the tops of the stacks, `below_L[k]` what lies below k in its stack; -1: nothing.
    """
    L = slots_L.shape[0]
    moved = 0
    k = 0
    while k < L:
        end = k + 1
        if has_ties:
            while end < L and v[end] == v[k]:
                end += 1
        if end - k > 1:
            moved += _match_run(
                k, end, v, slots_L, recommendations_L, ids_L, width, lower_P, tops_P, below_L
            )
        else:
            r = recommendations_L[slots_L[k]]
            if r < 0:
                p = ids_L[k]
                below_L[k] = tops_P[p]
                tops_P[p] = k
            elif r > 0:
                moved += _close(k, v, slots_L, ids_L[k], width, lower_P, tops_P, below_L)
        k = end
    return moved


@compiled
def _match_run(
    first: int,
    end: int,
    v: NDArray[np.float64],
    slots_L: Ints,
    recommendations_L: NDArray[np.floating],
    ids_L: Ints,
    width: float,
    lower_P: NDArray[np.float64],
    tops_P: Ints,
    below_L: Ints,
) -> int:
    """Equal weights are not exchanged: those of a run that close go before those that open.

    The latter are marked first, because a swap changes whose recommendation stands at a rank.
    """
    moved = 0
    for k in range(first, end):
        r = recommendations_L[slots_L[k]]
        below_L[k] = _OPENS if r < 0 else _OTHER
        if r > 0:
            moved += _close(k, v, slots_L, ids_L[k], width, lower_P, tops_P, below_L)
    for k in range(first, end):
        if below_L[k] == _OPENS:
            below_L[k] = tops_P[ids_L[k]]
            tops_P[ids_L[k]] = k
    return moved


@inlined
def _close(
    k: int,
    v: NDArray[np.float64],
    slots_L: Ints,
    p: int,
    width: float,
    lower_P: NDArray[np.float64],
    tops_P: Ints,
    below_L: Ints,
) -> int:
    """Swaps k with the nearest opening vertex of its subset within the bounds; how many moved."""
    moved = 0
    top = tops_P[p]
    if top >= 0:
        lower = lower_P[p]
        upper = lower + width
        gap = v[k] - v[top]
        if gap <= lower:
            # Too close to swap, but the one below is not: two gaps exceed the smallest one.
            partner = below_L[top]
            if partner >= 0:
                if v[k] - v[partner] < upper:
                    below_L[top] = below_L[partner]
                    slots_L[k], slots_L[partner] = slots_L[partner], slots_L[k]
                    moved = 2
                else:
                    below_L[top] = -1
        elif gap < upper:
            tops_P[p] = below_L[top]
            slots_L[k], slots_L[top] = slots_L[top], slots_L[k]
            moved = 2
        else:
            tops_P[p] = -1  # whoever comes later is further away from all of them
    return moved
