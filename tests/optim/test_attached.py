"""What everything that attaches to an optimizer's step keeps, whatever it does there."""

import copy
import pickle

import pytest
import torch
from training_problem import assert_same, loss_of, small_net, train, weights_of

from permtrain import FrozenZeros, IndexOptimizer, LaPerm, Rewiring
from permtrain.errors import ChangedWeightsError, SettingError
from permtrain.optim.supermask import Supermask

ATTACHED = {
    "laperm": lambda optimizer, model: LaPerm(optimizer, sync_period=3, model=model),
    "index": lambda optimizer, model: IndexOptimizer(optimizer, model=model),
    "index-3": lambda optimizer, model: IndexOptimizer(optimizer, model=model, sync_period=3),
    "zeros": lambda optimizer, model: FrozenZeros(optimizer),
    "rewiring": lambda optimizer, model: Rewiring(
        LaPerm(optimizer, sync_period=3, model=model), num_steps=5
    ),
    "supermask": lambda optimizer, model: Supermask(optimizer, model=model),
}


class HalvedGradients(torch.optim.Adam):
    """An optimizer with a step of its own, around that of its base class."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(0.5)
        return super().step(closure)


def started(kind: str, optimizer_class=torch.optim.Adam):
    model = small_net()
    with torch.no_grad():
        model[4].weight[:, ::2] = 0.0
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    return model, optimizer, ATTACHED[kind](optimizer, model)


@pytest.mark.parametrize("kind", ATTACHED)
def test_a_step_inside_a_subclasss_step_is_no_step_of_its_own(kind: str) -> None:
    torch.optim.Adam([torch.zeros(1)])  # from now on torch hooks into Adam's own step too
    model, optimizer, attached = started(kind, HalvedGradients)
    other, other_optimizer, other_attached = started(kind)
    train(model, optimizer, range(7))
    for step in range(7):
        other_optimizer.zero_grad()
        (loss_of(other, step) / 2).backward()  # a power of two: exactly half of the gradients
        other_optimizer.step()
    assert_same(weights_of(model), weights_of(other))
    if isinstance(attached, LaPerm | IndexOptimizer):
        assert attached.num_steps == other_attached.num_steps == 7


def test_a_step_that_failed_inside_a_subclasss_step_does_not_hide_the_next() -> None:
    class Fails(torch.optim.Adam):
        fails = False

        def step(self, closure=None):
            super().step(closure)
            if self.fails:
                raise RuntimeError("after the inner step")

    torch.optim.Adam([torch.zeros(1)])
    model, optimizer, permuter = started("index", Fails)
    train(model, optimizer, range(2))
    optimizer.fails = True
    with pytest.raises(RuntimeError, match="after the inner step"):
        train(model, optimizer, range(2, 3))
    optimizer.fails = False
    train(model, optimizer, range(3, 4))
    assert permuter.num_steps == 3


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("kind", ATTACHED)
def test_a_copy_is_attached_and_goes_on_by_itself(kind: str, how: str) -> None:
    original = started(kind)
    train(*original[:2], range(4))
    copied = copy.deepcopy(original) if how == "deepcopy" else pickle.loads(pickle.dumps(original))
    train(*copied[:2], range(4, 9))
    train(*original[:2], range(4, 9))
    assert_same(weights_of(copied[0]), weights_of(original[0]))


@pytest.mark.parametrize("kind", [kind for kind in ATTACHED if kind != "zeros"])
def test_a_copy_does_not_hide_weights_written_by_others(kind: str) -> None:
    model, optimizer, attached = started(kind)
    train(model, optimizer, range(4))
    with torch.no_grad():
        model[4].weight.mul_(2)
    with pytest.raises(ChangedWeightsError, match=r"4\.weight: weights were changed"):
        copy.deepcopy(attached)


@pytest.mark.parametrize("kind", ATTACHED)
def test_a_copy_of_what_is_detached_is_detached(kind: str) -> None:
    model, optimizer, attached = started(kind)
    train(model, optimizer, range(4))
    attached.detach()
    other, other_optimizer, _ = copy.deepcopy((model, optimizer, attached))
    train(other, other_optimizer, range(4, 9))
    train(model, optimizer, range(4, 9))
    assert_same(weights_of(other), weights_of(model))
    assert not other_optimizer._optimizer_step_post_hooks
    copy.deepcopy(attached)  # whose weights may be written by others now


@pytest.mark.parametrize("kind", ATTACHED)
def test_an_optimizer_that_calls_no_hooks_is_refused(kind: str) -> None:
    """As some wrappers of optimizers are; nothing attached would ever act."""

    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            self.__dict__.update(vars(inner))
            self.inner = inner

        def step(self, closure=None):
            return self.inner.step(closure)

    model = small_net()
    wrapper = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(SettingError, match=r"step\(\) of Wrapper calls no hooks"):
        ATTACHED[kind](wrapper, model)
    assert_same(weights_of(model), weights_of(small_net()))


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("kind", ATTACHED)
def test_a_compiled_step_gives_the_same(kind: str) -> None:
    model, optimizer, _ = started(kind, torch.optim.SGD)
    train(model, optimizer, range(6))
    other, other_optimizer, _ = started(kind, torch.optim.SGD)
    step = torch.compile(other_optimizer.step, backend="eager")
    for number in range(6):
        other_optimizer.zero_grad()
        loss_of(other, number).backward()
        step()
    # torch 2.6 rounds some products of a compiled SGD otherwise.
    torch.testing.assert_close(weights_of(other), weights_of(model), rtol=1e-6, atol=1e-7)
