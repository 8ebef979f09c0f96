"""LaPerm on CIFAR-10, beside its inner optimizer alone: what both LaPerm papers published.

P2T is Permute to Train (Qiu and Suda, 2022), TBR is Train by Reconnect (Qiu and Suda, 2020). What
they share: Adam at a learning rate of 1e-3, inside LaPerm and alone; weight vectors per neuron;
biases and batch norm left to Adam; z-scored images. Their code is Keras, and so are its conventions
here: Adam's epsilon is 1e-7, he_normal is cut at two standard deviations, l2(1e-4) adds 2e-4 w to
the gradient. Published accuracies are those of the best epoch on the test images.

laperm-resnet20-cifar10: P2T 5.2.1. LaPerm k = 10 reaches 87.41, Adam 91.74. "Regularization is
    normally done following the ResNet original paper": L2 1e-4, on both sides. The paper does not
    state the shortcuts (see `models.resnet`).
laperm-vgg7-cifar10: P2T 5.2.2. LaPerm k = 10 without regularisation reaches 90.03, above Adam with
    L2 1e-4 and dropout .2, .3, .4. Ours: Adam without either, the net as LaPerm has it.
laperm-period-cifar10: TBR 5.2, figure 5. conv4, k from 1 to 2000: final accuracy grows with k,
    before epoch 60 the order is reversed, k = 1 is clearly worse. Curves only, no numbers.
laperm-conv-cifar10: TBR 5.2, figure 6. conv2, conv4, conv13 with k = 1000: 78.21, 89.17, 92.21 (the
    authors' code; the paper shows curves). What Adam and Lookahead reached is not told in numbers.
laperm-sparse-conv4: TBR 5.4, figure 5 (f). conv4 with 50% zeros, k as above: no loss against dense,
    and above Adam with the zeros held from k = 200 on. Curves only.
laperm-sparse-resnet50: TBR 5.4, figure 7. resnet50-cifar with 0, 30, 50, 70% zeros; of k = 250,
    400, 800 the best on the test images: 92.53, 92.32, 92.02, 90.97. All three are arms here; the
    published value stands at the k of the authors' files. The augmentation is that of their code
    (shifts and flips, no rotation), whose numbers these are; the paper's text has rotation too. So
    is the normalisation: each pixel less its mean, where the text has z-scores.
laperm-sparsity-all: TBR 5.4, figure 8. All networks against the part of the weights that remains:
    flat down to 30%, a sharp fall at 10%. For k they took the largest of "a sparse grid from 200 to
    1000" that did not diverge within 50 epochs; arms here are both ends of the grid, and for conv4
    also k = 2000 (TBR A.5.0). Curves only, and which parts were tried is not told: 100, 70, 50, 30
    and 10% here. conv7 is trained on MNIST, as in TBR 5.1 (`laperm-init-mnist`), with its biases
    permuted too, on pixels from 0 to 1 (x/255), as the authors' files tell; images less their mean
    image are another reading, compared with nothing.

At most 20% of the first layer is zero in all of TBR 5.4. The numbers of seeds are not told: three
here, and one in the sweeps.

Budgets: "scaled" is a fifth of the published length with its schedules shrunk alike, all images,
one seed, in bfloat16, and the arms that say most for their cost, the index optimizer on resnet20
among them. "short" is the first 5 epochs of the published training on all images, one seed: the
learning rate has not fallen by then, so that it shows who starts how fast and not where training
ends. "quick" only shows that every arm runs: one epoch of 100 images, after which test accuracy, on
100 images, says nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.recipes.copies import with_copies
from permtrain.lab.recipes.recipe import WITH_SCALED, WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.recipes.scaled import scaled
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

SHORT_EPOCHS = 5
QUICK_IMAGES = 100

PERIODS = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SCALED_PERIODS = (1, 20, 200, 1000)

_KERAS_ADAM = OptimizerSettings(inner="Adam", lr=1e-3, inner_options={"eps": 1e-7})
_PLAIN = PermutationSettings(method="plain")
_FROZEN = PermutationSettings(method="plain-frozen-zeros")

_P2T_MOVED = Augmentation(rotation_degrees=15, shift_fraction=0.1)
_TBR_MOVED = replace(_P2T_MOVED, horizontal_flip=True)

_RESNET20 = Settings(
    data=DataSettings(data="cifar10"),
    augmentation=_P2T_MOVED,
    model="resnet20",
    initial=InitialSettings(rule="kaiming_trunc_normal"),
    optimizer=replace(
        _KERAS_ADAM,
        l2=1e-4,
        lr_milestones=(80, 120, 160, 180),
        lr_factors=(0.1, 0.1, 0.1, 0.1),
    ),
    epochs=200,
    batch_size=64,
)

_VGG7 = replace(
    _RESNET20,
    model="vgg7",
    optimizer=replace(_KERAS_ADAM, lr_milestones=(500, 700), lr_factors=(0.1, 0.1)),
    epochs=1000,
)

_CONV4 = Settings(
    data=DataSettings(data="cifar10"),
    augmentation=_TBR_MOVED,
    model="conv4",
    initial=InitialSettings(rule="kaiming_uniform"),
    optimizer=replace(_KERAS_ADAM, l2=1e-4, lr_decay=0.6, lr_decay_epochs=10),
    epochs=125,
    batch_size=50,
)

_RESNET50 = replace(
    _CONV4,
    augmentation=Augmentation(shift_fraction=0.1, horizontal_flip=True),
    normalization="mean-image",
    model="resnet50-cifar",
    optimizer=replace(
        _KERAS_ADAM,
        l2=1e-4,
        lr_milestones=(80, 120, 160, 180),
        lr_factors=(0.1, 0.1, 0.1, 0.5),
    ),
    epochs=200,
)

_CONV7 = Settings(
    data=DataSettings(data="mnist"),
    augmentation=Augmentation(rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1),
    normalization="unit",
    model="conv7",
    initial=InitialSettings(rule="kaiming_uniform"),
    optimizer=replace(_KERAS_ADAM, lr_decay=0.95),
    epochs=45,
    batch_size=50,
)
_CONV7_LESS_MEAN = replace(_CONV7, normalization="mean-image")


@dataclass(frozen=True)
class _Group:
    """An arm but for its seeds; the settings are those of the paper budget."""

    name: str
    settings: Settings
    published: float | None = None
    is_other_reading: bool = False


def laperm_resnet20_cifar10(budget: Budget) -> list[Arm]:
    """P2T 5.2.1."""
    groups = [
        _Group("LaPerm k=10", _laperm(_RESNET20, 10), 87.41),
        _Group("Adam", _alone(_RESNET20), 91.74),
    ]
    if budget == "scaled":  # ours, beside what was published
        groups += [
            _Group("index per layer", _index(_RESNET20, "layer")),
            _Group("index per neuron", _index(_RESNET20, "neuron")),
        ]
    return _arms(budget, groups, seeds=(0, 1, 2))


def laperm_vgg7_cifar10(budget: Budget) -> list[Arm]:
    """P2T 5.2.2; "above Adam" is all that is told of Adam, which had L2 and dropout."""
    regularised = replace(
        _alone(_VGG7), model="vgg7-dropout", optimizer=replace(_VGG7.optimizer, l2=1e-4)
    )
    groups = [
        _Group("LaPerm k=10", _laperm(_VGG7, 10), 90.03),
        _Group("Adam, L2 and dropout", regularised),
        _Group("Adam", _alone(_VGG7)),
    ]
    return _arms(budget, groups, seeds=(0, 1, 2))


def laperm_period_cifar10(budget: Budget) -> list[Arm]:
    """TBR 5.2: the sync period, swept."""
    return _arms(budget, _period_sweep(replace(_CONV4, epochs=90), budget), seeds=(0,))


def laperm_conv_cifar10(budget: Budget) -> list[Arm]:
    """TBR 5.2: three depths."""
    groups = []
    for model, published in (("conv2", 78.21), ("conv4", 89.17), ("conv13", 92.21)):
        base = replace(_CONV4, model=model)
        if budget == "scaled" and model == "conv13":
            continue
        groups += [
            _Group(f"{model}, LaPerm k=1000", _laperm(base, 1000), published),
            _Group(f"{model}, Adam", _alone(base)),
        ]
        if budget != "scaled":
            groups.append(_Group(f"{model}, Lookahead", _lookahead(base)))
    return _arms(budget, groups, seeds=(0, 1, 2))


def laperm_sparse_conv4(budget: Budget) -> list[Arm]:
    """TBR 5.4: the sync period, swept with half of the weights zero."""
    base = _with_zeros(replace(_CONV4, epochs=90), 0.5)
    return _arms(budget, _period_sweep(base, budget), seeds=(0,))


def laperm_sparse_resnet50(budget: Budget) -> list[Arm]:
    """TBR 5.4: sparsity and sync period; what was published stands at the k of their files."""
    groups = []
    for sparsity, best_period, published in (
        (0.0, 400, 92.53),
        (0.3, 800, 92.32),
        (0.5, 800, 92.02),
        (0.7, 800, 90.97),
    ):
        base = _with_zeros(_RESNET50, sparsity)
        if budget == "scaled" and sparsity == 0.3:
            continue
        groups += [
            _Group(
                f"{sparsity:.0%} zeros, LaPerm k={period}",
                _laperm(base, period),
                published if period == best_period else None,
            )
            for period in ((best_period,) if budget == "scaled" else (250, 400, 800))
        ]
        groups.append(_Group(f"{sparsity:.0%} zeros, Adam", _alone(base)))
    return _arms(budget, groups, seeds=(0,))


def laperm_sparsity_all(budget: Budget) -> list[Arm]:
    """TBR 5.4: every network against the part of its weights that remains."""
    groups = []
    for net in (
        replace(_CONV4, model="conv2"),
        _CONV4,
        _CONV7,
        _CONV7_LESS_MEAN,
        replace(_CONV4, model="conv13"),
        _RESNET50,
    ):
        for sparsity in (0.0, 0.3, 0.5, 0.7, 0.9):
            base = _with_zeros(net, sparsity)
            pixels = ", x/255" if net == _CONV7 else ""
            name = f"{net.model}{pixels}, {1 - sparsity:.0%} of weights"
            is_other = net == _CONV7_LESS_MEAN
            for period in (200, 1000, 2000) if net.model == "conv4" else (200, 1000):
                settings = _laperm(base, period, permute_biases=net.model == "conv7")
                group = f"{name}, LaPerm k={period}"
                groups.append(_Group(group, settings, is_other_reading=is_other))
            groups.append(_Group(f"{name}, Adam", _alone(base), is_other_reading=is_other))
    return _arms(budget, groups, seeds=(0,))


def _period_sweep(base: Settings, budget: Budget) -> list[_Group]:
    periods = SCALED_PERIODS if budget == "scaled" else PERIODS
    swept = [_Group(f"LaPerm k={period}", _laperm(base, period)) for period in periods]
    return [*swept, _Group("Adam", _alone(base))]


def _laperm(base: Settings, period: int, permute_biases: bool = False) -> Settings:
    permutation = PermutationSettings(
        method="laperm", sync_period=period, granularity="neuron", permute_biases=permute_biases
    )
    return replace(base, permutation=permutation)


def _index(base: Settings, granularity: Literal["neuron", "layer"]) -> Settings:
    permutation = PermutationSettings(method="index", sync_period=1, granularity=granularity)
    return replace(base, permutation=permutation)


def _alone(base: Settings) -> Settings:
    """The inner optimizer; zeros that are there at first it holds at zero."""
    return replace(base, permutation=_FROZEN if base.initial.is_sparse else _PLAIN)


def _lookahead(base: Settings) -> Settings:
    """Around the inner optimizer, in TensorFlow's default setting: period 6, slow step .5."""
    return replace(_alone(base), optimizer=replace(base.optimizer, lookahead_period=6))


