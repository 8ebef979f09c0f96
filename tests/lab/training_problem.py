"""A small training problem, the same every time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def small_net(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Convolution, batch norm and two linear layers, 1 x 6 x 6 images to 3 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 10),
            nn.ReLU(),
            nn.Linear(10, 3),
        ).to(dtype)


def batch(step: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + step)
    images = torch.randn(8, 1, 6, 6, generator=generator).to(dtype)
    return images, torch.randint(3, (8,), generator=generator)


def loss_of(model: nn.Module, step: int) -> Tensor:
    weight = next(model.parameters())
    images, labels = batch(step, weight.dtype)
    logits = model(images.to(weight.device))
    return nn.functional.cross_entropy(logits, labels.to(weight.device))


def train(
    model: nn.Module,
    optimizer: Optimizer,
    steps: range,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        after_step(step)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    """Equal bit for bit."""
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype, name
        assert torch.equal(left[name], right[name]), name


def one_vector(values: list[float]) -> nn.Linear:
    """A layer that is a single weight vector, for trajectories worked by hand."""
    layer = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


def step_with_gradient(
    layer: nn.Linear, optimizer: torch.optim.Optimizer, gradient: list[float]
) -> list[float]:
    layer.weight.grad = torch.tensor([gradient], dtype=torch.float32)
    optimizer.step()
    return layer.weight[0].tolist()


# The same weights in memory of other strides.
LAYOUTS = {
    "contiguous": lambda w: w,
    "channels last": lambda w: w.contiguous(memory_format=torch.channels_last),
    "transposed": lambda w: w.transpose(0, 1).contiguous().transpose(0, 1),
    "every second": lambda w: torch.stack([w, w], dim=-1)[..., 0],
}
