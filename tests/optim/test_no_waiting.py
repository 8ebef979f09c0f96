"""On a GPU no step waits for the device, and NaN and infinity are refused later.

What a GPU does is done here on the CPU too, by saying that the host runs ahead of it.
"""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from permtrain import IndexOptimizer, LaPerm, verify
from permtrain.errors import NonFiniteError
from permtrain.optim import permuted_tensor
from permtrain.optim.permuter import FINITE_CHECK_PERIOD

PERMUTERS = {
    "laperm": lambda optimizer: LaPerm(optimizer, model=None, sync_period=2),
    "laperm-layer": lambda optimizer: LaPerm(
        optimizer, model=None, sync_period=1, granularity="layer"
    ),
    "index": lambda optimizer: IndexOptimizer(optimizer, model=None, granularity="neuron"),
    "index-2": lambda optimizer: IndexOptimizer(
        optimizer, model=None, granularity="neuron", sync_period=2
    ),
    "index-layer": lambda optimizer: IndexOptimizer(optimizer, model=None),
}
# Each has to read the result before the host can go on.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}


class NoWaiting(TorchDispatchMode):
    """Refuses operations for which the host would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in WAITS, f"{func._schema.name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _host_runs_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permuted_tensor, "runs_ahead_of", lambda device: True)


def small_net(device: torch.device) -> nn.Sequential:
    """A convolution, a transposed one, whose rows are no memory in one piece, and a linear map."""
    layers = [nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(4, 3, 2), nn.Flatten(), nn.Linear(75, 5)]
    return nn.Sequential(*layers).to(device)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    device = next(model.parameters()).device
    model(torch.ones(1, 2, 6, 6, device=device)).square().sum().backward()
    optimizer.step()


def trained(method: str, device: torch.device, num_steps: int = 6) -> tuple[nn.Module, Any, Any]:
    torch.manual_seed(1)
    model = small_net(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    permuter = PERMUTERS[method](optimizer)
    for _ in range(num_steps):
        step(model, optimizer)
    return model, optimizer, permuter


@pytest.mark.parametrize("method", PERMUTERS)
@pytest.mark.usefixtures("_host_runs_ahead")
def test_no_step_waits_for_the_device(method: str, device: torch.device) -> None:
    model, optimizer, _ = trained(method, device, num_steps=1)
    with NoWaiting():
        for _ in range(5):
            step(model, optimizer)


def test_what_waits_is_seen() -> None:
    _, optimizer, permuter = trained("laperm", torch.device("cpu"))
    assert permuter.tensors[0].not_finite is None
    with NoWaiting(), pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        optimizer.step(), optimizer.step()


@pytest.mark.parametrize("method", PERMUTERS)
def test_weights_are_those_that_waiting_gives(
    method: str, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    waiting, _, _ = trained(method, torch.device("cpu"))
    monkeypatch.setattr(permuted_tensor, "runs_ahead_of", lambda device: True)
    running, _, permuter = trained(method, device)
    assert verify(running, permuter)
    for expected, weight in zip(waiting.parameters(), running.parameters(), strict=True):
        if device.type == "cpu":  # another device rounds gradients otherwise
            assert torch.equal(weight, expected)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("method", ["index", "index-layer"])
@pytest.mark.usefixtures("_host_runs_ahead")
def test_vectors_that_are_not_finite_keep_their_arrangement(
    method: str, bad: float, device: torch.device
) -> None:
    model, optimizer, permuter = trained(method, device)
    weight = model[3].weight
    before, latent = weight.detach().clone(), permuter.tensors[2].latent.clone()
    optimizer.zero_grad()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    weight.grad[1, 3] = bad
    with NoWaiting():
        optimizer.step()
    assert verify(model, permuter)
    kept = [1] if method == "index" else [0, 1, 2, 3, 4]
    assert torch.equal(weight[kept], before[kept])
    assert torch.equal(permuter.tensors[2].latent[kept], latent[kept])
    moved = [row for row in range(5) if row not in kept]
    assert torch.equal(permuter.tensors[2].latent[moved], latent[moved]) == (method != "index")


@pytest.mark.usefixtures("_host_runs_ahead")
def test_vectors_without_latent_weights_stay_as_they_were_moved(device: torch.device) -> None:
    model, optimizer, permuter = trained("laperm", device)
    with NoWaiting():
        for _ in range(2):
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            model[3].weight.grad[1, 3] = torch.nan
            optimizer.step()
    assert model[3].weight.isnan().nonzero().tolist() == [[1, 3]]
    assert not verify(model, permuter)


@pytest.mark.parametrize("ask", ["synchronize", "state_dict", "arranged"])
@pytest.mark.parametrize("method", ["index", "laperm-layer"])
@pytest.mark.usefixtures("_host_runs_ahead")
def test_what_waits_anyway_refuses_it_by_name(method: str, ask: str, device: torch.device) -> None:
    model, optimizer, permuter = trained(method, device)
    model[3].weight.grad.fill_(torch.nan)
    optimizer.step()
    with pytest.raises(NonFiniteError, match=r"parameter 4: weights hold NaN or infinity"):  # noqa: PT012
        asked = getattr(permuter, ask)()
        with asked:
            pass
    if method == "index":  # its weights are what they were, and one may go on
        permuter.synchronize()
        assert verify(model, permuter)


@pytest.mark.usefixtures("_host_runs_ahead")
def test_a_training_is_refused_within_the_period(device: torch.device) -> None:
    model, optimizer, permuter = trained("index", device, num_steps=1)
    model[3].weight.grad[0, 0] = torch.nan
    optimizer.step()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    while permuter.num_steps < FINITE_CHECK_PERIOD:
        optimizer.step()
    with pytest.raises(NonFiniteError, match="every 100 steps"):
        optimizer.step()
    assert permuter.num_steps == FINITE_CHECK_PERIOD


@pytest.mark.usefixtures("_host_runs_ahead")
def test_new_initial_weights_and_loaded_ones_begin_anew(device: torch.device) -> None:
    _, _, permuter = trained("index", device)
    saved = permuter.state_dict()
    for begin_anew in (lambda: permuter.load_state_dict(saved), permuter.reset_profile):
        permuter.tensors[0].not_finite.fill_(1)
        begin_anew()
        permuter.synchronize()
