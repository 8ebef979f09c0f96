"""Weights that may move between layers: does it help, and where do they go?

Asked for by Permute to Train, section 6, which leaves it to the future; nothing was published. The
networks and settings are ours: `fc500-300` and `lenet5` on MNIST, He uniform values, biases left to
Adam, LaPerm with k=20 and the index optimizer, each within a neuron, within a layer and across
layers, with plain Adam beside them; the same epochs, batches and rate for all. `core.across` says
what moves: values in units of each layer, powers of two near its He standard deviation. The layers
of `fc500-300` have the same unit, 1/16.

A tenth of the training images is set aside in every arm; what is chosen, is chosen on them.

quick: 5,000 training images, two epochs, one seed.
"""

from dataclasses import replace

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_GRANULARITIES = ("neuron", "layer", "across")
_METHODS = {"LaPerm k=20": ("laperm", 20), "index": ("index", 1)}


def across_layers(budget: Budget) -> list[Arm]:
    """Three granularities by two methods on two networks, and Adam."""
    full = budget == "paper"
    base = Settings(
        data=DataSettings(
            data="mnist", validation_fraction=0.1, train_images=None if full else 5_000
        ),
        optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.8),
        epochs=10 if full else 2,
        batch_size=128,
    )
    permutations = {
        f"{title}, {granularity}": PermutationSettings(
            method=method,  # type: ignore[arg-type]
            sync_period=period,
            granularity=granularity,  # type: ignore[arg-type]
        )
        for title, (method, period) in _METHODS.items()
        for granularity in _GRANULARITIES
    } | {"Adam": PermutationSettings(method="plain")}
    return [
        Arm(f"{model}: {title}", replace(base, model=model, permutation=permutation, seed=seed))
        for model in ("fc500-300", "lenet5")
        for title, permutation in permutations.items()
        for seed in ((0, 1, 2) if full else (0,))
    ]


RECIPES = (
    Recipe(
        "across-layers",
        "weights that move between layers, on MNIST (Permute to Train, section 6; ours)",
        "42 runs of 10 epochs, estimated 0.7 h",
        across_layers,
    ),
)
