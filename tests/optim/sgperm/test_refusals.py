"""SGPerm: settings and models that are refused."""

import pytest
import torch
from torch import nn
from training_problem import small_net, train

from permtrain import LeftAloneWarning, SGPerm
from permtrain.errors import GranularityError, KindError, SettingError
from sgperm_problem import adam


def test_a_model_of_other_parameters_is_refused():
    with pytest.raises(SettingError, match="group 0, parameter 0 of the optimizer is no parameter"):
        SGPerm(nn.Linear(4, 3).parameters(), model=nn.Linear(4, 3))


def test_two_parameters_of_one_name_are_refused():
    layers = [nn.Linear(6, 4), nn.Linear(6, 4)]
    with pytest.raises(SettingError, match="two parameters of the optimizer are called weight;"):
        SGPerm([{"params": list(each.named_parameters())} for each in layers], model=None)


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    model = small_net()
    optimizer = SGPerm([model[4].weight], model=model, inner=adam)
    group = {"params": list(model[6].parameters())}
    with pytest.raises(SettingError, match="search is 'brackets'"):
        optimizer.add_param_group(group | {"search": "brackets"})
    assert list(optimizer.cuts) == ["4.weight"]
    optimizer.add_param_group(group)
    assert list(optimizer.cuts) == ["4.weight", "6.weight"]
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
        (
            {"search": "brackets"},
            "search is 'brackets'; allowed: start, any, bracket, pair",
        ),
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


def test_rows_of_one_weight_and_numbers_without_order_are_refused_by_name():
    rule = {"weight": "neuron"}
    layer = nn.Linear(1, 4)
    with pytest.raises(GranularityError, match="weight: granularity is 'neuron'"):
        SGPerm(layer.parameters(), model=layer, granularity=rule)
    nothing = pytest.raises(SettingError, match="leaves every parameter of the optimizer alone")
    with pytest.warns(LeftAloneWarning, match=r"parameter 0 \(a neuron's weight vector"), nothing:
        SGPerm(layer.parameters(), model=None)
    weight = nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64))
    with pytest.raises(
        KindError, match=r"parameter 0 is torch\.complex64; allowed: floating point"
    ):
        SGPerm([weight], model=None)


def test_biases_that_are_not_one_for_each_row_are_refused_by_name():
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].bias = nn.Parameter(torch.zeros(4))
    with pytest.raises(
        GranularityError, match=r"0\.bias has 4 values; allowed with biases 'row': 3"
    ):
        SGPerm(model.parameters(), model=model, biases="row")
