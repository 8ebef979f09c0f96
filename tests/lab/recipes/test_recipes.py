"""Recipes: what each arm is, and that it trains."""

import statistics
from dataclasses import replace

import pytest
import torch
from cifar_arms import ON_CIFAR10
from run_problem import place_in

from permtrain.errors import SettingError
from permtrain.initial.initialize import initialize_
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.registry import DATASETS
from permtrain.lab.models.lenet import lenet5
from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.recipes.registry import RECIPES, find_recipe
from permtrain.lab.recipes.results import summarize, table_of
from permtrain.lab.recipes.sweep import data_of
from permtrain.lab.training import trainer as trainer_module
from permtrain.lab.training.settings import SGPermSettings, settings_hash
from permtrain.lab.training.trainer import Trainer

NUM_ARMS = {
    "index-layer": 12,
    "index-neuron": 18,
    "index-kernel": 18,
    "laperm-fc-mnist": 2,
    "across-layers": 14,
    "sgperm-logistic-mnist": 12,
    "sgperm-fc-mnist": 12,
    "sgperm-fc-fashion": 12,
    "sgperm-study": 66,
    "sgperm-ahead": 8,
    "tiny-mnist": 10,
    "tiny-fashion": 10,
    "laperm-agnostic-mnist": 24,
    "laperm-rewire-mnist": 4,
    "open-resnet20": 8,
    "open-k1": 38,
    "open-sparse": 54,
    "open-agnostic": 48,
    "ranking-distance": 4,
    "laperm-init-mnist": 14,
    "index-imagenet": 3,
    "gpt-char": 48,
    "vit-digits": 48,
    # On CIFAR-10; see test_laperm_cifar.py.
    **{name: num for first, num in ON_CIFAR10.items() for name in (first, f"{first}-jpeg")},
}
NUM_SEEDS = {"laperm-agnostic-mnist": 30, "laperm-init-mnist": 5}
ONE_SEED = ("index-imagenet", "laperm-period-", "laperm-sparse-", "laperm-sparsity-")


def test_no_arm_on_jpeg_copies_has_a_published_value() -> None:
    """Two accuracies on other pixels would stand side by side as equals."""
    for recipe in RECIPES.values():
        for budget in recipe.budgets:
            for arm in recipe.arms(budget):
                on_copies = data_of([arm]) == ["cifar10-jpeg"]
                assert not on_copies or arm.published is None, (recipe.id, arm.name)


def seeds_of(recipe_id: str, budget: str) -> list[int]:
    if budget == "quick":
        return [0]
    if recipe_id.startswith(ONE_SEED):
        return [0]
    if recipe_id in ("sgperm-study", "open-k1", "open-sparse", "open-agnostic"):
        return [0, 1]
    if recipe_id in NUM_SEEDS:
        return list(range(NUM_SEEDS[recipe_id]))
    return list(range(5 if recipe_id.startswith("sgperm") else 3))


def arms_of(recipe_id: str, budget) -> list[Arm]:
    return RECIPES[recipe_id].arms(budget)


def test_the_ids_are_pinned() -> None:
    assert all(recipe.id == recipe_id for recipe_id, recipe in RECIPES.items())
    of_classifiers = {name for name, recipe in RECIPES.items() if recipe.task is None}
    assert of_classifiers == set(NUM_ARMS)
    assert all(recipe.description and recipe.cost for recipe in RECIPES.values())


@pytest.mark.parametrize("budget", ["quick", "paper"])
@pytest.mark.parametrize("recipe_id", NUM_ARMS)
def test_arms_are_unique_and_all_groups_have_all_seeds(recipe_id: str, budget) -> None:
    arms = arms_of(recipe_id, budget)
    assert len(arms) == NUM_ARMS[recipe_id] * len(seeds_of(recipe_id, budget))
    assert len({arm.name for arm in arms}) == len(arms)
    assert len({settings_hash(arm.settings) for arm in arms}) == len(arms)
    for group in {arm.group for arm in arms}:
        mine = [arm for arm in arms if arm.group == group]
        assert [arm.settings.seed for arm in mine] == seeds_of(recipe_id, budget)
        assert len({arm.published for arm in mine}) == 1
        assert all(replace(arm.settings, seed=0) == mine[0].settings for arm in mine)
        assert mine[0].name == f"{group}, seed 0"


