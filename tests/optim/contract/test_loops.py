"""The contract of permuters: loops as they are written."""

import copy

import pytest
import torch
from torch import nn
from training_problem import assert_same, batch, loss_of, small_net, train, weights_of

from permtrain import LaPerm, verify
from permtrain.errors import ChangedWeightsError, SettingError
from permuter_problem import started


def test_a_learning_rate_schedule_reaches_the_inner_optimizer(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    train(model, optimizer, range(6), lambda step: schedule.step())
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert permuter.num_steps == 6


@pytest.mark.filterwarnings("ignore:.* is in mid-period")
def test_gradient_accumulation_counts_optimizer_steps(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    for step in range(8):
        loss_of(model, step).backward()
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert permuter.num_steps == 4
    assert bool(verify(model, permuter)) == (4 % permuter.sync_period == 0)


@pytest.mark.parametrize("fused", [False, True])
def test_steps_skipped_by_the_grad_scaler_do_not_count(permuter_of, fused):
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    permuter = permuter_of(optimizer, model=model)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step in range(9):
        optimizer.zero_grad()
        scaler.scale(loss_of(model, step)).backward()
        if step in (3, 4):
            model[4].weight.grad[0, 0] = float("inf")
        before = weights_of(model)
        scaler.step(optimizer)
        scaler.update()
        if step in (3, 4):
            assert_same(weights_of(model), before)
    assert permuter.num_steps == 7


def test_a_step_captured_in_a_cuda_graph_is_refused(permuter_of, monkeypatch):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(1))
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_initialized", lambda: True)
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        with pytest.raises(SettingError, match="captured in a CUDA graph"):
            permuter._before_step(optimizer, (optimizer,), {})
    train(model, optimizer, range(1, 2))
    assert permuter.num_steps == 2


def test_frozen_parameters_and_missing_gradients_are_kept(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    model[4].weight.requires_grad_(False)
    before = weights_of(model)["4.weight"]
    if permuter.granularity == "across":  # other layers' values would move in
        with pytest.raises(
            SettingError, match=r"^4\.weight is frozen; allowed with granularity 'a"
        ):
            train(model, optimizer, range(1))
        model[4].weight.requires_grad_(True)
    train(model, optimizer, range(12))
    assert torch.equal(model[4].weight, before) != model[4].weight.requires_grad
    model[0].weight.grad = None
    model[6].weight.grad = None
    optimizer.step()
    assert permuter.num_steps == 13


def test_a_group_added_later_is_permuted_from_the_values_it_came_with(permuter_of):
    model = small_net()
    optimizer = torch.optim.Adam(model[:6].parameters(), lr=0.01)
    permuter = permuter_of(optimizer, model=model)
    before = weights_of(model)
    train(model, optimizer, range(2))
    optimizer.add_param_group({"params": model[6].parameters()})
    assert torch.equal(before["6.weight"], model[6].weight)
    train(model, optimizer, range(2, 12))
    assert "6.weight" in {tensor.name for tensor in permuter.tensors}
    assert verify(model, permuter)
    granularity = permuter.tensors[-1].cut.granularity
    rule = granularity if granularity == "across" else {"6.weight": granularity}
    assert verify(model, before, granularity=rule)


def test_a_state_with_a_later_group_loads_into_new_objects(permuter_of):
    def new(seed):
        model = small_net(seed)
        optimizer = torch.optim.Adam(model[:6].parameters(), lr=0.01)
        permuter = permuter_of(optimizer, model=model)
        optimizer.add_param_group({"params": model[6].parameters()})
        return model, optimizer, permuter

    model, optimizer, permuter = new(0)
    train(model, optimizer, range(5))
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, permuter)])
    other, other_optimizer, other_permuter = new(7)
    for part, state in zip((other, other_optimizer, other_permuter), states, strict=True):
        part.load_state_dict(state)
    train(model, optimizer, range(5, 11))
    train(other, other_optimizer, range(5, 11))
    assert_same(weights_of(model), weights_of(other))


