"""The contract of permuters: what is saved, loaded or copied goes on bit for bit."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from training_problem import assert_same, small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, Rewiring
from permtrain.core.cut import Cut
from permtrain.errors import CheckpointError
from permuter_problem import INNER, PERMUTERS, started


@pytest.mark.parametrize("inner", ["sgd", "adam", "adam-fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_in_mid_period_and_loaded_into_new_objects_goes_on_identically(
    permuter_of, inner, dtype, tmp_path
):
    def new(seed):
        model = small_net(seed, dtype)
        optimizer = INNER[inner](model.parameters())
        return model, optimizer, permuter_of(optimizer, model=model)

    model, optimizer, permuter = new(0)
    train(model, optimizer, range(6))
    states = [part.state_dict() for part in (model, optimizer, permuter)]
    torch.save(states, tmp_path / "state.pt")
    other, other_optimizer, other_permuter = new(7)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other_permuter.load_state_dict(saved[2])  # before the model's: any order will do
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    for step in range(6, 16):
        train(model, optimizer, range(step, step + 1))
        train(other, other_optimizer, range(step, step + 1))
        assert_same(weights_of(model), weights_of(other))
    with permuter.arranged(), other_permuter.arranged():
        assert_same(weights_of(model), weights_of(other))


def test_a_state_saved_before_the_first_step_goes_on_identically(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    other, other_optimizer, other_permuter = started(permuter_of)
    other_permuter.load_state_dict(copy.deepcopy(permuter.state_dict()))
    train(model, optimizer, range(5))
    train(other, other_optimizer, range(5))
    assert_same(weights_of(model), weights_of(other))


def test_rolling_back_to_an_earlier_state_replays_it(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, permuter)])
    train(model, optimizer, range(6, 12))
    first = weights_of(model)
    for _ in range(2):  # what was loaded is not trained on: it can be loaded again
        model.load_state_dict(states[0])
        optimizer.load_state_dict(copy.deepcopy(states[1]))  # torch itself keeps these tensors
        permuter.load_state_dict(states[2])
        train(model, optimizer, range(6, 12))
        assert_same(weights_of(model), first)


def test_loading_the_permuter_without_the_model_is_refused(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    other = small_net(7)
    other_optimizer = torch.optim.Adam(other.parameters())
    permuter_of(other_optimizer, model=other).load_state_dict(permuter.state_dict())
    with pytest.raises(CheckpointError, match=r"0\.weight: weights are not those this state was"):
        train(other, other_optimizer, range(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("version"), "permuter state has keys"),
        (lambda s: s.update(method="SGPerm"), "permuter state is of a SGPerm; allowed:"),
        (lambda s: s["tensors"].pop("4.weight"), r"missing \['4.weight'\]"),
        (lambda s: s["tensors"].update(more={}), r"unexpected \['more'\]"),
        (lambda s: s["tensors"]["4.weight"].update(shape=[1]), "4.weight: permuter state has"),
        (lambda s: s["tensors"]["4.weight"].update(granularity="x"), "4.weight: permuter state"),
        (
            lambda s: s["tensors"]["4.weight"].update(profile=torch.zeros(1, dtype=torch.float64)),
            "4.weight: permuter state has values of torch.float64; allowed: torch.float32",
        ),
        (
            lambda s: s["tensors"]["4.weight"].update(layout=[1, 0, 1]),
            r"4.weight: permuter state has vectors of layout \[1, 0, 1\] .* allowed: \[0, 0, 1\]",
        ),
        (
            lambda s: s["tensors"]["4.weight"].update(profile=torch.zeros(1, 10)),
            r"4.weight: permuter state has a profile of shape \(1, 10\); allowed: \(",
        ),
        (
            lambda s: s["tensors"]["4.weight"].update(latent=torch.zeros(1)),
            r"4.weight: permuter state has latent weights \(torch.float32, \(1,\)\); allowed: ",
        ),
    ],
)
def test_a_state_of_something_else_is_refused_and_nothing_changes(permuter_of, change, message):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(3))
    state = copy.deepcopy(permuter.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=message):
        permuter.load_state_dict(state)
    assert permuter.num_steps == 3
    train(model, optimizer, range(3, 6))


@pytest.mark.parametrize("latent", [None, torch.zeros(10, 12, dtype=torch.float64)])
def test_latent_weights_that_do_not_fit_are_refused(latent):
    model, optimizer, permuter = started(PERMUTERS["index"])
    train(model, optimizer, range(3))
    state = copy.deepcopy(permuter.state_dict())
    state["tensors"]["4.weight"]["latent"] = latent
    with pytest.raises(CheckpointError, match=r"4.weight: permuter state has latent weights"):
        permuter.load_state_dict(state)


def test_a_state_without_layouts_is_of_an_older_version_and_is_loaded(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(3))
    state = copy.deepcopy(permuter.state_dict())
    for tensor in state["tensors"].values():
        del tensor["layout"]
    permuter.load_state_dict(state)
    train(model, optimizer, range(3, 5))


def test_a_deep_copy_goes_on_by_itself(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    other, other_permuter = copy.deepcopy((model, permuter))
    assert other_permuter.optimizer is not optimizer
    train(other, other_permuter.optimizer, range(6, 14))
    after = weights_of(other)
    assert permuter.num_steps == 6
    train(model, optimizer, range(6, 14))
    assert_same(weights_of(model), after)


def test_pickling_copies_optimizer_and_permuter(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    other, other_permuter = pickle.loads(pickle.dumps((model, LaPermPickle.of(permuter))))
    other_permuter = other_permuter.permuter
    train(model, optimizer, range(6, 14))
    train(other, other_permuter.optimizer, range(6, 14))
    assert_same(weights_of(model), weights_of(other))


class LaPermPickle:
    """Pickled in the same stream as its model, so that both keep sharing parameters."""

    def __init__(self, permuter):
        self.permuter = permuter

    of = classmethod(lambda cls, permuter: cls(permuter))


def test_a_copied_bare_optimizer_is_unattached(permuter_of):
    model, optimizer, _ = started(permuter_of)
    train(model, optimizer, range(2))
    other, bare = copy.deepcopy((model, optimizer))
    plain = small_net()
    plain.load_state_dict(other.state_dict())
    reference = torch.optim.Adam(plain.parameters(), lr=0.01)
    reference.load_state_dict(copy.deepcopy(bare.state_dict()))
    with pytest.warns(UserWarning, match="was copied without the method attached to it"):
        train(other, bare, range(2, 6))
    train(plain, reference, range(2, 6))
    assert_same(weights_of(other), weights_of(plain))


def grouped(permuter_class, seed=0, **more):
    """A model with a group of its own for its last layer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    groups = [{"params": model[0].parameters()}, {"params": model[1].parameters(), **more}]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    return model, optimizer, permuter_class(optimizer, sync_period=2, model=model)


