"""Images side by side as one array."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import drawable

_GAP = 2


def image_grid(images: ArrayLike, num_columns: int | None = None) -> NDArray[np.float64]:
    """Images side by side with white gaps, as one picture with values in [0, 1].

    Args:
        images: (N, H, W), (N, 1, H, W) or (N, 3, H, W); whole numbers are read as 0 to 255, others
            as 0 to 1 and cut off there.
        num_columns: None makes the grid about square.

    Shapes: (rows, columns, 3) float64.
    Raises:
        PictureError: no images, another shape, NaN, or fewer than one column.

    Example:
        >>> image_grid(np.zeros((3, 1, 4, 4), dtype=np.uint8), num_columns=2).shape
        (10, 10, 3)
    """
    given = np.asarray(images)
    scale = 255.0 if given.dtype.kind in "ui" else 1.0
    if given.ndim == 3:
        given = given[:, None]
    if given.ndim != 4 or given.shape[1] not in (1, 3):
        raise PictureError(
            f"images have shape {np.shape(images)}; allowed: (N, H, W), (N, 1, H, W), (N, 3, H, W)"
        )
    pixels = (drawable(given, "images", ndim=4) / scale).clip(0, 1).transpose(0, 2, 3, 1)
    N, H, W, _ = pixels.shape
    columns = math.ceil(math.sqrt(N)) if num_columns is None else num_columns
    if columns < 1:
        raise PictureError(f"num_columns is {columns}; allowed: 1 or more")
    columns = min(columns, N)
    rows = math.ceil(N / columns)
    grid = np.ones((rows * (H + _GAP) - _GAP, columns * (W + _GAP) - _GAP, 3))
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (H + _GAP), (i % columns) * (W + _GAP)
        grid[top : top + H, left : left + W] = image
    return grid


def rows_of_images(rows: Mapping[str, ArrayLike], num_columns: int = 10) -> NDArray[np.float64]:
    """Several sets of the same pictures, one above the other: each picture stands below itself.

    Args:
        rows: by name; each as in `image_grid`, all of one shape. The first `num_columns` are shown,
            then, after a wider gap, the next ones.
        num_columns: pictures side by side.

    Shapes: (rows, columns, 3) float64.

    Example:
        >>> black = np.zeros((3, 4, 4), dtype=np.uint8)
        >>> rows_of_images({"before": black, "after": black}, num_columns=2).shape
        (24, 10, 3)
    """
    sets = [np.asarray(images) for images in rows.values()]
    if not sets or len({images.shape for images in sets}) > 1:
        shapes = {name: np.shape(images) for name, images in rows.items()}
        raise PictureError(f"images have shapes {shapes}; allowed: one shape for all")
    blocks: list[NDArray[np.float64]] = []
    for first in range(0, len(sets[0]), num_columns):
        chosen = np.concatenate([images[first : first + num_columns] for images in sets])
        block = image_grid(chosen, len(chosen) // len(sets))
        if blocks:
            blocks.append(np.ones((2 * _GAP, blocks[0].shape[1], 3)))
            missing = blocks[0].shape[1] - block.shape[1]
            block = np.pad(block, ((0, 0), (0, missing), (0, 0)), constant_values=1.0)
        blocks.append(block)
    return np.concatenate(blocks)
