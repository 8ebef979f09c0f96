"""Models are freed with their optimizers, without the garbage collector."""

import copy
import gc
import weakref

import pytest
import torch
from training_problem import small_net, train

from permtrain import FrozenZeros, IndexOptimizer, LaPerm, Rewiring, SGPerm, verify
from permtrain.errors import SettingError
from permtrain.optim.supermask import Supermask


def attached(method, **own):
    def attach(model):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return optimizer, method(optimizer, model=model, **own)

    return attach


def rewiring(model):
    optimizer, permuter = attached(LaPerm, sync_period=3)(model)
    return optimizer, Rewiring(permuter, num_steps=2)


METHODS = {
    "laperm": attached(LaPerm, sync_period=3),
    "index": attached(IndexOptimizer),
    "index-3": attached(IndexOptimizer, sync_period=3),
    "across": attached(IndexOptimizer, granularity="across"),
    "zeros": attached(FrozenZeros),
    "supermask": attached(Supermask),
    "rewiring": rewiring,
    "sgperm": lambda model: (SGPerm(model.parameters(), model=model),) * 2,
}


@pytest.fixture
def no_collector():
    model = small_net()
    optimizer, _ = METHODS["laperm"](model)
    train(model, optimizer, range(3))  # the first synchronization compiles, which leaves cycles
    del model, optimizer, _
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("kind", METHODS)
def test_what_is_dropped_is_freed_at_once(kind, detached, no_collector):
    model = small_net()
    optimizer, method = METHODS[kind](model)
    train(model, optimizer, range(4))
    if detached and kind != "sgperm":
        method.detach()
    dropped = [weakref.ref(each) for each in (model, model[4].weight, optimizer, method)]
    del model, method
    assert dropped[2]() is not None
    del optimizer
    assert [each() for each in dropped] == [None] * 4


@pytest.mark.parametrize("kind", ["laperm", "index", "rewiring"])
def test_an_optimizer_holds_what_is_attached_to_it(kind, no_collector):
    model, other = small_net(), small_net()
    optimizer, method = METHODS[kind](model)
    other_optimizer, _ = METHODS[kind](other)
    train(model, optimizer, range(4))
    train(other, other_optimizer, range(4))
    assert torch.equal(model[4].weight, other[4].weight)
    assert method.optimizer is optimizer


@pytest.mark.parametrize("kind", ["laperm", "index", "zeros"])
def test_without_its_optimizer_a_method_still_verifies(kind, no_collector):
    model = small_net()
    optimizer, method = METHODS[kind](model)
    train(model, optimizer, range(3))
    del optimizer
    assert verify(model, method)
    with method.arranged():
        pass
    with pytest.raises(SettingError, match=r"the optimizer of .* is gone"):
        _ = method.optimizer
    assert "no optimizer any more" in repr(method) or kind == "zeros"
    method.detach()


@pytest.mark.parametrize("kind", ["laperm", "index"])
def test_a_copy_holds_its_optimizer(kind):
    model = small_net()
    optimizer, permuter = METHODS[kind](model)
    train(model, optimizer, range(3))
    other, other_permuter = copy.deepcopy((model, permuter))
    gc.collect()
    train(other, other_permuter.optimizer, range(3, 6))
    assert verify(other, other_permuter)
