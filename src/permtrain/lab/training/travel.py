"""How far the weights of a model have travelled from their first places."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from permtrain.core.across import origins
from permtrain.core.cut import Cut
from permtrain.core.permutation import permutation_between, ranking_distance
from permtrain.core.vectors import names_across


@dataclass(frozen=True)
class Travel:
    """Over all permuted weights.

    Attributes:
        moved_fraction: part of the positions that hold another value than at first, in [0, 1].
        mean_ranking_distance: mean change of rank, divided by the vector's length, in [0, 1).
        num_cycles: disjoint cycles of two or more weights, over all vectors.
        changed_layer_fraction: part of the weights in vectors that go across layers that hold a
            value of another layer; None where there are no such vectors.
        came_from: for each such layer, how many of its weights hold a value that was born in each
            layer, itself included, in the layers' order; None likewise.
        rms_ratio: for each such layer, the root mean square of its weights as part of that at
            first: above 1 where large weights moved in; None likewise.
    """

    moved_fraction: float
    mean_ranking_distance: float
    num_cycles: int
    changed_layer_fraction: float | None = None
    came_from: dict[str, list[int]] | None = None
    rms_ratio: dict[str, float] | None = None


def travel_between(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], cuts: Mapping[str, Cut]
) -> Travel:
    """How far weights travelled from `before` to `after`, a permutation of it.

    Args:
        before, after: weight vectors by name, (V, L), as of `core.vectors.vectors_of`.
        cuts: of the tensors; what it tells of layers is of those that weights cross.

    Raises:
        ProfileError: `after` is not a permutation of `before`.

    Example:
        >>> import torch
        >>> first, now = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[2.0, 1.0, 3.0, 4.0]])
        >>> travel = travel_between({"w": first}, {"w": now}, {"w": Cut("neuron").of((1, 4))})
        >>> travel.moved_fraction, travel.mean_ranking_distance, travel.num_cycles
        (0.5, 0.125, 1)
    """
    num_weights = moved = num_cycles = 0
    distance = 0.0
    across = names_across(cuts)
    came_from = rms_ratio = None
    for name, now_VL in after.items():
        then_VL = before[name]
        rows = Cut("neuron", shape=tuple(now_VL.shape))
        permutation = permutation_between(then_VL, now_VL, rows)
        if name == ", ".join(across):
            joined = [cuts[each] for each in across]
            counts = origins(permutation.perm[0], joined)
            came_from = dict(zip(across, counts, strict=True))
            sizes = [cut.num_weights for cut in joined]
            parts = zip(across, then_VL[0].split(sizes), now_VL[0].split(sizes), strict=True)
            rms_ratio = {each: _rms(now_L) / _rms(then_L) for each, then_L, now_L in parts}
        num_weights += now_VL.numel()
        moved += int(permutation.moved.sum())
        num_cycles += permutation.num_cycles
        places = ranking_distance(then_VL, now_VL, rows)
        distance += float(places.double().sum()) / now_VL.shape[1]
    return Travel(
        moved / num_weights,
        distance / num_weights,
        num_cycles,
        None if came_from is None else _changed_fraction(list(came_from.values())),
        came_from,
        rms_ratio,
    )


def _rms(weights: Tensor) -> float:
    return float(weights.double().square().mean().sqrt())


def _changed_fraction(counts: list[list[int]]) -> float:
    """Part of the weights that are not on the diagonal."""
    stayed = sum(row[i] for i, row in enumerate(counts))
    return 1 - stayed / sum(map(sum, counts))
