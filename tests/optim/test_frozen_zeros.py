"""Zeros stay zero, whatever the inner optimizer remembers."""

import pytest
import torch
from torch import nn
from training_problem import (
    assert_same,
    loss_of,
    one_vector,
    small_net,
    step_with_gradient,
    train,
    weights_of,
)

from permtrain.errors import CheckpointError
from permtrain.optim.frozen_zeros import FrozenZeros

INNER = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam, decay": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
}


def sparse_net() -> nn.Module:
    model = small_net()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name in ("0", "4", "6"):
            weight, bias = model.get_submodule(name).parameters()
            weight[torch.rand(weight.shape, generator=generator) < 0.6] = 0.0
            bias.zero_()
    return model


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("carried_over", [False, True])
def test_zeros_stay_zero_and_others_move(inner: str, carried_over: bool) -> None:
    model = sparse_net()
    initial = weights_of(model)
    optimizer = INNER[inner](model.parameters())
    if carried_over:  # momentum from steps in which nothing was held
        train(model, optimizer, range(4))
        model.load_state_dict(initial)
    frozen = FrozenZeros(optimizer)

    def check(step: int) -> None:
        for name in ("0.weight", "4.weight", "6.weight"):
            now = model.get_parameter(name)
            assert torch.equal(now == 0, initial[name] == 0), name

    train(model, optimizer, range(4, 10), check)
    assert len(frozen.masks) == 3
    for name in ("0.weight", "4.weight", "6.weight"):
        kept = initial[name] != 0
        assert not torch.equal(model.get_parameter(name)[kept], initial[name][kept]), name
    assert model[6].bias.all()  # biases of zero are not held


def test_held_weights_do_not_enter_the_optimizers_state() -> None:
    model = sparse_net()
    optimizer = INNER["adam"](model.parameters())
    frozen = FrozenZeros(optimizer)
    train(model, optimizer, range(3))
    state = optimizer.state[model[4].weight]
    assert not state["exp_avg_sq"][frozen.masks[1]].any()
    assert state["exp_avg_sq"][~frozen.masks[1]].any()


def test_by_hand_with_momentum_carried_over() -> None:
    layer = one_vector([0.0, 2.0])
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.5)
    assert step_with_gradient(layer, optimizer, [1.0, 1.0]) == [-1.0, 1.0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-0.0, 2.0]]))
    FrozenZeros(optimizer)
    assert step_with_gradient(layer, optimizer, [8.0, 1.0]) == [0.0, 0.5]  # 2 - (0.5 * 1 + 1)
    assert step_with_gradient(layer, optimizer, [8.0, 0.0]) == [0.0, -0.25]  # .5 - .5 * 1.5
    assert optimizer.state[layer.weight]["momentum_buffer"].tolist() == [[0.25, 0.75]]


def test_without_zeros_it_is_the_inner_optimizer_bit_for_bit() -> None:
    model, other = small_net(), small_net()
    optimizer = INNER["sgd"](model.parameters())
    FrozenZeros(optimizer)
    train(model, optimizer, range(5))
    train(other, INNER["sgd"](other.parameters()), range(5))
    assert_same(weights_of(model), weights_of(other))


def test_detached_it_holds_nothing() -> None:
    model = sparse_net()
    optimizer = INNER["adam"](model.parameters())
    frozen = FrozenZeros(optimizer)
    train(model, optimizer, range(2))
    frozen.detach()
    train(model, optimizer, range(2, 4))
    assert model[4].weight[frozen.masks[1]].any()


def test_a_frozen_parameter_without_gradient_is_left() -> None:
    model = sparse_net()
    model[4].weight.requires_grad_(False)
    before = weights_of(model)
    optimizer = INNER["adam"](model.parameters())
    FrozenZeros(optimizer)
    train(model, optimizer, range(3))
    assert torch.equal(model[4].weight, before["4.weight"])


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("kind", ["sgd", "lbfgs"])
def test_gradients_of_a_closure_do_not_move_zeros_nor_enter_the_state(kind, by_name) -> None:
    model = sparse_net()
    zeros = model[4].weight == 0
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    FrozenZeros(optimizer)
    seen = []

    def closure():
        seen.append(model[4].weight[zeros].abs().max().item())
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    for _ in range(3):
        loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
    assert loss.item() < 1.1
    assert len(seen) >= 3
    assert set(seen) == {0.0}
    if kind == "sgd":
        momentum = optimizer.state[model[4].weight]["momentum_buffer"]
        assert not momentum[zeros].any()
        assert momentum[~zeros].any()


