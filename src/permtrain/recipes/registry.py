"""Every recipe by its id."""

import difflib

from permtrain.errors import SettingError
from permtrain.recipes.fc_mnist import laperm_fc_mnist
from permtrain.recipes.index_2021 import index_kernel, index_layer, index_neuron
from permtrain.recipes.open_questions import (
    open_agnostic,
    open_k1,
    open_resnet20,
    open_sparse,
)
from permtrain.recipes.recipe import Recipe
from permtrain.recipes.schedules import SCHEDULES, open_schedules
from permtrain.recipes.sgperm import sgperm_fc_fashion, sgperm_fc_mnist, sgperm_logistic_mnist
from permtrain.recipes.sgperm_ahead import sgperm_ahead, sgperm_study
from permtrain.recipes.tiny import alternatives, tiny_fashion, tiny_mnist

RECIPES: dict[str, Recipe] = {
    recipe.id: recipe
    for recipe in (
        Recipe(
            "index-layer",
            "lenet5 on MNIST, permuted within a layer (Index optimizer, table 5.1)",
            "27 runs of 20 epochs, 1.7 h",
            index_layer,
        ),
        Recipe(
            "index-neuron",
            "lenet5 on MNIST, within an output channel (Index optimizer, table 5.2)",
            "27 runs of 20 epochs, 1.7 h",
            index_neuron,
        ),
        Recipe(
            "index-kernel",
            "lenet5 on MNIST, within a kernel (Index optimizer, table 5.3)",
            "27 runs of 20 epochs, 1.7 h",
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
        # The open questions.
        Recipe(
            "open-resnet20",
            "resnet20 on cifar10-jpeg, kept latents beside LaPerm and Adam (ours)",
            "24 runs of 100 epochs, estimated 72 h",
            open_resnet20,
        ),
        Recipe(
            "open-k1",
            "fc500-300 and lenet5 on MNIST, LaPerm with k = 1 without latent weights (ours)",
            "76 runs of 4 epochs, estimated 0.6 h",
            open_k1,
        ),
        Recipe(
            "open-sparse",
            "fc500-300 and lenet5 on MNIST with 90% and 95% zeros (ours)",
            "84 runs of 4 epochs, estimated 0.6 h",
            open_sparse,
        ),
        Recipe(
            "open-agnostic",
            "f1 and f2 on MNIST, one shared weight, beyond the published accuracy (ours)",
            "48 runs of 10 and 25 epochs, estimated 0.3 h",
            open_agnostic,
        ),
        Recipe(
            "open-schedules",
            "fc500-300 and lenet5 on MNIST, profiles that change while training (ours)",
            "44 runs of 6 epochs, estimated 1 h",
            open_schedules,
            task=SCHEDULES,
        ),
    )
}


def find_recipe(recipe_id: str) -> Recipe:
    """The recipe of an id.

    Raises:
        SettingError: no such recipe; names those that are spelt nearly so, else all.
    """
    if recipe_id not in RECIPES:
        near = near_ids(recipe_id)
        hint = f"did you mean {' or '.join(near)}? " if near else f"there are {', '.join(RECIPES)} "
        raise SettingError(f"there is no recipe {recipe_id!r}; {hint}(permtrain recipes)")
    return RECIPES[recipe_id]


def near_ids(text: str) -> list[str]:
    """Up to five ids that a text may have meant, nearest first.

    Those spelt nearly so, and those that hold all its words or begin with it.

    Example:
        >>> near_ids("index-layr")[0]
        'index-layer'
        >>> near_ids("mnist sgperm")
        ['sgperm-logistic-mnist', 'sgperm-fc-mnist']
    """
    said = text.lower().replace("_", "-").replace(" ", "-").strip("-")
    spelt = difflib.get_close_matches(said, RECIPES, n=5, cutoff=0.75)
    words = [word for word in said.split("-") if word]
    holding = [each for each in RECIPES if words and set(words) <= set(each.split("-"))]
    beginning = [each for each in RECIPES if said and each.startswith(said)]
    return list(dict.fromkeys([*spelt, *holding, *beginning]))[:5]
