"""How far the weights of a model have travelled from their first places."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from permtrain.core.permutation import permutation_between, ranking_distance
from permtrain.core.vectors import VectorView


@dataclass(frozen=True)
class Travel:
    """Over all permuted weights.

    Attributes:
        moved_fraction: part of the positions that hold another value than at first, in [0, 1].
        mean_ranking_distance: mean change of rank, divided by the vector's length, in [0, 1).
        num_cycles: disjoint cycles of two or more weights, over all vectors.
    """

    moved_fraction: float
    mean_ranking_distance: float
    num_cycles: int


def travel_between(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], views: Mapping[str, VectorView]
) -> Travel:
    """How far weights travelled from `before` to `after`, a permutation of it.

    Raises:
        ProfileError: `after` is not a permutation of `before`.

    Example:
        >>> import torch
        >>> first, now = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[2.0, 1.0, 3.0, 4.0]])
        >>> travel_between({"w": first}, {"w": now}, {"w": VectorView((1, 4), "neuron")})
        Travel(moved_fraction=0.5, mean_ranking_distance=0.125, num_cycles=1)
    """
    num_weights = moved = num_cycles = 0
    distance = 0.0
    for name, view in views.items():
        permutation = permutation_between(before[name], after[name], view)
        num_weights += view.num_weights
        moved += int(permutation.moved.sum())
        num_cycles += sum(len(cycles) for cycles in permutation.cycles())
        places = ranking_distance(before[name], after[name], view)
        distance += float(places.double().sum()) / view.vector_length
    return Travel(moved / num_weights, distance / num_weights, num_cycles)