def test_a_group_added_later_is_held_from_its_next_step() -> None:
    model, late = sparse_net(), one_vector([0.0, 2.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    frozen = FrozenZeros(optimizer)
    train(model, optimizer, range(2))
    early = frozen.masks
    optimizer.add_param_group({"params": late.parameters()})
    assert step_with_gradient(late, optimizer, [1.0, 0.0]) == [0.0, 2.0]
    assert len(early) == 3
    assert len(frozen.masks) == 4
    assert not model[4].weight[frozen.masks[1]].any()


def test_sparse_gradients_are_cleared_and_stay_sparse() -> None:
    words = nn.Embedding(4, 2, sparse=True)
    with torch.no_grad():
        words.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]]))
    optimizer = torch.optim.SparseAdam(words.parameters(), lr=1.0)
    FrozenZeros(optimizer)
    words(torch.tensor([1, 2, 1])).sum().backward()
    optimizer.step()
    assert words.weight.grad is not None
    assert words.weight.grad.is_sparse
    assert words.weight.grad.to_dense().tolist() == [[0, 0], [0, 2], [0, 0], [0, 0]]
    # Adam's first step is by the learning rate.
    expected = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(words.weight.detach(), expected, rtol=0, atol=1e-6)
    assert not words.weight[1:, 0].any()


def test_masks_are_saved_and_loaded(tmp_path) -> None:
    model = sparse_net()
    optimizer = INNER["adam"](model.parameters())
    frozen = FrozenZeros(optimizer)
    train(model, optimizer, range(3))
    torch.save([x.state_dict() for x in (model, optimizer, frozen)], tmp_path / "state.pt")
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    # Weights that have become zero since are not held: the masks are those of the first step.
    other = small_net(3)
    other_optimizer = INNER["adam"](other.parameters())
    other_frozen = FrozenZeros(other_optimizer)
    for part, state in zip((other, other_optimizer, other_frozen), states, strict=True):
        part.load_state_dict(state)
    for each in (model, other):
        with torch.no_grad():
            each[4].weight[:, :8] = 0.0
    train(model, optimizer, range(3, 7))
    train(other, other_optimizer, range(3, 7))
    assert_same(weights_of(model), weights_of(other))
    for left, right in zip(frozen.masks, other_frozen.masks, strict=True):
        assert torch.equal(left, right)
    assert other[4].weight[:, :8].any()


def test_a_state_from_before_the_first_step() -> None:
    model = sparse_net()
    optimizer = INNER["adam"](model.parameters())
    frozen = FrozenZeros(optimizer)
    assert frozen.state_dict() == {"version": 1, "masks": []}
    frozen.load_state_dict({"version": 1, "masks": []})
    train(model, optimizer, range(1))
    assert len(frozen.masks) == 3


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"frozen-zeros state has keys \[\]; allowed: masks, version \(1\)"),
        ({"version": 2, "masks": []}, r"allowed: masks, version \(1\)"),
        ({"version": 1, "masks": [torch.zeros(2, 2)]}, r"masks do not fit .* allowed: \[\(4, 1"),
    ],
)
def test_a_state_of_something_else_is_refused(state, message: str) -> None:
    frozen = FrozenZeros(INNER["adam"](small_net().parameters()))
    with pytest.raises(CheckpointError, match=message):
        frozen.load_state_dict(state)
    assert frozen.masks == []


def test_arranged_shows_the_weights_as_they_are() -> None:
    model = sparse_net()
    frozen = FrozenZeros(INNER["adam"](model.parameters()))
    before = weights_of(model)
    with frozen.arranged():
        assert_same(weights_of(model), before)
