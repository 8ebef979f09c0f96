"""The device that a run takes, and how many threads."""

import torch

from permtrain.errors import SettingError
from permtrain.lab.training.settings import Place


def device_at(place: Place) -> torch.device:
    """The device of a place; where it names a number of threads, torch takes that many from now on.

    Raises:
        SettingError: no such device here.
    """
    device = choose_device(place.device)
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    return device


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
