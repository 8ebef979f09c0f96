"""SGPerm: what recommends moves, the gradient or an optimizer's difference."""

import pytest
import torch
from training_problem import small_net, train, weights_of

from permtrain import SGPerm, verify
from permtrain.errors import SettingError
from sgperm_problem import started


def test_the_difference_of_plain_descent_recommends_as_the_gradient_does():
    """A step of SGD loses lr g: the same signs, and the same order by size."""
    results = []
    for settings, inner in (
        ({"momentum": 0.0}, torch.optim.Adam),
        ({"recommendation": "difference"}, lambda p: torch.optim.SGD(p, lr=0.5)),
    ):
        model = small_net(0)
        optimizer = SGPerm([model[0].weight], model=None, inner=inner, search="start", **settings)
        train(model, optimizer, range(6))
        results.append(model[0].weight.detach().clone())
    assert torch.equal(*results)


def test_the_step_that_recommends_is_taken_back_and_its_state_kept():
    model, optimizer = started({"recommendation": "difference"})
    initial = weights_of(model)
    train(model, optimizer, range(3))
    assert verify(model, initial)
    state = optimizer.inner.state[model[0].weight]
    assert state["step"] == 3
    assert not torch.equal(model[0].bias, initial["0.bias"])


def test_a_bias_whose_weights_are_frozen_is_left_alone_by_what_recommends():
    """Its row does not move, and the step that recommends must not change it for good."""
    model, optimizer = started({"recommendation": "difference", "biases": "row"})
    initial = weights_of(model)
    model[0].weight.requires_grad_(False)
    train(model, optimizer, range(3))
    assert torch.equal(model[0].bias, initial["0.bias"])
    assert not torch.equal(model[4].bias, initial["4.bias"])


def test_a_difference_needs_an_optimizer():
    model = small_net()
    with pytest.raises(SettingError, match="allowed without inner: momentum"):
        SGPerm(model.parameters(), model=None, recommendation="difference")
    with pytest.raises(SettingError, match="recommendation is 'sum'; allowed: momentum, differ"):
        SGPerm(model.parameters(), model=None, recommendation="sum")
