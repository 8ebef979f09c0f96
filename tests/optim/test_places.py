"""A model that goes on with other parameters than the optimizer's is refused at the next step."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as pruning

from permtrain import FrozenZeros, IndexOptimizer, LaPerm, Rewiring, SGPerm
from permtrain.errors import ChangedWeightsError
from permtrain.optim.supermask import Supermask


def attached(method, **settings):
    def attach(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        return optimizer, method(optimizer, model=model, **settings)

    return attach


def rewired(num_steps):
    def attach(model):
        optimizer, permuter = attached(LaPerm, sync_period=2)(model)
        return optimizer, Rewiring(permuter, num_steps=num_steps)

    return attach


METHODS = {
    "laperm": attached(LaPerm, sync_period=2),
    "index": attached(IndexOptimizer),
    "sgperm": lambda model: (SGPerm(model.parameters(), model=model),) * 2,
    "rewiring": rewired(9),
    "rewired": rewired(1),
    "zeros": attached(FrozenZeros),
    "supermask": attached(Supermask),
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 4)])
    )


def step(model, optimizer):
    x = model[1](model[0](torch.randn(5, 6)))
    model.zero_grad()
    sum(layer(x).square().sum() for layer in (*model[2], *model[3:]) if layer).backward()
    optimizer.step()


def assign(model):
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)


def replace_norm(model):
    model[1] = nn.BatchNorm1d(8)


def replace_by_deeper(model):
    model[0] = nn.Sequential(nn.Linear(6, 8), nn.ReLU())


def replace_parameter(model):
    model[0].weight = nn.Parameter(torch.randn(8, 6))


def take_apart(model):
    nn.utils.parametrizations.weight_norm(model[0])


REPLACED = {
    assign: r"0\.weight",
    replace_norm: r"1\.weight",
    replace_by_deeper: r"0\.weight",
    replace_parameter: r"0\.weight",
    take_apart: r"0\.weight",
}


@pytest.mark.parametrize("replace", REPLACED, ids=lambda each: each.__name__)
@pytest.mark.parametrize("num_steps", [0, 3])
@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_replaced_in_the_model_is_refused_at_the_next_step(method, num_steps, replace):
    model = net()
    optimizer, _ = METHODS[method](model)
    for _ in range(num_steps):
        step(model, optimizer)
    replace(model)
    before = copy.deepcopy([*optimizer.param_groups[0]["params"]])
    for _ in range(2):  # and at every one after it
        with pytest.raises(ChangedWeightsError, match=f"^{REPLACED[replace]}: .* was replaced in"):
            step(model, optimizer)
    for parameter, as_it_was in zip(optimizer.param_groups[0]["params"], before, strict=True):
        assert torch.equal(parameter, as_it_was)


def take_out(model):
    del model[2][1]


def take_out_the_first(model):
    del model[2][0]  # the other one gets its name


def put_nothing_in_its_place(model):
    model[2][1] = nn.Identity()


def put_aside(model):
    model[2][1] = None


def wrap(model):
    model[0] = nn.Sequential(model[0], nn.ReLU())


def prune(model):
    pruning.identity(model[0], "weight")


def add(model):
    model.append(nn.Linear(8, 2))


@pytest.mark.parametrize(
    "change",
    [take_out, take_out_the_first, put_nothing_in_its_place, put_aside, wrap, prune, add],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_has_them_elsewhere_or_no_more_is_trained_on(method, change):
    model = net()
    optimizer, _ = METHODS[method](model)
    for _ in range(2):
        step(model, optimizer)
    change(model)
    for _ in range(2):
        step(model, optimizer)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("method", METHODS)
def test_a_copy_looks_at_its_own_model(method, how):
    model = net()
    optimizer, attached = METHODS[method](model)
    step(model, optimizer)
    own_model, own_optimizer, _ = how((model, optimizer, attached))
    assign(model)
    step(own_model, own_optimizer)
    assign(own_model)
    with pytest.raises(ChangedWeightsError, match=r"^0\.weight: .* was replaced in"):
        step(own_model, own_optimizer)
