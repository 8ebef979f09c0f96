"""sortGAN and un-shuffling: the settings are those published, and every arm is kept by quick."""

import pytest

from permtrain.lab.inputs.settings import SortGANSettings, UnshuffleSettings
from permtrain.lab.recipes.experiments.permuting_inputs import PERMUTING_INPUTS
from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.settings import hash_of

NUM_ARMS = {
    "sortgan-mnist": 9,
    "sortgan-fashion": 9,
    "sortgan-cifar10-jpeg": 6,
    "unshuffle-mnist": 8,
}


def arms_of(recipe_id: str, budget) -> dict[str, Arm]:
    return {arm.group: arm for arm in RECIPES[recipe_id].arms(budget)}


@pytest.mark.parametrize("budget", ["quick", "paper"])
@pytest.mark.parametrize("recipe_id", NUM_ARMS)
def test_arms_are_unique_and_share_one_task(recipe_id: str, budget) -> None:
    recipe = RECIPES[recipe_id]
    arms = recipe.arms(budget)
    assert recipe.task is PERMUTING_INPUTS
    assert len(arms) == NUM_ARMS[recipe_id]
    assert len({arm.name for arm in arms}) == len({recipe.run_name(arm) for arm in arms})
    assert [arm.settings.seed for arm in arms] == [0] * len(arms)
    assert list(arms_of(recipe_id, "quick")) == list(arms_of(recipe_id, "paper"))


@pytest.mark.parametrize("data", ["mnist", "fashion"])
def test_sortgan_as_published(data: str) -> None:
    settings = arms_of(f"sortgan-{data}", "paper")["published"].settings
    assert isinstance(settings, SortGANSettings)
    assert settings.data.data == {"mnist": "mnist", "fashion": "fashion_mnist"}[data]
    assert settings.data.train_images is None
    assert (settings.generator, settings.discriminator, settings.reads) == ("fc", "fc", "shuffled")
    assert (settings.lr, settings.batch_size, settings.epochs) == (2e-3, 64, 100)
    assert (settings.regress, settings.fooling_weight, settings.shuffle) == (
        "arranged",
        1.0,
        "each",
    )
    assert (settings.average, settings.lr_cosine, settings.measured_images) == (0.0, False, None)


def test_arms_of_a_comparison_have_equal_budgets() -> None:
    for recipe_id in NUM_ARMS:
        for budget in ("quick", "paper"):
            all_settings = [arm.settings for arm in RECIPES[recipe_id].arms(budget)]
            assert len({(each.data, each.judge) for each in all_settings}) == 1
            if isinstance(all_settings[0], UnshuffleSettings):
                assert len({(each.steps, each.images) for each in all_settings}) == 1
            else:
                trained = [each for each in all_settings if each.generator != "nearest"]
                assert len({each.epochs for each in trained}) == 1
                assert len({each.measured_images for each in all_settings}) == 1


def test_the_hash_is_that_of_any_task() -> None:
    for recipe_id in NUM_ARMS:
        for arm in RECIPES[recipe_id].arms("quick"):
            assert RECIPES[recipe_id].run_name(arm).endswith(hash_of(arm.settings))


def test_unshuffling_as_published() -> None:
    settings = arms_of("unshuffle-mnist", "paper")["published"].settings
    assert isinstance(settings, UnshuffleSettings)
    assert settings.num_classifiers == 3
    assert settings.start == "shuffled"
    assert min(
        settings.classifier_weight,
        settings.border_weight,
        settings.roughness_weight,
        settings.discriminator_weight,
    ) == 1.0  # fmt: skip
    assert (settings.prior_weight, settings.averaged_part) == (0.0, 0.0)


def test_colours_have_both_rules() -> None:
    arms = arms_of("sortgan-cifar10-jpeg", "paper")
    rules = {group: arm.settings.matching for group, arm in arms.items()}
    assert {name.rpartition(" by ")[2] for name in rules} == {"order", "assignment"}
    assert all(name.endswith(f"by {rule}") for name, rule in rules.items())
