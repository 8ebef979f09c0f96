"""Every recipe by its id."""

from permtrain.errors import SettingError
from permtrain.recipes.agnostic import laperm_agnostic_mnist
from permtrain.recipes.fc_mnist import laperm_fc_mnist
from permtrain.recipes.index_2021 import index_kernel, index_layer, index_neuron
from permtrain.recipes.initial_weights import laperm_init_mnist
from permtrain.recipes.ranking_distance import ranking_distance
from permtrain.recipes.recipe import Recipe
from permtrain.recipes.rewire import laperm_rewire_mnist
from permtrain.recipes.sgperm import sgperm_fc_fashion, sgperm_fc_mnist, sgperm_logistic_mnist
from permtrain.recipes.sgperm_ahead import sgperm_ahead, sgperm_study
from permtrain.recipes.tiny import alternatives, tiny_fashion, tiny_mnist

RECIPES: dict[str, Recipe] = {
    recipe.id: recipe
    for recipe in (
        Recipe(
            "index-layer",
            "lenet5 on MNIST, permuted within a layer (Index optimizer, table 5.1)",
            "27 runs of 20 epochs",
            index_layer,
        ),
        Recipe(
            "index-neuron",
            "lenet5 on MNIST, within an output channel (Index optimizer, table 5.2)",
            "27 runs of 20 epochs",
            index_neuron,
        ),
        Recipe(
            "index-kernel",
            "lenet5 on MNIST, within a kernel (Index optimizer, table 5.3)",
            "27 runs of 20 epochs",
            index_kernel,
        ),
        Recipe(
            "laperm-fc-mnist",
            "fc500-300 on MNIST, LaPerm k=20 beside plain Adam (ours)",
            "6 runs of 20 epochs",
            laperm_fc_mnist,
        ),
        Recipe(
            "sgperm-logistic-mnist",
            "logistic on MNIST, SGPerm over 800 updates (Permute to Train, 5.1.1)",
            "30 runs of 800 updates",
            sgperm_logistic_mnist,
        ),
        Recipe(
            "sgperm-fc-mnist",
            "fc500-300 on MNIST, SGPerm over 800 updates (Permute to Train, 5.1.2)",
            "30 runs of 800 updates",
            sgperm_fc_mnist,
        ),
        Recipe(
            "sgperm-fc-fashion",
            "fc500-300 on Fashion-MNIST, SGPerm over 800 updates (Permute to Train, 5.1.2)",
            "30 runs of 800 updates",
            sgperm_fc_fashion,
        ),
        Recipe(
            "sgperm-study",
            "fc500-300 on MNIST and Fashion-MNIST, SGPerm's settings on a validation split (ours)",
            "132 runs of 800 updates",
            sgperm_study,
        ),
        Recipe(
            "sgperm-ahead",
            "fc500-300 on MNIST and Fashion-MNIST, SGPerm's chosen settings beside Adam (ours)",
            "40 runs of 800 updates",
            sgperm_ahead,
        ),
        Recipe(
            "tiny-mnist",
            "small exact files of nets on MNIST, beside quantised nets and a supermask (ours)",
            "30 runs of 6 to 8 epochs",
            tiny_mnist,
            alternatives,
        ),
        Recipe(
            "tiny-fashion",
            "the same on Fashion-MNIST",
            "30 runs of 6 to 8 epochs",
            tiny_fashion,
            alternatives,
        ),
        Recipe(
            "laperm-agnostic-mnist",
            "f1 and f2 on MNIST, one value shared by all weights (Train by Reconnect, 5.5)",
            "120 runs of 10 epochs, 120 of 25: 100 minutes on one core, estimated",
            laperm_agnostic_mnist,
        ),
        Recipe(
            "laperm-rewire-mnist",
            "fc500-300 with 90% zeros on MNIST, rewired and trained (Permute to Train, 5.2.3)",
            "6 runs of 48 epochs",
            laperm_rewire_mnist,
        ),
        Recipe(
            "ranking-distance",
            "fc100-100 on MNIST, how the order of weights changes (Train by Reconnect, 3 and A.3)",
            "12 runs of 30 epochs",
            ranking_distance,
        ),
        Recipe(
            "laperm-init-mnist",
            "conv7 on MNIST, LaPerm from several initial weights (Train by Reconnect, 5.1)",
            "35 runs of 45 epochs: 26 hours, estimated",
            laperm_init_mnist,
        ),
    )
}


def find_recipe(recipe_id: str) -> Recipe:
    """The recipe of an id.

    Raises:
        SettingError: no such recipe; lists them.
    """
    if recipe_id not in RECIPES:
        raise SettingError(f"recipe is {recipe_id!r}; allowed: {', '.join(RECIPES)}")
    return RECIPES[recipe_id]
