"""The contract of permuters: weights that somebody else writes never pass for initial ones."""

import copy
import zlib

import pytest
import torch
from torch import nn
from training_problem import loss_of, small_net, train, weights_of

from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.errors import ChangedWeightsError, NonFiniteError
from permtrain.optim.permuted_tensor import checksum
from permuter_problem import PERMUTERS, started


def test_weights_loaded_before_the_first_step_become_the_profile(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    loaded = weights_of(small_net(5))
    model.load_state_dict(loaded)
    train(model, optimizer, range(12))
    assert verify(model, loaded, granularity=permuter.granularity)


@pytest.mark.parametrize(
    "write",
    [
        lambda model: model.load_state_dict(small_net(5).state_dict()),
        lambda model: model[4].weight.data.__setitem__(0, 7.0) or model[4].weight.detach().add_(0),
        lambda model: setattr(model[4].weight, "data", torch.ones(10, 64)),
        lambda model: nn.init.ones_(model[6].weight),
        lambda model: model.double(),
    ],
)
@pytest.mark.parametrize("look", ["step", "synchronize", "arranged", "state_dict"])
def test_weights_changed_later_are_an_error(permuter_of, write, look):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    write(model)
    looks = {
        "step": lambda: train(model, optimizer, range(2, 3)),
        "synchronize": permuter.synchronize,
        "arranged": lambda: permuter.arranged().__enter__(),
        "state_dict": permuter.state_dict,
    }
    said = r"weights were (changed since the last step|torch\.float32 and are torch\.float64 now)"
    with pytest.raises(ChangedWeightsError, match=said):
        looks[look]()


def test_reset_profile_makes_changed_weights_the_initial_ones(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(2))
    other = weights_of(small_net(5))
    model.load_state_dict(other)
    permuter.reset_profile()
    train(model, optimizer, range(2, 12))
    assert verify(model, permuter)
    assert verify(model, other, granularity=permuter.granularity)


def test_reset_profile_after_a_step_that_raised_makes_the_weights_the_initial_ones(permuter_of):
    class Fails(torch.optim.SGD):
        fails = False

        def step(self, closure=None):
            if self.fails:
                raise RuntimeError("no step")
            return super().step(closure)

    model = small_net()
    optimizer = Fails(model.parameters(), lr=0.05)
    permuter = permuter_of(optimizer, model=model)
    train(model, optimizer, range(2))
    optimizer.fails = True
    with pytest.raises(RuntimeError, match="no step"):
        train(model, optimizer, range(2, 3))
    optimizer.fails = False
    other = small_net(5)
    model.load_state_dict(other.state_dict())
    permuter.reset_profile()
    assert verify(model, permuter)
    train(model, optimizer, range(3, 4))
    with permuter.arranged():
        assert verify(model, weights_of(other), granularity=permuter.granularity)
    assert permuter.num_steps == 3
    if not isinstance(permuter, LaPerm) and permuter.sync_period > 1:
        assert torch.equal(model[4].weight, other[4].weight)  # not yet due: as they were shown


def test_a_parameter_replaced_in_the_optimizer_is_an_error(permuter_of):
    model, optimizer, _ = started(permuter_of)
    model[4].weight = nn.Parameter(torch.ones(10, 64))
    optimizer.param_groups[0]["params"][4] = model[4].weight
    with pytest.raises(ChangedWeightsError, match=r"4\.weight: the parameter was replaced"):
        train(model, optimizer, range(1))


@pytest.mark.parametrize(
    "look",
    [
        lambda permuter: permuter.synchronize(),
        lambda permuter: permuter.arranged().__enter__(),
        lambda permuter: permuter.state_dict(),
        lambda permuter: permuter.load_state_dict({}),
    ],
    ids=["synchronize", "arranged", "state_dict", "load_state_dict"],
)
@pytest.mark.parametrize("num_steps", [0, 2])
def test_a_parameter_replaced_in_the_model_is_an_error(permuter_of, num_steps, look):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(num_steps))
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(ChangedWeightsError, match=r"0\.weight: .* was replaced in the model"):
        look(permuter)


def test_a_parameter_replaced_in_the_model_is_an_error_at_the_first_step(permuter_of):
    model, optimizer, _ = started(permuter_of)
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    with pytest.raises(ChangedWeightsError, match="was replaced in the model"):
        train(model, optimizer, range(1))