@pytest.mark.parametrize("recipe_id", NUM_ARMS)
def test_quick_keeps_all_groups(recipe_id: str) -> None:
    quick, paper = (
        list(dict.fromkeys(arm.group for arm in arms_of(recipe_id, budget)))
        for budget in ("quick", "paper")
    )
    assert quick == paper


@pytest.mark.parametrize(
    ("recipe_id", "quick", "paper"),
    [
        ("index-layer", "638f39cc", "f20fd6ef"),
        ("index-neuron", "d9444154", "b46202dd"),
        ("index-kernel", "aefa24fc", "c3eeecc9"),
        ("laperm-fc-mnist", "c9a9dba4", "4342febb"),
    ],
)
def test_the_hash_of_the_first_arm_is_pinned(recipe_id: str, quick: str, paper: str) -> None:
    hashes = [settings_hash(arms_of(recipe_id, b)[0].settings) for b in ("quick", "paper")]
    assert hashes == [quick, paper]


# shared/experiments.md, index optimizer, lenet5 on MNIST: N / U / sparse.
PUBLISHED = {
    ("layer", "laperm"): (99.49, 99.16, 96.56),
    ("layer", "index"): (99.49, 99.34, 99.18),
    ("neuron", "laperm"): (98.77, 98.96, 92.91),
    ("neuron", "index"): (99.51, 99.26, 99.41),
    ("kernel", "laperm"): (98.63, 95.16, 69.65),
    ("kernel", "index"): (99.48, 99.27, 99.36),
}


@pytest.mark.parametrize(("granularity", "method"), PUBLISHED)
def test_the_numbers_of_the_index_optimizers_tables(granularity: str, method: str) -> None:
    found: dict[bool, dict[object, object]] = {False: {}, True: {}}
    under_one_threshold = set()
    for arm in arms_of(f"index-{granularity}", "paper"):
        settings = arm.settings
        permutation = settings.permutation
        if permutation.method == method:
            is_whole = "linear layers whole" in arm.group
            assert (permutation.sync_period, permutation.granularity) == (1, granularity)
            assert permutation.linear_granularity == ("layer" if is_whole else None)
            by_neuron = granularity == "kernel" and not is_whole
            assert permutation.fallback == ("neuron" if by_neuron else None)
            initial = settings.initial
            key = initial.rule, initial.sparsity, initial.sparsity_by
            if initial.layer_sparsity:
                assert arm.group.startswith("sparse, one threshold, ")
                assert key == ("kaiming_normal", 0.0, "magnitude")
                under_one_threshold.add((is_whole, arm.published))
            else:
                found[is_whole][key] = arm.published
        elif not permutation.permutes:
            assert arm.published is None
            frozen_zeros = permutation.method == "plain-frozen-zeros"
            assert frozen_zeros == settings.initial.is_sparse
        assert (settings.model, settings.batch_size, settings.epochs) == ("lenet5", 128, 20)
        assert (settings.data.data, settings.data.train_images) == ("mnist", None)
        assert (settings.optimizer.inner, settings.optimizer.lr) == ("Adam", 1e-3)
        assert settings.optimizer.lr_decay == 1 / 1.01
    published = dict(
        zip(
            [
                ("kaiming_normal", 0.0, "exact"),
                ("kaiming_uniform", 0.0, "exact"),
                ("kaiming_normal", 0.9, "magnitude"),
            ],
            PUBLISHED[granularity, method],
            strict=True,
        )
    )
    is_finer = granularity != "layer"
    assert found == {False: published, True: published if is_finer else {}}
    assert under_one_threshold == {(is_finer, PUBLISHED[granularity, method][2])}


def test_zeros_under_one_threshold_are_those_of_the_whole_net() -> None:
    """Against draws: the smallest 90% of all weights, wherever they are."""
    below = {}
    for seed in range(5):
        model = lenet5()
        initialize_(model, "kaiming_normal", seed=seed)
        drawn = {n: p.detach().abs() for n, p in model.named_parameters() if p.dim() > 1}
        threshold = torch.cat([sizes.flatten() for sizes in drawn.values()]).quantile(0.9)
        for name, sizes in drawn.items():
            below.setdefault(name, []).append((sizes < threshold).double().mean().item())
    (arm, *_) = (a for a in arms_of("index-layer", "paper") if "one threshold" in a.group)
    parts = arm.settings.initial.layer_sparsity
    assert parts == pytest.approx({n: statistics.mean(each) for n, each in below.items()}, abs=0.03)
    numbers = {name: sizes.numel() for name, sizes in drawn.items()}
    zeros = sum(parts[name] * numbers[name] for name in numbers)
    assert zeros / sum(numbers.values()) == pytest.approx(0.9, abs=5e-5)


