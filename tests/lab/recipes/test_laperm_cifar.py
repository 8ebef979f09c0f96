"""Recipes on CIFAR-10: every published setting, written out; budgets; JPEG copies."""

import csv
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from cifar_arms import ON_CIFAR10
from PIL import Image

from permtrain.errors import SettingError
from permtrain.lab.cli.main import main
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.registry import DATASETS
from permtrain.lab.recipes.recipe import Arm
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.recipes.scaled import scaled
from permtrain.lab.training.learning_rate import rate_factor
from permtrain.lab.training.settings import InitialSettings, PermutationSettings, Settings

SWEPT = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def arms_of(recipe_id: str, budget="paper") -> list[Arm]:
    """The arms of seed 0."""
    return [arm for arm in RECIPES[recipe_id].arms(budget) if arm.settings.seed == 0]


def published(recipe_id: str) -> dict[str, float]:
    return {arm.group: arm.published for arm in arms_of(recipe_id) if arm.published is not None}


def rates(settings: Settings, *epochs: int) -> list[float]:
    optimizer = settings.optimizer
    return [round(optimizer.lr * rate_factor(optimizer, epoch), 12) for epoch in epochs]


def methods(arms: list[Arm]) -> list[tuple[str, int | None]]:
    permutations = [arm.settings.permutation for arm in arms]
    return [(each.method, each.sync_period) for each in permutations]


def common(recipe_id: str) -> Settings:
    """What all arms of a recipe share: the first one's settings, after a look at the others."""
    arms = arms_of(recipe_id)
    first = arms[0].settings
    for arm in arms:
        varied = replace(
            arm.settings,
            permutation=first.permutation,
            initial=first.initial,
            model=first.model,
            optimizer=replace(arm.settings.optimizer, lookahead_period=None),
        )
        assert varied == first
        permutation = arm.settings.permutation
        assert permutation.granularity == ("neuron" if permutation.permutes else None)
        assert not permutation.permute_biases
        assert arm.settings.initial.biases == "rule"
    assert first.data.data == "cifar10"
    assert first.data.train_images is first.data.test_images is None
    assert (first.optimizer.inner, first.optimizer.inner_options) == ("Adam", {"eps": 1e-7})
    return first


TURNED = {"rotation_degrees": 15, "shift_fraction": 0.1}


def test_resnet20() -> None:
    settings = common("laperm-resnet20-cifar10")
    assert (settings.model, settings.batch_size, settings.epochs) == ("resnet20", 64, 200)
    assert settings.initial.rule == "kaiming_trunc_normal"  # Keras' he_normal
    assert settings.augmentation == Augmentation(**TURNED)
    assert settings.optimizer.l2 == 1e-4
    falls = rates(settings, 79, 80, 119, 120, 159, 160, 179, 180, 199)
    assert falls == [1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6, 1e-7, 1e-7]
    assert methods(arms_of("laperm-resnet20-cifar10")) == [("laperm", 10), ("plain", None)]
    assert published("laperm-resnet20-cifar10") == {"LaPerm k=10": 87.41, "Adam": 91.74}


