"""The index optimizer, worked by hand and its own features."""

import sys

import pytest
import torch
from training_problem import (
    assert_same,
    loss_of,
    one_vector,
    small_net,
    step_with_gradient,
    train,
    weights_of,
)

from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.errors import NonFiniteError


def test_trajectory_by_hand_with_ties():
    layer = one_vector([3, 1, 2, 1])  # the profile is 1 1 2 3
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = IndexOptimizer(optimizer, model=None)
    # latent 2 2 2 1: position 3 is smallest, then 0 1 2
    assert step_with_gradient(layer, optimizer, [1, -1, 0, 0]) == [1, 2, 3, 1]
    # latent 2 2 1 2
    assert step_with_gradient(layer, optimizer, [0, 0, 1, -1]) == [1, 2, 1, 3]
    # latent 3 2 3 2: kept from step to step, as overwritten ones would not be
    assert step_with_gradient(layer, optimizer, [-1, 0, -2, 0]) == [2, 1, 3, 1]
    assert permuter.tensors[0].latent.tolist() == [[3, 2, 3, 2]]


def test_the_gradient_is_taken_at_the_arranged_weights():
    layer = one_vector([1, 2, 3])
    target = torch.tensor([[0.0, 4.0, 0.0]])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = IndexOptimizer(optimizer, model=None)
    shown, latent = [], []
    for _ in range(2):
        optimizer.zero_grad()
        (0.5 * (layer.weight - target).square().sum()).backward()
        optimizer.step()
        shown.append(layer.weight[0].tolist())
        latent.append(permuter.tensors[0].latent[0].tolist())
    # gradients 1 -2 3 at 1 2 3, then 1 -1 2 at 1 3 2; at the latent 0 4 0 it would vanish
    assert latent == [[0, 4, 0], [-1, 5, -2]]
    assert shown == [[1, 3, 2], [2, 3, 1]]


def test_a_period_above_one_keeps_the_model_fixed_while_latent_weights_move():
    layer = one_vector([1, 2, 3])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = IndexOptimizer(optimizer, model=None, sync_period=2)
    assert step_with_gradient(layer, optimizer, [-9, 0, 0]) == [1, 2, 3]
    assert permuter.tensors[0].latent.tolist() == [[10, 2, 3]]
    assert step_with_gradient(layer, optimizer, [0, -9, 0]) == [2, 3, 1]
    assert step_with_gradient(layer, optimizer, [20, 0, 0]) == [2, 3, 1]
    with permuter.arranged():
        assert layer.weight[0].tolist() == [1, 3, 2]
    assert layer.weight[0].tolist() == [2, 3, 1]


@pytest.mark.parametrize("step", [1, 2])
def test_latent_weights_that_are_not_finite_are_refused_at_once_due_or_not(step):
    layer = one_vector([1, 2, 3])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    permuter = IndexOptimizer(optimizer, model=layer, sync_period=2)
    shown = [step_with_gradient(layer, optimizer, [-9, 0, 0]) for _ in range(1, step)]
    with pytest.raises(NonFiniteError, match="weights hold NaN or infinity"):
        step_with_gradient(layer, optimizer, [0, float("nan"), 0])
    assert permuter.num_steps == step - 1
    assert layer.weight[0].tolist() == [1, 2, 3]
    assert permuter.tensors[0].latent.tolist() == [[1 + 9 * len(shown), 2, 3]]


def test_without_kept_latents_it_is_laperm_with_period_one():
    """ "Index optimizer (without STE)" of tables 5.1 to 5.3 overwrites the latent weights."""
    model, other = small_net(), small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    permuter = IndexOptimizer(optimizer, model=None, granularity="neuron")
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.05)
    LaPerm(other_optimizer, model=None, sync_period=1)

    def overwrite_latents(step: int) -> None:
        for tensor in permuter.tensors:
            tensor.latent.copy_(tensor.parameter.detach())

    train(model, optimizer, range(10), overwrite_latents)
    train(other, other_optimizer, range(10))
    assert_same(weights_of(model), weights_of(other))


def test_a_closure_is_evaluated_at_arranged_weights_each_time():
    model = small_net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.05, max_iter=4)
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)
    seen = []

    def closure() -> torch.Tensor:
        seen.append(bool(verify(model, permuter)))
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    optimizer.step(closure)
    optimizer.step(closure=closure)
    assert len(seen) > 4
    assert all(seen)
    assert verify(model, permuter)


def test_with_a_longer_period_a_closure_sees_what_the_step_before_left():
    """However often LBFGS evaluates it, and although the latent weights move in between."""
    layer = one_vector([1, 2, 3])
    optimizer = torch.optim.LBFGS(layer.parameters(), lr=1.0, max_iter=3, tolerance_change=0)
    permuter = IndexOptimizer(optimizer, model=None, sync_period=2)
    shown = []

    def closure() -> torch.Tensor:
        shown.append(layer.weight[0].tolist())
        optimizer.zero_grad()
        loss = layer(torch.tensor([[-9.0, 0.0, 1.0]])).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(shown) > 1
    assert all(each == [1, 2, 3] for each in shown)
    assert layer.weight[0].tolist() == [1, 2, 3]
    assert permuter.tensors[0].latent[0].argsort().tolist() != [0, 1, 2]
    optimizer.step(closure)
    assert all(each == [1, 2, 3] for each in shown)
    assert layer.weight[0].tolist() == [3, 2, 1]


def test_in_plain_training_a_closure_sees_the_latent_weights():
    model, other = small_net(), small_net()
    optimizer, plain = (
        torch.optim.LBFGS(each.parameters(), lr=0.05, max_iter=4) for each in (model, other)
    )
    IndexOptimizer(optimizer, model=model, sync_period=lambda step: None)
    for net, its_optimizer in ((model, optimizer), (other, plain)):

        def closure(net=net, its_optimizer=its_optimizer):
            its_optimizer.zero_grad()
            loss = loss_of(net, 0)
            loss.backward()
            return loss

        for _ in range(2):
            its_optimizer.step(closure)
    assert_same(weights_of(model), weights_of(other))


def test_a_closure_that_raises_does_not_leave_latent_weights_in_the_model():
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)
    train(model, optimizer, range(3))
    before = weights_of(model)

    def closure() -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(closure)
    assert_same(weights_of(model), before)
    train(model, optimizer, range(3, 5))
    assert verify(model, permuter)


def test_an_inner_step_that_raises_is_recovered_from_at_the_next_look(monkeypatch):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)
    train(model, optimizer, range(3))
    before = weights_of(model)

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["torch.optim.sgd"], "sgd", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            optimizer.step()
    with permuter.arranged():
        assert_same(weights_of(model), before)
    train(model, optimizer, range(3, 5))
    assert verify(model, permuter)
    assert permuter.num_steps == 5
