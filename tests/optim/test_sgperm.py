"""SGPerm as an optimizer: the contract, and its own settings. The search is in tests/graph."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from permtrain import Cut, SGPerm, verify
from permtrain.core.threads import ranges
from permtrain.errors import (
    ChangedWeightsError,
    CheckpointError,
    GranularityError,
    NonFiniteError,
    SettingError,
)
from permtrain.graph import search as graph_search
from permtrain.graph.partition import equal_subsets
from permtrain.graph.search import lay_out_, permute_ranks_
from permtrain.optim.sgperm import AUTHORS_CODE, PUBLISHED
from training_problem import LAYOUTS, assert_same, loss_of, small_net, train, weights_of

SETTINGS = {
    "start": {"search": "start"},
    "any-farthest": {"search": "any", "order": "farthest"},
    "bracket": {"search": "bracket"},
    "pair": {"search": "pair"},
    "authors": AUTHORS_CODE,
    "biases in the row": {"biases": "row", "search": "bracket"},
    "per layer": {"granularity": "layer", "search": "bracket"},
    "difference": {"search": "start", "recommendation": "difference"},
    "difference, biases in the row": {"recommendation": "difference", "biases": "row"},
}


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


def started(settings, seed=0):
    model = small_net(seed)
    bold = {"aggressiveness": 0.3, "aggressiveness_min": 0.1, "partition_ratio": 0.1}
    optimizer = SGPerm(model.parameters(), model=model, inner=adam, **(bold | settings))
    return model, optimizer


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
    biases = settings.get("biases") == "apart"
    for step in range(10):
        train(model, optimizer, range(step, step + 1))
        assert verify(model, initial, rule, permute_biases=biases)
    assert not torch.equal(model[4].weight, initial["4.weight"])


def test_one_step_is_the_search_along_the_momentum():
    model = small_net()
    rule = {"4.weight": "neuron"}
    optimizer = SGPerm(model.parameters(), model=model, granularity=rule, seed=3, **PUBLISHED)
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
    optimizer = SGPerm([model[0].weight], **approach)
    momentum = torch.zeros_like(model[0].weight)
    for step, factor in enumerate((0.75, 0.8, 0.8)):
        train(model, optimizer, range(step, step + 1))
        momentum = factor * momentum + model[0].weight.grad
        assert torch.equal(optimizer.state[model[0].weight]["momentum"], momentum)


def test_dampening_scales_the_gradient():
    """r = .01 g + .9 m, as in the authors' code."""
    model, optimizer = started(AUTHORS_CODE)
    momentum = torch.zeros_like(model[0].weight)
    for step in range(3):
        train(model, optimizer, range(step, step + 1))
        momentum = 0.9 * momentum + (1 - 0.99) * model[0].weight.grad
        found = optimizer.state[model[0].weight]["momentum"]
        assert torch.allclose(found, momentum, rtol=1e-5, atol=0)


def test_a_momentum_above_the_cap_stays():
    model = small_net()
    optimizer = SGPerm([model[0].weight], momentum=0.99)
    train(model, optimizer, range(3))
    assert optimizer.param_groups[0]["current_momentum"] == 0.99


def test_training_lowers_the_loss():
    model, optimizer = started({"search": "bracket"})
    before = loss_of(model, 0).item()
    for _ in range(80):
        train(model, optimizer, range(1))
    assert loss_of(model, 0).item() < 0.6 * before


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


def test_the_same_however_rows_are_shared_out(settings, monkeypatch):
    results = []
    for num_pieces in (1, 5):  # torch's own sums depend on the number of threads
        pieces = lambda V, L, are_alike, n=num_pieces: ranges(V, n)  # noqa: E731
        monkeypatch.setattr(graph_search, "_pieces", pieces)
        model, optimizer = started(settings)
        train(model, optimizer, range(5))
        results.append(weights_of(model))
    assert_same(*results)


def test_another_seed_permutes_otherwise():
    results = []
    for seed in (0, 1):
        model, optimizer = started({"search": "bracket", "seed": seed})
        train(model, optimizer, range(3))
        results.append(weights_of(model)["4.weight"])
    assert not torch.equal(*results)


def test_what_is_not_permuted_is_the_inner_optimizers():
    model, optimizer = started({"search": "bracket"})
    before = weights_of(model)
    train(model, optimizer, range(2))
    after = weights_of(model)
    assert all(not torch.equal(before[name], after[name]) for name in ("0.bias", "1.weight"))
    alone = small_net()
    bare = SGPerm(alone.parameters(), search="bracket")
    train(alone, bare, range(2))
    assert bare.inner is None
    assert torch.equal(alone[0].bias, before["0.bias"])


def test_a_learning_rate_schedule_is_ignored():
    model, optimizer = started({"search": "bracket"})
    other, plain = started({"search": "bracket"})
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    train(model, optimizer, range(4), lambda step: schedule.step())
    train(other, plain, range(4))
    assert_same(weights_of(model), weights_of(other))