def test_vgg7_and_what_adam_gets_there() -> None:
    laperm, regularised, plain = arms_of("laperm-vgg7-cifar10")
    settings = laperm.settings
    assert (settings.model, settings.batch_size, settings.epochs) == ("vgg7", 64, 1000)
    assert settings.initial.rule == "kaiming_trunc_normal"
    assert settings.augmentation == Augmentation(**TURNED)
    assert settings.optimizer.l2 == 0
    assert rates(settings, 499, 500, 699, 700, 999) == [1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    assert methods([laperm, regularised, plain]) == [("laperm", 10)] + 2 * [("plain", None)]
    assert replace(plain.settings, permutation=settings.permutation) == settings
    assert regularised.settings == replace(
        plain.settings,
        model="vgg7-dropout",
        optimizer=replace(settings.optimizer, l2=1e-4),
    )
    assert published("laperm-vgg7-cifar10") == {"LaPerm k=10": 90.03}


CONV = ["laperm-period-cifar10", "laperm-conv-cifar10", "laperm-sparse-conv4"]


@pytest.mark.parametrize("recipe_id", CONV)
def test_convolutional_nets(recipe_id: str) -> None:
    settings = common(recipe_id)
    assert settings.epochs == (125 if recipe_id == "laperm-conv-cifar10" else 90)
    assert (settings.batch_size, settings.initial.rule) == (50, "kaiming_uniform")
    assert settings.augmentation == Augmentation(**TURNED, horizontal_flip=True)
    assert settings.optimizer.l2 == 1e-4
    assert rates(settings, 0, 9, 10, 19, 20) == [1e-3, 1e-3, 6e-4, 6e-4, 3.6e-4]


@pytest.mark.parametrize("recipe_id", ["laperm-period-cifar10", "laperm-sparse-conv4"])
def test_periods_swept(recipe_id: str) -> None:
    arms = arms_of(recipe_id)
    is_sparse = recipe_id == "laperm-sparse-conv4"
    alone = ("plain-frozen-zeros" if is_sparse else "plain", None)
    assert methods(arms) == [*(("laperm", period) for period in SWEPT), alone]
    assert {arm.settings.model for arm in arms} == {"conv4"}
    initial = [
        (arm.settings.initial.sparsity, arm.settings.initial.first_layer_sparsity_cap)
        for arm in arms
    ]
    assert initial == 11 * [(0.5, 0.2) if is_sparse else (0.0, None)]
    assert published(recipe_id) == {}


def test_three_depths() -> None:
    arms = arms_of("laperm-conv-cifar10")
    assert [arm.settings.model for arm in arms] == [*3 * ["conv2"], *3 * ["conv4"], *3 * ["conv13"]]
    assert methods(arms) == 3 * [("laperm", 1000), ("plain", None), ("plain", None)]
    lookahead = [
        (arm.settings.optimizer.lookahead_period, arm.settings.optimizer.lookahead_step)
        for arm in arms
    ]
    assert lookahead == 3 * [(None, 0.5), (None, 0.5), (6, 0.5)]
    assert published("laperm-conv-cifar10") == {
        "conv2, LaPerm k=1000": 78.21,
        "conv4, LaPerm k=1000": 89.17,
        "conv13, LaPerm k=1000": 92.21,
    }


def test_sparse_resnet50() -> None:
    settings = common("laperm-sparse-resnet50")
    assert (settings.model, settings.batch_size, settings.epochs) == ("resnet50-cifar", 50, 200)
    assert settings.normalization == "mean-image"
    assert settings.augmentation == Augmentation(shift_fraction=0.1, horizontal_flip=True)
    assert (settings.initial.rule, settings.optimizer.l2) == ("kaiming_uniform", 1e-4)
    falls = rates(settings, 79, 80, 120, 160, 179, 180, 199)
    assert falls == [1e-3, 1e-4, 1e-5, 1e-6, 1e-6, 5e-7, 5e-7]
    arms = arms_of("laperm-sparse-resnet50")
    periods = [("laperm", 250), ("laperm", 400), ("laperm", 800)]
    assert methods(arms) == [*periods, ("plain", None)] + 3 * [
        *periods,
        ("plain-frozen-zeros", None),
    ]
    sparsities = [arm.settings.initial.sparsity for arm in arms]
    assert sparsities == [*4 * [0.0], *4 * [0.3], *4 * [0.5], *4 * [0.7]]
    caps = {arm.settings.initial.first_layer_sparsity_cap for arm in arms[4:]}
    assert caps == {0.2}
    assert published("laperm-sparse-resnet50") == {
        "0% zeros, LaPerm k=400": 92.53,
        "30% zeros, LaPerm k=800": 92.32,
        "50% zeros, LaPerm k=800": 92.02,
        "70% zeros, LaPerm k=800": 90.97,
    }


def test_all_networks_against_what_remains() -> None:
    arms = arms_of("laperm-sparsity-all")
    by_model = {arm.settings.model: arm.settings for arm in arms}
    assert list(by_model) == ["conv2", "conv4", "conv7", "conv13", "resnet50-cifar"]
    for arm in arms:
        settings = arm.settings
        first = replace(
            by_model[settings.model],
            permutation=settings.permutation,
            initial=settings.initial,
        )
        normalization = settings.normalization
        assert replace(settings, normalization=first.normalization) == first
        is_less_mean = settings.model == "conv7" and "x/255" not in arm.group
        assert arm.is_other_reading == is_less_mean
        if settings.model == "conv7":
            assert normalization == ("mean-image" if is_less_mean else "unit")
        else:
            assert normalization == first.normalization
        capped = 0.2 if settings.initial.sparsity else None
        assert settings.initial.first_layer_sparsity_cap == capped
        is_conv7 = settings.model == "conv7"
        assert settings.data.data == ("mnist" if is_conv7 else "cifar10")
        permutation = settings.permutation
        assert permutation.permute_biases == (is_conv7 and permutation.permutes)
        epochs = {"conv7": 45, "resnet50-cifar": 200}.get(settings.model, 125)
        assert (settings.epochs, settings.batch_size) == (epochs, 50)
    conv4 = [arm for arm in arms if arm.settings.model == "conv4"]
    periods = [("laperm", 200), ("laperm", 1000), ("laperm", 2000)]
    assert methods(conv4[:8]) == [*periods, ("plain", None), *periods, ("plain-frozen-zeros", None)]
    assert [arm.settings.initial.sparsity for arm in conv4[::4]] == [0.0, 0.3, 0.5, 0.7, 0.9]
    assert conv4[4].group == "conv4, 70% of weights, LaPerm k=200"
    conv7 = by_model["conv7"]
    assert conv7.augmentation == Augmentation(
        rotation_degrees=10, shift_fraction=0.1, zoom_fraction=0.1
    )
    assert rates(conv7, 0, 1) == [1e-3, 9.5e-4]
    assert conv7.optimizer.l2 == 0
    others = arms_of("laperm-conv-cifar10")[3].settings
    assert by_model["conv4"].optimizer == by_model["conv13"].optimizer == others.optimizer
    less_mean = {"conv7", "resnet50-cifar"}
    assert {net for net, each in by_model.items() if each.normalization == "mean-image"} == (
        less_mean
    )
    assert by_model["resnet50-cifar"].optimizer == common("laperm-sparse-resnet50").optimizer


# experiments.md, vgg16 on CIFAR-10: N / U / sparse, without STE and with it.
VGG16 = {
    "layer": ((92.44, 93.85, 90.92), (90.94, 93.01, 92.55)),
    "neuron": ((87.77, 91.40, 87.06), (90.98, 92.53, 91.62)),
    "kernel": ((83.67, 90.72, 71.33), (90.24, 91.86, 90.42)),
}


@pytest.mark.parametrize("granularity", VGG16)
def test_the_index_optimizer_on_cifar10(granularity: str) -> None:
    arms = arms_of(f"index-{granularity}-cifar10")
    first = arms[0].settings
    assert (first.model, first.batch_size, first.epochs) == ("vgg16", 128, 200)
    assert first.data.data == "cifar10"
    assert (first.optimizer.inner, first.optimizer.inner_options) == ("SGD", {"momentum": 0.9})
    assert (first.optimizer.lr, first.optimizer.lr_decay) == (1e-3, 1 / 1.01)
    assert first.optimizer.l2 == 0
    found: dict[str, list[float]] = {"laperm": [], "index": []}
    for arm in arms:
        settings = arm.settings
        assert (
            replace(settings, initial=first.initial, permutation=first.permutation) == first
        )  # nothing else differs
        permutation = settings.permutation
        if not permutation.permutes:
            frozen = settings.initial.is_sparse
            assert permutation.method == ("plain-frozen-zeros" if frozen else "plain")
            assert arm.group.endswith(", SGD")
            continue
        assert (permutation.sync_period, permutation.granularity) == (1, granularity)
        assert permutation.fallback == ("neuron" if granularity == "kernel" else None)
        found[permutation.method].append(arm.published)
    assert (tuple(found["laperm"]), tuple(found["index"])) == VGG16[granularity]
    initial = [arm.settings.initial for arm in arms[::3]]
    assert [(each.rule, each.sparsity, each.sparsity_by) for each in initial] == [
        ("kaiming_normal", 0.0, "exact"),
        ("kaiming_uniform", 0.0, "exact"),
        ("kaiming_normal", 0.9, "magnitude"),
    ]


def test_the_index_optimizer_on_imagenet() -> None:
    arms = arms_of("index-imagenet")
    first = arms[0].settings
    assert (first.model, first.batch_size, first.epochs) == ("resnet34", 1024, 90)
    assert (first.data.data, first.data.train_images) == ("imagenet", None)
    assert first.augmentation == Augmentation(horizontal_flip=True)
    assert first.optimizer == arms_of("index-layer-cifar10")[0].settings.optimizer
    assert (first.initial.rule, first.initial.sparsity) == ("kaiming_normal", 0.0)
    assert methods(arms) == [("index", 1), ("laperm", 1), ("plain", None)]
    granularities = [arm.settings.permutation.granularity for arm in arms]
    assert granularities == ["layer", "layer", None]
    assert [arm.published for arm in arms] == [None, 70.93, None]


@pytest.mark.parametrize("recipe_id", ON_CIFAR10)
def test_budgets_keep_every_arm_and_only_train_less(recipe_id: str) -> None:
    paper = arms_of(recipe_id)
    assert len(paper) == ON_CIFAR10[recipe_id]
    short, quick = (RECIPES[recipe_id].arms(budget) for budget in ("short", "quick"))
    for full, few_epochs, few_images in zip(paper, short, quick, strict=True):
        assert (few_epochs, few_images) == (
            replace(full, settings=replace(full.settings, epochs=5)),
            replace(
                full,
                settings=replace(
                    full.settings,
                    epochs=1,
                    data=replace(full.settings.data, train_images=100, test_images=100),
                ),
            ),
        )


SCALED = {
    "laperm-resnet20-cifar10": (40, (16, 24, 32, 36), 1.0, 1, 4),
    "laperm-vgg7-cifar10": (200, (100, 140), 1.0, 1, 3),
    "laperm-period-cifar10": (18, (), 0.6, 2, 5),
    "laperm-conv-cifar10": (25, (), 0.6, 2, 4),
    "laperm-sparse-conv4": (18, (), 0.6, 2, 5),
    "laperm-sparse-resnet50": (40, (16, 24, 32, 36), 1.0, 1, 6),
    "index-layer-cifar10": (40, (), (1 / 1.01) ** 5, 1, 6),
    "index-neuron-cifar10": (40, (), (1 / 1.01) ** 5, 1, 6),
}


@pytest.mark.parametrize("recipe_id", SCALED)
def test_the_scaled_budget_shrinks_every_schedule_alike(recipe_id: str) -> None:
    epochs, milestones, decay, every, num_arms = SCALED[recipe_id]
    arms = RECIPES[recipe_id].arms_within("scaled")
    assert len(arms) == num_arms
    full = {arm.group: arm for arm in arms_of(recipe_id)}
    for arm in arms:
        settings, optimizer = arm.settings, arm.settings.optimizer
        assert (settings.epochs, optimizer.lr_milestones) == (epochs, milestones)
        assert (optimizer.lr_decay, optimizer.lr_decay_epochs) == (decay, every)
        assert (settings.autocast, settings.data.train_images) == ("bfloat16", None)
        if arm.group.startswith("index per"):  # beside the published arms of resnet20
            assert arm.settings.permutation.method == "index"
            continue
        original = full[arm.group]
        assert arm.published == original.published
        assert settings.permutation == original.settings.permutation
        assert settings.initial == original.settings.initial


def test_the_scaled_budget_shrinks_phases_of_permutation() -> None:
    permutation = PermutationSettings(
        sync_milestones=(10, 22), sync_periods=(50, 500), permuted_steps=1500
    )
    initial = InitialSettings(rule="shuffle", trained_epochs=3)
    shrunk = scaled(Settings(permutation=permutation, initial=initial, epochs=45))
    assert (shrunk.permutation.sync_milestones, shrunk.permutation.permuted_steps) == ((2, 4), 300)
    assert shrunk.permutation.sync_periods == (50, 500)
    assert (shrunk.epochs, shrunk.initial.trained_epochs) == (9, 1)


@pytest.mark.parametrize("budget", ["quick", "short", "paper"])
@pytest.mark.parametrize("recipe_id", ON_CIFAR10)
def test_copies_are_another_recipe_without_published_values(recipe_id: str, budget) -> None:
    original, copies = RECIPES[recipe_id], RECIPES[f"{recipe_id}-jpeg"]
    assert (original.copy_of, copies.copy_of) == (None, recipe_id)
    for one, other in zip(original.arms(budget), copies.arms(budget), strict=True):
        assert (other.group, other.published) == (one.group, None)
        same_data = replace(other.settings, data=one.settings.data)
        assert same_data == one.settings
        on_cifar10 = one.settings.data.data == "cifar10"
        expected = "cifar10-jpeg" if on_cifar10 else "mnist"
        assert other.settings.data == replace(one.settings.data, data=expected)


def test_a_budget_that_a_recipe_lacks_is_refused() -> None:
    assert RECIPES["laperm-sparse-conv4"].arms_within("short")
    message = r"^budget is 'short'; allowed with index-layer: quick, paper$"
    with pytest.raises(SettingError, match=message):
        RECIPES["index-layer"].arms_within("short")


def noise_in_the_layout_of_the_copies(folder: Path) -> Path:
    """A data folder whose cifar10-jpeg has 128 training and 100 test images of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (228, 32, 32, 3), dtype=np.uint8)
    label = datasets.ClassLabel(names=[str(i) for i in range(10)])
    features = datasets.Features({"img": datasets.Image(), "label": label})
    (folder / "cifar10-jpeg").mkdir(parents=True)
    for name, some in (("train", pixels[:128]), ("test", pixels[128:])):
        images = [Image.fromarray(each) for each in some]
        columns = {"img": images, "label": [i % 10 for i in range(len(some))]}
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(folder / "cifar10-jpeg" / f"{name}.parquet")
    return folder


def test_rows_tell_the_data_and_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.disable_progress_bars()
    small = replace(DATASETS["cifar10-jpeg"], num_images=(128, 100))
    monkeypatch.setitem(DATASETS, "cifar10-jpeg", small)
    data = noise_in_the_layout_of_the_copies(tmp_path / "data")
    flags = ["--data-folder", str(data), "--runs-folder", str(tmp_path / "runs")]
    flags += ["--results-folder", str(tmp_path), "--device", "cpu", "--threads", "1"]
    assert main(["run", "laperm-vgg7-cifar10-jpeg", "--only", "LaPerm*", *flags]) == 0
    assert "1 of 3 arms complete" in capsys.readouterr().out
    with (tmp_path / "laperm-vgg7-cifar10-jpeg-quick.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["data"], row["train_images"], row["epochs"]) == ("cifar10-jpeg", "100", "1")
    assert (row["budget"], row["published_percent"], row["intact"]) == ("quick", "", "True")
    assert main(["run", "index-layer", "--budget", "short", *flags]) == 1
    assert "budget is 'short'; allowed with index-layer: quick, paper" in capsys.readouterr().err