def test_laperm_on_the_fully_connected_net() -> None:
    arms = arms_of("laperm-fc-mnist", "paper")
    methods = [(a.settings.permutation.method, a.settings.permutation.sync_period) for a in arms]
    assert methods == [("laperm", 20)] * 3 + [("plain", None)] * 3
    assert {(a.settings.model, a.settings.batch_size, a.published) for a in arms} == {
        ("fc500-300", 64, None)
    }


@pytest.mark.parametrize("recipe_id", ["sgperm-study", "sgperm-ahead"])
def test_beyond_the_paper_all_see_the_same_number_of_images(recipe_id: str) -> None:
    for arm in arms_of(recipe_id, "paper"):
        data = arm.settings.data
        num_images = data.train_images or 60_000
        assert num_images - round(data.validation_fraction * num_images) == 800 * 64
        assert (arm.settings.batch_size, arm.settings.epochs) == (64, 1)
        assert (data.validation_fraction > 0) == (recipe_id == "sgperm-study")


def test_the_choice_beside_adam_at_its_best_rates() -> None:
    arms = arms_of("sgperm-ahead", "paper")[::5]
    assert [arm.settings.permutation.method for arm in arms] == [
        *("sgperm", "sgperm", "plain", "plain") * 2
    ]
    assert arms[0].settings.sgperm == arms[4].settings.sgperm == SGPermSettings()
    rates = [(arm.settings.optimizer.lr, arm.settings.optimizer.lr_cosine) for arm in arms]
    assert rates == [*[(1e-3, False)] * 3, (2e-3, True)] * 2


def test_sgperm_beside_adam_from_the_same_weights() -> None:
    mnist, fashion = (arms_of(f"sgperm-fc-{data}", "paper") for data in ("mnist", "fashion"))
    for one, other in zip(mnist, fashion, strict=True):
        same_data = replace(other.settings, data=one.settings.data)
        assert same_data == one.settings
        assert one.settings.data.train_images == 800 * one.settings.batch_size
        assert one.settings.evaluate_at == (25, 100, 400, 800)
    assert mnist[0].settings.normalization == "unit"
    assert [(arm.group, arm.settings) for arm in mnist[30:]] == [
        (f"{arm.group}, z-scored", replace(arm.settings, normalization="z-score"))
        for arm in mnist[:30]
    ]
    (logistic,) = {arm.settings.sgperm for arm in arms_of("sgperm-logistic-mnist", "paper")[5:10]}
    assert (logistic.aggressiveness, logistic.aggressiveness_min) == (0.15, 0.005)
    assert (logistic.aggressiveness_decay, logistic.search) == (0.99, "start")
    authors = mnist[0].settings.sgperm
    assert (authors.search, authors.momentum, authors.dampening) == ("authors", 0.9, 0.99)
    assert (authors.aggressiveness, authors.aggressiveness_decay) == (0.07, 0.985)
    for each in (logistic, authors):
        ratios = (each.partition_ratio, each.partition_ratio_max, each.partition_ratio_growth)
        assert ratios == (0.05, 0.1, 1 / 0.995)
    assert [arm.settings.permutation.method for arm in mnist[:30:5]] == ["sgperm"] * 5 + ["plain"]


