"""Every recipe by its id, in the order in which `permtrain recipes` lists them."""

import difflib

from permtrain.errors import SettingError
from permtrain.lab.recipes.experiments import (
    across_layers,
    agnostic,
    fc_mnist,
    index_2021,
    initial_weights,
    laperm_cifar,
    open_questions,
    permuting_inputs,
    ranking_distance,
    rewire,
    sgperm,
    sgperm_ahead,
    tiny,
    transformers,
)
from permtrain.lab.recipes.experiments.changing_profiles import arms as changing_profiles
from permtrain.lab.recipes.experiments.regression import arms as regression
from permtrain.lab.recipes.recipe import Recipe

_MODULES = (
    fc_mnist,
    initial_weights,
    agnostic,
    rewire,
    ranking_distance,
    laperm_cifar,
    index_2021,
    sgperm,
    sgperm_ahead,
    permuting_inputs,
    regression,
    across_layers,
    tiny,
    open_questions,
    changing_profiles,
    transformers,
)

RECIPES: dict[str, Recipe] = {recipe.id: recipe for module in _MODULES for recipe in module.RECIPES}


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

    Those spelt nearly so, and those that hold all its words or begin with it; where there are none,
    those that begin nearly so.

    Example:
        >>> near_ids("index-layr")[0]
        'index-layer'
        >>> near_ids("unshufle")
        ['unshuffle-mnist']
        >>> near_ids("mnist sgperm")
        ['sgperm-logistic-mnist', 'sgperm-fc-mnist']
    """
    said = text.lower().replace("_", "-").replace(" ", "-").strip("-")
    spelt = difflib.get_close_matches(said, RECIPES, n=5, cutoff=0.75)
    words = [word for word in said.split("-") if word]
    holding = [each for each in RECIPES if words and set(words) <= set(each.split("-"))]
    beginning = [each for each in RECIPES if said and each.startswith(said)]
    near = [*spelt, *holding, *beginning] or [e for e in RECIPES if _begins_nearly_so(e, said)]
    return list(dict.fromkeys(near))[:5]


def _begins_nearly_so(recipe_id: str, said: str) -> bool:
    letters = said.replace("-", "")
    beginning = recipe_id.replace("-", "")[: len(letters)]
    return bool(letters) and difflib.SequenceMatcher(None, letters, beginning).ratio() > 0.85