@pytest.mark.parametrize("num_steps", [2, 4])  # in mid-period, and just synchronized
def test_spectral_norm_put_on_in_mid_run(permuter_of, num_steps):
    """It keeps the parameter, under another name, and writes its own values to it."""
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(num_steps))
    before = weights_of(model)
    with permuter.allow_changes():
        nn.utils.parametrizations.spectral_norm(model[4])
    moved = model[4].parametrizations.weight.original
    assert torch.equal(moved, before["4.weight"])
    train(model, optimizer, range(num_steps, 12))
    assert not torch.equal(moved, before["4.weight"])
    permuter.synchronize()
    assert verify(model, permuter)


def test_what_is_advised_where_spectral_norm_was_put_on_between_synchronizations():
    model, optimizer, _ = started(PERMUTERS["laperm"])
    train(model, optimizer, range(2))
    nn.utils.parametrizations.spectral_norm(model[4])
    advice = r"4\.weight: .* inside `with permuter\.allow_changes\(\):` \(torch's parametr"
    with pytest.raises(ChangedWeightsError, match=advice):
        train(model, optimizer, range(2, 3))


def test_a_parameter_that_left_the_model_is_trained_on(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    train(model, optimizer, range(1))
    head = model[6]
    del model[6]
    permuter.synchronize()
    assert permuter.tensors[-1].parameter is head.weight


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_name(permuter_of, bad):
    model, optimizer, _ = started(permuter_of)
    train(model, optimizer, range(2))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model[4].weight.grad[3, 5] = bad

    with pytest.raises(NonFiniteError, match=r"4\.weight: weights hold NaN or infinity"):
        optimizer.step()  # that one, due or not


@pytest.mark.parametrize("permuter_class", [IndexOptimizer, LaPerm])
def test_after_a_gradient_that_is_not_finite_nothing_is_half_done(permuter_class):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    permuter = permuter_class(optimizer, model=model, granularity="neuron", sync_period=1)
    train(model, optimizer, range(3))
    before = weights_of(model)
    optimizer.zero_grad()
    loss_of(model, 3).backward()
    model[4].weight.grad[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"4\.weight: weights hold NaN or infinity"):
        optimizer.step()
    assert (permuter.num_steps, permuter.num_synchronizations) == (3, 3)
    if permuter_class is LaPerm:
        return  # its weights are the ones the optimizer spoilt
    for tensor in permuter.tensors:  # the model still shows what it showed, and goes on from there
        assert torch.equal(tensor.parameter, before[tensor.name])
    with torch.no_grad():
        model[4].bias.copy_(before["4.bias"])
    optimizer.zero_grad()
    train(model, optimizer, range(4, 6))
    assert verify(model, permuter)


def test_initial_weights_that_are_not_finite_are_refused_by_name(permuter_of):
    model, optimizer, _ = started(permuter_of)
    with torch.no_grad():
        model[6].weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"6\.weight: weights hold NaN"):
        train(model, optimizer, range(1))


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_that_only_add_up_to_infinity_are_finite(permuter_of, sign):
    weight = nn.Parameter(sign * torch.tensor([[3e4, 6e4, 5e4, 4e4]]).half())
    assert not torch.isfinite(weight.sum())
    optimizer = torch.optim.SGD([weight], lr=1.0)
    permuter_of(optimizer)
    for _ in range(4):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    assert (sign * weight).tolist() == [[30000, 60000, 49984, 40000]]


@pytest.mark.parametrize(
    ("weights", "its_bytes"),
    [
        (torch.tensor([[1.0, 0.0], [-0.0, -2.0]]), "0000803f 00000000 00000080 000000c0"),
        (torch.tensor([[1.0, 0.0], [-0.0, -2.0]]).t(), "0000803f 00000080 00000000 000000c0"),
        (torch.tensor([1.0, -0.0]).bfloat16(), "803f 0080"),
        (torch.tensor(-1.0).half(), "00bc"),
        (torch.empty(0, 3), ""),
    ],
)
def test_the_checksum_of_weights_is_that_of_their_bytes(weights, its_bytes):
    """In C order; saved states hold it."""
    assert checksum(weights) == zlib.crc32(bytes.fromhex(its_bytes))
