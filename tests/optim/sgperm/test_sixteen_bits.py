"""SGPerm on weights of 16 bits: the permutation that float32 weights of the same values get."""

import copy

import pytest
import torch
from torch import nn

from permtrain import SGPerm, verify

DTYPES = [torch.bfloat16, torch.float16]


def layers(dtype: torch.dtype) -> tuple[nn.Sequential, nn.Sequential]:
    """Two of the same values, in 16 and in 32 bits."""
    torch.manual_seed(0)
    narrow = nn.Sequential(nn.Linear(40, 6), nn.ConvTranspose1d(4, 3, 5)).to(dtype)
    return narrow, copy.deepcopy(narrow).float()


def give_gradients(model: nn.Module, seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        gradient = torch.randn(parameter.shape, generator=generator).to(dtype)
        parameter.grad = gradient.to(parameter.dtype)


@pytest.mark.parametrize("biases", ["inner", "row"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moves_are_those_of_the_same_values_in_float32(dtype: torch.dtype, biases: str) -> None:
    narrow, wide = layers(dtype)
    before = {name: w.clone() for name, w in narrow.state_dict().items()}
    settings = {"momentum": 0.0, "momentum_max": 0.0, "dampening": 0.0, "biases": biases}
    optimizers = [SGPerm(m.parameters(), model=m, **settings) for m in (narrow, wide)]
    for step in range(5):
        for model, optimizer in zip((narrow, wide), optimizers, strict=True):
            give_gradients(model, step, dtype)
            optimizer.step()
    for name, weights in narrow.state_dict().items():
        assert weights.dtype == dtype
        assert torch.equal(weights.float(), wide.state_dict()[name]), name
    assert not torch.equal(narrow[0].weight, before["0.weight"])
    assert verify(narrow, optimizers[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_saved_training_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    model, _ = layers(dtype)
    optimizer = SGPerm(model.parameters(), model=model)
    for step in range(3):
        give_gradients(model, step, dtype)
        optimizer.step()
    other, _ = layers(dtype)
    again = SGPerm(other.parameters(), model=other)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(3, 6):
        for net, each in ((model, optimizer), (other, again)):
            give_gradients(net, step, dtype)
            each.step()
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, other.state_dict()[name]), name
