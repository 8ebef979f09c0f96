"""SGPerm: what is saved, loaded or copied goes on bit for bit."""

import copy
import pickle

import pytest
import torch
from training_problem import assert_same, small_net, train, weights_of

from permtrain import SGPerm, verify
from permtrain.errors import ChangedWeightsError, CheckpointError
from permtrain.expert import Cut
from sgperm_problem import started


def test_saved_and_loaded_into_new_objects_goes_on_identically(settings, tmp_path):
    model, optimizer = started(settings)
    train(model, optimizer, range(4))
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    other, other_optimizer = started(settings, seed=7)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    for step in range(4, 10):
        train(model, optimizer, range(step, step + 1))
        train(other, other_optimizer, range(step, step + 1))
        assert_same(weights_of(model), weights_of(other))


def test_a_loaded_state_can_be_saved_before_the_next_step(settings):
    model, optimizer = started(settings)
    train(model, optimizer, range(4))
    other, other_optimizer = started(settings, seed=7)
    other.load_state_dict(model.state_dict())
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other_optimizer.state_dict()
    train(model, optimizer, range(4, 6))
    train(other, other_optimizer, range(4, 6))
    assert_same(weights_of(model), weights_of(other))


def test_a_loaded_state_is_not_trained_on_and_can_be_loaded_again(settings):
    model, optimizer = started(settings)
    train(model, optimizer, range(3))
    weights, saved = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    ends = []
    for _ in range(2):
        model.load_state_dict(weights)
        rows = saved["permutation"]["rows"]
        fresh = copy.deepcopy(saved)  # torch itself keeps what it is given
        fresh["permutation"]["rows"] = rows
        optimizer.load_state_dict(fresh)
        train(model, optimizer, range(3, 6))
        ends.append(weights_of(model))
    assert_same(*ends)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_by_itself(settings, how):
    model, optimizer = started(settings)
    train(model, optimizer, range(3))
    optimizer._make_inner = None  # a local function does not pickle
    other, other_optimizer = how((model, optimizer))
    train(model, optimizer, range(3, 7))
    train(other, other_optimizer, range(3, 7))
    assert_same(weights_of(model), weights_of(other))


@pytest.mark.parametrize("how", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_does_not_hide_weights_written_by_others(how):
    model, optimizer = started({})
    train(model, optimizer, range(2))
    optimizer._make_inner = None  # a local function does not pickle
    with torch.no_grad():
        model[4].weight[0, 0] += 1
    with pytest.raises(ChangedWeightsError, match=r"4\.weight: weights were changed"):
        how((model, optimizer))


def test_a_copy_of_what_waits_for_its_weights_waits_too():
    model, optimizer = started({})
    train(model, optimizer, range(2))
    _, other = started({}, seed=7)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    waiting = copy.deepcopy(other)
    with pytest.raises(CheckpointError, match="load the model's weights"):
        waiting.step()


def test_a_state_from_before_the_first_step_takes_the_weights_as_they_are():
    _, optimizer = started({"search": "bracket"})
    other, other_optimizer = started({"search": "bracket"}, seed=5)
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    initial = weights_of(other)
    train(other, other_optimizer, range(3))
    other_optimizer.state_dict()
    assert verify(other, {name: initial[name] for name in other_optimizer.cuts})


def test_a_state_without_its_weights_is_refused_at_the_next_step():
    model, optimizer = started({"search": "bracket"})
    train(model, optimizer, range(2))
    state, weights = copy.deepcopy([optimizer.state_dict(), model.state_dict()])
    other, other_optimizer = started({"search": "bracket"}, seed=5)
    other_optimizer.load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"^0\.weight: weights are not those this state"):
        train(other, other_optimizer, range(1))
    other.load_state_dict(weights)
    train(other, other_optimizer, range(1))


def test_a_state_of_another_optimizer_or_model_is_refused():
    model, optimizer = started({"search": "bracket"})
    with pytest.raises(CheckpointError, match="holds no permutation, version 1"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters()).state_dict())
    state = optimizer.state_dict()
    del state["permutation"]["rows"]["4.weight"]
    with pytest.raises(CheckpointError, match="optimizer state holds rows of"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize(
    "rule", [lambda name, weight: "neuron" if weight.dim() > 1 else None, Cut("neuron")]
)
def test_a_state_is_plain_data_whatever_decides_on_granularity(rule, tmp_path):
    model, other = small_net(), small_net()
    optimizer = SGPerm(model.parameters(), model=model, granularity=rule)
    train(model, optimizer, range(3))
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    other_optimizer = SGPerm(other.parameters(), model=other, granularity=rule)
    other.load_state_dict(weights)
    other_optimizer.load_state_dict(state)
    assert other_optimizer.param_groups[0]["granularity"] is rule
    train(model, optimizer, range(3, 6))
    train(other, other_optimizer, range(3, 6))
    assert_same(weights_of(model), weights_of(other))


def without_rows(state):
    state["permutation"]["rows"]["4.weight"]["rank_to_slot"] = torch.zeros(1, 2)


def of_columns(state):
    state["permutation"]["rows"]["4.weight"]["cut"] = ["neuron", 1, 0, 1]


def without_an_inner_optimizer(state):
    state["permutation"]["inner"] = None


def of_fewer_parameters(state):
    state["param_groups"][0]["params"].pop()


def of_fewer_inner_parameters(state):
    state["permutation"]["inner"]["param_groups"][0]["params"].pop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_rows, r"4\.weight: optimizer state has rows \(1, 2\); allowed: \("),
        (of_columns, r"4\.weight: optimizer state has rows of \['neuron', 1, 0, 1\] .*, 0, 0, 1\]"),
        (without_an_inner_optimizer, "holds no inner optimizer; allowed: one"),
        (of_fewer_parameters, r"state of the optimizer has groups of \[7\] parameters; allowed: "),
        (of_fewer_inner_parameters, r"state of the inner optimizer has groups of \[4\] param"),
    ],
)
def test_a_refused_state_changes_nothing(change, message):
    model, optimizer = started({"search": "bracket"})
    train(model, optimizer, range(2))
    state = copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, range(2, 4))
    before = copy.deepcopy(optimizer.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert str(after) == str(before)
    train(model, optimizer, range(4, 6))


def test_a_state_without_cuts_is_of_an_older_version_and_is_loaded():
    model, optimizer = started({"search": "bracket"})
    train(model, optimizer, range(2))
    state = copy.deepcopy(optimizer.state_dict())
    for rows in state["permutation"]["rows"].values():
        del rows["cut"]
    optimizer.load_state_dict(state)
    train(model, optimizer, range(2, 4))


def test_a_state_with_an_inner_optimizer_is_refused_by_one_without():
    model, optimizer = started({"search": "bracket"})
    with pytest.raises(CheckpointError, match="holds an inner optimizer; allowed: none"):
        SGPerm(model.parameters(), model=model).load_state_dict(optimizer.state_dict())
