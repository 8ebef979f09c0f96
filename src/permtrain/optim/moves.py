"""What permuted weights did since the last look, cheap enough for any training loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from permtrain.core.arrangement import arrange_vectors
from permtrain.errors import NonFiniteError


@dataclass(frozen=True)
class Moves:
    """What permuted weights did from one look to the next; nan where there was no look before.

    Attributes:
        num_steps: applied optimizer steps in between.
        num_synchronizations: synchronizations in between.
        moved_share: part of the weights whose rank changed, in [0, 1].
        mean_rank_change: mean change of rank, as part of the vector's length, in [0, 1).
        ranking_distance: the same by tensor, in places (the mean of D, Train by Reconnect,
            section 3).
    """

    num_steps: int
    num_synchronizations: int
    moved_share: float
    mean_rank_change: float
    ranking_distance: Mapping[str, float]

    def numbers(self) -> dict[str, float]:
        """All of it as one flat dictionary, as loggers take it.

        Example:
            >>> moves = Moves(10, 1, 0.5, 0.25, {"fc.weight": 2.0})
            >>> for name, value in moves.numbers().items():
            ...     print(name, value)
            permtrain/num_steps 10
            permtrain/num_synchronizations 1
            permtrain/moved_share 0.5
            permtrain/mean_rank_change 0.25
            permtrain/ranking_distance/fc.weight 2.0
        """
        found = {
            "num_steps": self.num_steps,
            "num_synchronizations": self.num_synchronizations,
            "moved_share": self.moved_share,
            "mean_rank_change": self.mean_rank_change,
        }
        found |= {f"ranking_distance/{name}": each for name, each in self.ranking_distance.items()}
        return {f"permtrain/{name}": value for name, value in found.items()}


@dataclass(frozen=True)
class Look:
    """A training at one moment: how far it was, and the rank of each weight, (V, L) by name."""

    num_steps: int
    num_synchronizations: int
    ranks: Mapping[str, Tensor]


def ranks_in(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rank of each weight in its vector, (V, L), as floating numbers, which hold it exactly.

    Laid out like a profile, by the same compiled kernel, which takes no longer than one
    synchronization.

    Raises:
        NonFiniteError: weights hold NaN or infinity, by name.

    Example:
        >>> ranks_in({"w": torch.tensor([[0.3, -1.0, 0.3]])})
        {'w': tensor([[1., 0., 2.]])}
    """
    found = {}
    for name, vectors_VL in vectors.items():
        L = vectors_VL.shape[1]
        dtype = torch.float32 if L <= 2**24 else torch.float64
        places_1L = torch.arange(L, dtype=dtype, device=vectors_VL.device)[None]
        try:
            found[name] = arrange_vectors(places_1L, vectors_VL)
        except NonFiniteError as error:
            raise NonFiniteError(f"{name}: {error}") from None
    return found


def moves_between(before: Look | None, now: Look) -> Moves:
    """What happened between two looks; tensors that came later are left out."""
    steps = now.num_steps - (before.num_steps if before else 0)
    synchronizations = now.num_synchronizations - (before.num_synchronizations if before else 0)
    changes = {
        name: (ranks_VL - then_VL.to(ranks_VL.device)).abs()
        for name, ranks_VL in now.ranks.items()
        if before is not None and (then_VL := before.ranks.get(name)) is not None
        if then_VL.shape == ranks_VL.shape and then_VL.numel()
    }
    num_weights = sum(each.numel() for each in changes.values())
    if not num_weights:
        return Moves(steps, synchronizations, nan, nan, {})
    moved = sum(int(each.count_nonzero()) for each in changes.values())
    distance = {name: float(each.mean(dtype=torch.float64)) for name, each in changes.items()}
    relative = sum(distance[name] / each.shape[1] * each.numel() for name, each in changes.items())
    return Moves(steps, synchronizations, moved / num_weights, relative / num_weights, distance)
