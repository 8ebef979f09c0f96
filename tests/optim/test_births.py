"""Checkpoints without the profiles that a model's birth gives again."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from permtrain import IndexOptimizer, LaPerm, Rule, Structure, initialize_, verify
from permtrain.errors import CheckpointError

METHODS = [LaPerm, IndexOptimizer]


DENSE = Structure()


def started(method: Any, seed: int = 0, structure: Structure = DENSE) -> Any:
    model = nn.Sequential(nn.Linear(6, 8), nn.ConvTranspose1d(8, 4, 3))
    initialize_(model, structure=structure, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return model, optimizer, method(optimizer, sync_period=3, model=model, granularity="neuron")


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        for index, weight in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(10 * step + index)
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


def profiles_in(state: dict[str, Any]) -> list[bool]:
    return [saved["profile"] is not None for saved in state["tensors"].values()]


@pytest.mark.parametrize("structure", [DENSE, Structure(levels=3), Structure(share=True)])
@pytest.mark.parametrize("method", METHODS)
def test_a_state_without_profiles_goes_on_bit_for_bit(method: Any, structure: Structure) -> None:
    model, optimizer, permuter = started(method, structure=structure)
    train(model, optimizer, range(4))
    states = copy.deepcopy((model.state_dict(), optimizer.state_dict(), permuter.state_dict()))
    assert profiles_in(states[2]) == [False, False]
    again = started(method, structure=structure)
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    train(model, optimizer, range(4, 9))
    train(*again[:2], range(4, 9))
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, again[0].state_dict()[name]), name
    again[2].synchronize()
    assert verify(again[0])


def test_a_state_holds_what_the_records_do_not_give() -> None:
    model, optimizer, permuter = started(LaPerm)
    with torch.no_grad():
        model[0].weight.mul_(2)  # written after birth
    train(model, optimizer, range(2))
    assert profiles_in(permuter.state_dict()) == [True, False]
    permuter.set_profile("1.weight", torch.linspace(-1, 1, 24))
    assert profiles_in(permuter.state_dict()) == [True, True]

    shuffled = nn.Linear(6, 8)
    initialize_(shuffled, Rule("shuffle"))
    optimizer = torch.optim.SGD(shuffled.parameters(), lr=0.1)
    for model_or_none in (shuffled, None):
        permuter = LaPerm(optimizer, sync_period=2, model=model_or_none)
        assert profiles_in(permuter.state_dict()) == [True]
        permuter.detach()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_drawn_in_another_way_is_refused_and_nothing_changes(method: Any) -> None:
    model, optimizer, permuter = started(method)
    train(model, optimizer, range(2))
    state = permuter.state_dict()
    other = started(method, seed=1)[2]
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(CheckpointError, match=r"^0\.weight: this state was saved of a model that"):
        other.load_state_dict(state)
    assert str(other.state_dict()) == str(before)
    bare = nn.Sequential(nn.Linear(6, 8), nn.ConvTranspose1d(8, 4, 3))
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.3)
    permuter = method(optimizer, sync_period=3, model=bare, granularity="neuron")
    with pytest.raises(CheckpointError, match="initialize_ with the same rule"):
        permuter.load_state_dict(state)


def test_a_profile_is_drawn_once_for_many_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    from permtrain.optim import births

    calls = []
    draw = births.initial_values
    monkeypatch.setattr(births, "initial_values", lambda record: calls.append(1) or draw(record))
    model, optimizer, permuter = started(LaPerm)
    train(model, optimizer, range(1))
    for _ in range(3):
        permuter.state_dict()
    assert len(calls) == 2