def test_aggressiveness_decays_to_its_floor_and_the_partition_grows_to_its_cap():
    model = small_net()
    optimizer = SGPerm(
        model.parameters(),
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


def test_frozen_parameters_missing_gradients_and_accumulation():
    model, optimizer = started({"search": "bracket"})
    model[4].weight.requires_grad_(False)
    before = weights_of(model)
    for step in range(4):
        loss_of(model, step).backward()
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert optimizer.num_steps == 2
    assert torch.equal(model[4].weight, before["4.weight"])
    assert not torch.equal(model[0].weight, before["0.weight"])


def test_strides_make_no_difference(settings):
    how = {"search": "bracket"} | {k: v for k, v in settings.items() if k != "biases"}
    first = torch.randn(4, 3, 3, 2)
    gradients = torch.randn(9, *first.shape)
    ends = []
    for laid_out in LAYOUTS.values():
        weight = nn.Parameter(laid_out(first.clone()))
        optimizer = SGPerm([weight], inner=adam, **how)
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
    optimizer = SGPerm(parameters, inner=adam, **how)
    before = parameters[0].detach().clone()
    for _ in range(5):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert parameters[0].sort(1).values.equal(before.sort(1).values) or "granularity" in how
    assert not parameters[0].equal(before)
    assert parameters[1].shape == shape


def test_a_closure_is_evaluated_once_before_the_step():
    model, optimizer = started({"search": "bracket"})
    other, plain = started({"search": "bracket"})

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == loss_of(small_net(), 0).item()
    train(other, plain, range(1))
    assert_same(weights_of(model), weights_of(other))


def test_a_group_added_later_has_its_own_settings():
    model = small_net()
    optimizer = SGPerm(model[:6].parameters(), model=model, inner=adam, search="bracket")
    train(model, optimizer, range(2))
    optimizer.add_param_group(
        {"params": list(model[6].parameters()), "granularity": "layer", "search": "pair"}
    )
    before = weights_of(model)
    train(model, optimizer, range(2, 6))
    assert optimizer.views["6.weight"].granularity == "layer"
    assert verify(model, before, {"6.weight": "layer", "4.weight": "neuron"})


def test_the_first_parameters_that_are_left_alone_make_the_inner_optimizer_late_too():
    model = small_net()
    optimizer = SGPerm([model[4].weight], model=model, inner=adam)
    assert optimizer.inner is None
    optimizer.add_param_group({"params": model[6].parameters()})
    assert optimizer.inner is not None
    before = weights_of(model)
    train(model, optimizer, range(3))
    assert not torch.equal(model[6].bias, before["6.bias"])
    optimizer.add_param_group({"params": model[0].parameters()})
    train(model, optimizer, range(3, 6))
    assert not torch.equal(model[0].bias, before["0.bias"])


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_step_gives_the_same():
    model, optimizer = started({})
    other, other_optimizer = started({})
    step = torch.compile(optimizer.step, backend="eager")
    for number in range(4):
        optimizer.zero_grad()
        loss_of(model, number).backward()
        step()
    train(other, other_optimizer, range(4))
    # The inner optimizer's arithmetic is rounded otherwise where it is compiled.
    torch.testing.assert_close(weights_of(model), weights_of(other), rtol=1e-5, atol=1e-6)


def test_a_layer_made_after_the_optimizer_has_its_name_and_its_layout():
    model = nn.Sequential(nn.Linear(6, 4))
    optimizer = SGPerm(model.parameters(), model=model)
    model.append(nn.ConvTranspose2d(4, 6, 3, groups=2))
    optimizer.add_param_group({"params": model[1].parameters()})
    assert optimizer.views["1.weight"].num_vectors == 6


def test_a_model_of_other_parameters_is_refused():
    with pytest.raises(SettingError, match="group 0, parameter 0 of the optimizer is no parameter"):
        SGPerm(nn.Linear(4, 3).parameters(), model=nn.Linear(4, 3))


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


def test_two_parameters_of_one_name_are_refused():
    layers = [nn.Linear(6, 4), nn.Linear(6, 4)]
    with pytest.raises(SettingError, match="two parameters of the optimizer are called weight;"):
        SGPerm([{"params": list(each.named_parameters())} for each in layers])


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    model = small_net()
    optimizer = SGPerm([model[4].weight], model=model, inner=adam)
    group = {"params": list(model[6].parameters())}
    with pytest.raises(SettingError, match="search is 'brackets'"):
        optimizer.add_param_group(group | {"search": "brackets"})
    assert list(optimizer.views) == ["4.weight"]
    optimizer.add_param_group(group)
    assert list(optimizer.views) == ["4.weight", "6.weight"]
    train(model, optimizer, range(2))


def test_a_bias_of_another_dtype_than_its_row_is_refused():
    """Its values would be rounded where they move into weights."""
    model = nn.Linear(4, 3)
    model.bias = nn.Parameter(model.bias.detach().double())
    with pytest.raises(
        GranularityError, match=r"bias is torch\.float64; allowed with biases 'row'"
    ):
        SGPerm(model.parameters(), model=model, biases="row")


@pytest.mark.parametrize("weight_first", [True, False])
def test_a_bias_of_a_row_in_another_group_is_refused(weight_first):
    """As where biases get no weight decay; it would be left out of its row unseen."""
    model = small_net()
    groups = [{"params": [model[4].weight]}, {"params": [model[6].weight, model[4].bias]}]
    groups = groups if weight_first else groups[::-1]
    with pytest.raises(SettingError, match=r"4\.bias and its weight are in different parameter gr"):
        SGPerm(groups, model=model, biases="row")
    SGPerm(groups, model=model, biases="apart")
    SGPerm([model[4].weight], model=model, biases="row")  # a bias that is not there stays


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


# --- weights written by others --------------------------------------------------------------------


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


def test_a_state_from_before_the_first_step_takes_the_weights_as_they_are():
    _, optimizer = started({"search": "bracket"})
    other, other_optimizer = started({"search": "bracket"}, seed=5)
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    initial = weights_of(other)
    train(other, other_optimizer, range(3))
    other_optimizer.state_dict()
    assert verify(other, {name: initial[name] for name in other_optimizer.views})


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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"aggressiveness": 0}, "aggressiveness is 0; allowed: above 0, at most 1"),
        ({"aggressiveness": 1.5}, "aggressiveness is 1.5; allowed: above 0, at most 1"),
        ({"aggressiveness_min": 0.5}, "aggressiveness_min is 0.5; allowed: at most"),
        ({"partition_ratio": -0.1}, "partition_ratio is -0.1; allowed: above 0"),
        ({"partition_ratio_max": 0.01}, "partition_ratio_max is 0.01; allowed: at least"),
        ({"partition_ratio_growth": 0.9}, "partition_ratio_growth is 0.9; allowed: 1 or more"),
        ({"momentum": 1.0}, "momentum is 1.0; allowed: 0 to 1, without 1"),
        ({"search": "brackets"}, "search is 'brackets'; allowed: start, any, authors, bracket"),
        ({"order": "near"}, "order is 'near'; allowed: nearest"),
        ({"search": "pair", "order": "random"}, "order is 'random'; allowed with search 'pair'"),
        ({"biases": "no"}, "biases is 'no'; allowed: row, apart, inner"),
        ({"biases": "row", "model": None}, "biases is 'row'; allowed without model: inner"),
        ({"seed": -1}, "seed is -1; allowed: 0 to"),
        ({"granularity": {"*": None}}, "leaves every parameter of the optimizer alone"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, message):
    model = small_net()
    with pytest.raises(SettingError, match=message):
        SGPerm(model.parameters(), **({"model": model} | setting))


