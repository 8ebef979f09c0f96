"""SGPerm: what a step does. The search itself is in tests/graph."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from training_problem import LAYOUTS, assert_same, loss_of, small_net, train, weights_of

from permtrain import SGPerm, verify
from permtrain.core.threads import ranges
from permtrain.errors import SettingError
from permtrain.graph import search as graph_search
from permtrain.graph.partition import equal_subsets
from permtrain.graph.search import lay_out_, permute_ranks_
from permtrain.optim.sgperm_settings import SGPERM_AUTHORS_CODE, SGPERM_PUBLISHED
from sgperm_problem import adam, started


def test_every_step_leaves_exactly_the_initial_values_and_moves_some(settings):
    model, optimizer = started(settings)
    initial = weights_of(model)
    if settings.get("biases") == "row":  # the invariant is over weights and bias together
        for step in range(10):
            train(model, optimizer, range(step, step + 1))
            for name in ("0", "4", "6"):
                before, after = (
                    torch.cat([w[f"{name}.weight"].flatten(1), w[f"{name}.bias"][:, None]], dim=1)
                    for w in (initial, weights_of(model))
                )
                assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)
        return
    rule = settings.get("granularity", "neuron")
    biases = settings.get("biases", "inner")
    for step in range(10):
        train(model, optimizer, range(step, step + 1))
        assert verify(model, initial, granularity=rule, biases=biases)
    assert not torch.equal(model[4].weight, initial["4.weight"])


def test_one_step_is_the_search_along_the_momentum():
    model = small_net()
    rule = {"4.weight": "neuron"}
    optimizer = SGPerm(
        model.parameters(), model=model, granularity=rule, seed=3, **SGPERM_PUBLISHED
    )
    weight = model[4].weight
    momentum = torch.zeros_like(weight)
    alpha, ratio = 0.07, 0.05
    for step in range(1, 4):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        momentum = 0.9 * momentum + weight.grad
        alpha, ratio = max(0.985 * alpha, 0.005), min(ratio / 0.995, 0.1)
        values, order = weight.detach().sort(dim=1, stable=True)
        slots = order.to(torch.int32)
        sizes = equal_subsets(64, ratio)
        permute_ranks_(
            values,
            slots,
            momentum,
            search="start",
            aggressiveness=alpha,
            sizes=sizes,
            seed=3,
            step=step,
        )
        expected = lay_out_(torch.empty(10, 64), values, slots)
        optimizer.step()
        assert torch.equal(weight, expected)


def test_the_momentum_grows_to_its_cap():
    model = small_net()
    approach = {"momentum": 0.5, "momentum_approach": 0.5, "momentum_max": 0.8}
    optimizer = SGPerm([model[0].weight], model=None, **approach)
    momentum = torch.zeros_like(model[0].weight)
    for step, factor in enumerate((0.75, 0.8, 0.8)):
        train(model, optimizer, range(step, step + 1))
        momentum = factor * momentum + model[0].weight.grad
        assert torch.equal(optimizer.state[model[0].weight]["momentum"], momentum)


def test_dampening_scales_the_gradient():
    """r = .01 g + .9 m, as in the authors' code."""
    model, optimizer = started(SGPERM_AUTHORS_CODE)
    momentum = torch.zeros_like(model[0].weight)
    for step in range(3):
        train(model, optimizer, range(step, step + 1))
        momentum = 0.9 * momentum + (1 - 0.99) * model[0].weight.grad
        found = optimizer.state[model[0].weight]["momentum"]
        assert torch.allclose(found, momentum, rtol=1e-5, atol=0)


def test_a_momentum_above_the_cap_stays():
    model = small_net()
    optimizer = SGPerm([model[0].weight], model=None, momentum=0.99)
    train(model, optimizer, range(3))
    assert optimizer.param_groups[0]["current_momentum"] == 0.99


def test_training_lowers_the_loss():
    model, optimizer = started({"search": "bracket"})
    before = loss_of(model, 0).item()
    for _ in range(80):
        train(model, optimizer, range(1))
    assert loss_of(model, 0).item() < 0.6 * before


def test_the_same_however_rows_are_shared_out(settings, monkeypatch):
    def trained_in(num_pieces):  # torch's own sums depend on the number of threads
        monkeypatch.setattr(graph_search, "_pieces", lambda V, L, are_alike: ranges(V, num_pieces))
        model, optimizer = started(settings)
        train(model, optimizer, range(5))
        return weights_of(model)

    assert_same(trained_in(1), trained_in(5))


def test_another_seed_permutes_otherwise():
    results = []
    for seed in (0, 1):
        model, optimizer = started({"search": "bracket", "seed": seed})
        train(model, optimizer, range(3))
        results.append(weights_of(model)["4.weight"])
    assert not torch.equal(*results)


