"""LaPerm's experiments on MNIST: the settings are the published ones."""

from dataclasses import replace

import pytest

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.learning_rate import rate_factor
from permtrain.lab.training.settings import PermutationSettings, first_training

# shared/experiments.md, laperm-agnostic-mnist: what is left of each layer, the value, the accuracy.
AGNOSTIC = {
    "f1, 60% left": (0.08, [0.6], 10, 0.0, 85.46),
    "f1, 4/7 left": (0.08, [4 / 7], 10, 0.0, 85.46),
    "f2, 10% left": (0.03, [0.1, 0.1, 0.1], 25, 1e-4, 53.0),
    "f2, 1/15, 1/7, 1/3 left": (0.03, [1 / 15, 1 / 7, 1 / 3], 25, 1e-4, 78.14),
}
# The authors' F1.h5 scores its 85.46 on x/255; rows of the other two stay.
PIXELS = {", x/255": "unit", "": "mean-image", ", z-scored": "z-score"}


def test_weight_agnostic_nets() -> None:
    arms = RECIPES["laperm-agnostic-mnist"].arms("paper")
    found = {}
    for arm in arms:
        settings = arm.settings
        net, _, pixels = arm.group.partition(" left")
        pixels, net = pixels.partition(", LaPerm")[0].partition(", Adam")[0], f"{net} left"
        assert settings.normalization == PIXELS[pixels]
        assert arm.is_other_reading == (pixels != ", x/255")
        if arm.group.endswith(", Adam, zeros fixed"):
            assert settings.permutation.method == "plain-frozen-zeros"
            assert arm.published is None
            continue
        value, left, epochs, l2, published = AGNOSTIC[net]
        initial = settings.initial
        assert (initial.rule, initial.value, initial.sparsity_by) == (
            "constant",
            value,
            "bernoulli",
        )
        sparsities = list(initial.layer_sparsity.values()) or [initial.sparsity] * len(left)
        assert [round(1 - each, 12) for each in sparsities] == [round(each, 12) for each in left]
        assert list(initial.layer_sparsity) in ([], ["fc1.*", "fc2.*", "output.*"])
        assert settings.model == net[:2]
        assert (settings.permutation.method, settings.permutation.sync_period) == ("laperm", 250)
        assert settings.permutation.granularity in (None, "neuron")
        optimizer = settings.optimizer
        assert (optimizer.inner, optimizer.lr, optimizer.lr_decay) == ("Adam", 1e-3, 0.95)
        assert (optimizer.l2, settings.epochs, settings.batch_size) == (l2, epochs, 128)
        assert settings.augmentation.is_identity
        assert arm.published == (published if pixels == ", x/255" else None)
        found.setdefault((net, pixels), set()).add(settings.seed)
    assert found == {(net, each): set(range(30)) for net in AGNOSTIC for each in PIXELS}
    assert [arm.settings.model for arm in arms] == (["f1"] * 120 + ["f2"] * 120) * 3


def test_rewiring() -> None:
    both = RECIPES["laperm-rewire-mnist"].arms("paper")
    arms, z_scored = both[:6], both[6:]
    assert [(arm.group, arm.settings) for arm in z_scored] == [
        (f"{arm.group}, z-scored", replace(arm.settings, normalization="z-score")) for arm in arms
    ]
    rewired, fixed = arms[:3], arms[3:]
    for one, other in zip(rewired, fixed, strict=True):
        settings = one.settings
        assert settings.permutation == PermutationSettings(
            method="laperm", sync_period=30, permuted_steps=1500
        )
        alone = PermutationSettings(method="plain-frozen-zeros")
        assert other.settings == replace(settings, permutation=alone)
        assert (settings.data.data, settings.model) == ("mnist", "fc500-300")
        assert settings.normalization == "unit"
        initial = settings.initial
        assert (initial.rule, initial.sparsity, initial.sparsity_by) == (
            "kaiming_normal", 0.9, "exact",
        )  # fmt: skip
        assert (settings.batch_size, settings.epochs) == (64, 48)
        factors = [rate_factor(settings.optimizer, epoch) for epoch in (0, 27, 28, 37, 38, 47)]
        assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01], rel=1e-14)
        assert (settings.optimizer.inner, settings.optimizer.lr) == ("Adam", 1e-3)
        assert settings.augmentation.is_identity
        assert (one.published, other.published) == (None, None)


