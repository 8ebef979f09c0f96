"""SGPerm: weights that somebody else writes never pass for initial ones."""

import copy

import pytest
import torch
from torch import nn
from training_problem import assert_same, loss_of, small_net, train, weights_of

from permtrain.errors import ChangedWeightsError, NonFiniteError
from sgperm_problem import SETTINGS, started


@pytest.mark.parametrize(
    ("num_steps", "look"),
    [(0, "step"), (0, "state_dict"), (2, "state_dict"), (2, "load_state_dict")],
)
def test_a_parameter_replaced_in_the_model_is_an_error(num_steps, look):
    model, optimizer = started({})
    train(model, optimizer, range(num_steps))
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(ChangedWeightsError, match=r"0\.weight: .* was replaced in the model"):
        getattr(optimizer, look)(*[{}] * (look == "load_state_dict"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["6.weight", "4.bias", "1.weight"])
@pytest.mark.parametrize("biases", ["row", "apart", "inner"])
def test_a_gradient_that_is_not_finite_is_refused_by_name_and_nothing_moves(bad, name, biases):
    model, optimizer = started({"search": "bracket", "biases": biases})
    train(model, optimizer, range(2))
    optimizer.zero_grad()
    loss_of(model, 2).backward()
    before = weights_of(model)
    model.get_parameter(name).grad.view(-1)[0] = bad
    with pytest.raises(NonFiniteError, match=f"^{name}: the gradient holds NaN or infinity"):
        optimizer.step()
    assert_same(before, weights_of(model))
    assert optimizer.num_steps == 2


def test_a_first_weight_that_is_not_finite_is_refused_and_can_be_mended():
    """As if the step had not been tried: the other layers' weights may be drawn anew as well."""
    model, optimizer = started({"search": "bracket"})
    loss_of(model, 0).backward()
    mended = small_net(3).state_dict()
    with torch.no_grad():
        model[6].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"^6\.weight: "):
        optimizer.step()
    model.load_state_dict(mended)
    train(model, optimizer, range(3))
    other, fresh = started({"search": "bracket"})
    other.load_state_dict(mended)
    train(other, fresh, range(3))
    assert optimizer.num_steps == 3
    assert_same(weights_of(other), weights_of(model))


def set_to_zero(model):
    nn.init.zeros_(model[4].weight)


def load_initial(model):
    model.load_state_dict(small_net(3).state_dict())


@pytest.mark.parametrize("write", [set_to_zero, load_initial])
def test_weights_written_by_others_are_refused_by_name_and_kept(settings, write):
    model, optimizer = started(settings)
    train(model, optimizer, range(2))
    write(model)
    written = weights_of(model)
    first = "4.weight" if write is set_to_zero else "0.weight"
    for look in (optimizer.step, optimizer.state_dict):
        with pytest.raises(ChangedWeightsError, match=f"^{first}: weights were changed since"):
            look()
    assert_same(written, weights_of(model))


def test_a_bias_in_a_row_that_was_written_is_refused():
    model, optimizer = started(SETTINGS["biases in the row"])
    train(model, optimizer, range(2))
    nn.init.zeros_(model[4].bias)
    with pytest.raises(ChangedWeightsError, match=r"^4\.weight: weights were changed since"):
        optimizer.step()


def test_a_new_profile_makes_them_the_initial_weights(settings):
    model, optimizer = started(settings)
    train(model, optimizer, range(2))
    load_initial(model)
    optimizer.reset_profile()
    initial = weights_of(model)
    train(model, optimizer, range(2, 5))
    for rows in optimizer._rows:
        at = rows.gathered(*(initial[name] for name in _names(model, rows)), *_no_bias(rows))
        now = rows.gathered(*rows.parameters, *_no_bias(rows))
        assert torch.equal(at.sort(dim=1).values, now.sort(dim=1).values)


def _names(model, rows):
    return [n for p in rows.parameters for n, own in model.named_parameters() if own is p]


def _no_bias(rows):
    return [] if rows.bias is not None else [None]
