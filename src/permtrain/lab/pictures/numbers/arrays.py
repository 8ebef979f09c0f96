"""Arrays made fit to be drawn: checked, and thinned where a picture has no room for all of them.

Shape suffixes: V vectors, L weights in a vector; H, W rows and columns of a matrix.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from permtrain.errors import PictureError

Floats = NDArray[np.floating]


def drawable(values: ArrayLike, name: str, ndim: int = 2) -> Floats:
    """The values as a floating array that can be drawn.

    Raises:
        PictureError: they have other dimensions, are empty, or hold NaN or infinity.

    Example:
        >>> drawable([[1, 2], [3, 4]], "w").dtype
        dtype('float64')
        >>> drawable([[1.0, float("nan")]], "w")
        Traceback (most recent call last):
        permtrain.errors.PictureError: w: 1 of 2 values are NaN or infinite; allowed: finite values
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if array.dtype == np.float16:  # its sums overflow
        array = array.astype(np.float32)
    if array.ndim != ndim:
        raise PictureError(f"{name}: has shape {array.shape}; allowed: {ndim} dimensions")
    if array.size == 0:
        raise PictureError(f"{name}: has shape {array.shape}, nothing to draw")
    num_bad = array.size - int(np.isfinite(array).sum())
    if num_bad:
        raise PictureError(
            f"{name}: {num_bad} of {array.size} values are NaN or infinite; allowed: finite values"
        )
    return array


def drawable_pair(before: ArrayLike, after: ArrayLike, name: str) -> tuple[Floats, Floats]:
    """Two arrays of (V, L) that belong together.

    Raises:
        PictureError: as `drawable`, or their shapes differ.
    """
    first, now = drawable(before, f"{name} before"), drawable(after, f"{name} after")
    if first.shape != now.shape:
        raise PictureError(
            f"{name}: shape {first.shape} before and {now.shape} after; allowed: the same"
        )
    return first, now


def row_of(w_VL: Floats, vector: int, name: str) -> Floats:
    """One weight vector.

    Raises:
        PictureError: there is none of this number.
    """
    if not 0 <= vector < len(w_VL):
        raise PictureError(f"{name}: vector is {vector}; allowed: 0 to {len(w_VL) - 1}")
    row: Floats = w_VL[vector]
    return row


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the places 0 to count - 1, evenly spaced, the first and the last included.

    Args:
        count: 0 or more.
        most: 2 or more.

    Example:
        >>> evenly(9, 5), evenly(3, 5)
        ([0, 2, 4, 6, 8], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [place * (count - 1) // (most - 1) for place in range(most)]


def block_means(values_HW: Floats | NDArray[np.bool_], most: int) -> tuple[Floats, tuple[int, int]]:
    """A matrix of at most `most` rows and columns: means of equal blocks, the last ones smaller.

    Returns the means and the blocks' height and width, (1, 1) where nothing was averaged.

    Example:
        >>> block_means(np.array([[1.0, 3.0, 5.0], [1.0, 3.0, 7.0]]), most=2)
        (array([[2., 6.]]), (2, 2))
    """
    H, W = values_HW.shape
    if max(H, W) <= most:
        return values_HW.astype(np.float64), (1, 1)
    # Blocks are square, so that the picture keeps the matrix's proportions.
    size = -(-max(H, W) // most)
    columns, rows = np.arange(0, W, size), np.arange(0, H, size)
    sums = np.add.reduceat(values_HW, columns, axis=1, dtype=np.float64)
    sums = np.add.reduceat(sums, rows, axis=0)
    heights, widths = np.diff([*rows, H]), np.diff([*columns, W])
    return sums / np.outer(heights, widths), (size, size)


def connections(w_VL: ArrayLike, most: int = 1000) -> tuple[Floats, tuple[int, int]]:
    """Where a sparse layer has weights: the share that is not zero, in blocks of the matrix.

    Returns shares in [0, 1], at most `most` on a side, and a block's height and width.

    Example:
        >>> connections([[0.0, 2.0], [0.0, 0.0]])
        (array([[0., 1.],
               [0., 0.]]), (1, 1))
        >>> connections([[0.0, 2.0], [0.0, 0.0]], most=1)
        (array([[0.25]]), (2, 2))
    """
    return block_means(drawable(w_VL, "weights") != 0, most)


def as_grid(vector_L: Floats) -> Floats:
    """A weight vector as a picture: square if its length is, else nearly; missing places are NaN.

    Example:
        >>> as_grid(np.arange(4.0)).tolist()
        [[0.0, 1.0], [2.0, 3.0]]
        >>> as_grid(np.arange(3.0)).tolist()
        [[0.0, 1.0], [2.0, nan]]
    """
    width = int(np.ceil(np.sqrt(len(vector_L))))
    height = -(-len(vector_L) // width)
    grid = np.full(height * width, np.nan)
    grid[: len(vector_L)] = vector_L
    return grid.reshape(height, width)


def as_tiles(vector_L: Floats, height: int, width: int) -> Floats:
    """Kernels, one after the other in a vector, side by side in a square or nearly; NaN between.

    Example:
        >>> as_tiles(np.arange(6.0), 1, 2).tolist()
        [[0.0, 1.0, nan, 2.0, 3.0], [nan, nan, nan, nan, nan], [4.0, 5.0, nan, nan, nan]]
    """
    tiles = vector_L.reshape(-1, height, width)
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = -(-len(tiles) // columns)
    grid = np.full((rows * columns, height + 1, width + 1), np.nan)
    grid[: len(tiles), :height, :width] = tiles
    joined = grid.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    return joined.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]


def three_digits(value: float) -> float | None:
    """Rounded to three significant digits; None for what is no finite number, as JSON has none.

    Example:
        >>> three_digits(-0.0123456), three_digits(float("nan"))
        (-0.0123, None)
    """
    return float(f"{value:.3g}") if math.isfinite(value) else None
