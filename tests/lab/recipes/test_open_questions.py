"""The open questions: arms of a comparison differ in what is asked only."""

from collections import Counter
from dataclasses import replace

import pytest

from permtrain.lab.recipes.experiments.open_questions import (
    open_agnostic,
    open_k1,
    open_resnet20,
    open_sparse,
)
from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.training.settings import (
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    settings_hash,
)

ALL = (open_k1, open_sparse, open_agnostic, open_resnet20)


def of_net(arms: list[Arm], net: str) -> list[Arm]:
    return [arm for arm in arms if arm.settings.model == net]


@pytest.mark.parametrize("recipe", ALL)
def test_what_is_chosen_is_chosen_on_images_set_aside(recipe) -> None:
    for budget in ("quick", "paper"):
        fractions = {arm.settings.data.validation_fraction for arm in recipe(budget)}
        assert fractions == {1 / 6}


@pytest.mark.parametrize("recipe", ALL)
def test_all_arms_of_a_net_have_equal_budgets(recipe) -> None:
    for budget in ("quick", "paper"):
        arms = recipe(budget)
        for net in {arm.settings.model for arm in arms}:
            common = {
                settings_hash(
                    replace(
                        arm.settings,
                        normalization="z-score",
                        initial=InitialSettings(),
                        permutation=PermutationSettings(),
                        optimizer=OptimizerSettings(),
                        seed=0,
                    )
                )
                for arm in of_net(arms, net)
            }
            assert len(common) == 1


@pytest.mark.parametrize("recipe", ALL)
def test_a_sweep_that_is_cut_off_has_looked_at_every_arm(recipe) -> None:
    arms = recipe("paper")
    num_groups = len({arm.group for arm in arms})
    assert [arm.settings.seed for arm in arms[: num_groups + 1]] == [0] * num_groups + [1]


def test_k1_has_no_latent_weights_but_in_the_arms_that_say_so() -> None:
    arms = of_net(open_k1("paper"), "lenet5")[:19]
    found = [
        (
            arm.settings.permutation.method,
            arm.settings.permutation.sync_period,
            arm.settings.permutation.granularity,
            arm.settings.optimizer.inner,
            arm.settings.optimizer.lr,
        )
        for arm in arms
    ]
    assert found == [
        ("plain", None, None, "Adam", 1e-3),
        ("laperm", 20, "neuron", "Adam", 1e-3),
        ("index", 1, "neuron", "Adam", 1e-3),
        ("index", 1, "layer", "Adam", 1e-3),
        *(
            (*method, "Adam", lr)
            for lr in (3e-3, 1e-2)
            for method in (
                ("plain", None, None),
                ("laperm", 20, "neuron"),
                ("index", 1, "layer"),
            )
        ),
        *(("laperm", 1, "neuron", "Adam", lr) for lr in (1e-3, 3e-3, 1e-2, 3e-2)),
        *(("laperm", 1, "layer", "Adam", lr) for lr in (1e-3, 3e-3, 1e-2)),
        *(("laperm", 1, "neuron", "SGD", lr) for lr in (0.1, 1.0)),
    ]
    assert all(arm.settings.optimizer.lr_cosine for arm in arms)


def test_sparse_nets_have_the_zeros_they_are_named_by() -> None:
    for net in ("fc500-300", "lenet5"):
        arms = [arm.settings.initial for arm in of_net(open_sparse("quick"), net)]
        zeros = Counter(
            initial.sparsity or max(initial.layer_sparsity.values(), default=0.0)
            for initial in arms
        )
        assert zeros == {0.0: 3, 0.9: 12, 0.95: 12}
        dense_output = [set(initial.layer_sparsity) for initial in arms if initial.layer_sparsity]
        hidden = {"fc*.weight"} if net == "fc500-300" else {"conv*.weight", "fc*.weight"}
        assert dense_output == [hidden] * 4


def test_larger_weights_and_smallest_zeros_are_in_the_arms_that_say_so() -> None:
    for arm in open_sparse("paper"):
        initial = arm.settings.initial
        assert initial.sparse_fans == ("sparse fans" in arm.group), arm.group
        smallest = "magnitude" if "smallest are zero" in arm.group else "exact"
        assert initial.sparsity_by == smallest, arm.group
        assert initial.rule == "kaiming_normal"


def test_adam_holds_the_zeros_of_the_same_weights_as_the_index_optimizer() -> None:
    start = {arm.name: arm.settings.initial for arm in open_sparse("paper")}
    held = {name: initial for name, initial in start.items() if "Adam, zeros frozen" in name}
    assert len(held) == 2 * 2 * 4 * 2  # nets, parts of zeros, kinds of weights, seeds
    for name, initial in held.items():
        assert initial == start[name.replace("Adam, zeros frozen", "index per layer")]


def test_the_agnostic_nets_begin_as_published() -> None:
    first = {net: of_net(open_agnostic("paper"), net)[0] for net in ("f1", "f2")}
    f1, f2 = first["f1"].settings, first["f2"].settings
    assert f1.initial == InitialSettings(
        rule="constant", value=0.08, layer_sparsity={"*": 1 - 4 / 7}
    )
    assert f2.initial == InitialSettings(
        rule="constant",
        value=0.03,
        layer_sparsity={"fc1.*": 1 - 1 / 15, "fc2.*": 1 - 1 / 7, "output.*": 1 - 1 / 3},
    )
    assert (f1.epochs, f2.epochs) == (10, 25)
    assert (f1.optimizer.l2, f2.optimizer.l2) == (0.0, 1e-4)
    for arm, published in ((first["f1"], 85.46), (first["f2"], 78.14)):
        assert arm.published == published
        assert (arm.settings.batch_size, arm.settings.normalization) == (128, "mean-image")
        assert (arm.settings.optimizer.lr, arm.settings.optimizer.lr_decay) == (1e-3, 0.95)
        assert arm.settings.permutation.sync_period == 250


def test_resnet20_sees_images_as_published() -> None:
    arms = open_resnet20("paper")
    for arm in arms:
        settings = arm.settings
        assert settings.data.data == "cifar10-jpeg"
        assert (settings.augmentation.rotation_degrees, settings.batch_size) == (15, 64)
        assert settings.augmentation.shift_fraction == 0.1
        assert settings.optimizer.lr_milestones == (40, 60, 80, 90)  # of 100: half of 200 epochs'
    levels = [(arm.settings.permutation.granularity, arm.settings.initial.levels) for arm in arms]
    assert levels[:8] == [
        (None, None), ("neuron", None),
        ("layer", None), ("layer", 4), ("layer", 2),
        ("neuron", None), ("neuron", 4), ("neuron", 2),
    ]  # fmt: skip


def test_short_is_one_seed_of_five_epochs_along_half_a_cosine_wave() -> None:
    short = [(arm.group, arm.settings) for arm in open_resnet20("short")]
    assert short == [
        (
            arm.group,
            replace(
                arm.settings,
                epochs=5,
                optimizer=replace(
                    arm.settings.optimizer, lr_milestones=(), lr_factors=(), lr_cosine=True
                ),
            ),
        )
        for arm in open_resnet20("paper")
        if arm.settings.seed == 0
    ]