@pytest.mark.parametrize("budget", ["quick", "paper"])
@pytest.mark.parametrize(
    "recipe_id",
    [
        name
        for name in NUM_ARMS
        if name.removesuffix("-jpeg") not in ON_CIFAR10
        and name != "index-imagenet"  # see tests/lab/data/test_stream.py
    ],
)
def test_every_first_arm_trains_two_steps(
    recipe_id: str, budget, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)

    data = RECIPES[recipe_id].arms("paper")[0].settings.data.data

    def split(num: int) -> Split:
        shape = (num, *DATASETS[data].image_shape)
        images = torch.randint(0, 256, shape, generator=generator)
        return Split(images.to(torch.uint8), torch.arange(num) % 10)

    def random_images(name: str, **_: object) -> ImageData:
        assert name == data
        return ImageData(name, split(200), split(20), tuple("0123456789"), "random")

    monkeypatch.setattr(trainer_module, "load_images", random_images)
    trainer = Trainer(arms_of(recipe_id, budget)[0].settings, place_in(tmp_path))
    before = trainer.shown_weights()
    while trainer.position.step < 2:  # which may be an epoch's last
        trainer.advance()

    assert trainer.position.step == 2
    initial = trainer.settings.initial
    if initial.levels or initial.rule == "constant":  # two steps cross no gap between values
        after = {tensor.name: tensor.scores.detach() for tensor in trainer.method.tensors}
    else:
        after = trainer.shown_weights()
    assert any(not torch.equal(after[name], before[name]) for name in after)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("index-layr", "did you mean index-layer"),
        ("Index_Layer", "did you mean index-layer"),
        ("sgperm-mnist", "did you mean sgperm-fc-mnist"),
        ("open", "did you mean open-"),
        ("xyzzy", f"there are {', '.join(RECIPES)} (permtrain recipes)"),
        ("", f"there are {', '.join(RECIPES)} (permtrain recipes)"),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_near_ones(typed: str, hint: str) -> None:
    assert find_recipe("index-layer") is RECIPES["index-layer"]
    with pytest.raises(SettingError) as refused:
        find_recipe(typed)
    assert str(refused.value).startswith(f"there is no recipe {typed!r}; {hint}")


def test_summaries_are_means_over_seeds_in_the_order_of_the_arms() -> None:
    def row(arm: str, test: float, best: float, wall: float, published: float | None) -> dict:
        return {
            "arm": arm,
            "test_percent": test,
            "best_test_percent": best,
            "wall_s": wall,
            "published_percent": published,
        }

    rows = [
        row("b", 98.0, 99.0, 10.0, 99.5),
        row("a", 50.0, 60.0, 1.0, None),
        row("b", 96.0, 98.0, 20.0, 99.5),
    ]
    b, a = summarize(rows)
    assert (b.group, b.num_seeds, b.published) == ("b", 2, 99.5)
    assert (b.last_epoch, b.best_epoch, b.wall_s) == (97.0, 98.5, 15.0)
    assert b.spread == pytest.approx(2**0.5)
    assert (a.group, a.spread, a.last_epoch, a.published) == ("a", None, 50.0, None)


@pytest.mark.parametrize("budget", ["quick", "paper"])
def test_across_layers_compares_granularities_in_equal_budgets(budget) -> None:
    arms = arms_of("across-layers", budget)
    found = {}
    for arm in arms:
        settings = arm.settings
        permutation = settings.permutation
        key = (settings.model, permutation.method, permutation.granularity)
        found[key] = permutation.sync_period
        assert replace(
            settings, model="", seed=0, permutation=arms[0].settings.permutation
        ) == replace(arms[0].settings, model="", seed=0)
        assert settings.data.validation_fraction == 0.1
    expected = {
        (model, method, granularity): period
        for model in ("fc500-300", "lenet5")
        for method, period in (("laperm", 20), ("index", 1))
        for granularity in ("neuron", "layer", "across")
    }
    plain = {(model, "plain", None): None for model in ("fc500-300", "lenet5")}
    assert found == expected | plain


def test_a_table_has_a_column_for_what_its_rows_have() -> None:
    row = {"arm": "a", "status": "complete", "test_percent": 98.0, "best_test_percent": 99.0}
    row |= {"wall_s": 2.0, "published_percent": None, "validation_percent": None}
    recipe = RECIPES["open-k1"]
    plain = ["arm", "seeds", "last epoch", "spread", "best epoch", "s a run"]
    assert table_of(recipe, [row]) == (plain, [["a", "1", "98.00", "", "99.00", "2"]])
    other = row | {"arm": "b", "published_percent": 97.5, "validation_percent": 96.0}
    heads, cells = table_of(recipe, [row, other | {"file_bytes": 1234}])
    assert heads == [*plain[:2], "published", "set aside", *plain[2:], "bytes"]
    assert cells == [
        ["a", "1", "", "", "98.00", "", "99.00", "2", ""],
        ["b", "1", "97.50", "96.00", "98.00", "", "99.00", "2", "1,234"],
    ]
    failed = {"arm": "c", "status": "failed"}
    assert table_of(recipe, [row, failed])[1][-1] == ["c", "1 failed", "", "", "", ""]
