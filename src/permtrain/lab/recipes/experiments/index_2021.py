"""The index optimizer thesis (2021), tables 5.1 to 5.3: LeNet-5, VGG-16, and ResNet-34 on ImageNet.

"Without STE" is LaPerm with k = 1. The thesis stops when test accuracy has fallen for 20 epochs,
and does not tell after how many that was. Fixed here, where it is silent: 20 epochs for LeNet-5,
200 for VGG-16; ReLU and max pooling; batch norm in VGG-16; the learning rate is divided by 1.01 an
epoch; biases drawn by the rule and left to the inner optimizer; no augmentation on MNIST, on
CIFAR-10 the usual one, shifts by up to 4 of 32 pixels and flips; the 90% smallest magnitudes of
each tensor are zero (section 5.1.1 can be read as one threshold for the whole net, too).

Output channels and kernels are defined for convolutions only. What linear layers do in tables 5.2
and 5.3 is not told, and decides the accuracy without STE, so that `lenet5` has both readings as
arms: per neuron (a linear layer has no kernels), and "linear layers whole", the thesis' default of
one vector a layer. `vgg16`, whose only linear layer is the last, has the first.

Sparse are "all parameters with values less than a specific threshold", 90% of them (thesis 5.1.1).
Whether each layer has a threshold of its own or the net has one is not told. `lenet5` has both as
arms, "one threshold" with whole linear layers only; `vgg16` the first. Biases are not pruned.

index-imagenet: one cell of table 5.1, ResNet-34 from Kaiming normal, per layer, without STE:
70.93. Beside it here the same with STE, which has no figure, and SGD alone. The batch of 1,024 is
told, the number of epochs is not: 90. Random parts of the images and flips; accuracy on the middle.
Budget "quick" is one epoch of 64 images.

Budgets on CIFAR-10: "short" is the first 5 epochs, one seed; "quick" one epoch of 100 images, only
to show that every arm runs.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.recipes.copies import with_copies
from permtrain.lab.recipes.experiments.laperm_cifar import shortened
from permtrain.lab.recipes.recipe import WITH_SCALED, WITH_SHORT, Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_SEEDS = (0, 1, 2)

# Weights: fan-in and number, layer by layer.
_LENET5_WEIGHTS = {
    "conv1.weight": (25, 150),
    "conv2.weight": (150, 2_400),
    "fc1.weight": (400, 48_000),
    "fc2.weight": (120, 10_080),
    "output.weight": (84, 840),
}


def sparsity_under_one_threshold(
    weights: Mapping[str, tuple[int, int]], sparsity: float
) -> dict[str, float]:
    """Of Kaiming normal weights, the part of each layer that is below one threshold for all.

    It is what is expected of the draws, to four places, so that it is a setting like any other.

    Args:
        weights: by name, fan-in and number.
        sparsity: the part of all weights that is below the threshold; above 0, below 1.

    Example:
        >>> sparsity_under_one_threshold({"wide": (400, 48_000), "narrow": (25, 150)}, 0.5)
        {'wide': 0.5011, 'narrow': 0.1343}
    """

    def parts_below(threshold: float) -> dict[str, float]:
        return {
            name: 2 * NormalDist(0, (2 / fan_in) ** 0.5).cdf(threshold) - 1
            for name, (fan_in, _) in weights.items()
        }

    total = sum(number for _, number in weights.values())
    low, high = 0.0, 100.0  # by bisection; no deviation is above the square root of 2
    for _ in range(60):
        middle = (low + high) / 2
        parts = parts_below(middle)
        is_below = sum(parts[name] * weights[name][1] for name in weights) < sparsity * total
        low, high = (middle, high) if is_below else (low, middle)
    return {name: round(part, 4) for name, part in parts_below(high).items()}


_ONE_THRESHOLD = InitialSettings(
    rule="kaiming_normal",
    sparsity_by="magnitude",
    layer_sparsity=sparsity_under_one_threshold(_LENET5_WEIGHTS, 0.9),
)

# Column of the tables, and settings.
_INITIALS_OF_BOTH = {
    "kaiming_normal": (0, InitialSettings(rule="kaiming_normal")),
    "kaiming_uniform": (1, InitialSettings(rule="kaiming_uniform")),
    "sparse": (2, InitialSettings(rule="kaiming_normal", sparsity=0.9, sparsity_by="magnitude")),
}
_INITIALS = {
    "vgg16": _INITIALS_OF_BOTH,
    "lenet5": _INITIALS_OF_BOTH | {"sparse, one threshold": (2, _ONE_THRESHOLD)},
}

# Top-1 test accuracy in percent, by granularity; kaiming_normal, kaiming_uniform, sparse.
_Published = Mapping[str, Mapping[str, tuple[float, float, float]]]

_ON_MNIST: _Published = {
    "layer": {"index": (99.49, 99.34, 99.18), "laperm": (99.49, 99.16, 96.56)},
    "neuron": {"index": (99.51, 99.26, 99.41), "laperm": (98.77, 98.96, 92.91)},
    "kernel": {"index": (99.48, 99.27, 99.36), "laperm": (98.63, 95.16, 69.65)},
}
_ON_CIFAR10: _Published = {
    "layer": {"index": (90.94, 93.01, 92.55), "laperm": (92.44, 93.85, 90.92)},
    "neuron": {"index": (90.98, 92.53, 91.62), "laperm": (87.77, 91.40, 87.06)},
    "kernel": {"index": (90.24, 91.86, 90.42), "laperm": (83.67, 90.72, 71.33)},
}

_LENET5 = Settings(
    data=DataSettings(data="mnist"),
    model="lenet5",
    optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=1 / 1.01),
    epochs=20,
    batch_size=128,
)
_VGG16 = Settings(
    data=DataSettings(data="cifar10"),
    augmentation=Augmentation(shift_fraction=0.125, horizontal_flip=True),
    model="vgg16",
    optimizer=OptimizerSettings(
        inner="SGD", lr=1e-3, inner_options={"momentum": 0.9}, lr_decay=1 / 1.01
    ),
    epochs=200,
    batch_size=128,
)


_RESNET34 = Settings(
    data=DataSettings(data="imagenet"),
    augmentation=Augmentation(horizontal_flip=True),
    model="resnet34",
    initial=InitialSettings(rule="kaiming_normal"),
    optimizer=_VGG16.optimizer,
    epochs=90,
    batch_size=1024,
)


def index_layer(budget: Budget) -> list[Arm]:
    """Table 5.1: weights may exchange values within their layer."""
    return _arms(_on_mnist(budget), "layer", _ON_MNIST, budget)


def index_neuron(budget: Budget) -> list[Arm]:
    """Table 5.2: within their output channel."""
    return _arms(_on_mnist(budget), "neuron", _ON_MNIST, budget)


def index_kernel(budget: Budget) -> list[Arm]:
    """Table 5.3: within their kernel."""
    return _arms(_on_mnist(budget), "kernel", _ON_MNIST, budget)


def index_layer_cifar10(budget: Budget) -> list[Arm]:
    """Table 5.1, its columns of CIFAR-10."""
    return _arms(shortened(_VGG16, budget), "layer", _ON_CIFAR10, budget)


def index_neuron_cifar10(budget: Budget) -> list[Arm]:
    """Table 5.2, likewise."""
    return _arms(shortened(_VGG16, budget), "neuron", _ON_CIFAR10, budget)


def index_kernel_cifar10(budget: Budget) -> list[Arm]:
    """Table 5.3, likewise."""
    return _arms(shortened(_VGG16, budget), "kernel", _ON_CIFAR10, budget)


def index_imagenet(budget: Budget) -> list[Arm]:
    """Table 5.1, its column of ImageNet; one seed."""
    base = _RESNET34
    if budget == "quick":
        few = replace(base.data, train_images=64, test_images=64)
        base = replace(base, data=few, epochs=1, batch_size=32)
    published = {"laperm": 70.93}
    return [
        Arm(label, replace(base, permutation=permutation), published.get(method))
        for method, label, permutation in _methods(
            base.model, "layer", base.initial, base.optimizer.inner
        )
    ]


def _on_mnist(budget: Budget) -> Settings:
    if budget == "paper":
        return _LENET5
    return replace(_LENET5, data=replace(_LENET5.data, train_images=10_000), epochs=2)


def _arms(base: Settings, granularity: str, published: _Published, budget: Budget) -> list[Arm]:
    initials = _INITIALS[base.model]
    if budget == "scaled":
        initials = {name: initials[name] for name in ("kaiming_uniform", "sparse")}
    return [
        Arm(
            f"{initial_name}, {label}",
            replace(base, initial=initial, permutation=permutation, seed=seed),
            published[granularity][method][column] if method != "plain" else None,
        )
        for initial_name, (column, initial) in initials.items()
        for method, label, permutation in _methods(
            base.model, granularity, initial, base.optimizer.inner
        )
        if not (initial is _ONE_THRESHOLD and _cuts_linear_layers(permutation))
        for seed in (_SEEDS if budget == "paper" else _SEEDS[:1])
    ]


def _cuts_linear_layers(permutation: PermutationSettings) -> bool:
    whole = "layer" in (permutation.granularity, permutation.linear_granularity)
    return permutation.permutes and not whole


def _methods(
    net: str, granularity: str, initial: InitialSettings, inner: str
) -> list[tuple[str, str, PermutationSettings]]:
    """Name, label and settings of what is compared."""

    def permuted(method: str) -> PermutationSettings:
        return PermutationSettings(
            method=method,  # type: ignore[arg-type]
            sync_period=1,
            granularity=granularity,  # type: ignore[arg-type]
            fallback="neuron" if granularity == "kernel" else None,
        )

    alone = PermutationSettings(method="plain-frozen-zeros" if initial.is_sparse else "plain")
    methods = [
        ("index", f"index per {granularity}", permuted("index")),
        ("laperm", f"LaPerm k=1 per {granularity} (without STE)", permuted("laperm")),
        ("plain", inner, alone),
    ]
    if net == "lenet5" and granularity != "layer":
        methods += [
            (
                method,
                label.replace(granularity, f"{granularity}, linear layers whole"),
                replace(permutation, fallback=None, linear_granularity="layer"),
            )
            for method, label, permutation in methods[:2]
        ]
    return methods


# Costs are one core's time, from the time of a step.
_CIFAR10_RECIPES = (
    Recipe(
        "index-layer-cifar10",
        "vgg16, permuted within a layer (Index optimizer, table 5.1)",
        "27 runs of 200 epochs, 80 h each",
        index_layer_cifar10,
        budgets=WITH_SCALED,
    ),
    Recipe(
        "index-neuron-cifar10",
        "vgg16, within an output channel (Index optimizer, table 5.2)",
        "27 runs of 200 epochs, 80 h each, 9 of them shared with index-layer-cifar10",
        index_neuron_cifar10,
        budgets=WITH_SCALED,
    ),
    Recipe(
        "index-kernel-cifar10",
        "vgg16, within a kernel (Index optimizer, table 5.3)",
        "27 runs of 200 epochs, 80 h each, 9 of them shared with index-layer-cifar10",
        index_kernel_cifar10,
        budgets=WITH_SHORT,
    ),
)

RECIPES = (
    Recipe(
        "index-layer",
        "lenet5 on MNIST, permuted within a layer (Index optimizer, table 5.1)",
        "36 runs of 20 epochs, 1.7 h",
        index_layer,
    ),
    Recipe(
        "index-neuron",
        "lenet5 on MNIST, within an output channel (Index optimizer, table 5.2)",
        "54 runs of 20 epochs, 2.3 h",
        index_neuron,
    ),
    Recipe(
        "index-kernel",
        "lenet5 on MNIST, within a kernel (Index optimizer, table 5.3)",
        "54 runs of 20 epochs, 2.3 h",
        index_kernel,
    ),
    Recipe(
        "index-imagenet",
        "resnet34 on ImageNet, permuted within a layer (Index optimizer, table 5.1)",
        "3 runs of 90 epochs; not estimated, wants GPUs",
        index_imagenet,
    ),
    *(recipe for original in _CIFAR10_RECIPES for recipe in with_copies(original)),
)
