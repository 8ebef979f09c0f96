"""Normalised images: z-scored channel by channel, less their mean image, or from 0 to 1.

Which of them an experiment takes can decide it. Where a pixel is always dark, it is 0 from 0 to 1
and less the mean image, so that its weights have no gradient; z-scored, it is as strong an input as
any. The papers do not tell which they take on MNIST. The authors' files of Train by Reconnect score
what was published on pixels from 0 to 1, and the experiments of Permute to Train come to it so.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from permtrain.errors import DataError, SettingError

_SUMMED_AT_ONCE = 1000  # torch widens what it sums


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
    _check_images(images)
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


def mean_image(images: Tensor) -> Tensor:
    """Mean of every pixel over all images, of pixels scaled to [0, 1].

    Exact up to the last rounding, as sums are integers; the result depends neither on the order of
    the images nor on the device.

    Args:
        images: usually those of the training split, after validation images were taken away.

    Shapes: `images` (N, C, H, W) uint8; the result (C, H, W) float32, on their device.
    Raises: DataError if there are no images or they are not uint8.

    Example:
        >>> images = torch.tensor([[0, 255], [0, 0]], dtype=torch.uint8).reshape(2, 1, 1, 2)
        >>> mean_image(images)
        tensor([[[0.0000, 0.5000]]])
    """
    _check_images(images)
    total = torch.zeros(images.shape[1:], dtype=torch.int64, device=images.device)
    for part in images.split(_SUMMED_AT_ONCE):
        total += part.sum(0, dtype=torch.int64)
    return (total.to(torch.float64) / (255 * len(images))).to(torch.float32)


def normalize(images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float]) -> Tensor:
    """(pixel / 255 - mean) / std, on the device of the images.

    A channel whose standard deviation is 0 has one value everywhere it was measured; it is divided
    by 1 instead, which makes it 0 there and keeps it finite elsewhere.

    Args:
        images: pixels from 0 to 255.
        mean: one number for each channel, as `channel_statistics` gives them; or a mean image, as
            `mean_image` gives it, of finite numbers.
        std: one number for each channel, at least 0.

    Shapes: `images` (N, C, H, W) uint8; a mean image (C, H, W) float32; the result has the shape of
        the images, float32.
    Raises: SettingError if the numbers are not one for each channel, or not finite, or std < 0, or
        the mean image has another shape than the images.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
        >>> normalize(images, (0.5,), (0.5,)).flatten()
        tensor([-1.,  1.])
    """
    if isinstance(mean, Tensor):
        if mean.shape != images.shape[1:]:
            raise SettingError(
                f"the mean image has the shape {tuple(mean.shape)}, "
                f"the images {tuple(images.shape[1:])}"
            )
        mean_c11 = mean.to(images.device)
    else:
        _check_channels("mean", mean, images)
        mean_c11 = _column(mean, images.device)
    _check_channels("std", std, images)
    if min(std) < 0:
        raise SettingError(f"std is {tuple(std)}; allowed: at least 0")
    std_c11 = _column([value if value > 0 else 1.0 for value in std], images.device)
    return images.to(torch.float32).div_(255).sub_(mean_c11).div_(std_c11)


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise DataError(
            "images must be uint8 of shape (N, C, H, W), "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    if images.numel() == 0:
        raise DataError(f"no mean of no pixels: the images have the shape {tuple(images.shape)}")


def _check_channels(name: str, values: Sequence[float], images: Tensor) -> None:
    if len(values) != images.shape[1]:
        raise SettingError(
            f"{name} has {len(values)} values; the images have {images.shape[1]} channels"
        )
    if not all(math.isfinite(value) for value in values):
        raise SettingError(f"{name} is {tuple(values)}; allowed: finite numbers")


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)
