"""The rule of the verdicts, and the baselines."""

from dataclasses import replace

import pytest

from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.verdict import baseline_of, num_test_images, tolerance, verdict_on
from permtrain.lab.training.settings import (
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)


@pytest.mark.parametrize(
    ("published", "spread", "num_seeds", "expected"),
    [
        # 2 sqrt(2) 100 sqrt(.9 .1 / 10,000)
        (90.0, None, 1, 0.8485281374238570),
        (90.0, 0.1, 3, 0.8485281374238570),
        (90.0, 1.0, 4, 1.0),
        (90.0, 10.0, 25, 4.0),
        (100.0, None, 1, 0.0),
        (50.0, 0.0, 2, 1.4142135623730951),
    ],
)
def test_the_tolerance(published, spread, num_seeds: int, expected: float) -> None:
    assert tolerance(published, spread, num_seeds) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("published", "last", "best", "spread", "expected"),
    [
        (None, None, None, None, "not run"),
        (90.0, None, None, None, "not run"),
        (None, 90.0, 91.0, 0.1, "published only in words"),
        (90.0, 90.0, 90.0, None, "reproduced"),
        (90.0, 89.16, 89.16, None, "reproduced"),  # .84 below
        (90.0, 89.14, 89.14, None, "not reproduced"),  # .86 below
        (90.0, 90.84, 90.9, None, "reproduced"),
        (90.0, 90.86, 90.9, None, "not reproduced"),  # above is another number, too
        (90.0, 80.0, 90.5, None, "reproduced"),  # it lies between the last epoch and the best
        (90.0, 80.0, 89.0, None, "not reproduced"),
        (90.0, 88.1, 88.1, 2.0, "reproduced"),  # the mean of four seeds may be as far off
        (90.0, 87.9, 87.9, 2.0, "not reproduced"),
        (90.0, 88.1, None, 0.1, "not reproduced"),
        (90.0, 89.5, None, None, "reproduced"),
    ],
)
def test_the_rule(published, last, best, spread, expected: str) -> None:
    assert verdict_on(published, last, best, spread, num_seeds=4) == expected


def test_more_images_allow_less() -> None:
    # ImageNet: 2 sqrt(2) 100 sqrt(.7093 .2907 / 50,000) = .574
    images = num_test_images("imagenet")
    assert tolerance(70.93, None, num_images=images) == pytest.approx(0.57438, abs=1e-5)
    assert verdict_on(70.93, 70.3, 70.3, None) == "reproduced"
    assert verdict_on(70.93, 70.3, 70.3, None, num_images=images) == "not reproduced"


def test_other_pixels_reproduce_nothing() -> None:
    assert verdict_on(90.0, 90.0, 90.0, None, is_copy=True) == "other data"
    assert verdict_on(90.0, None, None, None, is_copy=True) == "not run"


def test_the_baseline_has_the_same_net_and_most_in_common() -> None:
    def plain(name: str, inner: str = "Adam", **changes) -> Arm:
        optimizer = OptimizerSettings(inner=inner)
        alone = PermutationSettings(method="plain")
        return Arm(name, Settings(permutation=alone, optimizer=optimizer, **changes))

    he = InitialSettings(rule="kaiming_normal")
    arms = [
        plain("SGD, other net", "SGD", model="lenet5"),
        plain("SGD", "SGD"),
        plain("Adam"),
        plain("Adam, he", initial=he),
        plain("Adam, longer", epochs=61),
        plain("Adam, seed 1", seed=1),
    ]

    def found(settings: Settings) -> str | None:
        baseline = baseline_of(Arm("LaPerm", settings), arms)
        return None if baseline is None else baseline.group

    assert found(Settings()) == "Adam"
    assert found(Settings(initial=he)) == "Adam, he"
    assert found(Settings(optimizer=OptimizerSettings(inner="SGD"))) == "SGD"
    assert found(Settings(initial=InitialSettings(rule="xavier_normal"))) == "Adam"
    assert found(Settings(seed=1)) == "Adam, seed 1"
    assert found(Settings(epochs=5)) is None
    assert found(Settings(normalization="unit")) is None
    assert baseline_of(arms[2], arms) is None


def test_every_permuted_arm_of_the_papers_has_its_baseline() -> None:
    for recipe_id, expected in (
        ("sgperm-fc-mnist", "Adam, z-scored"),
        ("index-layer", "sparse, one threshold, Adam"),
        ("laperm-fc-mnist", "Adam"),
    ):
        arms = RECIPES[recipe_id].arms("paper")
        last = [arm for arm in arms if arm.settings.permutation.permutes][-1]
        baseline = baseline_of(last, arms)
        assert baseline is not None
        assert baseline.group == expected
        assert replace(baseline.settings, permutation=last.settings.permutation).initial == (
            last.settings.initial
        )
