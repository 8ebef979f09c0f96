"""z-scored images: subtract the mean of each channel, divide by its standard deviation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from permtrain.errors import DataError, SettingError


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel, of pixels scaled to [0, 1].

    Exact up to the last rounding: pixels are counted by value, and the sums are integers, so the
    result depends neither on the order of the images nor on the device. The standard deviation is
    that of the population (divided by the number of pixels).

    Args:
        images: usually those of the training split, after validation images were taken away.

    Shapes: `images` (N, C, H, W) uint8; C means and C standard deviations.
    Raises: DataError if there are no images or they are not uint8.

    Example:
        >>> images = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).reshape(4, 1, 1, 1)
        >>> channel_statistics(images)
        ((0.5,), (0.5,))
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            "images must be uint8 of shape (N, C, H, W), "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    if images.numel() == 0:
        raise DataError(f"no mean of no pixels: the images have the shape {tuple(images.shape)}")
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256).tolist()
        num_pixels = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        total_squares = sum(value * value * count for value, count in enumerate(counts))
        # N² var = N sum(x²) - sum(x)², all integers of any length
        scaled_variance = num_pixels * total_squares - total * total
        means.append(total / (255 * num_pixels))
        stds.append(math.sqrt(scaled_variance / (255 * num_pixels) ** 2))
    return tuple(means), tuple(stds)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixel / 255 - mean) / std, on the device of the images.

    A channel whose standard deviation is 0 has one value everywhere it was measured; it is divided
    by 1 instead, which makes it 0 there and keeps it finite elsewhere.

    Args:
        images: pixels from 0 to 255.
        mean, std: one number for each channel, as `channel_statistics` gives them; std at least 0.

    Shapes: `images` (N, C, H, W) uint8; the result has the same shape, float32.
    Raises: SettingError if the numbers are not one for each channel, or not finite, or std < 0.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
        >>> normalize(images, (0.5,), (0.5,)).flatten()
        tensor([-1.,  1.])
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != images.shape[1]:
            raise SettingError(
                f"{name} has {len(values)} values; the images have {images.shape[1]} channels"
            )
        if not all(math.isfinite(value) for value in values):
            raise SettingError(f"{name} is {tuple(values)}; allowed: finite numbers")
    if min(std) < 0:
        raise SettingError(f"std is {tuple(std)}; allowed: at least 0")
    divisors = [value if value > 0 else 1.0 for value in std]
    mean_c11 = torch.tensor(mean, dtype=torch.float32, device=images.device).reshape(-1, 1, 1)
    std_c11 = torch.tensor(divisors, dtype=torch.float32, device=images.device).reshape(-1, 1, 1)
    return images.to(torch.float32).div_(255).sub_(mean_c11).div_(std_c11)
