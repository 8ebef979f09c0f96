"""Random rotation, shift, zoom and mirroring of a whole batch, one draw for each image.

The arithmetic is that of Keras' `ImageDataGenerator` with `fill_mode="nearest"`, which LaPerm's
authors used; here it runs on the device, for all images at once.
"""

import hashlib
import math
import struct
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.order import check_counter

__all__ = ["Augmentation", "Draws", "augment", "augmentation_generator", "draw", "warp"]


@dataclass(frozen=True, eq=False)
class Draws:
    """What happens to each image of a batch; every field has the shape (N,).

    Fields, with Keras' names:
        angle: theta, in radians.
        shift_rows, shift_columns: tx and ty, in pixels.
        zoom_rows, zoom_columns: zx and zy; they scale coordinates, so above 1 things get smaller.
        flip: bool, mirrored left to right after everything else.
    """

    angle: Tensor
    shift_rows: Tensor
    shift_columns: Tensor
    zoom_rows: Tensor
    zoom_columns: Tensor
    flip: Tensor


def augmentation_generator(
    seed: int, epoch: int, batch: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator for one batch, made from counters, so that a resumed run draws the same.

    Args:
        seed, epoch, batch: 0 to 2**64 - 1; `batch` is the place of the batch in its epoch.
        device: where the numbers are drawn. CPU and CUDA draw different numbers from one seed; a
            CPU generator serves images on any device.

    Raises: SettingError if a counter is out of range.

    Example:
        >>> first = torch.rand(3, generator=augmentation_generator(0, 7, 2))
        >>> torch.equal(first, torch.rand(3, generator=augmentation_generator(0, 7, 2)))
        True
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("batch", batch)):
        check_counter(name, value)
    counters = struct.pack("<3Q", seed, epoch, batch)
    digest = hashlib.sha256(b"permtrain augmentation" + counters).digest()
    generator = torch.Generator(device)
    generator.manual_seed(int.from_bytes(digest[:8], "little"))
    return generator


def draw(
    num_images: int, height: int, width: int, settings: Augmentation, generator: torch.Generator
) -> Draws:
    """Draw what happens to each image: everything uniform and independent.

    Six numbers are drawn for each image whatever the settings, so that switching one kind of
    augmentation on leaves the draws of the others as they were.
    """
    uniform = torch.rand(6, num_images, generator=generator, device=generator.device)
    signed = 2 * uniform - 1
    return Draws(
        angle=math.radians(settings.rotation_degrees) * signed[0],
        shift_rows=settings.shift_fraction * height * signed[1],
        shift_columns=settings.shift_fraction * width * signed[2],
        zoom_rows=1 + settings.zoom_fraction * signed[3],
        zoom_columns=1 + settings.zoom_fraction * signed[4],
        flip=(uniform[5] < 0.5) & settings.horizontal_flip,
    )


def warp(images: Tensor, draws: Draws) -> Tensor:
    """Rotate, shift and zoom each image about its centre, by bilinear interpolation.

    Output pixel (row, column), counted from the centre ((H - 1)/2, (W - 1)/2) of the pixel
    centres, takes its value from the input at

        R(angle) (Z (row, column) + (shift_rows, shift_columns)),  Z = diag(zoom_rows, zoom_columns)

    which is Keras' matrix product rotation, shift, zoom. Outside the image the nearest border pixel
    counts. `draws.flip` is not used here.

    Shapes: `images` (N, C, H, W), floating point; the result likewise.
    Differs from the source: Keras interpolates in float64, this in float32. The grid is computed by
        elementwise products rather than by `F.affine_grid`, whose matrix product would lose digits
        under TF32 or autocast.
    """
    height, width = images.shape[-2:]
    device = images.device

    def column(values: Tensor) -> Tensor:
        return values.to(device, torch.float32).reshape(-1, 1, 1)

    rows_h1 = torch.arange(height, device=device, dtype=torch.float32)[:, None] - (height - 1) / 2
    columns_w = torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2
    rows_nh1 = column(draws.zoom_rows) * rows_h1 + column(draws.shift_rows)
    columns_n1w = column(draws.zoom_columns) * columns_w + column(draws.shift_columns)
    cos, sin = torch.cos(column(draws.angle)), torch.sin(column(draws.angle))
    # align_corners=False: -1 and 1 are the outer edges, so H/2 pixels lie between the centre and 1
    y_nhw = (cos * rows_nh1 - sin * columns_n1w) * (2 / height)
    x_nhw = (sin * rows_nh1 + cos * columns_n1w) * (2 / width)
    grid = torch.stack((x_nhw, y_nhw), dim=-1)
    work = images if images.dtype in (torch.float32, torch.float64) else images.float()
    moved = F.grid_sample(
        work, grid.to(work.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved.to(images.dtype)


def augment(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each image at random, with draws of its own.

    Interpolation is a weighted mean of pixels, so it makes no difference (but for rounding) whether
    images are normalized channel by channel before or after. With a mean image it does: Train by
    Reconnect, A.5.2, normalizes all images and then augments them, and so does the trainer.

    Args:
        images: not changed.
        settings: all zero returns `images` itself and draws nothing.
        generator: one from `augmentation_generator`; its device may differ from that of the images.

    Shapes: `images` (N, C, H, W), floating point; the result has the same shape, dtype and device.
    Source: Keras, `ImageDataGenerator.random_transform` and `apply_affine_transform` (version 2,
        with the image centre at h/2 - 0.5).
    Differs from the source: the order of the draws, and float32 (see `warp`).
    Raises: TypeError if the images are not floating point.

    Example:
        >>> images = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> augment(images, Augmentation(), augmentation_generator(0, 0, 0)) is images
        True
    """
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point to be augmented, got {images.dtype}")
    if settings.is_identity or len(images) == 0:
        return images
    num_images, _, height, width = images.shape
    draws = draw(num_images, height, width, settings, generator)
    if settings.moves_pixels_between:
        images = warp(images, draws)
    if settings.horizontal_flip:
        flip_n111 = draws.flip.to(images.device).reshape(-1, 1, 1, 1)
        images = torch.where(flip_n111, images.flip(-1), images)
    return images
