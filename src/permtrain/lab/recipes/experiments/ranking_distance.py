"""How the order of weights changes in plain training.

`ranking-distance`: Qiu and Suda, Train by Reconnect (2020), section 3 and appendix A.3.
`fc100-100` on MNIST, He uniform, batch 50, 30 epochs, the learning rate divided by 2 after epoch 10
and by 5 after epoch 20, under four settings: SGD 0.1; Adam 1e-3; Adam with dropout .4 and .3; Adam
with L2 2e-4 on the hidden layers. Watched in the first weight matrix: mean and standard deviation
of the ranking distance of each step, over 784; the 15th, 50th, 85th percentile of the values of
each of the 100 weight vectors, the smallest and the largest weight; the loss on the test images.
`permtrain plot ranking-distance RUN RUN ...` draws the figure.

Published are figures, no numbers: with SGD the distances seem random, with Adam they follow a
trend, with L2 the changes are significantly larger, with dropout larger and steadier; sharp rises
with plain Adam foretell a worse loss.

Not stated there, chosen here: SGD has no momentum; both divisions hold together after epoch 20;
biases are drawn by the rule; Adam's epsilon is torch's 1e-8 (Keras': 1e-7); three seeds.

Quick: one seed and the first 5,000 images; all epochs, so that the learning rate falls as it does.
"""

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.training.settings import (
    DataSettings,
    InitialSettings,
    OptimizerSettings,
    PermutationSettings,
    Settings,
)

_SEEDS = {"paper": (0, 1, 2), "quick": (0,)}
_TRAIN_IMAGES = {"paper": None, "quick": 5_000}

# Network, inner optimizer, learning rate, L2.
_ARMS = {
    "SGD 0.1": ("fc100-100", "SGD", 0.1, 0.0),
    "Adam": ("fc100-100", "Adam", 1e-3, 0.0),
    "Adam, dropout .4 and .3": ("fc100-100-dropout", "Adam", 1e-3, 0.0),
    "Adam, L2 2e-4": ("fc100-100", "Adam", 1e-3, 2e-4),
}


def ranking_distance(budget: Budget) -> list[Arm]:
    """The four settings, from the same weights."""
    return [
        Arm(
            group=group,
            settings=Settings(
                data=DataSettings(data="mnist", train_images=_TRAIN_IMAGES[budget]),
                model=model,
                initial=InitialSettings(rule="kaiming_uniform"),
                permutation=PermutationSettings(method="plain"),
                optimizer=OptimizerSettings(
                    inner=inner, lr=lr, l2=l2, lr_milestones=(10, 20), lr_factors=(0.5, 0.2)
                ),
                epochs=30,
                batch_size=50,
                watch_ranking_distance=True,
                seed=seed,
            ),
        )
        for group, (model, inner, lr, l2) in _ARMS.items()
        for seed in _SEEDS[budget]
    ]


RECIPES = (
    Recipe(
        "ranking-distance",
        "fc100-100 on MNIST, how the order of weights changes (Train by Reconnect, 3 and A.3)",
        "12 runs of 30 epochs",
        ranking_distance,
    ),
)
