"""How large stored networks are, and how good: seeds of one arm as one."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SizedScore:
    """One stored network.

    Attributes:
        arm: what it is called; networks of one arm and several seeds are one point.
        num_bytes: of its file.
        accuracy: on test images after the last epoch, a fraction.
        family: what makes the file small: permutation, a way of quantizing, supermask.
    """

    arm: str
    num_bytes: float
    accuracy: float
    family: str = ""


@dataclass(frozen=True)
class SizedArm:
    """Seeds of one arm.

    Attributes:
        arm, family: as in `SizedScore`.
        num_seeds: how many.
        num_bytes: mean of their files.
        accuracy, lowest, highest: mean of their accuracies, and the range.
    """

    arm: str
    family: str
    num_seeds: int
    num_bytes: float
    accuracy: float
    lowest: float
    highest: float


def sized_arms(scores: Sequence[SizedScore]) -> list[SizedArm]:
    """Means over seeds, smallest file first.

    Example:
        >>> (arm,) = sized_arms([SizedScore("a", 100, 0.5), SizedScore("a", 300, 0.75)])
        >>> arm.num_seeds, arm.num_bytes, arm.accuracy, arm.lowest, arm.highest
        (2, 200.0, 0.625, 0.5, 0.75)
    """
    groups: dict[str, list[SizedScore]] = {}
    for score in scores:
        groups.setdefault(score.arm, []).append(score)
    arms = []
    for arm, group in groups.items():
        accuracies = [score.accuracy for score in group]
        arms.append(
            SizedArm(
                arm,
                group[0].family,
                len(group),
                statistics.fmean(score.num_bytes for score in group),
                statistics.fmean(accuracies),
                min(accuracies),
                max(accuracies),
            )
        )
    return sorted(arms, key=lambda arm: arm.num_bytes)
