"""Permutation, then plain training: the switch is exact and the state is carried over."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from training_problem import assert_same, one_vector, step_with_gradient, train, weights_of
from training_problem import small_net as dense_net

from permtrain.core.profile import profile_of
from permtrain.errors import CheckpointError, SettingError
from permtrain.optim.frozen_zeros import FrozenZeros
from permtrain.optim.index import IndexOptimizer
from permtrain.optim.laperm import LaPerm
from permtrain.optim.rewiring import Rewiring

METHODS = {
    "laperm": lambda optimizer, model: LaPerm(optimizer, sync_period=3, model=model),
    "index": lambda optimizer, model: IndexOptimizer(optimizer, model=model),
}
NAMES = ("0.weight", "4.weight", "6.weight")


def small_net() -> nn.Module:
    model = dense_net()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name in NAMES:
            weight = model.get_parameter(name)
            weight[torch.rand(weight.shape, generator=generator) < 0.6] = 0.0
    return model


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)


def inner_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index} {key}": value.clone()
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def test_by_hand() -> None:
    layer = one_vector([0.0, 2.0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.5)
    rewiring = Rewiring(LaPerm(optimizer, model=None, sync_period=2), num_steps=2)
    assert step_with_gradient(layer, optimizer, [-1.0, 1.0]) == [1.0, 1.0]
    # Momentum -2.5 and 1.5: 3.5 and -0.5, whose order lays out 0 and 2.
    assert step_with_gradient(layer, optimizer, [-2.0, 1.0]) == [2.0, 0.0]
    assert rewiring.rewired is not None
    assert {name: w.tolist() for name, w in rewiring.rewired.items()} == {
        "group 0, parameter 0": [[2.0, 0.0]]
    }
    # What was gathered before goes on: -2.5 / 2 + 1; the second weight is held.
    assert step_with_gradient(layer, optimizer, [1.0, 7.0]) == [2.25, 0.0]
    assert optimizer.state[layer.weight]["momentum_buffer"].tolist() == [[-0.25, 0.75]]
    assert step_with_gradient(layer, optimizer, [0.0, 7.0]) == [2.375, 0.0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_steps", [6, 7])
def test_it_equals_the_two_one_after_the_other(method: str, num_steps: int) -> None:
    """At a step that ends a period, and in mid-period."""
    model, other = small_net(), small_net()
    optimizer, other_optimizer = adam(model), adam(other)
    profiles = {
        tensor.name: profile_of(tensor.parameter, tensor.cut)
        for tensor in METHODS[method](adam(model), model).tensors
    }
    rewiring = Rewiring(METHODS[method](optimizer, model), num_steps=num_steps)
    train(model, optimizer, range(num_steps))

    permuter = METHODS[method](other_optimizer, other)
    train(other, other_optimizer, range(num_steps))
    permuter.synchronize()
    permuter.detach()
    FrozenZeros(other_optimizer)

    assert_same(weights_of(model), weights_of(other))
    assert_same(inner_state(optimizer), inner_state(other_optimizer))
    assert rewiring.rewired is not None
    for tensor in rewiring.permuter.tensors:
        assert tensor.profile is None
        assert torch.equal(rewiring.rewired[tensor.name], tensor.parameter)
        assert torch.equal(profile_of(tensor.parameter, tensor.cut), profiles[tensor.name])

    train(model, optimizer, range(num_steps, 12))
    train(other, other_optimizer, range(num_steps, 12))
    assert_same(weights_of(model), weights_of(other))
    assert_same(inner_state(optimizer), inner_state(other_optimizer))
    for name in NAMES:
        now = model.get_parameter(name)
        assert torch.equal(now == 0, rewiring.rewired[name] == 0), name
        assert not torch.equal(now, rewiring.rewired[name]), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("saved_at", [0, 2, 3, 5, 6, 7, 9])
def test_a_saved_state_goes_on_bit_for_bit(method: str, saved_at: int, tmp_path) -> None:
    """Before the switch (after 6 steps), in and between periods, at it, and after it."""
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS[method](optimizer, model), num_steps=6)
    train(model, optimizer, range(saved_at))
    torch.save([x.state_dict() for x in (model, optimizer, rewiring)], tmp_path / "state.pt")
    states = torch.load(tmp_path / "state.pt", weights_only=True)

    other = dense_net(3)
    other_optimizer = adam(other)
    other_rewiring = Rewiring(METHODS[method](other_optimizer, other), num_steps=6)
    for part, state in zip((other, other_optimizer, other_rewiring), states, strict=True):
        part.load_state_dict(state)
    assert type(other_rewiring.phase) is type(rewiring.phase)
    train(model, optimizer, range(saved_at, 11))
    train(other, other_optimizer, range(saved_at, 11))
    assert_same(weights_of(model), weights_of(other))
    assert_same(inner_state(optimizer), inner_state(other_optimizer))
    assert rewiring.rewired is not None
    assert other_rewiring.rewired is not None
    assert_same(rewiring.rewired, other_rewiring.rewired)


def test_going_back_to_before_the_switch() -> None:
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=4)
    train(model, optimizer, range(3))
    states = [copy.deepcopy(x.state_dict()) for x in (model, optimizer, rewiring)]
    train(model, optimizer, range(3, 8))
    after = weights_of(model)
    for part, state in zip((model, optimizer, rewiring), states, strict=True):
        part.load_state_dict(state)
    assert rewiring.rewired is None
    train(model, optimizer, range(3, 8))
    assert_same(weights_of(model), after)


@pytest.mark.parametrize("by", ["deep copy", "pickle"])
@pytest.mark.parametrize("copied_at", [0, 2, 4, 6])
def test_a_copy_goes_on_by_itself(by: str, copied_at: int) -> None:
    """In mid-period, at the switch after 4 steps, and later."""
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=4)
    train(model, optimizer, range(copied_at))
    parts = (model, optimizer, rewiring)
    copied = copy.deepcopy(parts) if by == "deep copy" else pickle.loads(pickle.dumps(parts))
    other, other_optimizer, other_rewiring = copied
    assert other_rewiring.permuter.optimizer is other_optimizer
    before = weights_of(other)
    train(model, optimizer, range(copied_at, 8))
    assert_same(weights_of(other), before)
    train(other, other_optimizer, range(copied_at, 8))
    assert_same(weights_of(model), weights_of(other))
    assert_same(rewiring.rewired, other_rewiring.rewired)


def test_arranged_shows_arranged_weights_until_the_switch() -> None:
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=5)
    train(model, optimizer, range(4))
    before = weights_of(model)
    with rewiring.arranged():
        shown = weights_of(model)
    assert not torch.equal(shown["4.weight"], before["4.weight"])
    train(model, optimizer, range(4, 6))
    before = weights_of(model)
    with rewiring.arranged():
        assert_same(weights_of(model), before)


def test_detached_it_does_nothing() -> None:
    model, other = small_net(), small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=2)
    rewiring.detach()
    train(model, optimizer, range(3))
    train(other, adam(other), range(3))
    assert_same(weights_of(model), weights_of(other))


def test_what_does_not_fit_is_refused() -> None:
    model = small_net()
    optimizer = adam(model)
    for num_steps in (0, 2.5, True):  # no step would be the 2.5th, and the switch never come
        permuter = METHODS["laperm"](optimizer, model)
        with pytest.raises(SettingError, match=f"num_steps is {num_steps}; allowed: a whole numb"):
            Rewiring(permuter, num_steps=num_steps)
        permuter.detach()
    model = small_net()
    optimizer = adam(model)
    permuter = METHODS["laperm"](optimizer, model)
    train(model, optimizer, range(2))
    with pytest.raises(SettingError, match="made 2 steps; allowed: one before its first"):
        Rewiring(permuter, num_steps=5)


def test_a_state_with_a_layer_added_after_the_switch_goes_on_bit_for_bit() -> None:
    def started(model, parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
        return (
            model,
            optimizer,
            Rewiring(LaPerm(optimizer, sync_period=2, model=model), num_steps=3),
        )

    model, other = small_net(), small_net()
    late = model[6].weight
    early = [parameter for parameter in model.parameters() if parameter is not late]
    model, optimizer, rewiring = started(model, early)
    train(model, optimizer, range(4))
    optimizer.add_param_group({"params": [late]})
    train(model, optimizer, range(4, 6))
    other_early = [
        parameter for parameter in other.parameters() if parameter is not other[6].weight
    ]
    groups = [{"params": other_early}, {"params": [other[6].weight]}]
    other, other_optimizer, other_rewiring = started(other, groups)
    for part, saved in (
        (other, model),
        (other_optimizer, optimizer),
        (other_rewiring, rewiring),
    ):
        part.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert set(other_rewiring.rewired) == {"0.weight", "4.weight"}
    train(model, optimizer, range(6, 9))
    train(other, other_optimizer, range(6, 9))
    assert_same(weights_of(model), weights_of(other))


def test_a_state_that_is_past_the_switch_without_it_is_refused() -> None:
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=5)
    train(model, optimizer, range(4))
    model = small_net()
    other_optimizer = adam(model)
    shorter = Rewiring(METHODS["laperm"](other_optimizer, model), num_steps=4)
    with pytest.raises(CheckpointError, match="permuted for 4 steps; allowed: less than num_steps"):
        shorter.load_state_dict(rewiring.state_dict())
    assert shorter.permuter.num_steps == 0


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"rewiring state has keys \[\]; allowed: \['permuter', 'rewired', 'version', 'zeros'"),
        (
            {
                "version": 1,
                "permuter": None,
                "zeros": {"version": 1, "masks": []},
                "rewired": {"4.weight": torch.zeros(1)},
            },
            r"rewired weights are of another model; allowed: \{'0.weight': \(4, 1, 3, 3\)",
        ),
    ],
)
def test_a_state_of_something_else_is_refused(state, message: str) -> None:
    model = small_net()
    optimizer = adam(model)
    rewiring = Rewiring(METHODS["laperm"](optimizer, model), num_steps=5)
    with pytest.raises(CheckpointError, match=message):
        rewiring.load_state_dict(state)
    assert rewiring.rewired is None
