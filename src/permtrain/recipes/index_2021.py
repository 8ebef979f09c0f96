"""The index optimizer thesis (2021), tables 5.1 to 5.3: LeNet-5 on MNIST.

Fixed here, where the thesis is silent or stops on test accuracy: 20 epochs; ReLU and max pooling;
the learning rate is divided by 1.01 an epoch; biases drawn by the rule and left to Adam.
"""

from dataclasses import replace

from permtrain.recipes.recipe import Arm, Budget
from permtrain.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_EPOCHS = {"paper": 20, "quick": 2}
_SEEDS = {"paper": (0, 1, 2), "quick": (0,)}
_TRAIN_IMAGES = {"paper": None, "quick": 10_000}

_INITIALS = {
    "kaiming_normal": InitialSettings(rule="kaiming_normal"),
    "kaiming_uniform": InitialSettings(rule="kaiming_uniform"),
    "sparse": InitialSettings(rule="kaiming_normal", sparsity=0.9, sparsity_by="magnitude"),
}

# Top-1 test accuracy in percent, by granularity: with and without the straight-through estimator.
_PUBLISHED = {
    "layer": {
        "index": {"kaiming_normal": 99.49, "kaiming_uniform": 99.34, "sparse": 99.18},
        "laperm": {"kaiming_normal": 99.49, "kaiming_uniform": 99.16, "sparse": 96.56},
    },
    "neuron": {
        "index": {"kaiming_normal": 99.51, "kaiming_uniform": 99.26, "sparse": 99.41},
        "laperm": {"kaiming_normal": 98.77, "kaiming_uniform": 98.96, "sparse": 92.91},
    },
    "kernel": {
        "index": {"kaiming_normal": 99.48, "kaiming_uniform": 99.27, "sparse": 99.36},
        "laperm": {"kaiming_normal": 98.63, "kaiming_uniform": 95.16, "sparse": 69.65},
    },
}


def index_layer(budget: Budget) -> list[Arm]:
    """Table 5.1: weights may exchange values within their layer."""
    return _arms(budget, "layer")


def index_neuron(budget: Budget) -> list[Arm]:
    """Table 5.2: within their output channel."""
    return _arms(budget, "neuron")


def index_kernel(budget: Budget) -> list[Arm]:
    """Table 5.3: within their kernel. A linear layer has none and is permuted per neuron."""
    return _arms(budget, "kernel")


def _arms(budget: Budget, granularity: str) -> list[Arm]:
    base = Settings(
        data=DataSettings(data="mnist", train_images=_TRAIN_IMAGES[budget]),
        model="lenet5",
        optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=1 / 1.01),
        epochs=_EPOCHS[budget],
        batch_size=128,
    )
    arms = []
    for initial_name, initial in _INITIALS.items():
        for method in ("index", "laperm", "plain"):
            if method == "plain":
                frozen = "plain-frozen-zeros" if initial.is_sparse else "plain"
                permutation = PermutationSettings(method=frozen)  # type: ignore[arg-type]
                published = None
            else:
                permutation = PermutationSettings(
                    method=method,
                    sync_period=1,
                    granularity=granularity,  # type: ignore[arg-type]
                    fallback="neuron" if granularity == "kernel" else None,
                )
                published = _PUBLISHED[granularity][method][initial_name]
            label = {
                "index": f"index per {granularity}",
                "laperm": f"LaPerm k=1 per {granularity} (without STE)",
                "plain": "Adam",
            }[method]
            arms += [
                Arm(
                    group=f"{initial_name}, {label}",
                    settings=replace(base, initial=initial, permutation=permutation, seed=seed),
                    published=published,
                )
                for seed in _SEEDS[budget]
            ]
    return arms
