"""SGPerm in loops as they are written."""

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from training_problem import assert_same, loss_of, small_net, train, weights_of

from permtrain import SGPerm, verify
from sgperm_problem import adam, started


def test_what_is_not_permuted_is_the_inner_optimizers():
    model, optimizer = started({"search": "bracket"})
    before = weights_of(model)
    train(model, optimizer, range(2))
    after = weights_of(model)
    assert all(not torch.equal(before[name], after[name]) for name in ("0.bias", "1.weight"))
    alone = small_net()
    bare = SGPerm(alone.parameters(), model=None, search="bracket")
    train(alone, bare, range(2))
    assert bare.inner is None
    assert torch.equal(alone[0].bias, before["0.bias"])


@pytest.mark.filterwarnings("ignore:a schedule changed SGPerm's lr")
def test_a_learning_rate_schedule_is_ignored():
    model, optimizer = started({"search": "bracket"})
    other, plain = started({"search": "bracket"})
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    train(model, optimizer, range(4), lambda step: schedule.step())
    train(other, plain, range(4))
    assert_same(weights_of(model), weights_of(other))


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
    assert optimizer.cuts["6.weight"].granularity == "layer"
    assert verify(model, before, granularity={"6.weight": "layer", "4.weight": "neuron"})


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
    assert optimizer.cuts["1.weight"].num_vectors == 6


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
