"""SGPerm's settings: names, ranges, defaults, and the published values. Torch is not imported."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from permtrain.ranges import Fraction, Growth, Share

Recommendation: TypeAlias = Literal["momentum", "difference"]
Search: TypeAlias = Literal["start", "any", "bracket", "pair", "authors"]
Order: TypeAlias = Literal["nearest", "farthest", "random"]


@dataclass(frozen=True)
class MoveSettings:
    """How weights are moved at each step.

    The defaults are what did best on a validation split over 800 updates (docs/sgperm.md).
    """

    recommendation: Recommendation = "momentum"
    """What says where weights are to move: momentum, or difference, what a step of the inner
    optimizer would change."""
    search: Search = "bracket"
    """How cycles are found: closed at their start, at any vertex, or two faster ways (bracket,
    pair); authors: as their code does."""
    order: Order = "nearest"
    """Which permitted move is tried first."""
    aggressiveness: Share = 0.05
    """How far a weight may change at first, as part of its vector's range (alpha)."""
    aggressiveness_min: Share = 0.003
    """Alpha's floor."""
    aggressiveness_decay: Share = 0.9965
    """Alpha is multiplied by this at every step."""
    partition_ratio: Share = 1.0
    """Part of a vector that makes up a subset at first (lambda)."""
    partition_ratio_max: Share = 1.0
    """Lambda's cap."""
    partition_ratio_growth: Growth = 1.0
    """Lambda is multiplied by this at every step."""
    momentum: Fraction = 0.8
    """Of the gradients, whose running sum recommends moves."""
    momentum_max: Fraction = 0.97
    """Momentum's cap where it grows."""
    momentum_approach: Share = 1.0
    """The distance of momentum to 1 is multiplied by this at every step; at 1 momentum stays."""
    dampening: Fraction = 0.0
    """1 minus this is what a new gradient counts in that sum."""


SGPERM_PUBLISHED: dict[str, Any] = {
    "search": "start",
    "aggressiveness": 0.07,
    "aggressiveness_min": 0.005,
    "aggressiveness_decay": 0.985,
    "partition_ratio": 0.05,
    "partition_ratio_max": 0.1,
    "partition_ratio_growth": 1 / 0.995,
    "momentum": 0.9,
}
"""The settings of section 5.1.2: `SGPerm(..., **SGPERM_PUBLISHED)`. The momentum is ours: the paper
names none."""

AUTHORS_MOVES: dict[str, Any] = {"search": "authors", "dampening": 0.99}
"""What the authors' code does where the paper is silent."""

SGPERM_AUTHORS_CODE: dict[str, Any] = SGPERM_PUBLISHED | AUTHORS_MOVES | {"biases": "apart"}
"""All of it: `SGPerm(..., **SGPERM_AUTHORS_CODE)`."""