def test_a_layer_made_after_attaching_has_its_name_and_its_layout(permuter_of):
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = permuter_of(optimizer, model=model)
    model.append(nn.ConvTranspose1d(6, 4, 3))
    optimizer.add_param_group({"params": model[7].parameters(), "granularity": "neuron"})
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    view = permuter.tensors[-1].cut
    assert permuter.tensors[-1].name == "7.weight"
    assert (view.num_vectors, view.vector_length) == (4, 18)


def test_a_model_of_other_parameters_is_refused(permuter_of):
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(SettingError, match="group 0, parameter 0 of the optimizer is no parameter"):
        permuter_of(optimizer, model=small_net())


def test_blocks_of_arranged_may_be_nested_but_not_looked_through(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(6))
    training = weights_of(model)
    with permuter.arranged(), permuter.arranged():
        assert verify(model, permuter)
        for look in (permuter.state_dict, permuter.synchronize, permuter.reset_profile):
            with pytest.raises(ChangedWeightsError, match="leave the block first"):
                look()
        with pytest.raises(ChangedWeightsError, match="leave the block first"):
            copy.deepcopy(permuter)
        with pytest.raises(ChangedWeightsError, match="leave the block first"):
            optimizer.step()
    assert_same(weights_of(model), training)


def test_weights_written_inside_arranged_are_an_error_and_training_goes_on():
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    permuter = LaPerm(optimizer, sync_period=4, model=model)
    train(model, optimizer, range(6))
    training = weights_of(model)
    message = r"0\.weight: weights were changed inside"
    with pytest.raises(ChangedWeightsError, match=message), permuter.arranged():
        nn.init.ones_(model[0].weight)
    assert_same(weights_of(model), training)
    train(model, optimizer, range(6, 8))
    assert verify(model, permuter)


