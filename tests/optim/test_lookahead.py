"""The baseline's library keeps to Lookahead's rule: Zhang et al. 2019, Algorithm 1."""

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

from permtrain.lab.training.optimizers import make_optimizer
from permtrain.lab.training.settings import OptimizerSettings, PermutationSettings, Settings
from permtrain.optim.frozen_zeros import FrozenZeros


def settings_of(**optimizer) -> Settings:
    return Settings(
        permutation=PermutationSettings(method="plain"), optimizer=OptimizerSettings(**optimizer)
    )


ADAM = settings_of(lr=0.01, lookahead_period=3)


def test_by_hand() -> None:
    layer = one_vector([0.0, 4.0])
    optimizer = make_optimizer(settings_of(inner="SGD", lr=1.0, lookahead_period=2), layer)
    assert step_with_gradient(layer, optimizer, [1.0, 0.0]) == [-1.0, 4.0]
    # Fast weights -2 and 2: the slow ones go half of the way, from 0 and 4.
    assert step_with_gradient(layer, optimizer, [1.0, 2.0]) == [-1.0, 3.0]
    assert step_with_gradient(layer, optimizer, [-1.0, 1.0]) == [0.0, 2.0]
    assert step_with_gradient(layer, optimizer, [-3.0, 1.0]) == [1.0, 2.0]  # of -1 to 3, 3 to 1


@pytest.mark.parametrize(("period", "part"), [(1, 0.5), (6, 0.5), (4, 0.8), (2, 0.25)])
def test_it_equals_a_slow_version(period: int, part: float) -> None:
    """Slow weights begin at the first ones; Adam's own state goes on through synchronisations."""
    model, other = small_net(dtype=torch.float64), small_net(dtype=torch.float64)
    settings = settings_of(lr=0.01, l2=0.1, lookahead_period=period, lookahead_step=part)
    optimizer = make_optimizer(settings, model)
    inner = make_optimizer(settings_of(lr=0.01, l2=0.1), other)
    slow = [parameter.detach().clone() for parameter in other.parameters()]
    for step in range(1, 14):
        train(model, optimizer, range(step, step + 1))
        inner.zero_grad()
        loss_of(other, step).backward()
        inner.step()
        if step % period == 0:
            with torch.no_grad():
                for parameter, slow_parameter in zip(other.parameters(), slow, strict=True):
                    slow_parameter += part * (parameter - slow_parameter)
                    parameter.copy_(slow_parameter)
        # Adam makes steps of 0.01 out of the rounding of a gradient that is nearly zero.
        for left, right in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-9)


@pytest.mark.parametrize("saved_at", [0, 2, 3, 4])
def test_a_saved_state_goes_on_bit_for_bit(saved_at: int, tmp_path) -> None:
    model = small_net()
    optimizer = make_optimizer(ADAM, model)
    train(model, optimizer, range(saved_at))
    torch.save([x.state_dict() for x in (model, optimizer)], tmp_path / "state.pt")
    states = torch.load(tmp_path / "state.pt", weights_only=True)
    other = small_net(3)
    other_optimizer = make_optimizer(ADAM, other)
    for part, state in zip((other, other_optimizer), states, strict=True):
        part.load_state_dict(state)
    train(model, optimizer, range(saved_at, 8))
    train(other, other_optimizer, range(saved_at, 8))
    assert_same(weights_of(model), weights_of(other))


def test_held_zeros_are_zero_in_the_slow_weights_too() -> None:
    model: nn.Module = small_net()
    with torch.no_grad():
        model[4].weight[:, ::2] = 0.0
    optimizer = make_optimizer(ADAM, model)
    FrozenZeros(optimizer)
    train(model, optimizer, range(7))
    assert not model[4].weight[:, ::2].any()
    assert model[4].weight[:, 1::2].all()
