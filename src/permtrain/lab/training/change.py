"""How much a step changes the weights."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Change:
    """Over all weights.

    Attributes:
        changed_fraction: part of the weights that hold another value, in [0, 1].
        mean_change: mean of the absolute change, weights that did not change included.
        norm: Euclidean norm of the change.
    """

    changed_fraction: float
    mean_change: float
    norm: float


@torch.no_grad()
def change_between(before: Sequence[Tensor], after: Sequence[Tensor]) -> Change:
    """The change from some weights to the same ones later, tensor by tensor.

    Example:
        >>> before, after = torch.tensor([1.0, 2.0, 0.0, 5.0]), torch.tensor([2.0, 1.0, 0.0, 5.0])
        >>> change_between([before], [after])
        Change(changed_fraction=0.5, mean_change=0.5, norm=1.4142135623730951)
    """
    difference = torch.cat(
        [(b - a).flatten().double() for a, b in zip(before, after, strict=True)]
    ).abs()
    return Change(
        changed_fraction=float((difference > 0).double().mean()),
        mean_change=float(difference.mean()),
        norm=math.sqrt(float(difference.square().sum())),  # torch's may be an ulp off
    )


def mean_change(changes: Sequence[Change]) -> Change | None:
    """The mean of each number over some steps; None of no steps."""
    if not changes:
        return None
    return Change(
        **{
            name: statistics.fmean(getattr(change, name) for change in changes)
            for name in vars(changes[0])
        }
    )
