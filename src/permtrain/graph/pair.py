"""Pair swap: ranks a random stride apart exchange their weights.

Beyond the paper: it has neither graph nor partition; the random stride does what the random
partition does. It is made of tensor operations alone and runs wherever tensors do, a GPU included;
on the CPU a compiled loop does the same, bit for bit.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from permtrain.graph.compiling import compiled, compiled_rows
from permtrain.graph.words import below, lower_half, row_key, upper_half, word_at


def swap_pairs_(
    values_VL: Tensor,
    rank_to_slot_VL: Tensor,
    recommendations_VL: Tensor,
    aggressiveness: float,
    stride_V: Tensor,
    phase_V: Tensor,
) -> Tensor:
    """Swaps ranks k and k + d where the lower one wants to grow, the upper one to shrink.

    d is the row's stride. From the row's phase on, ranks are cut into blocks of 2d, the first d of
    which are paired with the last d. A pair is swapped if its weights differ, by less than
    alpha A (`aggressiveness` times the row's largest minus smallest value).

    Shapes: as in `permtrain.graph.search.permute_ranks_`; strides and phases (V,) int64, in [1, L)
        and [0, 2d). Returns how many ranks moved, (V,) int32.
    Ties, randomness: equal weights stay; none.
    Cost: O(V L), four gathers.

    Example:
        >>> slots = torch.tensor([[0, 1, 2, 3]], dtype=torch.int32)
        >>> recommendations = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
        >>> swap_pairs_(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), slots, recommendations, 0.7,
        ...             torch.tensor([2]), torch.tensor([0]))
        tensor([4], dtype=torch.int32)
        >>> slots
        tensor([[2, 3, 0, 1]], dtype=torch.int32)
    """
    L = rank_to_slot_VL.shape[1]
    # Whether floor((k - phase) / d) is even, in floating point, which is far quicker than integer
    # division. The half keeps quotients .5 / d away from whole numbers, more than they are off.
    dtype = torch.float32 if L <= 2**20 else torch.float64
    k_L = torch.arange(L, dtype=dtype, device=rank_to_slot_VL.device)
    stride_V1 = stride_V[:, None].to(dtype)
    block_VL = (k_L - (phase_V[:, None].to(dtype) - 0.5)).div_(stride_V1).floor_()
    is_upper_VL = block_VL.sub_((block_VL * 0.5).floor_().mul_(2))
    offset_VL = is_upper_VL.mul_(-2).add_(1).mul_(stride_V1)
    partner_VL = offset_VL + k_L
    has_partner_VL = (partner_VL >= 0) & (partner_VL < L)
    partner_VL = partner_VL.clamp_(0, L - 1).long()

    # Below 0 where a rank wants to go towards its partner: who wants up has r < 0.
    towards_VL = recommendations_VL.gather(1, rank_to_slot_VL.long()).sign_().mul_(offset_VL)
    distance_VL = values_VL.expand_as(towards_VL).gather(1, partner_VL).sub_(values_VL).abs_()
    bound_V1 = aggressiveness * (values_VL[:, -1:] - values_VL[:, :1])
    swapped_VL = torch.maximum(towards_VL, towards_VL.gather(1, partner_VL)) < 0
    swapped_VL &= has_partner_VL
    swapped_VL &= distance_VL > 0
    swapped_VL &= distance_VL < bound_V1
    # As `where`, which is slow on the CPU: adding the difference where it is swapped.
    change_VL = rank_to_slot_VL.gather(1, partner_VL).sub_(rank_to_slot_VL).mul_(swapped_VL)
    rank_to_slot_VL.add_(change_VL)
    return swapped_VL.sum(dim=1, dtype=torch.int32)


@compiled_rows
def swap_pairs_of_rows(
    values_VL: NDArray[np.floating],
    rank_to_slot_VL: NDArray[np.int32],
    recommendations_VL: NDArray[np.floating],
    bounds_V: NDArray[np.floating],
    strides_V: NDArray[np.int64],
    phases_V: NDArray[np.int64],
    moved_V: NDArray[np.int32],
    begin: int,
    end: int,
) -> None:
    """`swap_pairs_` in rows `begin` to `end`; `bounds_V` is alpha A, (1,) or (V,)."""
    L = rank_to_slot_VL.shape[1]
    for row in range(begin, end):
        profile_L = values_VL[row] if values_VL.shape[0] > 1 else values_VL[0]
        bound = bounds_V[row] if bounds_V.shape[0] > 1 else bounds_V[0]
        slots_L, recommendations_L = rank_to_slot_VL[row], recommendations_VL[row]
        stride = strides_V[row]
        moved = 0
        block = phases_V[row] - 2 * stride  # the blocks before the phase reach into the row too
        while block < L:
            first, last = max(block, 0), min(block + stride, L - stride)
            if last > first:
                moved += _swap_block(
                    profile_L[first:last],
                    profile_L[first + stride : last + stride],
                    slots_L[first:last],
                    slots_L[first + stride : last + stride],
                    recommendations_L,
                    bound,
                )
            block += 2 * stride
        moved_V[row] = moved


@compiled
def _swap_block(
    lower_values: NDArray[np.floating],
    upper_values: NDArray[np.floating],
    lower_slots: NDArray[np.int32],
    upper_slots: NDArray[np.int32],
    recommendations_L: NDArray[np.floating],
    bound: np.floating,
) -> int:
    """Swaps pairs side by side. Signs are random: no branch is made on one."""
    swapped = 0
    for i in range(lower_slots.shape[0]):
        lower, upper = lower_slots[i], upper_slots[i]
        distance = upper_values[i] - lower_values[i]
        is_swapped = int(
            (recommendations_L[lower] < 0)
            & (recommendations_L[upper] > 0)
            & (distance > 0)
            & (distance < bound)
        )
        change = np.int32((upper - lower) * is_swapped)
        lower_slots[i] = lower + change
        upper_slots[i] = upper - change
        swapped += is_swapped
    return 2 * swapped


def random_strides(
    num_rows: int, max_stride: int, *, seed: int, step: int, first_row: int = 0
) -> tuple[Tensor, Tensor]:
    """A stride in 1 to `max_stride` and a phase in [0, 2 stride) for every row, both uniform.

    Shapes: two (V,) int64 tensors on the CPU.
    Randomness: word 0 of the row's key, `permtrain.graph.words`.

    Example:
        >>> strides, phases = random_strides(3, 4, seed=0, step=1)
        >>> bool((strides <= 4).all() and (phases < 2 * strides).all())
        True
    """
    drawn = np.empty((2, num_rows), dtype=np.int64)
    _draw(drawn, max_stride, np.uint64(seed), np.uint64(step), np.uint64(first_row))
    return torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])


@compiled
def _draw(
    drawn: NDArray[np.int64], max_stride: int, seed: np.uint64, step: np.uint64, first: np.uint64
) -> None:
    for row in range(drawn.shape[1]):
        word = word_at(row_key(seed, step, first + np.uint64(row)), np.uint64(0))
        stride = 1 + below(upper_half(word), np.uint64(max_stride))
        drawn[0, row] = stride
        drawn[1, row] = below(lower_half(word), np.uint64(2 * stride))
