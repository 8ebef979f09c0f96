"""The profile: a vector's values in ascending order, fixed for ever."""

from collections.abc import Mapping

import torch
from torch import Tensor

from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut, Granularity, as_cut
from permtrain.core.kinds import check_weights
from permtrain.core.ranking import sorting_order


def profile_of(w: Tensor, granularity: Granularity | Cut = "neuron") -> Tensor:
    """Values of each vector in ascending order; theta_sorted of Train by Reconnect, Algorithm 1.

    Args:
        w: weights of any shape and floating dtype.
        granularity: how `w` is cut into vectors.

    Shapes: (V, L) of the dtype of `w`; (1, L) if all vectors have the same profile, bit for bit.
    Raises:
        KindError: as `ranking`.
        NonFiniteError: `w` holds NaN or infinity.

    Example:
        >>> profile_of(torch.tensor([[0.3, -1.0], [5.0, 4.0]]))
        tensor([[-1.0000,  0.3000],
                [ 4.0000,  5.0000]])
        >>> profile_of(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
        tensor([[1., 2.]])
    """
    check_weights("w", w)
    w_VL = as_cut(w, granularity).to_vectors(w.detach())
    profile_VL = w_VL.gather(1, sorting_order(w_VL))
    if profile_VL.shape[0] > 1 and torch.equal(
        bits_of(profile_VL), bits_of(profile_VL[:1]).expand_as(profile_VL)
    ):
        return profile_VL[:1].clone()
    return profile_VL


def holds_profile(w_VL: Tensor, profile_VL: Tensor) -> Tensor:
    """Whether each vector holds exactly its profile's values, bit for bit, in any order.

    The profile need not ascend here: any vectors that hold its values will do, NaN too.

    Shapes: `w_VL` (V, L), `profile_VL` (V, L) or (1, L) of the same dtype; out (V,) bool.

    Example:
        >>> w = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.5]])
        >>> holds_profile(w, torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([ True, False])
    """
    if w_VL.dtype != profile_VL.dtype or w_VL.shape[1] != profile_VL.shape[1]:
        return torch.zeros(w_VL.shape[0], dtype=torch.bool, device=w_VL.device)
    sorted_bits_VL = bits_of(w_VL).sort(dim=1).values
    return (sorted_bits_VL == bits_of(profile_VL).sort(dim=1).values).all(dim=1)


def holding(vectors: Mapping[str, Tensor], profiles: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`holds_profile` for vectors by name; the profiles come from any device.

    Example:
        >>> holding({"w": torch.tensor([[2.0, 1.0]])}, {"w": torch.tensor([[1.0, 2.0]])})
        {'w': tensor([True])}
    """
    return {
        name: holds_profile(vectors_VL, profiles[name].detach().to(vectors_VL.device))
        for name, vectors_VL in vectors.items()
    }
