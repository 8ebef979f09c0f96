"""Recipes for CIFAR-10, once more on JPEG copies of it.

Accuracies on the copies are lower than on the original pixels, for any method. Therefore an arm on
them carries no published value; a difference between two of its recipe's arms may be held against
the same difference among the published values of the original recipe (`Recipe.copy_of`).
"""

from dataclasses import replace

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe

ORIGINAL, COPIES = "cifar10", "cifar10-jpeg"


def with_copies(recipe: Recipe) -> tuple[Recipe, Recipe]:
    """The recipe, and the same on the JPEG copies, its id ending in -jpeg.

    Example:
        >>> from permtrain.lab.training.settings import DataSettings, Settings
        >>> arms = [Arm("Adam", Settings(data=DataSettings(data="cifar10")), published=91.0)]
        >>> original, copy = with_copies(Recipe("a", "a thing", "an hour", lambda budget: arms))
        >>> copy.id, copy.copy_of, copy.arms("paper")[0].published
        ('a-jpeg', 'a', None)
        >>> copy.arms("paper")[0].settings.data.data
        'cifar10-jpeg'
    """

    def arms(budget: Budget) -> list[Arm]:
        return [_on_copies(arm) for arm in recipe.arms(budget)]

    return recipe, replace(
        recipe,
        id=f"{recipe.id}-jpeg",
        description=f"{recipe.id} on {COPIES}, not to be compared with CIFAR-10",
        arms=arms,
        copy_of=recipe.id,
    )


def _on_copies(arm: Arm) -> Arm:
    """Arms on other data, as MNIST, stay as they are."""
    data = arm.settings.data
    if data.data != ORIGINAL:
        return arm
    return replace(
        arm, settings=replace(arm.settings, data=replace(data, data=COPIES)), published=None
    )
