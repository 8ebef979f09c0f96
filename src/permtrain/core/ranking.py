"""The place of each weight in its vector's ascending order."""

import torch
from torch import Tensor

from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut, Granularity, as_cut
from permtrain.core.kinds import check_weights
from permtrain.errors import NonFiniteError

NOT_FINITE = "weights hold NaN or infinity; allowed: finite values"

_SMALLEST = 5e-324


def sorting_order(w_VL: Tensor) -> Tensor:
    """Positions of each vector's weights in ascending order, (V, L) int64: `argsort`, stable.

    Ties keep their positions' order, on every device; -0.0 and 0.0 tie.

    Raises:
        NonFiniteError: NaN or infinity. They would end up at the ends of the order, so looking
            there costs nothing.
    """
    if w_VL.is_complex() or not w_VL.is_floating_point():
        raise TypeError(f"weights are {w_VL.dtype}; allowed: floating point")
    sorted_VL, order_VL = torch.sort(sorting_key(w_VL), dim=1, stable=True)
    ends = sorted_VL if sorted_VL.dtype == w_VL.dtype else w_VL.gather(1, order_VL)
    if order_VL.numel() and not torch.isfinite(ends[:, [0, -1]]).all():
        raise NonFiniteError(NOT_FINITE)
    return order_VL


def sorting_key(w_VL: Tensor) -> Tensor:
    """What a sort of weights is to look at, so that -0.0 and 0.0 tie on every device."""
    if w_VL.device.type == "cpu" and _denormals_are_zero():
        return _integers_in_order(w_VL.detach())
    # A radix sort (CUDA) may tell -0.0 from 0.0; adding 0.0 makes them one.
    return (w_VL if w_VL.device.type == "cpu" else w_VL + 0.0).detach()


def _denormals_are_zero() -> bool:
    """Whether the processor takes the smallest numbers for 0, as fast math leaves it."""
    return _SMALLEST * 1.0 == 0.0


def _integers_in_order(w_VL: Tensor) -> Tensor:
    """Integers that are ordered as the weights are, whatever the processor does to small ones."""
    bits_VL = bits_of(w_VL)
    lowest = torch.iinfo(bits_VL.dtype).min
    # Of a negative number all bits but the sign's, turned over; -0.0 is 0.
    return torch.where(bits_VL < 0, lowest - bits_VL, bits_VL)


def ranks_of(order_VL: Tensor) -> Tensor:
    """Ranks from a sorting order, which is their inverse permutation: one scatter."""
    places_VL = torch.arange(order_VL.shape[1], device=order_VL.device).expand_as(order_VL)
    return torch.empty_like(order_VL).scatter_(1, order_VL, places_VL)


def ranking(w: Tensor, granularity: Granularity | Cut = "neuron") -> Tensor:
    """Place of each weight in its vector's ascending order, 0 for the smallest.

    R_j of Train by Reconnect, section 3: `ranking(w)[i]` is the place of w_j[i].

    Args:
        w: weights of any shape and floating dtype.
        granularity: how `w` is cut into vectors.

    Shapes: int64, the shape of `w`.
    Ties: by position, the first one smallest.
    Cost: one sort and one scatter of each vector.
    Raises:
        KindError: `w` is no tensor, holds no numbers, or is of a dtype without an order.
        NonFiniteError: `w` holds NaN or infinity.
        GranularityError: `w` has no vectors at this granularity.

    Example:
        >>> ranking(torch.tensor([[0.3, -1.0, 0.3], [5.0, 4.0, 3.0]]))
        tensor([[1, 0, 2],
                [2, 1, 0]])
    """
    check_weights("w", w)
    cut = as_cut(w, granularity)
    return cut.to_tensor(ranks_of(sorting_order(cut.to_vectors(w))))
