"""Recommendations -> permissibility graph -> disjoint cycles -> permutation, in place.

Shape suffixes: V vectors (rows), L weights in a vector, P subsets of a row.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from permtrain.core.threads import in_threads, ranges
from permtrain.errors import ProfileError, SettingError
from permtrain.graph.bracket import match_rows
from permtrain.graph.compiling import compiled_rows
from permtrain.graph.cycles import (
    ANY,
    AUTHORS,
    FARTHEST,
    NEAREST,
    PAPER,
    RANDOM,
    START,
    search_rows,
)
from permtrain.graph.pair import random_strides, swap_pairs_, swap_pairs_of_rows
from permtrain.graph.partition import Sizes, whole_vector
from permtrain.graph.words import check_words

T = TypeVar("T")

ORDERS = {"nearest": NEAREST, "farthest": FARTHEST, "random": RANDOM}
"""Priority of movements, section 2.2.1: in which order a vertex's moves are tried."""


@dataclass(frozen=True)
class Update:
    """One update of some rows: what a search is given.

    Attributes:
        values_VL: sorted values, or (1, L) shared by all rows.
        rank_to_slot_VL: int32, which slot holds each rank; changed in place.
        recommendations_VL: per slot; below 0 wants to grow.
        aggressiveness: alpha.
        sizes: of the subsets.
        order: a name in `ORDERS`.
        seed, step, first_row: where random words come from.
    """

    values_VL: Tensor
    rank_to_slot_VL: Tensor
    recommendations_VL: Tensor
    aggressiveness: float
    sizes: Sizes
    order: str
    seed: int
    step: int
    first_row: int


@dataclass(frozen=True)
class Search:
    """A way to find the permutation.

    Attributes:
        run: carries it out; how many ranks of each row moved, (V,) int32.
        description: one line that says what it is equal to.
        orders: which orders of moves it knows.
        is_compiled: it runs compiled loops, on the CPU only.
    """

    run: Callable[[Update], Tensor]
    description: str
    orders: tuple[str, ...] = ("nearest",)
    is_compiled: bool = True


def _cycles(reading: int, rule: int) -> Callable[[Update], Tensor]:
    def run(update: Update) -> Tensor:
        V, L = update.rank_to_slot_VL.shape
        moved_V = np.empty(V, dtype=np.int32)
        arguments = (
            update.values_VL.numpy(),
            update.rank_to_slot_VL.numpy(),
            update.recommendations_VL.numpy(),
            update.sizes,
            update.aggressiveness,
            reading,
            ORDERS[update.order],
            rule,
            np.uint64(update.seed),
            np.uint64(update.step),
            np.uint64(update.first_row),
            moved_V,
        )
        pieces = _pieces(V, L, are_alike=False)
        in_threads(lambda begin, end: search_rows(*arguments, begin, end), pieces)
        return torch.from_numpy(moved_V)

    return run


def _bracket(update: Update) -> Tensor:
    V, L = update.rank_to_slot_VL.shape
    moved_V = np.empty(V, dtype=np.int32)
    arguments = (
        update.values_VL.numpy(),
        update.rank_to_slot_VL.numpy(),
        update.recommendations_VL.numpy(),
        update.sizes,
        update.aggressiveness,
        np.uint64(update.seed),
        np.uint64(update.step),
        np.uint64(update.first_row),
        moved_V,
    )
    pieces = _pieces(V, L, are_alike=True)
    in_threads(lambda begin, end: match_rows(*arguments, begin, end), pieces)
    return torch.from_numpy(moved_V)


