"""Settings: names of runs that stay, plain data and back, and what is refused."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permtrain.core.cut import ACROSS, GRANULARITIES, MEANINGS, AnyGranularity
from permtrain.errors import SettingError
from permtrain.graph.search import ORDERS, SEARCHES
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.training import settings as module
from permtrain.lab.training.settings import (
    METHODS,
    DataSettings,
    InitialSettings,
    MethodName,
    OptimizerSettings,
    PermutationSettings,
    Place,
    Settings,
    SGPermSettings,
    from_dict,
    run_name,
    settings_hash,
    to_dict,
)
from permtrain.optim.sgperm_settings import Order, Search

CONV4 = Settings(
    data=DataSettings(data="cifar10", validation_fraction=0.1),
    augmentation=Augmentation(rotation_degrees=15, shift_fraction=0.1, horizontal_flip=True),
    model="conv4",
    permutation=PermutationSettings(sync_period=1000),
    optimizer=OptimizerSettings(l2=1e-4, lr_decay=0.6, lr_decay_epochs=10),
    epochs=125,
    batch_size=50,
    seed=3,
)
RESNET = Settings(
    model="resnet50-cifar",
    initial=InitialSettings(layer_sparsity={"*.weight": 0.5}),
    optimizer=OptimizerSettings(
        inner="SGD",
        inner_options={"momentum": 0.9},
        lr_milestones=(80, 120, 160, 180),
        lr_factors=(0.1, 0.1, 0.1, 0.5),
    ),
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), "digits-digits-cnn-laperm-44136fa3"),
        (CONV4, "cifar10-conv4-laperm-6230b12d"),
        (RESNET, "digits-resnet50-cifar-laperm-73e3897e"),
        (Settings(model="my.nets:build"), "digits-my.nets.build-laperm-9ebc577b"),
    ],
)
def test_names_of_runs_are_pinned(settings: Settings, expected: str) -> None:
    assert run_name(settings) == expected
    assert settings_hash(settings) == expected[-8:]


def test_the_name_of_own_data_is_its_folders() -> None:
    left, right = (Settings(data=DataSettings(data=f"{x}/pets/")) for x in "ab")
    assert run_name(left).startswith("pets-digits-cnn-laperm-")
    assert run_name(left) != run_name(right)


def test_a_new_option_does_not_rename_old_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Later(Settings):
        label_smoothing: float = 0.0
        extras: dict[str, float] = dataclasses.field(default_factory=dict)

    old = settings_hash(Settings(epochs=3))
    monkeypatch.setattr(module, "Settings", Later)
    assert settings_hash(Later(epochs=3)) == old
    assert settings_hash(Later(epochs=3, label_smoothing=0.1)) != old
    assert settings_hash(Later(epochs=3, extras={"a": 0.0})) != old


fractions = st.floats(0, 0.99)
milestones = st.lists(st.integers(1, 300), unique=True, max_size=4).map(sorted)
permutations = st.builds(
    PermutationSettings,
    method=st.sampled_from(["laperm", "index"]),
    sync_period=st.none() | st.integers(1, 2000),
    granularity=st.sampled_from([None, "kernel", "neuron", "layer"]),
    fallback=st.sampled_from([None, "neuron", "layer"]),
) | st.sampled_from([PermutationSettings(method=m) for m in ("plain", "plain-frozen-zeros")])
optimizers = milestones.flatmap(
    lambda chosen: st.builds(
        OptimizerSettings,
        inner=st.sampled_from(["Adam", "SGD"]),
        lr=st.floats(1e-8, 10),
        inner_options=st.dictionaries(st.sampled_from(["momentum", "eps"]), st.floats(0, 1)),
        l2=st.floats(0, 1),
        lr_milestones=st.just(tuple(chosen)),
        lr_factors=st.just((0.5,) * len(chosen)),
    )
)
all_settings = st.builds(
    Settings,
    data=st.builds(DataSettings, data=st.text(), train_images=st.none() | st.integers(1, 10**6)),
    augmentation=st.builds(Augmentation, shift_fraction=fractions, horizontal_flip=st.booleans()),
    initial=st.builds(
        InitialSettings,
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        levels=st.none() | st.integers(2, 9),
        sparsity=fractions,
        biases=st.sampled_from(["rule", "zero"]),
    ),
    permutation=permutations,
    optimizer=optimizers,
    epochs=st.integers(1, 2000),
    seed=st.integers(0, 2**63 - 1),
    autocast=st.sampled_from(["off", "bfloat16"]),
)


@given(all_settings)
def test_through_json_and_back(settings: Settings) -> None:
    again = from_dict(json.loads(json.dumps(to_dict(settings))))
    assert again == settings
    assert settings_hash(again) == settings_hash(settings)


@given(all_settings, all_settings)
def test_different_settings_have_different_hashes(left: Settings, right: Settings) -> None:
    assert (settings_hash(left) == settings_hash(right)) == (left == right)


def test_absent_fields_get_their_defaults() -> None:
    assert from_dict({}) == Settings()
    assert from_dict({"optimizer": {"lr": 0.5}}) == Settings(optimizer=OptimizerSettings(lr=0.5))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"epoks": 3}, "settings has unknown 'epoks'; allowed: data, augmentation, "),
        ({"data": {"dat": 1}}, "settings.data has unknown 'dat'; allowed: data, validation_frac"),
        ({"data": 3}, "settings.data is 3; allowed: an object with settings"),
        ([1], "settings is [1]; allowed: an object with settings"),
        ({"epochs": "many"}, "epochs is 'many'; allowed: a whole number, 1 or more"),
        ({"optimizer": {"lr": None}}, "lr is None; allowed: a number, above 0"),
        ({"epochs": 0}, "epochs is 0; allowed: 1 or more"),
        ({"initial": {"layer_sparsity": 3}}, "layer_sparsity is 3; allowed: values by name"),
        ({"initial": {"biases": "none"}}, "biases is 'none'; allowed: rule, zero, keep"),
        ({"sgperm": {"momentum": 1}}, "momentum is 1; allowed: 0 to 1, without 1"),
    ],
)
def test_plain_data_that_is_refused(plain: Any, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        from_dict(plain)
    assert str(refused.value).startswith(message)


def test_names_and_their_meanings_agree() -> None:
    assert tuple(METHODS) == get_args(MethodName)
    assert tuple(MEANINGS) == get_args(AnyGranularity) == (*GRANULARITIES, ACROSS)
    assert set(SEARCHES) == set(get_args(Search))
    assert set(ORDERS) == set(get_args(Order))


ALL_METHODS = "laperm, index, sgperm, plain, plain-frozen-zeros"
RULES = (
    "kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal, kaiming_trunc_normal, "
    "xavier_trunc_normal, unit_uniform, orthogonal, constant, shuffle"
)
DRAWN = RULES.removesuffix(", orthogonal, constant, shuffle")
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Settings(epochs=1.5), "epochs is 1.5; allowed: a whole number, 1 or more"),
        (lambda: Settings(epochs=0), "epochs is 0; allowed: 1 or more"),
        (lambda: Settings(batch_size=-1), "batch_size is -1; allowed: 1 or more"),
        (lambda: Settings(seed=-1), "seed is -1; allowed: 0 to 2**63 - 1"),
        (lambda: Settings(seed=2**63), f"seed is {2**63}; allowed: 0 to 2**63 - 1"),
        (
            lambda: Settings(normalization="minmax"),
            "normalization is 'minmax'; allowed: z-score, mean-image, unit",
        ),
        (lambda: Settings(autocast="bf16"), "autocast is 'bf16'; allowed: off, bfloat16"),
        (
            lambda: Settings(
                initial=InitialSettings(biases="keep"),
                permutation=PermutationSettings(permute_biases=True),
            ),
            "biases is 'keep'; allowed: rule or zero, with permute_biases",
        ),
        (
            lambda: DataSettings(validation_fraction=1),
            "validation_fraction is 1; allowed: 0 to 1, without 1",
        ),
        (lambda: DataSettings(validation_fraction=-0.1), "validation_fraction is -0.1; allowed: 0"),
        (lambda: DataSettings(train_images=0), "train_images is 0; allowed: 1 or more"),
        (lambda: InitialSettings(rule="he"), f"rule is 'he'; allowed: {RULES}"),
        (
            lambda: InitialSettings(rule="shuffle", trained_rule="shuffle"),
            f"trained_rule is 'shuffle'; allowed: {DRAWN}",
        ),
        (
            lambda: InitialSettings(trained_epochs=3),
            "trained_epochs is 3; allowed: nothing with rule kaiming_uniform",
        ),
        (
            lambda: InitialSettings(trained_rule="xavier_normal"),
            "trained_rule is 'xavier_normal'; allowed: nothing with rule kaiming_uniform",
        ),
        (
            lambda: InitialSettings(rule="shuffle", trained_epochs=0),
            "trained_epochs is 0; allowed: 1 or more",
        ),
        (
            lambda: OptimizerSettings(lookahead_period=0),
            "lookahead_period is 0; allowed: 1 or more",
        ),
        (
            lambda: OptimizerSettings(lookahead_period=6, lookahead_step=1.5),
            "lookahead_step is 1.5; allowed: above 0, below 1",
        ),
        (
            lambda: OptimizerSettings(lookahead_step=0.8),
            "lookahead_step is 0.8; allowed: 0.5 without lookahead_period",
        ),
        (
            lambda: Settings(optimizer=OptimizerSettings(lookahead_period=6)),
            "lookahead_period is 6; allowed: nothing with method laperm",
        ),
        (
            lambda: Settings(watch_every_layer=True),
            "watch_every_layer is True; allowed: False without watch_ranking_distance",
        ),
        (lambda: InitialSettings(sparsity=1), "sparsity is 1; allowed: 0 to 1, without 1"),
        (lambda: InitialSettings(sparsity=NAN), "sparsity is nan; allowed: 0 to 1, without 1"),
        (
            lambda: InitialSettings(layer_sparsity={"a": 1.5}),
            "layer_sparsity['a'] is 1.5; allowed: 0 to 1, without 1",
        ),
        (
            lambda: InitialSettings(sparsity=0.5, layer_sparsity={"a": 0.5}),
            "sparsity is 0.5; allowed: 0, where layer_sparsity is given",
        ),
        (lambda: InitialSettings(levels=1), "levels is 1; allowed: 2 or more"),
        (
            lambda: PermutationSettings(method="lapern"),
            f"method is 'lapern'; allowed: {ALL_METHODS}",
        ),
        (
            lambda: PermutationSettings(sync_period=0),
            "sync_period is 0; allowed: 1 or more",
        ),
        (
            lambda: PermutationSettings(granularity="across", linear_granularity="layer"),
            "linear_granularity is 'layer'; allowed: nothing without granularity kernel, neuron",
        ),
        (
            lambda: PermutationSettings(linear_granularity="kernel"),
            "linear_granularity is 'kernel'; allowed: neuron, layer",
        ),
        (
            lambda: PermutationSettings(
                granularity="neuron", linear_granularity="layer", permute_biases=True
            ),
            "linear_granularity is 'layer'; allowed: nothing with permute_biases",
        ),
        (
            lambda: PermutationSettings(method="plain", linear_granularity="layer"),
            "linear_granularity is 'layer'; allowed: nothing with method plain",
        ),
        (
            lambda: PermutationSettings(method="sgperm", sync_period=5),
            "sync_period is 5; allowed: nothing with method sgperm",
        ),
        (
            lambda: Settings(sgperm=SGPermSettings(search="any")),
            "search is set, and method is 'laperm'; allowed with settings of SGPerm: sgperm",
        ),
        (
            lambda: Settings(
                permutation=PermutationSettings(method="sgperm"),
                sgperm=SGPermSettings(permuted_biases="row"),
            ),
            "permuted_biases is 'row'; allowed without permute_biases: apart",
        ),
        (
            lambda: Settings(
                permutation=PermutationSettings(method="sgperm"),
                optimizer=OptimizerSettings(l2=0.1),
            ),
            "l2 is 0.1; allowed with method sgperm: 0",
        ),
        (
            lambda: Settings(evaluate_at=(5, 3)),
            "evaluate_at is (5, 3); allowed: ascending steps from 1",
        ),
        (lambda: Settings(watched_steps=-1), "watched_steps is -1; allowed: 0 or more"),
        (
            lambda: PermutationSettings(permuted_steps=0),
            "permuted_steps is 0; allowed: 1 or more",
        ),
        (
            lambda: PermutationSettings(method="sgperm", permuted_steps=5),
            "permuted_steps is 5; allowed: nothing with method sgperm",
        ),
        (
            lambda: PermutationSettings(method="plain", sync_milestones=(5,), sync_periods=(3,)),
            "sync_milestones is (5,); allowed: nothing with method plain",
        ),
        (
            lambda: PermutationSettings(sync_milestones=(5, 5), sync_periods=(3, 4)),
            "sync_milestones is (5, 5); allowed: ascending epochs or steps from 1",
        ),
        (
            lambda: PermutationSettings(
                sync_milestones=(0,), sync_periods=(3,), sync_milestones_in="steps"
            ),
            "sync_milestones is (0,); allowed: ascending epochs or steps from 1",
        ),
        (
            lambda: PermutationSettings(sync_milestones=(5,)),
            "sync_periods is (); allowed: one for each of the 1 milestones",
        ),
        (
            lambda: PermutationSettings(sync_milestones=(5,), sync_periods=(0,)),
            "sync_periods[0] is 0; allowed: 1 or more",
        ),
        (
            lambda: PermutationSettings(sync_milestones_in="batches"),
            "sync_milestones_in is 'batches'; allowed: epochs, steps",
        ),
        (
            lambda: PermutationSettings(method="plain", sync_period=5),
            "sync_period is 5; allowed: nothing with method plain",
        ),
        (
            lambda: PermutationSettings(method="plain", granularity="layer"),
            "granularity is 'layer'; allowed: nothing with method plain",
        ),
        (
            lambda: PermutationSettings(method="plain", fallback="layer"),
            "fallback is 'layer'; allowed: nothing with method plain",
        ),
        (
            lambda: PermutationSettings(method="plain-frozen-zeros", permute_biases=True),
            "permute_biases is True; allowed: nothing with method plain-frozen-zeros",
        ),
        (lambda: OptimizerSettings(lr=0), "lr is 0; allowed: above 0"),
        (lambda: OptimizerSettings(lr=NAN), "lr is nan; allowed: above 0"),
        (lambda: OptimizerSettings(lr=INF), "lr is inf; allowed: above 0"),
        (lambda: OptimizerSettings(l2=-1), "l2 is -1; allowed: 0 or more"),
        (lambda: OptimizerSettings(lr_decay=0), "lr_decay is 0; allowed: above 0, at most 1"),
        (lambda: OptimizerSettings(lr_decay=1.1), "lr_decay is 1.1; allowed: above 0, at most 1"),
        (
            lambda: OptimizerSettings(lr_decay_epochs=0),
            "lr_decay_epochs is 0; allowed: 1 or more",
        ),
        (
            lambda: OptimizerSettings(lr_milestones=(8, 8), lr_factors=(1, 1)),
            "lr_milestones is (8, 8); allowed: ascending epochs from 1",
        ),
        (
            lambda: OptimizerSettings(lr_milestones=(0,), lr_factors=(1,)),
            "lr_milestones is (0,); allowed: ascending epochs from 1",
        ),
        (
            lambda: OptimizerSettings(lr_milestones=(1, 2), lr_factors=(0.1,)),
            "lr_factors is (0.1,); allowed: one for each of the 2 milestones",
        ),
        (
            lambda: OptimizerSettings(lr_milestones=(1,), lr_factors=(0,)),
            "lr_factors[0] is 0; allowed: above 0",
        ),
        (
            lambda: Settings(patience=3),
            "patience is 3; allowed: nothing without validation_fraction",
        ),
        (lambda: Place(keep_checkpoints=0), "keep_checkpoints is 0; allowed: 1 or more"),
        (lambda: Place(threads=0), "threads is 0; allowed: 1 to 1,024"),
        (lambda: Place(checkpoint_steps=0), "checkpoint_steps is 0; allowed: 1 or more"),
        (
            lambda: Augmentation(rotation_degrees=181),
            "rotation_degrees is 181; allowed: 0 to 180",
        ),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        make()
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("initial", "said"),
    [
        (InitialSettings(sparsity=0.5), "sparsity is 0.5"),
        (InitialSettings(layer_sparsity={"fc*": 0.9}), "sparsity is {'fc*': 0.9}"),
    ],
)
def test_a_supermask_has_no_zeros_at_birth(initial: InitialSettings, said: str) -> None:
    """Zeros would become constants, as all weights do."""
    with pytest.raises(SettingError) as refused:
        Settings(initial=initial, permutation=PermutationSettings(method="supermask"))
    assert str(refused.value).startswith(f"{said}; allowed with method supermask, which makes con")


def test_weights_go_across_layers_by_laperm_and_the_index_optimizer_only() -> None:
    for method in ("laperm", "index"):
        assert PermutationSettings(method=method, granularity="across").granularity == "across"
    with pytest.raises(SettingError) as refused:
        PermutationSettings(method="sgperm", granularity="across")
    assert str(refused.value) == (
        "granularity is 'across'; allowed: kernel, neuron, layer with method sgperm"
    )


@pytest.mark.parametrize("name", ["runs_folder", "data_folder"])
def test_a_path_that_is_no_utf_8_is_refused(name: str) -> None:
    said = rf"^{name} is 'gr\\udcfcn/a'; allowed: a path in UTF-8"
    with pytest.raises(SettingError, match=said):
        Place(**{name: Path(os.fsdecode(b"gr\xfcn/a"))})
    assert Place(**{name: Path("grün")}) == Place(**{name: Path("grün")})
