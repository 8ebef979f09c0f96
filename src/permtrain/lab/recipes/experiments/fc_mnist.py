"""LaPerm beside its inner optimizer on a fully connected net: no table of a paper, a yardstick."""

from dataclasses import replace

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)


def laperm_fc_mnist(budget: Budget) -> list[Arm]:
    """`fc500-300` on MNIST: LaPerm with k = 20 and plain Adam, from the same weights."""
    base = Settings(
        data=DataSettings(data="mnist", train_images=None if budget == "paper" else 10_000),
        model="fc500-300",
        optimizer=OptimizerSettings(inner="Adam", lr=1e-3, lr_decay=0.95),
        epochs=20 if budget == "paper" else 2,
        batch_size=64,
    )
    methods = {
        "LaPerm k=20": PermutationSettings(method="laperm", sync_period=20),
        "Adam": PermutationSettings(method="plain"),
    }
    return [
        Arm(group=group, settings=replace(base, permutation=permutation, seed=seed))
        for group, permutation in methods.items()
        for seed in ((0, 1, 2) if budget == "paper" else (0,))
    ]


RECIPES = (
    Recipe(
        "laperm-fc-mnist",
        "fc500-300 on MNIST, LaPerm k=20 beside plain Adam (ours)",
        "6 runs of 20 epochs",
        laperm_fc_mnist,
    ),
)
