"""The device that a run takes, and how many threads."""

import torch
from torch import Tensor, nn

from permtrain.errors import SettingError, one_line
from permtrain.lab.training.settings import Place

SMALL_STEP = 32_000_000
"""Multiply-adds of a batch's forward pass up to which a step takes some milliseconds on one thread.

Two threads gain little there. Where another process has their cores, they wait for each other at
every tensor operation, and a step takes twenty times as long.
"""

_ours: tuple[int, int] | None = None
"""The number of threads that we set last, and torch's own before it."""


def device_at(place: Place) -> torch.device:
    """The device of a place; torch takes its number of threads, else its own, from now on.

    Raises:
        SettingError: no such device here.
    """
    device = choose_device(place.device)
    take_threads(place.threads)
    return device


def take_threads(number: int | None) -> None:
    """Let torch take so many threads from now on; None for as many as it took before us.

    The number is the process's: torch has none for a single operation.
    """
    global _ours
    now = torch.get_num_threads()
    own = _ours[1] if _ours is not None and _ours[0] == now else now
    _ours = (own if number is None else number, own)
    if _ours[0] != now:
        torch.set_num_threads(_ours[0])


def is_small(model: nn.Module, image_shape: tuple[int, int, int], batch_size: int) -> bool:
    """Whether a step of this network on the CPU is better left to one thread.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.Linear(300, 10))
        >>> is_small(model, (1, 28, 28), 128), is_small(model, (1, 28, 28), 1280)
        (True, False)
    """
    counted = multiply_adds(model, image_shape)
    return counted is not None and batch_size * counted <= SMALL_STEP


@torch.no_grad()
def multiply_adds(model: nn.Module, image_shape: tuple[int, int, int]) -> int | None:
    """Those of layers with a weight, in one image's forward pass on the CPU.

    None where the network fails on an image, which whoever trains it has to say.

    Example:
        >>> multiply_adds(nn.Conv2d(1, 6, 5, padding=2), (1, 28, 28))  # 28 x 28 places
        117600
    """
    total = 0

    def count(module: nn.Module, _: object, output: object) -> None:
        nonlocal total
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() >= 2 and isinstance(output, Tensor):
            total += weight.numel() * (output.numel() // weight.shape[0])

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    was_training = model.training
    try:
        model.eval()(torch.zeros(1, *image_shape))
    except Exception:  # a network of the user's own may fail in any way
        return None
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def require_compiler(device: torch.device) -> None:
    """Raise where torch.compile does not work, by compiling a line.

    Raises:
        SettingError: saying why.
    """
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # a missing compiler, header or library raises nearly anything
        reason = one_line(error).split("Set TORCHDYNAMO")[0].strip()
        raise SettingError(
            f"compile is True, and torch.compile does not work here ({type(error).__name__}: "
            f"{reason}); allowed here: --no-compile"
        ) from error


def choose_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        SettingError: no such device here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    allowed = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in allowed and not (name == "cuda" and len(allowed) > 1):
        # A run that was begun elsewhere takes auto for the device of its beginning.
        raise SettingError(
            f"device is {name!r}; allowed here: {', '.join(allowed)}; for a new run auto"
        )
    return torch.device(name)
