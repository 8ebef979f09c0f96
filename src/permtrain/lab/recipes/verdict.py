"""Is a published number reproduced? The rule, and which arm another one is held against."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.training.settings import (
    OptimizerSettings,
    PermutationSettings,
    Settings,
    SGPermSettings,
)

Verdict: TypeAlias = Literal[
    "reproduced", "not reproduced", "published only in words", "not run", "other data"
]

_NUM_TEST_IMAGES = {"imagenet": 50_000}  # 10,000 of MNIST, Fashion-MNIST and CIFAR-10


def num_test_images(data: str) -> int:
    """How many test images accuracies are measured on.

    Example:
        >>> num_test_images("mnist"), num_test_images("imagenet")
        (10000, 50000)
    """
    return _NUM_TEST_IMAGES.get(data, 10_000)


def verdict_on(
    published: float | None,
    last: float | None,
    best: float | None,
    spread: float | None,
    num_seeds: int = 1,
    *,
    is_copy: bool = False,
    num_images: int = 10_000,
) -> Verdict:
    """A word for one published accuracy; all numbers are percent.

    Papers give the epoch that is best on the test images. Ours is anything from the last epoch to
    that one; the published number is reproduced if it is not farther from there than `tolerance`,
    above or below. Images of other pixels (`is_copy`) reproduce nothing.

    Args:
        last, best: means over seeds after the last and the best epoch, of the full budget; last is
            None if that was not run, best if only the last epoch was looked at.
        spread: standard deviation over the seeds of `last`; None for a single one.
        num_images: that accuracies are measured on.

    Example:
        >>> verdict_on(99.26, last=98.81, best=99.04, spread=0.14, num_seeds=3)
        'reproduced'
        >>> verdict_on(98.96, last=81.93, best=81.94, spread=1.9, num_seeds=3)
        'not reproduced'
    """
    if last is None:
        return "not run"
    if is_copy:
        return "other data"
    if published is None:
        return "published only in words"
    low, high = sorted((last, last if best is None else best))
    distance = max(low - published, published - high, 0.0)
    allowed = tolerance(published, spread, num_seeds, num_images)
    return "reproduced" if distance <= allowed else "not reproduced"


def tolerance(
    published: float, spread: float | None, num_seeds: int = 1, num_images: int = 10_000
) -> float:
    """How far ours may be from a published accuracy, in points.

    Twice the standard deviation of the difference of two accuracies measured on so many images
    each, which is what the images alone make of two equal nets; or twice the standard error of our
    mean over the seeds, where that is more. A published number is taken for the method's: papers
    do not tell the spread of theirs.

    Example:
        >>> round(tolerance(99.34, None), 3), round(tolerance(87.0, 0.1, 5), 3)
        (0.229, 0.951)
        >>> tolerance(98.0, 1.0, 4)
        1.0
    """
    fraction = published / 100
    of_one = math.sqrt(fraction * (1 - fraction) / num_images)
    of_mean = (spread or 0.0) / math.sqrt(num_seeds)
    return max(2 * math.sqrt(2) * 100 * of_one, 2 * of_mean)


def baseline_of(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    """The arm that a permuted one is held against: the inner optimizer alone on the same net.

    Of the arms that permute nothing, of the same data, normalised alike, and of the same network,
    epochs and seed, that with most in common: the same inner optimizer, the same initial weights,
    the same rest. None for arms that are baselines themselves, and where there is none.

    Example:
        >>> permuted = Arm("LaPerm", Settings(epochs=2))
        >>> plain = Arm("Adam", Settings(epochs=2, permutation=PermutationSettings(method="plain")))
        >>> baseline_of(permuted, [permuted, plain]).group
        'Adam'
    """
    settings = arm.settings
    if not isinstance(settings, Settings) or not settings.permutation.permutes:
        return None
    candidates = [
        other
        for other in arms
        if other.settings.permutation.method.startswith("plain")
        and other.settings.seed == settings.seed
        and other.settings.model == settings.model
        and other.settings.data == settings.data
        and other.settings.normalization == settings.normalization
        and other.settings.epochs == settings.epochs
    ]

    def in_common(other: Arm) -> tuple[bool, bool, bool]:
        theirs = other.settings
        return (
            theirs.optimizer.inner == settings.optimizer.inner,
            theirs.initial == settings.initial,
            _without_method(theirs) == _without_method(settings),
        )

    return max(candidates, key=in_common, default=None)


def _without_method(settings: Settings) -> Settings:
    return replace(
        settings,
        initial=type(settings.initial)(),
        permutation=PermutationSettings(),
        sgperm=SGPermSettings(),
        optimizer=OptimizerSettings(),
    )