def step(model, optimizer):
    model(torch.ones(3, 6)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("num_steps", [0, 1])
@pytest.mark.parametrize("permuter_class", [LaPerm, IndexOptimizer])
@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_a_groups_own_settings_stay_where_a_plain_state_is_loaded(permuter_class, num_steps):
    plain_model, plain, permuter = grouped(permuter_class)
    permuter.detach()
    step(plain_model, plain)
    period = {"sync_period": lambda step: 3, "granularity": Cut("layer")}
    model, optimizer, permuter = grouped(permuter_class, **period)
    for _ in range(num_steps):
        step(model, optimizer)
    optimizer.load_state_dict(plain.state_dict())
    assert {key: optimizer.param_groups[1][key] for key in period} == period
    if not num_steps:
        permuter.reset_profile()  # the plain state counts a step that it did not see
    step(model, optimizer)
    assert [tensor.sync_period for tensor in permuter.tensors] == [2, period["sync_period"]]
    again = permuter_class  # one attached anew reads them too
    permuter.detach()
    permuter = again(optimizer, sync_period=2, model=model)
    assert permuter.cuts["1.weight"].granularity == "layer"


def test_a_period_that_was_read_stays_whoever_takes_it_out_of_the_group():
    model, optimizer, permuter = grouped(LaPerm, sync_period=3)
    del optimizer.param_groups[1]["sync_period"]
    step(model, optimizer)
    assert [tensor.sync_period for tensor in permuter.tensors] == [2, 3]
    optimizer.param_groups[1]["sync_period"] = 5
    step(model, optimizer)
    assert [tensor.sync_period for tensor in permuter.tensors] == [2, 5]


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({"sync_period": lambda step: 3}, {}),
        ({"sync_period": np.int64(3)}, {"sync_period": 3}),
        ({"granularity": Cut("neuron", 1)}, {}),
        ({"granularity": lambda name, parameter: "layer"}, {}),
        ({"granularity": {"*.weight": ("kernel", Cut("layer")), "*": None}}, {}),
        ({"granularity": "layer", "sync_period": 3}, {"granularity": "layer", "sync_period": 3}),
        ({"granularity": ("kernel", "layer")}, {"granularity": ("kernel", "layer")}),
    ],
)
@pytest.mark.parametrize("rewires", [False, True])
def test_a_groups_rules_do_not_keep_an_optimizer_from_being_saved(settings, saved, rewires):
    model, optimizer, permuter = grouped(LaPerm, **settings)
    if rewires:
        Rewiring(permuter, num_steps=4)
    step(model, optimizer)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    found = state["param_groups"][1]
    assert {key: found[key] for key in ("granularity", "sync_period") if key in found} == saved
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[1].items() >= settings.items()
