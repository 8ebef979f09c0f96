"""Weight vectors in NumPy alone: the same rows as the core cuts with torch."""

from itertools import product

import numpy as np
import pytest
import torch

from permtrain.core.vectors import GRANULARITIES, Granularity, Layout, VectorView
from permtrain.errors import GranularityError
from permtrain.initial import rows as plain
from permtrain.initial.rows import Rows

SHAPES = [(7,), (1,), (4, 6), (6, 4, 3), (4, 6, 2, 3), (6, 4, 1, 1, 5), (0, 3), (4, 0, 2), (1, 1)]


def layouts(shape: tuple[int, ...]) -> list[Layout]:
    """Every layout that a view of this shape takes."""
    found = []
    for axis, kernel_axes, groups in product((0, 1), range(3), (1, 2)):
        try:
            VectorView(shape, "layer", Layout(axis, kernel_axes, groups))
        except GranularityError:
            continue
        if groups == 1 or axis == 1:  # groups hide in the axis of the inputs
            found.append(Layout(axis, kernel_axes, groups))
    return found


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_the_view(shape: tuple[int, ...], granularity: Granularity) -> None:
    numbers = np.arange(np.prod(shape)).reshape(shape)
    num_compared = 0
    for layout in layouts(shape):
        rows = Rows(shape, granularity, *vars(layout).values())
        try:
            view = VectorView(shape, granularity, layout)
        except GranularityError:
            assert rows.vector_length == 1  # single weights are no vectors
            continue
        expected = view.to_vectors(torch.from_numpy(numbers)).numpy()
        assert (rows.num_vectors, rows.vector_length) == expected.shape
        assert np.array_equal(rows.to_vectors(numbers), expected)
        back = rows.to_tensor(expected)
        assert np.array_equal(back, numbers)
        assert back.flags.c_contiguous
        num_compared += 1
    assert num_compared or granularity != "layer"


def test_granularities_are_those_of_the_core() -> None:
    assert plain.GRANULARITIES == GRANULARITIES
