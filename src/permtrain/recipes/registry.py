"""Every recipe by its id."""

from permtrain.errors import SettingError
from permtrain.recipes.fc_mnist import laperm_fc_mnist
from permtrain.recipes.index_2021 import index_kernel, index_layer, index_neuron
from permtrain.recipes.permuting_inputs import (
    PERMUTING_INPUTS,
    sortgan_cifar10_jpeg,
    sortgan_fashion,
    sortgan_mnist,
    unshuffle_mnist,
)
from permtrain.recipes.recipe import Recipe
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
        # Permuting inputs.
        Recipe(
            "sortgan-mnist",
            "MNIST images recovered from shuffled pixels (Index optimizer, 5.2)",
            "8 runs of 100 epochs: about 7 hours of one core, estimated",
            sortgan_mnist,
            task=PERMUTING_INPUTS,
        ),
        Recipe(
            "sortgan-fashion",
            "the same on Fashion-MNIST",
            "8 runs of 100 epochs: about 7 hours of one core, estimated",
            sortgan_fashion,
            task=PERMUTING_INPUTS,
        ),
        Recipe(
            "sortgan-cifar10-jpeg",
            "JPEG copies of CIFAR-10 from pixels shuffled as whole colours (ours)",
            "4 runs of 100 epochs: about 10 hours of one core, estimated",
            sortgan_cifar10_jpeg,
            task=PERMUTING_INPUTS,
        ),
        Recipe(
            "unshuffle-mnist",
            "MNIST pixels moved through frozen networks (Index optimizer, appendix B)",
            "8 runs of 1,000 images: about 1 hour of one core, estimated",
            unshuffle_mnist,
            task=PERMUTING_INPUTS,
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
