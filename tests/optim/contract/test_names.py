"""The contract of permuters: names are those of the model inside its wrappers."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from training_problem import assert_same, small_net, train, weights_of

from permtrain import SGPerm, initialize_, pack, unpack, verify
from permtrain.core.names import unwrapped
from permtrain.errors import ChangedWeightsError, SettingError
from permuter_problem import started


def with_compiled_parts(model):
    for place in (0, 4):
        model[place] = torch.compile(model[place], backend="eager")
    return model


def in_fabric(model):
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
    return fabric.setup(torch.compile(model, backend="eager"))


def distributed(model):
    process_group = torch.distributed
    process_group.init_process_group("gloo", store=process_group.HashStore(), rank=0, world_size=1)
    try:
        return nn.parallel.DistributedDataParallel(model)
    finally:
        process_group.destroy_process_group()


WRAPPED = {
    "compile": lambda model: torch.compile(model, backend="eager"),
    "parts": with_compiled_parts,
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": distributed,
    "average": lambda model: torch.optim.swa_utils.AveragedModel(model),
    "checkpoint": lambda model: nn.ModuleDict({"net": checkpoint_wrapper(model)}),
    "nested": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
    "fabric": in_fabric,
}


@pytest.fixture(params=WRAPPED)
def wrapped_of(request):
    def wrap(model):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own
            return WRAPPED[request.param](model)

    return wrap


def attached(permuter_of, wrap, **more):
    """A wrapped model, and a permuter that was given the wrapper."""
    wrapper = wrap(small_net())
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.05, momentum=0.9)
    return wrapper, optimizer, permuter_of(optimizer, model=wrapper, **more)


def plain(names):
    return [name.removeprefix("net.") for name in names]


def test_a_state_of_a_wrapped_model_loads_into_the_plain_one_and_back(permuter_of, wrapped_of):
    wrapper, _, permuter = attached(permuter_of, wrapped_of)
    other, other_optimizer, other_permuter = started(permuter_of, inner="sgd")
    assert plain(permuter.cuts) == list(other_permuter.cuts)
    if isinstance(wrapper, nn.ModuleDict):
        return  # whose names begin with the module's place
    train(other, other_optimizer, range(5))
    for old, new in zip(other.parameters(), wrapper.parameters(), strict=True):
        new.data.copy_(old)
    permuter.load_state_dict(copy.deepcopy(other_permuter.state_dict()))
    assert permuter.num_steps == 5
    state = copy.deepcopy(permuter.state_dict())
    other_permuter.load_state_dict(state)
    train(other, other_optimizer, range(5, 7))


def test_patterns_and_errors_go_by_plain_names(permuter_of, wrapped_of):
    with pytest.raises(SettingError, match=r"matches no parameter; there are: (net\.)?0\.weight, "):
        attached(permuter_of, wrapped_of, granularity={"1.nothing": "layer"})
    wrapper, optimizer, permuter = attached(
        permuter_of, wrapped_of, granularity={"*4.weight": "neuron"}
    )
    assert plain(permuter.cuts) == ["4.weight"]
    parameter = next(iter(permuter.parameters.values()))
    for each in wrapper.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    with torch.no_grad():
        parameter.add_(1.0)
    with pytest.raises(ChangedWeightsError, match=r"^(net\.)?4\.weight: weights were changed"):
        optimizer.step()


def test_sgperm_goes_by_plain_names(wrapped_of):
    wrapper = wrapped_of(small_net())
    optimizer = SGPerm(wrapper.parameters(), model=wrapper)
    model = small_net()
    other = SGPerm(model.parameters(), model=model)
    assert plain(optimizer.cuts) == list(other.cuts)
    if not isinstance(wrapper, nn.ModuleDict):
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def test_verify_birth_and_packing_go_by_plain_names(wrapped_of, tmp_path):
    other = small_net()
    wrapper = wrapped_of(small_net())
    model = unwrapped(wrapper)
    records = initialize_(wrapper, seed=1)
    if isinstance(wrapper, nn.ModuleDict):
        assert set(plain(records)) == set(initialize_(other, seed=1))
        return
    assert records == initialize_(other, seed=1)
    for one, two in zip(wrapper.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    before, saved = weights_of(other), copy.deepcopy(wrapper.state_dict())
    with torch.no_grad():
        for each in (model[6], other[6]):
            each.weight.copy_(each.weight.flip(1))
    for initial in (before, saved, None):
        assert verify(wrapper, initial)
        assert verify(other, initial)
    with torch.no_grad():
        for each in (model[6], other[6]):
            each.weight[1, 2] += 1
    for initial in (before, saved, None):
        assert verify(wrapper, initial).changed == {"6.weight": [1]}
        assert verify(other, initial).changed == {"6.weight": [1]}
    pack(wrapper, tmp_path / "packed")
    if not saved.keys() & {"0._orig_mod.weight"}:  # a part's wrapper stays in the model's state
        assert_same(unpack(tmp_path / "packed"), weights_of(other))
