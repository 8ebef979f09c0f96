"""The tiny recipes: what is compared with what, and that sizes are those of files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_problem import place_in, plain, tiny

from permtrain.lab.recipes.experiments.quantise import supermask_bytes
from permtrain.lab.recipes.experiments.tiny import alternatives, tiny_fashion, tiny_mnist
from permtrain.lab.recipes.recipe import Arm, Recipe
from permtrain.lab.recipes.results import rows_of
from permtrain.lab.training.run import load_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import (
    InitialSettings,
    PermutationSettings,
    Settings,
    settings_hash,
)
from permtrain.packed.reader import PackedFile

RECIPE = Recipe("tiny", "for tests", "seconds", lambda budget: [], alternatives)


def test_rivals_differ_in_nothing_but_method_weights_and_rate() -> None:
    arms = tiny_mnist("paper")
    for arm in arms:
        same_net = [other.settings for other in arms if other.settings.model == arm.settings.model]
        common = {
            settings_hash(
                replace(
                    settings,
                    initial=InitialSettings(),
                    permutation=PermutationSettings(),
                    optimizer=arm.settings.optimizer,
                    seed=0,
                )
            )
            for settings in same_net
        }
        assert len(common) == 1
        methods = {settings.permutation.method for settings in same_net}
        assert methods == {"index", "plain", "supermask"}


def test_no_arm_sees_less_than_all_training_images() -> None:
    assert {
        (arm.settings.data.train_images, arm.settings.data.validation_fraction)
        for arm in tiny_mnist("paper")
    } == {(None, 0.0)}


def test_fashion_is_the_same_on_other_images() -> None:
    for one, other in zip(tiny_mnist("paper"), tiny_fashion("paper"), strict=True):
        assert other.settings.data.data == "fashion_mnist"
        assert replace(other.settings, data=one.settings.data) == one.settings


def test_few_levels_are_shared_and_there_are_no_biases() -> None:
    for arm in tiny_mnist("paper"):
        initial, permutation = arm.settings.initial, arm.settings.permutation
        if permutation.permutes:
            assert (initial.levels, initial.share, initial.biases) == (2, True, "zero")
            assert initial.is_sparse
            assert permutation.permute_biases
            assert permutation.granularity == initial.vectors == "layer"


def test_supermasks_use_what_their_names_say() -> None:
    for arm in tiny_mnist("paper"):
        permutation = arm.settings.permutation
        if permutation.method == "supermask":
            assert arm.group.endswith(f": supermask, {100 * permutation.keep:.0f}% used")


@pytest.mark.parametrize("epochs", [6, 8])
def test_the_rate_falls_as_far_as_is_said(epochs: int) -> None:
    ends = {
        round(optimizer.lr_decay ** (epochs - 1), 3)
        for arm in tiny_mnist("paper")
        if arm.settings.epochs == epochs
        for optimizer in [arm.settings.optimizer]
    }
    assert ends == ({0.03} if epochs == 6 else {0.01, 0.03})


def trained(settings: Settings, folder: Path) -> tuple[list[dict], RunFolder]:
    """The rows of a run, and its folder."""
    place = place_in(folder)
    run = RunFolder(start_run(settings, place).folder)
    return rows_of(RECIPE, "quick", Arm("arm", settings), run, place), run


def test_a_permuted_arms_size_is_that_of_its_file(tmp_path: Path) -> None:
    settings = tiny(
        initial=InitialSettings(levels=2, sparsity=0.5, share=True, biases="zero"),
        permutation=PermutationSettings(method="index", permute_biases=True),
    )
    (row,), run = trained(settings, tmp_path)
    content = run.packed_file.read_bytes()
    assert (row["arm"], row["family"]) == ("arm", "permutation")
    assert row["file_bytes"] == len(content)
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    assert row["header_bytes"] == header_bytes
    assert row["code_bytes"] == len(content) - header_bytes  # nothing is stored raw
    assert all(
        (PackedFile(content)[name] == 0).all() for name in PackedFile(content) if "bias" in name
    )


def test_a_plain_arm_becomes_its_quantised_weights(tmp_path: Path) -> None:
    settings = plain()
    rows, run = trained(settings, tmp_path)
    names = ["float32", "bfloat16", "8-bit", "ternary"]
    assert [row["arm"] for row in rows] == [f"arm, {name}" for name in names]
    assert [row["family"] for row in rows] == [f"quantised, {name}" for name in names]
    num_parameters = 15_338
    assert [row["file_bytes"] for row in rows[:2]] == [4 * num_parameters, 2 * num_parameters]
    sizes = [row["file_bytes"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    trainer = load_run(run.path, place_in(tmp_path))
    accuracy = trainer.evaluate(trainer.test_split).accuracy
    assert rows[0]["test_percent"] == round(100 * accuracy, 4)
    assert all(row["best_test_percent"] is None for row in rows)


def test_a_supermasks_accuracy_is_the_arms(tmp_path: Path) -> None:
    settings = plain(initial=InitialSettings(biases="zero"))
    settings = replace(settings, permutation=PermutationSettings(method="supermask", keep=0.3))
    (row,), run = trained(settings, tmp_path)
    weights = load_run(run.path, place_in(tmp_path)).shown_weights()
    assert (row["arm"], row["family"]) == ("arm", "supermask")
    assert row["file_bytes"] == supermask_bytes(weights)
    assert row["code_bytes"] is None
    for tensor in weights.values():
        if tensor.dim() >= 2:
            assert int((tensor != 0).sum()) == round(0.3 * tensor.numel())
            assert len(torch.unique(tensor.abs())) == 2


def test_looking_at_alternatives_leaves_the_weights(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    run = RunFolder(start_run(plain(), place).folder)
    trainer = load_run(run.path, place)
    before = trainer.shown_weights()
    alternatives(Arm("arm", plain()), trainer)
    after = trainer.shown_weights()
    assert all(torch.equal(after[name], before[name]) for name in before)
