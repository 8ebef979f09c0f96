"""LaPerm's experiments on MNIST: the settings are the published ones."""

from dataclasses import replace

import pytest

from permtrain.recipes.registry import RECIPES
from permtrain.training.learning_rate import learning_rate
from permtrain.training.settings import PermutationSettings

# shared/experiments.md, laperm-agnostic-mnist: what is left of each layer, the value, the accuracy.
AGNOSTIC = {
    "f1, 60% left": (0.08, [0.6], 10, 0.0, 85.46),
    "f1, 4/7 left": (0.08, [4 / 7], 10, 0.0, 85.46),
    "f2, 10% left": (0.03, [0.1, 0.1, 0.1], 25, 1e-4, 53.0),
    "f2, 1/15, 1/7, 1/3 left": (0.03, [1 / 15, 1 / 7, 1 / 3], 25, 1e-4, 78.14),
}


def test_weight_agnostic_nets() -> None:
    arms = RECIPES["laperm-agnostic-mnist"].arms("paper")
    found = {}
    for arm in arms:
        settings = arm.settings
        if arm.group.endswith(", Adam, zeros fixed"):
            assert settings.permutation.method == "plain-frozen-zeros"
            assert arm.published is None
            continue
        net = arm.group.removesuffix(", LaPerm k=250")
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
        assert arm.published == published
        found.setdefault(net, set()).add(settings.seed)
    assert found == {net: set(range(30)) for net in AGNOSTIC}
    assert [arm.settings.model for arm in arms] == ["f1"] * 120 + ["f2"] * 120


def test_rewiring() -> None:
    arms = RECIPES["laperm-rewire-mnist"].arms("paper")
    rewired, fixed = arms[:3], arms[3:]
    for one, other in zip(rewired, fixed, strict=True):
        settings = one.settings
        assert settings.permutation == PermutationSettings(
            method="laperm", sync_period=30, permuted_steps=1500
        )
        alone = PermutationSettings(method="plain-frozen-zeros")
        assert other.settings == replace(settings, permutation=alone)
        assert (settings.data.data, settings.model) == ("mnist", "fc500-300")
        initial = settings.initial
        assert (initial.rule, initial.sparsity, initial.sparsity_by) == (
            "kaiming_normal", 0.9, "exact",
        )  # fmt: skip
        assert (settings.batch_size, settings.epochs) == (64, 48)
        rates = [learning_rate(settings.optimizer, epoch) for epoch in (0, 27, 28, 37, 38, 47)]
        assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rel=1e-14)
        assert settings.optimizer.inner == "Adam"
        assert settings.augmentation.is_identity
        assert (one.published, other.published) == (None, None)
