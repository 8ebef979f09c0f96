"""A tensor's weight vectors as rows, in NumPy alone: `core.vectors.VectorView` without torch.

Suffixes: V vectors, L weights in a vector.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

GRANULARITIES = ("kernel", "neuron", "layer")


@dataclass(frozen=True)
class Rows:
    """How a tensor is cut into weight vectors, and the way back. Fields are not checked here.

    Args:
        shape: the tensor's shape.
        granularity: one of `GRANULARITIES`.
        output_axis, num_kernel_axes, groups: as in `core.vectors.Layout`.

    Example:
        >>> rows = Rows((2, 3, 4), "neuron", output_axis=1)
        >>> rows.num_vectors, rows.vector_length
        (3, 8)
        >>> tensor = np.arange(24).reshape(2, 3, 4)
        >>> bool((rows.to_tensor(rows.to_vectors(tensor)) == tensor).all())
        True
    """

    shape: tuple[int, ...]
    granularity: str
    output_axis: int = 0
    num_kernel_axes: int = 0
    groups: int = 1

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def vector_length(self) -> int:
        """Number of weights in one vector, L."""
        if self.granularity == "layer":
            return self.num_weights
        if self.granularity == "kernel":
            return math.prod(self.shape[len(self.shape) - self.num_kernel_axes :])
        return self.num_weights // max(self.shape[self.output_axis] * self.groups, 1)

    @property
    def num_vectors(self) -> int:
        """Number of vectors, V."""
        if self.granularity == "layer":
            return 1
        return self.num_weights // max(self.vector_length, 1)

    def to_vectors(self, tensor: Array) -> Array:
        """The tensor as (V, L)."""
        split_shape, axes = self._axes()
        split = tensor.reshape(split_shape).transpose(axes)
        return split.reshape(self.num_vectors, self.vector_length)

    def to_tensor(self, values_VL: Array) -> Array:
        """The inverse of `to_vectors`, contiguous."""
        split_shape, axes = self._axes()
        permuted = values_VL.reshape([split_shape[axis] for axis in axes])
        tensor = permuted.transpose(np.argsort(axes)).reshape(self.shape)
        return np.ascontiguousarray(tensor)

    def _axes(self) -> tuple[tuple[int, ...], list[int]]:
        """The shape with groups on an axis of their own, and its axes with output units first."""
        if self.granularity == "layer":
            return self.shape, list(range(len(self.shape)))
        split_shape, first = self.shape, [self.output_axis]
        if self.groups > 1:
            split_shape = (self.groups, self.shape[0] // self.groups, *self.shape[1:])
            first = [0, self.output_axis + 1]
        return split_shape, first + [i for i in range(len(split_shape)) if i not in first]
