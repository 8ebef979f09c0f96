"""Weight profiles: the sorted weight vectors of a layer, and how alike they are."""

import numpy as np
from numpy.typing import ArrayLike

from permtrain.errors import PictureError
from permtrain.lab.pictures.numbers.arrays import Floats, drawable

_ROWS_AT_ONCE = 256


def sorted_vectors(w_VL: ArrayLike) -> Floats:
    """Each weight vector in ascending order, (V, L).

    Raises:
        PictureError: not two dimensions, empty, or not finite.

    Example:
        >>> sorted_vectors([[3.0, 1.0], [2.0, 4.0]]).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    return np.sort(drawable(w_VL, "weights"), axis=1)


def profile_similarity(w_VL: ArrayLike) -> float:
    """How alike the sorted vectors are: the share of their variance that the mean profile explains.

    With s_j the sorted vector j, m the mean of all s_j rank by rank, and g the mean of all weights:

        1 - sum_j |s_j - m|^2 / sum_j |s_j - g|^2

    1 where all vectors hold the same values, 0 where ranks tell nothing, as for vectors that are
    constant. Vectors drawn from one distribution are alike too: the longer, the nearer to 1. So the
    number says whether one profile fits a layer, not whether the layer was trained.

    Source: a number of our own for the observation of Train by Reconnect, section 2 ("similarity of
    weight profiles").

    Args:
        w_VL: two or more weight vectors, in any order of weights.

    Returns: in [0, 1]; 1.0 where all weights are equal.
    Cost: one sort of each vector; sums are taken in float64.
    Raises:
        PictureError: fewer than two vectors, or as `sorted_vectors`.

    Example:
        >>> profile_similarity([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
        1.0
        >>> profile_similarity([[1.0, 1.0], [3.0, 3.0]])
        0.0
        >>> profile_similarity([[0.0, 2.0], [4.0, 2.0]])  # m = (1, 3), g = 2
        0.5
    """
    sorted_VL = sorted_vectors(w_VL)
    if len(sorted_VL) < 2:
        raise PictureError("one weight vector has nothing to be like; allowed: two or more")
    if sorted_VL[:, 0].min() == sorted_VL[:, -1].max():
        return 1.0  # equal weights' mean may be rounded, and then both sums are nothing but that
    mean_L = sorted_VL.mean(axis=0, dtype=np.float64)
    grand_mean = float(mean_L.mean())
    within = total = 0.0
    for first in range(0, len(sorted_VL), _ROWS_AT_ONCE):  # float64 copies of few rows at a time
        rows = sorted_VL[first : first + _ROWS_AT_ONCE].astype(np.float64)
        within += float(np.square(rows - mean_L).sum())
        total += float(np.square(rows - grand_mean).sum())
    return 1.0 if total == 0 else max(0.0, 1 - within / total)  # 0: squares too small
