"""Edge-popup's rule, worked by hand, and what is asked of all that attaches."""

import copy
import math

import pytest
import torch
from torch import nn
from training_problem import small_net, train

from permtrain.errors import (
    ChangedWeightsError,
    CheckpointError,
    LeftAloneWarning,
    NonFiniteError,
    SettingError,
)
from permtrain.optim.supermask import Supermask, signed_constants, used_weights


def test_the_largest_scores_are_used_whatever_their_sign() -> None:
    fixed = torch.tensor([[2.0, -2.0], [2.0, -2.0]])
    scores = torch.tensor([[0.3, -0.5], [-0.1, 0.4]])
    assert used_weights(fixed, scores, 0.5).tolist() == [[0.0, -2.0], [0.0, -2.0]]
    assert used_weights(fixed, scores, 0.01).tolist() == [[0.0, -2.0], [0.0, 0.0]]
    assert torch.equal(used_weights(fixed, scores, 1.0), fixed)


def test_of_equal_scores_the_first_are_used() -> None:
    assert used_weights(torch.ones(4), torch.ones(4), 0.5).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_weights_become_constants_with_their_signs() -> None:
    weights = torch.tensor([[0.1, -3.0, 0.0]])
    expected = math.sqrt(2 / 3 / 0.25)
    assert signed_constants(weights, 3, 0.25)[0].tolist() == pytest.approx(
        [expected, -expected, expected]
    )


def test_every_weight_can_be_used_zeros_too() -> None:
    layer = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    Supermask(optimizer, model=layer, keep=1.0)
    assert layer.weight[0].tolist() == pytest.approx([math.sqrt(2 / 4)] * 4)


def one_layer() -> tuple[nn.Linear, torch.optim.Optimizer, Supermask]:
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0]]))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    supermask = Supermask(optimizer, model=layer, keep=0.5)
    supermask.load_state_dict(
        supermask.state_dict() | {"scores": [torch.tensor([[0.4, 0.3, 0.2, 0.1]])]}
    )
    return layer, optimizer, supermask


def test_a_step_moves_scores_by_the_gradient_times_the_weight() -> None:
    """fan_in 4, k 1/2: weights are +-1. The loss is w . x, so that dL/d(w h) = x."""
    layer, optimizer, supermask = one_layer()
    assert layer.weight.tolist() == [[1.0, -1.0, 0.0, 0.0]]
    inputs = torch.tensor([[0.2, -0.1, 0.0, 0.9]])
    layer(inputs).sum().backward()
    optimizer.step()
    # s - .5 x w, w before the mask: .4 - .1, .3 - .05, .2, .1 + .45
    assert supermask.masked[0].score[0].tolist() == pytest.approx([0.3, 0.25, 0.2, 0.55])
    assert layer.weight.tolist() == [[1.0, 0.0, 0.0, -1.0]]


def test_gradients_are_the_users_after_a_step() -> None:
    layer, optimizer, _ = one_layer()
    layer(torch.tensor([[0.2, -0.1, 0.0, 0.9]])).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    before = gradient.clone()
    optimizer.step()
    assert layer.weight.grad is gradient
    assert torch.equal(gradient, before)


def test_scores_that_are_not_finite_are_refused_by_name_and_the_old_ones_kept() -> None:
    layer, optimizer, supermask = one_layer()
    weights, scores = layer.weight.detach().clone(), supermask.masked[0].score.clone()
    layer(torch.tensor([[0.2, float("nan"), 0.0, 0.9]])).sum().backward()
    with pytest.raises(NonFiniteError, match=r"^weight: scores hold NaN or infinity"):
        optimizer.step()
    assert torch.equal(layer.weight, weights)
    assert torch.equal(supermask.masked[0].score, scores)


def test_a_closure_is_refused() -> None:
    layer, optimizer, _ = one_layer()
    weights = layer.weight.detach().clone()
    with pytest.raises(SettingError, match=r"step\(\) got a closure"):
        optimizer.step(lambda: 0.0)
    assert torch.equal(layer.weight, weights)