def test_ranking_distance() -> None:
    arms = RECIPES["ranking-distance"].arms("paper")
    found = {}
    for arm in arms:
        settings, optimizer = arm.settings, arm.settings.optimizer
        found[arm.group] = (settings.model, optimizer.inner, optimizer.lr, optimizer.l2)
        assert optimizer.inner_options == {}
        assert (settings.data.data, settings.permutation.method) == ("mnist", "plain")
        assert (settings.initial.rule, settings.epochs, settings.batch_size) == (
            "kaiming_uniform", 30, 50,
        )  # fmt: skip
        factors = [rate_factor(optimizer, epoch) for epoch in (0, 9, 10, 19, 20, 29)]
        assert factors == pytest.approx([1, 1, 0.5, 0.5, 0.1, 0.1], rel=1e-14)
        assert settings.watch_ranking_distance
        assert arm.published is None
    assert found == {
        "SGD 0.1": ("fc100-100", "SGD", 0.1, 0.0),
        "Adam": ("fc100-100", "Adam", 1e-3, 0.0),
        "Adam, dropout .4 and .3": ("fc100-100-dropout", "Adam", 1e-3, 0.0),
        "Adam, L2 2e-4": ("fc100-100", "Adam", 1e-3, 2e-4),
    }


# shared/experiments.md, laperm-init-mnist; Keras' normal draws are truncated.
INITIALS = {
    "Adam": ("kaiming_trunc_normal", None),
    "Lookahead": ("kaiming_trunc_normal", None),
    "He uniform, LaPerm": ("kaiming_uniform", 99.76),
    "He normal, LaPerm": ("kaiming_trunc_normal", 99.76),
    "Glorot uniform, LaPerm": ("xavier_uniform", 99.66),
    "Glorot normal, LaPerm": ("xavier_trunc_normal", 99.66),
    "Adam's shuffled, LaPerm": ("shuffle", None),
}


def test_initial_weights() -> None:
    arms = RECIPES["laperm-init-mnist"].arms("paper")
    found = {}
    for arm in arms:
        settings, optimizer = arm.settings, arm.settings.optimizer
        is_published = arm.group.endswith(", x/255")
        assert settings.normalization == ("unit" if is_published else "mean-image")
        assert arm.is_other_reading == (not is_published)
        group = arm.group.removesuffix(", x/255")
        found[group, is_published] = (settings.initial.rule, arm.published)
        laperm = PermutationSettings(method="laperm", sync_period=20, permute_biases=True)
        plain = PermutationSettings(method="plain")
        assert settings.permutation == (laperm if "LaPerm" in arm.group else plain)
        assert (settings.data.data, settings.data.train_images) == ("mnist", None)
        assert (settings.model, settings.batch_size, settings.epochs) == ("conv7", 50, 45)
        assert settings.augmentation == Augmentation(
            rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1
        )
        assert (optimizer.inner, optimizer.lr, optimizer.lr_decay) == ("Adam", 1e-3, 0.95)
        period = 6 if group == "Lookahead" else None
        assert (optimizer.lookahead_period, optimizer.lookahead_step) == (period, 0.5)
        assert settings.initial.biases == "rule"
    assert found == {(group, True): told for group, told in INITIALS.items()} | {
        (group, False): (rule, None) for group, (rule, _) in INITIALS.items()
    }


@pytest.mark.parametrize("budget", ["quick", "short", "paper"])
def test_shuffled_are_the_weights_of_the_adam_arm(budget) -> None:
    arms = {arm.name: arm.settings for arm in RECIPES["laperm-init-mnist"].arms(budget)}
    names = [name for name in arms if name.startswith("Adam's shuffled")]
    assert len(names) == (10 if budget == "paper" else 2)
    for name in names:
        rest = name.removeprefix("Adam's shuffled, LaPerm")
        assert first_training(arms[name]) == arms[f"Adam{rest}"]


def test_the_short_budget_is_one_seed_of_ten_epochs() -> None:
    recipe = RECIPES["laperm-init-mnist"]
    short = [(arm.group, arm.settings) for arm in recipe.arms("short")]
    assert short == [
        (arm.group, replace(arm.settings, epochs=10))
        for arm in recipe.arms("paper")
        if arm.settings.seed == 0
    ]