def _with_zeros(base: Settings, sparsity: float) -> Settings:
    if not sparsity:
        return base
    initial = replace(base.initial, sparsity=sparsity, first_layer_sparsity_cap=0.2)
    return replace(base, initial=initial)


def _arms(budget: Budget, groups: Iterable[_Group], seeds: tuple[int, ...]) -> list[Arm]:
    return [
        Arm(
            group.name,
            replace(shortened(group.settings, budget), seed=seed),
            group.published,
            group.is_other_reading,
        )
        for group in groups
        for seed in (seeds if budget == "paper" else seeds[:1])
    ]


def shortened(settings: Settings, budget: Budget) -> Settings:
    """What a budget leaves of the settings of the paper budget.

    Example:
        >>> quick = shortened(Settings(epochs=200), "quick")
        >>> quick.epochs, quick.data.train_images, quick.data.test_images
        (1, 100, 100)
    """
    if budget == "paper":
        return settings
    if budget == "scaled":
        return scaled(settings)
    if budget == "short":
        return replace(settings, epochs=SHORT_EPOCHS)
    few = replace(settings.data, train_images=QUICK_IMAGES, test_images=QUICK_IMAGES)
    return replace(settings, data=few, epochs=1)


# Costs are one core's time, from the time of a step.
RECIPES = tuple(
    recipe
    for original in (
        Recipe(
            "laperm-resnet20-cifar10",
            "resnet20, LaPerm k=10 beside Adam (Permute to Train, 5.2.1)",
            "6 runs of 200 epochs, 12 h each",
            laperm_resnet20_cifar10,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-vgg7-cifar10",
            "vgg7, LaPerm k=10 beside Adam with L2 and dropout (Permute to Train, 5.2.2)",
            "9 runs of 1000 epochs, 51 h each",
            laperm_vgg7_cifar10,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-period-cifar10",
            "conv4, sync periods from 1 to 2000 (Train by Reconnect, 5.2)",
            "11 runs of 90 epochs, 14 h each",
            laperm_period_cifar10,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-conv-cifar10",
            "conv2, conv4 and conv13, LaPerm k=1000 (Train by Reconnect, 5.2)",
            "27 runs of 125 epochs, 12, 20 and 55 h each",
            laperm_conv_cifar10,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-sparse-conv4",
            "conv4, half of the weights zero, sync periods 1 to 2000 (Train by Reconnect, 5.4)",
            "11 runs of 90 epochs, 14 h each",
            laperm_sparse_conv4,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-sparse-resnet50",
            "resnet50-cifar with 0 to 70% zeros (Train by Reconnect, 5.4)",
            "16 runs of 200 epochs, 32 h each",
            laperm_sparse_resnet50,
            budgets=WITH_SCALED,
        ),
        Recipe(
            "laperm-sparsity-all",
            "five networks with 0 to 90% zeros (Train by Reconnect, 5.4)",
            "95 runs of 45 to 200 epochs, 2 to 54 h each",
            laperm_sparsity_all,
            budgets=WITH_SHORT,
        ),
    )
    for recipe in with_copies(original)
)