def test_rows_of_one_weight_and_half_precision_are_refused_by_name():
    with pytest.raises(GranularityError, match="group 0, parameter 0: granularity is 'neuron'"):
        SGPerm(nn.Linear(1, 4).parameters())
    model = small_net(dtype=torch.bfloat16)
    with pytest.raises(GranularityError, match=r"0\.weight: dtype is torch\.bfloat16"):
        SGPerm(model.parameters(), model=model)


def test_biases_that_are_not_one_for_each_row_are_refused_by_name():
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].bias = nn.Parameter(torch.zeros(4))
    with pytest.raises(
        GranularityError, match=r"0\.bias has 4 values; allowed with biases 'row': 3"
    ):
        SGPerm(model.parameters(), model=model, biases="row")


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


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.0}, {"biases": "row"}], ids=str)
def test_the_made_up_step_of_distributed_checkpointing_is_inert(settings):
    model, optimizer = started(settings)
    other, other_optimizer = started(settings)
    get_optimizer_state_dict(model, optimizer)
    assert optimizer.num_steps == 0
    model.load_state_dict(weights_of(small_net(5)))  # still before the first step
    other.load_state_dict(weights_of(small_net(5)))
    train(model, optimizer, range(4))
    train(other, other_optimizer, range(4))
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


# --- what recommends ------------------------------------------------------------------------------


def test_the_difference_of_plain_descent_recommends_as_the_gradient_does():
    """A step of SGD loses lr g: the same signs, and the same order by size."""
    results = []
    for settings, inner in (
        ({"momentum": 0.0}, torch.optim.Adam),
        ({"recommendation": "difference"}, lambda p: torch.optim.SGD(p, lr=0.5)),
    ):
        model = small_net(0)
        optimizer = SGPerm([model[0].weight], inner=inner, search="start", **settings)
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
        SGPerm(model.parameters(), recommendation="difference")
    with pytest.raises(SettingError, match="recommendation is 'sum'; allowed: momentum, differ"):
        SGPerm(model.parameters(), recommendation="sum")