def _pair(update: Update) -> Tensor:
    V, L = update.rank_to_slot_VL.shape
    device = update.rank_to_slot_VL.device
    stride_V, phase_V = random_strides(
        V,
        min(max(1, int(update.aggressiveness * L)), L - 1),
        seed=update.seed,
        step=update.step,
        first_row=update.first_row,
    )
    if device.type != "cpu":
        return swap_pairs_(
            update.values_VL,
            update.rank_to_slot_VL,
            update.recommendations_VL,
            update.aggressiveness,
            stride_V.to(device),
            phase_V.to(device),
        )
    bounds_V = update.aggressiveness * (update.values_VL[:, -1] - update.values_VL[:, 0])
    moved_V = np.empty(V, dtype=np.int32)
    arguments = (
        update.values_VL.numpy(),
        update.rank_to_slot_VL.numpy(),
        update.recommendations_VL.numpy(),
        bounds_V.numpy(),
        stride_V.numpy(),
        phase_V.numpy(),
        moved_V,
    )
    pieces = _pieces(V, L, are_alike=True)
    in_threads(lambda begin, end: swap_pairs_of_rows(*arguments, begin, end), pieces)
    return torch.from_numpy(moved_V)


# Weights that one thread searches in about the time in which the others can be called.
_MIN_WEIGHTS = 1 << 11


