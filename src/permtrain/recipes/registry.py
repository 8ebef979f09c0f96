"""Every recipe by its id."""

from permtrain.errors import SettingError
from permtrain.recipes.across_layers import across_layers
from permtrain.recipes.fc_mnist import laperm_fc_mnist
from permtrain.recipes.index_2021 import index_kernel, index_layer, index_neuron
from permtrain.recipes.recipe import Recipe
from permtrain.recipes.regression.arms import TASK as REGRESSION
from permtrain.recipes.regression.arms import regression_1d, regression_2d, regression_3d
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
            "across-layers",
            "weights that move between layers, on MNIST (Permute to Train, section 6; ours)",
            "42 runs of 10 epochs",
            across_layers,
        ),
        Recipe(
            "regression-1d",
            "error against width, permuting one layer (Cai, Chen, Qiao 2025), 1 variable",
            "102 runs of 1,280,000 steps, some 6 to 10 hours (estimated)",
            regression_1d,
            task=REGRESSION,
        ),
        Recipe(
            "regression-2d",
            "the same in 2 variables",
            "36 runs of 2,560,000 steps, some 100 hours (estimated)",
            regression_2d,
            task=REGRESSION,
        ),
        Recipe(
            "regression-3d",
            "the same in 3 variables",
            "36 runs of 512,000 steps, some 400 hours (estimated)",
            regression_3d,
            task=REGRESSION,
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
