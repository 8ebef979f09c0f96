"""The contract of permuters: settings and models that are refused, or warned of."""

import pytest
import torch
from torch import nn
from training_problem import small_net, train

from permtrain import IndexOptimizer, LaPerm
from permtrain.errors import GranularityError, SettingError
from permuter_problem import started


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "20"])
def test_a_sync_period_that_is_no_whole_number_from_one_is_refused(bad):
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    for permuter in (LaPerm, IndexOptimizer):
        with pytest.raises(SettingError, match=r"sync_period is .*; allowed: a whole number"):
            permuter(optimizer, sync_period=bad)


def test_a_misspelt_granularity_is_refused_with_a_hint():
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    for permuter in (LaPerm, IndexOptimizer):
        with pytest.raises(SettingError, match=r"'neurn' \(did you mean 'neuron'\?\); allowed"):
            permuter(optimizer, sync_period=1, granularity="neurn", model=None)


def test_a_misspelt_setting_is_refused():
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(TypeError, match="sync_peroid"):
        LaPerm(optimizer, model=None, sync_peroid=3)


def test_a_granularity_without_a_meaning_is_refused_by_name(permuter_of):
    model = small_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(GranularityError, match=r"4\.weight: granularity is 'kernel', but a kernel"):
        permuter_of(optimizer, model=model, granularity="kernel")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int32], ids=str)
def test_weights_that_torch_cannot_sort_are_refused_by_name(permuter_of, dtype):
    model = nn.Linear(8, 3)
    model.weight = nn.Parameter(model.weight.detach().to(dtype), requires_grad=False)
    with pytest.raises(GranularityError, match=rf"weight: dtype is {dtype}; allowed: floating po"):
        permuter_of(torch.optim.SGD(model.parameters(), lr=0.1), model=model)


def test_two_parameters_of_one_name_are_refused(permuter_of):
    layers = [nn.Linear(6, 4), nn.Linear(6, 4)]
    optimizer = torch.optim.SGD([{"params": list(each.named_parameters())} for each in layers])
    with pytest.raises(SettingError, match="two parameters of the optimizer are called weight;"):
        permuter_of(optimizer)


def test_a_layer_replaced_and_added_as_a_group_is_refused(permuter_of):
    model, optimizer, _ = started(permuter_of)
    train(model, optimizer, range(1))
    model[4] = nn.Linear(64, 10)
    optimizer.add_param_group({"params": model[4].parameters()})
    for _ in range(2):
        with pytest.raises(SettingError, match=r"two parameters .* are called 4\.weight;"):
            train(model, optimizer, range(1, 2))


def test_a_layer_without_a_shape_is_refused_by_name(permuter_of):
    model = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SettingError, match=r"1\.weight has no shape yet"):
        permuter_of(optimizer, model=model)
    with pytest.raises(SettingError, match="group 0, parameter 2 has no shape yet"):
        permuter_of(optimizer, granularity="layer")


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_weights_that_cannot_learn_are_warned_of_by_name(permuter_of, value):
    model, optimizer, permuter = started(permuter_of)
    nn.init.constant_(model[4].weight, value)
    if permuter.granularity == "across":  # they may get other values from other layers
        train(model, optimizer, range(1))
        return
    with pytest.warns(UserWarning, match=r"^4\.weight: the weights of each vector are all equal"):
        train(model, optimizer, range(1))
    train(model, optimizer, range(1, 2))  # once


def test_equal_weights_that_are_frozen_are_not_warned_of(permuter_of):
    model, optimizer, permuter = started(permuter_of)
    nn.init.zeros_(model[4].weight).requires_grad_(False)
    if permuter.granularity == "across":  # other layers' values would move in
        with pytest.raises(SettingError, match=r"^4\.weight is frozen"):
            train(model, optimizer, range(1))
    else:
        train(model, optimizer, range(1))


def test_nothing_to_permute_is_refused(permuter_of):
    model = small_net()
    optimizer = torch.optim.SGD([model[0].bias], lr=0.1)
    with pytest.raises(SettingError, match="leaves every parameter of the optimizer alone"):
        permuter_of(optimizer)


def test_something_that_is_no_optimizer_is_refused(permuter_of):
    with pytest.raises(TypeError, match="optimizer is Sequential"):
        permuter_of(small_net())


def test_permuting_biases_needs_names(permuter_of):
    optimizer = torch.optim.SGD(small_net().parameters(), lr=0.1)
    with pytest.raises(SettingError, match="biases is 'apart'; allowed only with model"):
        permuter_of(optimizer, biases="apart")
