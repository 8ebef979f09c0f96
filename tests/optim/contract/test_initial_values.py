"""The contract of permuters: initial values, in another order; and switched off, nothing."""

import pytest
import torch
from torch import nn
from training_problem import LAYOUTS, assert_same, loss_of, small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, verify
from permuter_problem import INNER, started


@pytest.mark.parametrize("inner", INNER)
def test_every_synchronised_step_leaves_exactly_the_initial_values(permuter_of, inner, device):
    model = small_net().to(device)
    initial = weights_of(model)
    optimizer = INNER[inner](model.parameters())
    permuter = permuter_of(optimizer, model=model)
    rule = permuter.granularity

    def check(step: int) -> None:
        if (step + 1) % 12 == 0 or isinstance(permuter, IndexOptimizer):
            assert verify(model, permuter)
            assert verify(model, initial, granularity=rule)

    train(model, optimizer, range(12), check)
    moved = [not torch.equal(initial[t.name], t.parameter) for t in permuter.tensors]
    assert any(moved)  # k = 1 forgets small steps, so that short vectors may stay as they are


def test_training_lowers_the_loss(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    before = loss_of(model, 0).item()
    for _ in range(120):
        train(model, optimizer, range(1))
    with permuter.arranged():
        assert loss_of(model, 0).item() < 0.6 * before


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(permuter_of, dtype):
    model = small_net(dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    permuter = permuter_of(optimizer, model=model)
    train(model, optimizer, range(12))
    assert verify(model, permuter)
    assert all(tensor.profile.dtype == dtype for tensor in permuter.tensors)


def test_other_tensors_are_left_to_the_inner_optimizer(permuter_of):
    model, optimizer, _ = started(permuter_of)
    alone = {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() == 1}
    grads = {}

    def remember(optimizer, args, kwargs):
        for name in alone:
            grads[name] = model.get_parameter(name).grad.clone()

    optimizer.register_step_pre_hook(remember)
    plain = {n: nn.Parameter(p) for n, p in alone.items()}
    reference = torch.optim.Adam(plain.values(), lr=0.01)
    for step in range(6):
        train(model, optimizer, range(step, step + 1))
        for name, parameter in plain.items():
            parameter.grad = grads[name]
        reference.step()
    for name, parameter in plain.items():
        assert torch.equal(parameter, model.get_parameter(name)), name


def test_biases_are_permuted_on_demand_and_norms_never(permuter_of):
    model, optimizer, permuter = started(permuter_of, biases="apart")
    assert {tensor.name for tensor in permuter.tensors} == {
        "0.weight", "0.bias", "4.weight", "4.bias", "6.weight", "6.bias",
    }  # fmt: skip
    train(model, optimizer, range(12))
    assert verify(model, permuter)


@pytest.mark.parametrize("inner", INNER)
def test_detached_it_is_the_inner_optimizer_bit_for_bit(permuter_of, inner):
    model, plain = small_net(), small_net()
    optimizer = INNER[inner](model.parameters())
    permuter_of(optimizer).detach()
    train(model, optimizer, range(8))
    train(plain, INNER[inner](plain.parameters()), range(8))
    assert_same(weights_of(model), weights_of(plain))


@pytest.mark.parametrize("permuter_class", [LaPerm, IndexOptimizer])
@pytest.mark.parametrize("inner", INNER)
def test_what_is_never_due_is_the_inner_optimizer_bit_for_bit(permuter_class, inner):
    model, plain = small_net(), small_net()
    optimizer = INNER[inner](model.parameters())
    permuter_class(optimizer, sync_period=None, model=None)
    train(model, optimizer, range(8))
    train(plain, INNER[inner](plain.parameters()), range(8))
    assert_same(weights_of(model), weights_of(plain))


def test_strides_make_no_difference(permuter_of):
    first = torch.randn(4, 3, 2, 2)
    gradients = torch.randn(9, *first.shape)
    ends = []
    for laid_out in LAYOUTS.values():
        weight = nn.Parameter(laid_out(first.clone()))
        optimizer = torch.optim.SGD([weight], lr=0.3)
        permuter = permuter_of(optimizer)
        for gradient in gradients:
            weight.grad = torch.empty_like(weight).copy_(gradient)
            optimizer.step()
        permuter.synchronize()
        ends.append(weight.detach().contiguous())
    assert all(torch.equal(ends[0], end) for end in ends)


def test_the_inner_optimizers_state_and_groups_are_not_touched(permuter_of):
    model, optimizer, _ = started(permuter_of)
    train(model, optimizer, range(3))
    assert set(optimizer.state[model[0].weight]) == {"step", "exp_avg", "exp_avg_sq"}
    assert set(optimizer.param_groups[0]) == set(
        torch.optim.Adam(small_net().parameters()).param_groups[0]
    )