def test_a_sync_period_set_wrongly_later_is_refused_before_the_step(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    before = weights_of(model)["4.weight"]
    optimizer.param_groups[0]["sync_period"] = 0
    with pytest.raises(SettingError, match="sync_period is 0"):
        train(model, optimizer, range(2, 3))
    assert torch.equal(model[4].weight, before)
    assert permuter.num_steps == 2


def test_groups_keep_their_own_settings(permuter_of):
    model = small_net()
    optimizer = torch.optim.SGD(
        [
            {"params": [model[0].weight], "lr": 0.5},
            {"params": [model[4].weight], "granularity": "layer", "sync_period": 5},
            {"params": [model[6].weight], "granularity": None},
        ],
        lr=0.01,
    )
    permuter = permuter_of(optimizer, model=model)
    views = {tensor.name: tensor.cut.granularity for tensor in permuter.tensors}
    assert views["4.weight"] == "layer"
    assert "6.weight" not in views
    before = weights_of(model)
    train(model, optimizer, range(5))
    assert torch.equal(
        model[4].weight.detach().flatten().sort().values, before["4.weight"].flatten().sort().values
    )
    assert not torch.equal(
        model[6].weight.detach().flatten().sort().values, before["6.weight"].flatten().sort().values
    )


def test_a_groups_patterns_are_held_against_all_of_its_parameters(permuter_of):
    model = small_net()
    rule = {"0.*": "layer", "4.weight": "neuron", "[0-9].bias": None}
    groups = [
        {"params": [*model[0].parameters(), *model[4].parameters()], "granularity": rule},
        {"params": model[6].parameters(), "granularity": {"*.weight": "layer"}},
    ]
    permuter = permuter_of(torch.optim.SGD(groups, lr=0.01), model=model)
    views = {tensor.name: tensor.cut.granularity for tensor in permuter.tensors}
    assert views == {
        "0.weight": "layer", "0.bias": "layer", "4.weight": "neuron", "6.weight": "layer",
    }  # fmt: skip
    groups[1]["granularity"] = {"4.weight": "layer"}
    with pytest.raises(SettingError, match=r"'4.weight' matches no param.* are: 6.weight, 6.bias"):
        permuter_of(torch.optim.SGD(groups, lr=0.01), model=model)


@pytest.mark.parametrize(
    "schedule", [None, lambda step: (None, None, 1, 1, 3, 3, 3, None)[step - 1]]
)
def test_a_closure_gives_what_the_loop_without_one_does(permuter_of, schedule):
    own = {} if schedule is None else {"sync_period": schedule}
    model, optimizer, permuter = started(permuter_of, **own)
    other, other_optimizer, _ = started(permuter_of, **own)
    for step in range(8):

        def closure(step=step):
            optimizer.zero_grad()
            loss = loss_of(model, step)
            loss.backward()
            return loss

        expected = loss_of(copy.deepcopy(other), step)
        assert optimizer.step(closure).item() == expected.item()
        train(other, other_optimizer, range(step, step + 1))
        assert_same(weights_of(model), weights_of(other))
    assert permuter.num_steps == 8


def test_the_made_up_step_of_distributed_checkpointing_is_inert(permuter_of):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    model, optimizer, permuter = started(permuter_of)
    before = weights_of(model)
    get_optimizer_state_dict(model, optimizer)
    assert optimizer.state  # the made-up step was made
    assert permuter.num_steps == 0
    assert_same(weights_of(model), before)
    model.load_state_dict(small_net(5).state_dict())
    train(model, optimizer, range(12))
    assert verify(model, weights_of(small_net(5)), granularity=permuter.granularity)


def test_a_learning_rate_of_zero_still_counts_a_real_step(permuter_of):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    permuter = permuter_of(optimizer)
    train(model, optimizer, range(3))
    assert permuter.num_steps == 3


def test_a_tied_weight_is_permuted_once(permuter_of):
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    permuter = permuter_of(optimizer, model=model)
    for step in range(12):
        optimizer.zero_grad()
        model(batch(step)[0].flatten(1)[:, :6]).square().sum().backward()
        optimizer.step()
    assert [tensor.name for tensor in permuter.tensors] == ["0.weight"]
    assert verify(model, permuter)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_step_gives_the_same(permuter_of):
    model, optimizer, permuter = started(permuter_of, inner="sgd")
    other, other_optimizer, _ = started(permuter_of, inner="sgd")
    step = torch.compile(optimizer.step, backend="eager")
    for k in range(5):
        optimizer.zero_grad()
        loss_of(model, k).backward()
        step()
    train(other, other_optimizer, range(5))
    assert permuter.num_steps == 5
    # torch 2.6 rounds some products of a compiled SGD otherwise.
    torch.testing.assert_close(weights_of(model), weights_of(other), rtol=1e-6, atol=1e-7)


def test_two_permuters_share_an_optimizer_but_not_a_tensor(permuter_of):
    model, optimizer, permuter = started(permuter_of, granularity={"0.weight": "layer"})
    LaPerm(optimizer, sync_period=1, model=model, granularity={"4.*": ("neuron", None)})
    with pytest.raises(SettingError, match=r"0\.weight is already permuted by a"):
        LaPerm(optimizer, sync_period=1, model=model)
    train(model, optimizer, range(12))
    assert verify(model, permuter)


def test_repr_tells_the_tensors(permuter_of):
    _, _, permuter = started(permuter_of)
    text = repr(permuter)
    assert type(permuter).__name__ in text
    assert "4.weight" in text


def test_what_is_called_in_inference_mode_leaves_training_as_it_is(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    other, other_optimizer, other_permuter = started(permuter_of)
    for training in (model, optimizer), (other, other_optimizer):
        train(*training, range(3))
    with torch.inference_mode():
        with permuter.arranged():
            pass
        permuter.load_state_dict(permuter.state_dict())
        permuter.synchronize()
        permuter.reset_profile()
    other_permuter.synchronize()
    other_permuter.reset_profile()
    for training in (model, optimizer), (other, other_optimizer):
        train(*training, range(3, 8))
    assert_same(weights_of(model), weights_of(other))