def test_a_closure_given_by_name_is_refused_and_none_is_not() -> None:
    _, optimizer, _ = one_layer()
    optimizer.step(closure=None)
    with pytest.raises(SettingError, match=r"step\(\) got a closure"):
        optimizer.step(closure=lambda: 0.0)


def test_weights_loaded_after_attaching_are_not_overwritten_unseen() -> None:
    """The mask is of the signs that the weights had; other ones would be lost without a word."""
    layer, optimizer, supermask = one_layer()
    shown = layer.weight.detach().clone()
    layer.load_state_dict({"weight": torch.tensor([[-3.0, 3.0, -3.0, 3.0]])})
    layer.weight.grad = torch.zeros(1, 4)
    with pytest.raises(ChangedWeightsError, match=r"^weight: weights were changed since the last"):
        optimizer.step()
    with pytest.raises(ChangedWeightsError, match=r"^weight: weights were changed"):
        copy.deepcopy(supermask)
    assert layer.weight.tolist() == [[-3.0, 3.0, -3.0, 3.0]]
    # Of one checkpoint, both may be loaded in any order.
    supermask.load_state_dict(supermask.state_dict())
    assert torch.equal(layer.weight, shown)
    layer.load_state_dict({"weight": shown})
    optimizer.step()
    assert torch.equal(layer.weight, shown)


def test_after_a_step_that_raised_the_weights_are_shown_again() -> None:
    class Fails(torch.optim.SGD):
        fails = True

        def step(self, closure=None):
            if self.fails:
                raise RuntimeError("no step")
            return super().step(closure)

    layer = nn.Linear(4, 1, bias=False)
    optimizer = Fails(layer.parameters(), lr=0.5)
    supermask = Supermask(optimizer, model=layer, keep=0.5)
    weights, scores = layer.weight.detach().clone(), supermask.masked[0].score.clone()
    layer.weight.grad = torch.zeros(1, 4)
    with pytest.raises(RuntimeError, match="no step"):
        optimizer.step()
    assert torch.equal(layer.weight, scores)
    optimizer.fails = False
    optimizer.step()
    assert torch.equal(layer.weight, weights)
    assert torch.equal(supermask.masked[0].score, scores)


def test_a_negative_scores_size_moves_as_a_positive_ones_would() -> None:
    layer, optimizer, supermask = one_layer()
    supermask.load_state_dict(
        supermask.state_dict() | {"scores": [torch.tensor([[0.4, -0.3, 0.2, -0.1]])]}
    )
    layer(torch.tensor([[0.2, -0.1, 0.0, 0.9]])).sum().backward()
    optimizer.step()
    # s - .5 x w sign(s): .4 - .1, -.3 + .05, .2, -.1 - .45
    assert supermask.masked[0].score[0].tolist() == pytest.approx([0.3, -0.25, 0.2, -0.55])
    assert layer.weight.tolist() == [[1.0, 0.0, 0.0, -1.0]]