def _pieces(num_rows: int, length: int, *, are_alike: bool) -> list[tuple[int, int]]:
    """Ranges of rows for the threads, a single one where more would not pay.

    Rows that cost the same (`are_alike`) are shared out once; others piece by piece.
    """
    threads = min(torch.get_num_threads(), num_rows * length // _MIN_WEIGHTS)
    return ranges(num_rows, (1 if are_alike else 8) * threads if threads > 1 else 1)


SEARCHES: dict[str, Search] = {
    "start": Search(
        _cycles(START, PAPER),
        "the paper's search; a cycle must close at the vertex it started from; exact",
        tuple(ORDERS),
    ),
    "any": Search(
        _cycles(ANY, PAPER),
        "the paper's search; the first edge back to any vertex of the path closes it; exact",
        tuple(ORDERS),
    ),
    "authors": Search(
        _cycles(START, AUTHORS),
        "the authors' code: START without zero recommendations, moves from 0 to A (alpha + 1/m)",
        tuple(ORDERS),
    ),
    "bracket": Search(
        _bracket,
        "swaps of neighbours by bracket matching; over 98.5% of slots as `any`, nearest first",
    ),
    "pair": Search(
        _pair,
        "swaps of ranks a random stride apart; equal to nothing in the paper; any device",
        is_compiled=False,
    ),
}
"""Every way to find the permutation, by name."""


def permute_ranks_(
    values_VL: Tensor,
    rank_to_slot_VL: Tensor,
    recommendations_VL: Tensor,
    *,
    aggressiveness: float,
    search: str = "start",
    order: str = "nearest",
    sizes: Sizes | None = None,
    seed: int = 0,
    step: int = 0,
    first_row: int = 0,
) -> Tensor:
    """Permutes weights along disjoint cycles of each row's permissibility graphs.

    Row j of `values_VL` is the sorted w_j, and slot `rank_to_slot_VL[j, k]` holds its k-th value.
    An edge (x, y) gives slot x the weight of slot y. It is permitted if both are in one subset,
    r_x (weight_x - weight_y) >= 0, and l < |weight_x - weight_y| < u, with l the smallest gap
    between weights of the subset, u = l + alpha A_j, and A_j the range of the whole row. A
    depth-first search starts from the largest |r| left; a vertex's moves are tried in `order`;
    vertices of a cycle that is found leave the graph, and so does a start without one.

    Source: Permute to Train, sections 2.1 and 2.2, the inside of Algorithm 1's loop. alpha is
    `aggressiveness`, r `recommendations_VL`, the partition ratio lambda stands behind `sizes`
    (`equal_subsets`).
    Differs from the source: nothing it states. Where it is silent: a recommendation of 0 starts no
    move, so that its weight stays (but counts for l); "as soon as a cycle is found" has the two
    readings `start` and `any`; moves are tried in their order even if a later one would close a
    cycle; starts of equal |r|, and moves of equal distance, go by rank, the nearer one first;
    `farthest` is `nearest` read backwards; `random` reads the list from a random entry on and
    around. `authors`, `bracket` and `pair` do less or other things: see `SEARCHES`.

    `authors` reads our notes on their code so: vertices of recommendation 0 are dropped after the
    partition was drawn, m are left; x may exchange up with higher ranks less than A (alpha + 1/m)
    away, down with lower ranks at most that far away, equal weights included. Distances are
    differences of values; whether they add the bound to the value instead, which rounds
    differently, is not known to us.

    Args:
        values_VL: ascending values, (V, L), or (1, L) shared by all rows. Not checked for order.
        rank_to_slot_VL: which slot holds each rank; changed in place. Not checked to be a
            permutation.
        recommendations_VL: per slot; below 0 wants to grow. NaN counts as 0.
        aggressiveness: alpha, in (0, 1].
        search: a name in `SEARCHES`.
        order: a name in `ORDERS`; `bracket` and `pair` know `nearest` only.
        sizes: of the subsets, from `permtrain.graph.partition`; left out, the row is one subset.
            `pair` has no subsets: its strides go up to max(1, floor(alpha L)).
        seed, step, first_row: what random words are drawn for: row i of this call has the words of
            (seed, step, first_row + i), each in [0, 2^63).

    Shapes: values and recommendations float32 or float64, of one dtype; the map int32; all
        contiguous but the recommendations. Returns how many ranks of each row moved, (V,) int32.
    Ties: equal weights are not exchanged (l is at least 0, strictly exceeded), but in `authors`.
    Randomness: `permtrain.graph.words`, for the partition, the order `random` and the strides; the
        same on any number of threads and any device.
    Cost: O(V L) in practice, no sort of weights; `benchmarks/sgperm.py` gives ns per weight.
        The first call for a dtype compiles, for seconds, unless the machine code is on disk.
        `torch.set_num_threads` sets the number of threads, which share rows out.
    Raises:
        SettingError: a name that does not exist, alpha outside its range, a negative seed, or a
            compiled search of tensors that are not on the CPU.
        ProfileError: shapes, dtypes or sizes that do not fit.

    Example:
        >>> values = torch.tensor([[-2.0, -1.0, 0.5, 3.0]])
        >>> slots = torch.tensor([[2, 0, 3, 1]], dtype=torch.int32)  # weights -1, 3, -2, .5
        >>> wishes = torch.tensor([[-0.4, 0.2, 0.0, 0.3]])  # slot 0 wants to grow, 1 and 3 shrink
        >>> permute_ranks_(values, slots, wishes, aggressiveness=0.5)
        tensor([2], dtype=torch.int32)
        >>> slots, lay_out_(torch.empty(1, 4), values, slots)
        (tensor([[2, 3, 0, 1]], dtype=torch.int32), tensor([[ 0.5000,  3.0000, -2.0000, -1.0000]]))
    """
    chosen = _named(search, "search", SEARCHES)
    _named(order, "order", ORDERS)
    if order not in chosen.orders:
        raise SettingError(
            f"order is {order!r}; allowed with search {search!r}: {', '.join(chosen.orders)}"
        )
    if not 0 < aggressiveness <= 1:
        raise SettingError(f"aggressiveness is {aggressiveness}; allowed: above 0, at most 1")
    check_words(seed, step, first_row)
    _check_tensors(values_VL, rank_to_slot_VL, recommendations_VL)
    V, L = rank_to_slot_VL.shape
    sizes = whole_vector(L) if sizes is None else sizes
    if sizes.dtype != np.int32 or (sizes < 1).any() or int(sizes.sum()) != L:
        raise ProfileError(
            f"sizes are {sizes.tolist()} ({sizes.dtype}); allowed: int32, 1 or more, adding up to "
            f"the vector's length {L}"
        )
    if chosen.is_compiled and rank_to_slot_VL.device.type != "cpu":
        anywhere = [name for name, other in SEARCHES.items() if not other.is_compiled]
        raise SettingError(
            f"search is {search!r}, which runs on the CPU, and the weights are on "
            f"{rank_to_slot_VL.device}; allowed there: {', '.join(anywhere)}"
        )
    if V == 0 or L < 2:
        return torch.zeros(V, dtype=torch.int32, device=rank_to_slot_VL.device)
    return chosen.run(
        Update(
            values_VL.detach(),
            rank_to_slot_VL,
            recommendations_VL.detach().contiguous(),
            float(aggressiveness),
            np.ascontiguousarray(sizes),
            order,
            seed,
            step,
            first_row,
        )
    )


def lay_out_(weights_VL: Tensor, values_VL: Tensor, rank_to_slot_VL: Tensor) -> Tensor:
    """Writes each value into the slot of its rank: `weights[j, slot[j, k]] = values[j, k]`.

    Shapes: weights (V, L), contiguous, of the values' dtype; the rest as in `permute_ranks_`.
    Cost: O(V L), under 1 ns a weight.
    Raises:
        ProfileError: shapes or dtypes that do not fit.
    """
    _check_tensors(values_VL, rank_to_slot_VL, weights_VL)
    if not weights_VL.is_contiguous():
        raise ProfileError("weights are not contiguous; allowed: contiguous rows")
    if weights_VL.device.type == "cpu":
        weights, values = weights_VL.detach().numpy(), values_VL.detach().numpy()
        slots = rank_to_slot_VL.numpy()
        in_threads(
            lambda begin, end: _lay_out_rows(weights, values, slots, begin, end),
            _pieces(*slots.shape, are_alike=True),
        )
    else:
        slots_VL = rank_to_slot_VL.long()
        weights_VL.detach().scatter_(1, slots_VL, values_VL.detach().expand_as(slots_VL))
    return weights_VL


@compiled_rows
def _lay_out_rows(
    weights_VL: NDArray[np.floating],
    values_VL: NDArray[np.floating],
    rank_to_slot_VL: NDArray[np.int32],
    begin: int,
    end: int,
) -> None:
    for row in range(begin, end):
        weights_L, slots_L = weights_VL[row], rank_to_slot_VL[row]
        profile_L = values_VL[row] if values_VL.shape[0] > 1 else values_VL[0]
        for k in range(slots_L.shape[0]):
            weights_L[slots_L[k]] = profile_L[k]


def _named(name: str, setting: str, registry: dict[str, T]) -> T:
    if name not in registry:
        close = difflib.get_close_matches(str(name), list(registry), 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise SettingError(f"{setting} is {name!r}{hint}; allowed: {', '.join(registry)}")
    return registry[name]


def _check_tensors(values_VL: Tensor, rank_to_slot_VL: Tensor, per_slot_VL: Tensor) -> None:
    shape = tuple(rank_to_slot_VL.shape)
    if rank_to_slot_VL.dim() != 2 or rank_to_slot_VL.dtype != torch.int32:
        raise ProfileError(
            f"rank_to_slot is {rank_to_slot_VL.dtype} {shape}; allowed: torch.int32 (V, L)"
        )
    if tuple(values_VL.shape) not in {shape, (1, shape[1])}:
        raise ProfileError(
            f"values have shape {tuple(values_VL.shape)}; allowed: {shape} or {(1, shape[1])}"
        )
    if tuple(per_slot_VL.shape) != shape or per_slot_VL.dtype != values_VL.dtype:
        raise ProfileError(
            f"recommendations or weights are {per_slot_VL.dtype} {tuple(per_slot_VL.shape)}; "
            f"allowed: {values_VL.dtype} {shape}, as the values"
        )
    if values_VL.dtype not in {torch.float32, torch.float64}:
        raise ProfileError(f"values are {values_VL.dtype}; allowed: torch.float32, torch.float64")
    if not (values_VL.is_contiguous() and rank_to_slot_VL.is_contiguous()):
        raise ProfileError("values or rank_to_slot are not contiguous; allowed: contiguous rows")