def test_aggressiveness_decays_to_its_floor_and_the_partition_grows_to_its_cap():
    model = small_net()
    optimizer = SGPerm(
        model.parameters(),
        model=model,
        aggressiveness=0.4,
        aggressiveness_decay=0.5,
        aggressiveness_min=0.15,
        partition_ratio=0.1,
        partition_ratio_growth=2,
        partition_ratio_max=0.3,
        search="bracket",
    )
    seen = []
    group = optimizer.param_groups[0]
    train(
        model,
        optimizer,
        range(3),
        lambda step: seen.append(
            (group["current_aggressiveness"], group["current_partition_ratio"])
        ),
    )
    assert seen == [(0.2, 0.2), (0.15, 0.3), (0.15, 0.3)]


def test_strides_make_no_difference(settings):
    how = {"search": "bracket"} | {k: v for k, v in settings.items() if k != "biases"}
    first = torch.randn(4, 3, 3, 2)
    gradients = torch.randn(9, *first.shape)
    ends = []
    for laid_out in LAYOUTS.values():
        weight = nn.Parameter(laid_out(first.clone()))
        optimizer = SGPerm([weight], model=None, inner=adam, **how)
        for gradient in gradients:
            weight.grad = torch.empty_like(weight).copy_(gradient)
            optimizer.step()
        ends.append(weight.detach().contiguous())
    assert all(torch.equal(ends[0], end) for end in ends)
    assert not torch.equal(ends[0], first)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_a_layer_without_weights_does_no_harm(settings, shape):
    """As a pruned one: others move as they would without it, and it is saved and loaded."""
    parameters = [nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.empty(shape))]
    how = {"search": "bracket"} | {k: v for k, v in settings.items() if k != "biases"}
    optimizer = SGPerm(parameters, model=None, inner=adam, **how)
    before = parameters[0].detach().clone()
    for _ in range(5):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    whole = settings.get("granularity") == "layer"
    now, then = (w.flatten()[None] if whole else w for w in (parameters[0], before))
    assert now.sort(1).values.equal(then.sort(1).values)
    assert not parameters[0].equal(before)
    assert parameters[1].shape == shape


def test_equal_layers_do_not_draw_equal_partitions():
    model = nn.Sequential(nn.Linear(64, 4), nn.Linear(64, 4))
    model[1].load_state_dict(model[0].state_dict())
    settings = {"search": "bracket", "aggressiveness": 0.5, "partition_ratio": 0.1}
    optimizer = SGPerm(model.parameters(), model=model, **settings)
    gradient = torch.randn(4, 64)
    for layer in model:
        layer.weight.grad = gradient.clone()
    optimizer.step()
    assert not torch.equal(model[0].weight, model[1].weight)


DECAYING = {"aggressiveness": 0.5, "aggressiveness_min": 0.01, "aggressiveness_decay": 0.5}


def test_a_changed_aggressiveness_counts_from_the_next_step_on():
    model, optimizer = started(DECAYING)
    group = optimizer.param_groups[0]
    train(model, optimizer, range(3))
    assert group["current_aggressiveness"] == 0.0625
    group["aggressiveness"] = np.float32(0.25)
    train(model, optimizer, range(3, 5))
    assert group["current_aggressiveness"] == 0.0625
    group["aggressiveness_min"] = 0.05  # the decay goes on
    train(model, optimizer, range(5, 6))
    assert group["current_aggressiveness"] == 0.05


def test_a_changed_aggressiveness_is_in_a_state_saved_before_the_next_step():
    model, optimizer = started(DECAYING)
    train(model, optimizer, range(3))
    optimizer.param_groups[0]["aggressiveness"] = 0.25
    other, other_optimizer = started(DECAYING)
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(model.state_dict())
    train(other, other_optimizer, range(3, 4))
    assert other_optimizer.param_groups[0]["current_aggressiveness"] == 0.125


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggressiveness": 0.0}, "aggressiveness is 0.0; allowed: above 0, at most 1"),
        ({"search": "sarch"}, "search is 'sarch'; allowed: start, any"),
        ({"momentum": 1.0}, "momentum is 1.0; allowed: 0 to 1, without 1"),
        ({"granularity": "layer"}, "granularity is 'layer', and was 'neuron' when"),
    ],
)
def test_a_change_that_is_not_allowed_is_refused_before_anything_moves(change, message):
    model, optimizer = started({})
    train(model, optimizer, range(2))
    before = dict(optimizer.param_groups[0])
    optimizer.param_groups[0].update(change)
    with pytest.raises(SettingError, match=f"^{message}"):
        train(model, optimizer, range(2, 3))
    assert optimizer.num_steps == 2
    assert optimizer.param_groups[0] == before
    train(model, optimizer, range(2, 3))


def test_numbers_of_numpy_are_taken_and_saved_as_pythons():
    settings = {"seed": np.int64(3), "aggressiveness": np.float32(0.5), "momentum": np.float64(0.5)}
    model, optimizer = started(settings)
    plain_model, plain = started({name: value.item() for name, value in settings.items()})
    train(model, optimizer, range(3))
    train(plain_model, plain, range(3))
    assert_same(weights_of(model), weights_of(plain_model))
    torch.save(optimizer.state_dict(), file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=True)["permutation"]["seed"] == 3