def test_it_learns_which_inputs_count() -> None:
    """The target is the sum of a quarter of the inputs; half the scores begin below zero."""
    torch.manual_seed(0)
    layer = nn.Linear(16, 1, bias=False)
    layer.weight.data.fill_(1.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02)
    Supermask(optimizer, model=layer, keep=0.25)
    constant = layer.weight.detach().max()
    for _ in range(300):
        inputs = torch.randn(32, 16)
        loss = (layer(inputs)[:, 0] - constant * inputs[:, :4].sum(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert layer.weight[0].nonzero().flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_any_width_are_trained(dtype: torch.dtype) -> None:
    model = small_net(dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    supermask = Supermask(optimizer, model=model, keep=0.5)
    before = {name: score.clone() for name, score in supermask.scores.items()}
    train(model, optimizer, range(3))
    assert not any(torch.equal(score, before[name]) for name, score in supermask.scores.items())
    # fan_in 64, keep 1/2: sqrt(2 / 64 / .5) = 1/4
    assert model[4].weight.abs().unique().tolist() == [0.0, 0.25]


def test_neither_default_dtype_nor_default_device_matter() -> None:
    model, other = small_net(), small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    Supermask(other_optimizer, model=other)
    train(other, other_optimizer, range(2))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            supermask = Supermask(optimizer, model=model)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {masked.fixed.dtype for masked in supermask.masked} == {torch.float32}
    train(model, optimizer, range(2))
    assert torch.equal(model[4].weight, other[4].weight)


def test_what_is_no_weight_is_the_optimizers() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    supermask = Supermask(optimizer, model=model, keep=0.5)
    assert [m.parameter is model[0].weight for m in supermask.masked] == [True]
    before = model[0].bias.detach().clone()
    model(torch.randn(5, 4)).square().sum().backward()
    model[0].bias.grad = torch.ones(3)
    optimizer.step()
    assert torch.allclose(model[0].bias, before - 0.1)


def test_scores_are_of_the_seed_alone() -> None:
    scores = []
    for seed, other in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(other)
        model = nn.Linear(30, 2)
        scores.append(
            Supermask(torch.optim.SGD(model.parameters()), model=model, seed=seed).scores["weight"]
        )
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])
    bound = math.sqrt(1 / 30)
    assert 0.8 * bound < scores[0].abs().max() < bound


def test_a_state_goes_on_where_it_was() -> None:
    layer, _, supermask = one_layer()
    other = nn.Linear(4, 1, bias=False)
    again = Supermask(torch.optim.SGD(other.parameters(), lr=0.5), model=other, keep=0.5, seed=9)
    again.load_state_dict(supermask.state_dict())
    assert torch.equal(other.weight, layer.weight)
    again.masked[0].score.zero_()
    assert supermask.masked[0].score.any()  # a copy


def test_detached_it_does_nothing() -> None:
    layer, optimizer, supermask = one_layer()
    supermask.detach()
    layer.weight.grad = torch.ones(1, 4)
    optimizer.step()
    assert layer.weight.tolist() == [[0.5, -1.5, -0.5, -0.5]]


@pytest.mark.parametrize("keep", [0.0, -1.0, 1.5, math.nan])
def test_refuses_a_part_out_of_range(keep: float) -> None:
    layer = nn.Linear(2, 1)
    with pytest.raises(SettingError, match=f"keep is {keep}; allowed: above 0, at most 1"):
        Supermask(torch.optim.SGD(layer.parameters()), model=layer, keep=keep)


def test_refuses_a_model_without_weights() -> None:
    layer = nn.LayerNorm(3)
    with pytest.raises(SettingError, match="nothing to mask"):
        Supermask(torch.optim.SGD(layer.parameters()), model=layer)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Linear(3, 2, dtype=torch.complex64), r"weight: dtype is torch\.complex64; allowed: fl"),
    ],
)
def test_refuses_weights_that_cannot_be_signed_constants(layer: nn.Module, text: str) -> None:
    before = layer.weight.detach().clone()
    with pytest.raises(SettingError, match=text):
        Supermask(torch.optim.SGD(layer.parameters()), model=layer)
    assert torch.equal(layer.weight, before)


def test_an_embedding_with_a_padding_row_is_left_alone() -> None:
    model = nn.Sequential(nn.Embedding(3, 2, padding_idx=0), nn.Linear(2, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(LeftAloneWarning, match=r"padding_idx must stay zero: 0\.weight$"):
        supermask = Supermask(optimizer, model=model)
    assert set(supermask.parameters) == {"1.weight"}


def test_refuses_a_state_of_other_weights() -> None:
    _, _, supermask = one_layer()
    state = supermask.state_dict()
    for broken in (state | {"version": 2}, state | {"scores": [torch.zeros(2)]}, {"version": 1}):
        with pytest.raises(CheckpointError, match=r"allowed: \[\(1, 4\)\]"):
            supermask.load_state_dict(broken)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_a_layer_without_weights_does_no_harm(shape):
    """As a pruned one."""
    model = nn.ModuleDict({"full": nn.Linear(4, 2, bias=False), "empty": nn.Linear(1, 1, False)})
    model["empty"].weight = nn.Parameter(torch.empty(shape))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    supermask = Supermask(optimizer, model=model)
    assert list(supermask.parameters) == ["full.weight"]
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert int((model["full"].weight != 0).sum()) == 4
