"""What happens before a method's first step: states that are missing, steps that nobody saw."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from permtrain import IndexOptimizer, LaPerm, Rewiring, SGPerm, Supermask, verify
from permtrain.errors import ChangedWeightsError, CheckpointError

INNER: dict[str, Callable[[nn.Module], Optimizer]] = {
    "Adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.1),
    "SGD with momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "Adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=0.1),
}
METHODS: dict[str, Callable[[Optimizer, nn.Module], Any]] = {
    "LaPerm": lambda optimizer, model: LaPerm(optimizer, sync_period=2, model=model),
    "IndexOptimizer": lambda optimizer, model: IndexOptimizer(optimizer, model=model),
    "Rewiring": lambda optimizer, model: Rewiring(
        IndexOptimizer(optimizer, model=model), num_steps=50
    ),
    "Supermask": lambda optimizer, model: Supermask(optimizer, model=model),
}
PERMUTERS = {name: METHODS[name] for name in ("LaPerm", "IndexOptimizer")}


def small() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4)


def step(model: nn.Module, optimizer: Optimizer, times: int = 1) -> None:
    for time in range(times):
        optimizer.zero_grad()
        model(torch.linspace(-1, 1, 6) * (time + 1)).square().sum().backward()
        optimizer.step()


def trained(method: str, inner: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The states of model, optimizer and method after three steps."""
    model = small()
    optimizer = INNER[inner](model)
    attached = METHODS[method](optimizer, model)
    step(model, optimizer, 3)
    return copy.deepcopy((model.state_dict(), optimizer.state_dict(), attached.state_dict()))


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("method", METHODS)
def test_a_training_resumed_without_the_methods_state_is_refused(method: str, inner: str) -> None:
    weights, states, own = trained(method, inner)
    model = small()
    optimizer = INNER[inner](model)
    attached = METHODS[method](optimizer, model)
    model.load_state_dict(weights)
    optimizer.load_state_dict(states)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError, match=rf"that {type(attached).__name__} did not see"):
        step(model, optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    attached.load_state_dict(own)  # which is what was asked for
    model.load_state_dict(weights)
    step(model, optimizer)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_attached_in_mid_training_warns(method: str) -> None:
    model = small()
    optimizer = INNER["Adam"](model)
    step(model, optimizer, 2)
    METHODS[method](optimizer, model)
    with pytest.warns(UserWarning, match="attached to an optimizer that had made 2 steps"):
        step(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer)  # said once


@pytest.mark.parametrize("method", METHODS)
def test_a_method_attached_to_momentum_without_a_count_warns(method: str) -> None:
    model = small()
    optimizer = INNER["SGD with momentum"](model)
    step(model, optimizer)
    METHODS[method](optimizer, model)
    with pytest.warns(UserWarning, match="attached to an optimizer that had made steps: "):
        step(model, optimizer)


class Ranger(torch.optim.SGD):
    """Has a setting of the name under which others count."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.defaults["k"] = 6
        for group in self.param_groups:
            group["k"] = 6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inner", [INNER["Adagrad"], lambda model: Ranger(model.parameters())])
def test_settings_and_empty_states_are_no_steps(method: str, inner: Any) -> None:
    model = small()
    optimizer = inner(model)
    METHODS[method](optimizer, model)
    step(model, optimizer)


@pytest.mark.parametrize("method", PERMUTERS)
def test_reset_profile_says_that_it_is_meant(method: str) -> None:
    weights, states, _ = trained(method, "Adam")
    model = small()
    optimizer = INNER["Adam"](model)
    permuter = METHODS[method](optimizer, model)
    model.load_state_dict(weights)
    optimizer.load_state_dict(states)
    permuter.reset_profile()
    step(model, optimizer)
    permuter.synchronize()
    assert verify(model, weights, granularity=permuter.granularity)


@pytest.mark.parametrize("method", METHODS)
def test_copies_begin_as_the_original_does(method: str) -> None:
    model = small()
    optimizer = INNER["Adam"](model)
    attached = METHODS[method](optimizer, model)
    model, optimizer, attached = copy.deepcopy((model, optimizer, attached))
    step(model, optimizer, 2)
    assert verify(model, attached) or attached.unarranged


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("method_first", [False, True])
def test_an_optimizer_copied_without_its_method_says_so_once(
    together: bool, method_first: bool
) -> None:
    model = small()
    optimizer = INNER["Adam"](model)
    permuter = METHODS["LaPerm"](optimizer, model)
    step(model, optimizer)
    parts = (permuter, model, optimizer) if method_first else (model, optimizer, permuter)
    parts = copy.deepcopy(parts if together else (model, optimizer))
    twin = next(part for part in parts if isinstance(part, nn.Module))
    twins_optimizer = next(part for part in parts if isinstance(part, Optimizer))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step(twin, twins_optimizer, 3)
        step(model, optimizer, 3)
    assert len(caught) == (not together)
    permuter.detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(*copy.deepcopy((model, optimizer)))


# --- weights that move though no step is seen ----------------------------------------------------


class SAM(Optimizer):
    """As the usual one: two calls in place of step(), which nobody hooks into."""

    def __init__(self, params: Any, base: Callable[..., Optimizer], **settings: Any) -> None:
        super().__init__(params, {"rho": 0.05, **settings})
        self.base_optimizer = base(self.param_groups, **settings)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["was"] = weight.clone()
            weight.add_(0.05 * weight.grad.sign())

    @torch.no_grad()
    def second_step(self) -> None:
        for weight in self.param_groups[0]["params"]:
            weight.copy_(self.state[weight]["was"])
        self.base_optimizer.step()


def sam_steps(model: nn.Module, optimizer: SAM) -> None:
    for call in (optimizer.first_step, optimizer.second_step):
        optimizer.zero_grad()
        model(torch.ones(6)).square().sum().backward()
        call()


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("method", PERMUTERS)
def test_sam_in_two_calls_is_an_error_where_anybody_looks(method: str, clear: bool) -> None:
    model = small()
    optimizer = SAM(model.parameters(), torch.optim.Adam, lr=0.1)
    permuter = METHODS[method](optimizer, model)
    assert verify(model, permuter)
    sam_steps(model, optimizer)
    if clear:
        optimizer.zero_grad()
    assert not verify(model, permuter)
    assert str(verify(model, permuter)).startswith("the initial values are not known: weight was")
    for look in (permuter.state_dict, permuter.synchronize, permuter.arranged().__enter__):
        with pytest.raises(ChangedWeightsError, match=r"weight: weights were trained, and .* SAM"):
            look()


@pytest.mark.parametrize(
    "attach",
    [*METHODS.values(), lambda optimizer, model: SGPerm(model.parameters(), model=model)],
    ids=[*METHODS, "SGPerm"],
)
def test_nothing_is_intact_that_changed_before_a_first_step(attach: Any) -> None:
    model = small()
    method = attach(INNER["Adam"](model), model)
    assert verify(model, method)
    with torch.no_grad():
        model.weight.mul_(2.0)
    assert not verify(model, method)


def test_loading_weights_after_attaching_is_no_training() -> None:
    model = small()
    permuter = METHODS["LaPerm"](INNER["Adam"](model), model)
    model.load_state_dict(small().state_dict())
    with permuter.arranged():
        pass
    assert permuter.state_dict()["num_steps"] == 0


# --- steps that are undone -----------------------------------------------------------------------


def few_places_change(
    rate: float, period: int, num_steps: int = 40, num_zeros: int = 0
) -> list[str]:
    torch.manual_seed(0)
    model = nn.Linear(64, 8)
    with torch.no_grad():
        model.weight[:, :num_zeros] = 0
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    LaPerm(optimizer, sync_period=period, model=model)
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(num_steps):
            model.weight.grad = torch.randn(8, 64, generator=generator).sign()
            optimizer.step()
    return [str(each.message) for each in caught]


def test_synchronizations_that_undo_almost_every_move_are_warned_of_once() -> None:
    """Values of the layer lie 2 / (8 x 63) = 0.004 apart."""
    messages = few_places_change(rate=1e-5, period=2)
    assert len(messages) == 1
    assert "in the first 20 only 0." in messages[0]
    assert "which is 2, or the learning rate" in messages[0]
    assert messages[0].endswith("which in weight is 0.0039")
    assert few_places_change(rate=1e-5, period=2, num_steps=39) == []
    assert few_places_change(rate=5e-3, period=2) == []


def test_zeros_that_stay_zero_are_no_moves_undone() -> None:
    """Of 64 weights 62 are zero, so that 4 at most change at once."""
    assert few_places_change(rate=0.05, period=2, num_zeros=62) == []
    assert len(few_places_change(rate=1e-5, period=2, num_zeros=62)) == 1


def test_latent_weights_lose_no_move_and_are_not_warned_of() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    IndexOptimizer(optimizer, model=model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer, 30)


# --- schedules on SGPerm -------------------------------------------------------------------------


def test_a_schedule_cycles_no_momentum_of_sgperm_unasked() -> None:
    model = small()
    optimizer = SGPerm(model.parameters(), model=model, momentum=0.25)
    with pytest.raises(ValueError, match="optimizer must support momentum"):
        OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    assert optimizer.param_groups[0]["momentum"] == 0.25
    bare = copy.deepcopy(SGPerm([nn.Parameter(torch.randn(2, 3))], model=None, momentum=0.25))
    bare.add_param_group({"params": [nn.Parameter(torch.randn(2, 3))]})
    assert [group["momentum"] for group in bare.param_groups] == [0.25, 0.25]


def test_a_schedule_on_sgperms_rate_is_warned_of_once_and_one_on_the_inners_is_not() -> None:
    model = small()
    optimizer = SGPerm(model.parameters(), model=model, inner=lambda p: torch.optim.SGD(p, lr=0.1))
    assert optimizer.inner is not None
    for attached, said in ((optimizer.inner, 0), (optimizer, 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            schedule = LambdaLR(attached, lambda epoch: 0.5**epoch)
            for _ in range(3):
                step(model, optimizer)
                if attached is optimizer.inner:
                    attached._opt_called = True  # type: ignore[attr-defined]
                schedule.step()
        texts = [str(each.message) for each in caught]
        assert len([t for t in texts if t.endswith("attach it to optimizer.inner")]) == said, texts
    assert optimizer.inner.param_groups[0]["lr"] == 0.1 * 0.5**3
