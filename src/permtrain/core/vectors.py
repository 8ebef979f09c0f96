"""A tensor seen as the rows of a matrix, one weight vector each, and back.

Shape suffixes used in `core`: V vectors, L weights in a vector.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from permtrain.errors import GranularityError

Granularity: TypeAlias = Literal["kernel", "neuron", "layer"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""What cuts a tensor by itself, the finest first."""

ACROSS = "across"
"""The granularity in which weights of several tensors exchange values, in units of each."""


@dataclass(frozen=True)
class Layout:
    """Where a weight tensor keeps its output units and its kernels.

    Args:
        output_axis: the axis that counts output units (0 for linear and convolution weights).
        num_kernel_axes: how many trailing axes form one kernel; 0 where there are none.
        groups: blocks of the *input* axis 0 that hold different output units (transposed
            convolutions with groups); 1 otherwise.

    Example:
        >>> layout_of(nn.ConvTranspose2d(4, 6, 3, groups=2), "weight")
        Layout(output_axis=1, num_kernel_axes=2, groups=2)
    """

    output_axis: int = 0
    num_kernel_axes: int = 0
    groups: int = 1


COMPUTED_FROM = ("", "_orig", "_v")
"""Endings of the parameter that torch's hooks compute a weight from: as it is, spectral norm and
pruning, weight norm's direction."""


def layout_of(module: nn.Module, parameter_name: str, weight: Tensor | None = None) -> Layout:
    """The layout of one of a module's own parameters, by the module's type.

    Args:
        module: the layer.
        parameter_name: its name there. What a hook computes the weight from has its layout.
        weight: the parameter, where the module does not hold it itself (parametrizations).

    All weights into one output unit are found along the other axes: axis 0 counts output units for
    linear and convolution weights, axis 1 for transposed convolutions and for embeddings (an
    embedding is a linear layer fed with one-hot vectors). Unknown modules keep them on axis 0.
    """
    weight = getattr(module, parameter_name) if weight is None else weight
    num_kernel_axes = max(weight.dim() - 2, 0)
    is_weight = parameter_name in {"weight" + ending for ending in COMPUTED_FROM}
    if is_weight and isinstance(module, nn.modules.conv._ConvTransposeNd):
        return Layout(1, num_kernel_axes, module.groups)
    if is_weight and isinstance(module, nn.modules.conv._ConvNd):
        return Layout(0, num_kernel_axes)
    if is_weight and isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Layout(1)
    return Layout(0)


def plain_layout(weight: Tensor) -> Layout:
    """The layout of a tensor known by its shape only: as a linear or convolution weight."""
    return Layout(0, max(weight.dim() - 2, 0))


@dataclass(frozen=True)
class VectorView:
    """How a tensor of one shape is cut into weight vectors, together with the way back.

    Granularity says which weights may exchange values (Train by Reconnect, section 2; index
    optimizer, section 5.1.1):

    - `"kernel"`: one kernel, the trailing axes of a convolution weight;
    - `"neuron"`: all weights into one output unit, the papers' weight vector;
    - `"layer"`: the whole tensor;
    - `"across"`: the whole tensor as a part of a vector that other tensors are parts of too
      (`core.across`).

    Args:
        shape: the tensor's shape.
        granularity: one of `GRANULARITIES`, or `ACROSS`.
        layout: where the output units are.

    Raises:
        GranularityError: an unknown granularity, an axis the tensor does not have, or vectors of a
            single weight, which leave nothing to permute.

    Example:
        >>> view = VectorView((6, 3, 5, 5), "neuron")
        >>> view.num_vectors, view.vector_length
        (6, 75)
        >>> import torch
        >>> w = torch.randn(6, 3, 5, 5)
        >>> torch.equal(view.to_tensor(view.to_vectors(w)), w)
        True
    """

    shape: tuple[int, ...]
    granularity: Granularity | Literal["across"]
    layout: Layout = Layout()

    def __post_init__(self) -> None:
        if self.granularity not in (*GRANULARITIES, ACROSS):
            raise GranularityError(
                f"granularity is {self.granularity!r}; allowed: {', '.join(GRANULARITIES)}"
            )
        dims = len(self.shape)
        if not 0 <= self.layout.output_axis < max(dims, 1):
            raise GranularityError(
                f"output_axis is {self.layout.output_axis}; allowed for shape {self.shape}: "
                f"{f'0 to {dims - 1}' if dims else 'only 0'}"
            )
        first_kernel_axis = dims - self.layout.num_kernel_axes
        if not self.layout.output_axis < max(first_kernel_axis, 1):
            raise GranularityError(
                f"output_axis is {self.layout.output_axis}, an axis of the kernels of shape "
                f"{self.shape[first_kernel_axis:]}; allowed: below {max(first_kernel_axis, 1)}"
            )
        if self.layout.groups > 1 and self.shape[0] % self.layout.groups:
            raise GranularityError(
                f"groups is {self.layout.groups}; allowed for shape {self.shape}: what divides "
                f"{self.shape[0]}"
            )
        if self.num_weights > 1 and self.vector_length == 1:
            what = {"kernel": "a kernel", "neuron": "a neuron's weight vector"}
            other = "'layer'" if self.granularity == "neuron" or dims < 2 else "'neuron', 'layer'"
            raise GranularityError(
                f"granularity is {self.granularity!r}, but {what[self.granularity]} of a tensor of "
                f"shape {self.shape} is a single weight, nothing to permute; allowed: {other}, "
                f"or None to leave it alone"
            )

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def vector_length(self) -> int:
        """Number of weights in one vector, L; of one that goes across, in this tensor."""
        if self._is_whole:
            return self.num_weights
        if self.granularity == "kernel":
            num_axes = self.layout.num_kernel_axes
            return math.prod(self.shape[len(self.shape) - num_axes :]) if num_axes else 1
        return self.num_weights // max(self._num_output_units, 1)

    @property
    def num_vectors(self) -> int:
        """Number of vectors, V."""
        if self._is_whole:
            return 1
        return self.num_weights // max(self.vector_length, 1)

    @property
    def is_across(self) -> bool:
        """Whether its weights may go to other tensors, and theirs come here."""
        return self.granularity == ACROSS

    @property
    def exponent(self) -> int:
        """Of the unit 2**exponent in which weights go across: see `core.across`.

        The power of two nearest to the He standard deviation sqrt(2 / fan_in), on a logarithmic
        scale. fan_in is the number of weights into one output unit; a vector's is its length.

        Example:
            >>> [VectorView((8, fan_in), "across").exponent for fan_in in (2, 7, 9, 31, 33, 784)]
            [0, -1, -1, -2, -2, -4]
        """
        fan_in = self.num_weights
        if len(self.shape) > 1:
            fan_in //= max(self._num_output_units, 1)
        return math.floor(1 - math.log2(max(fan_in, 1)) / 2)

    @property
    def _is_whole(self) -> bool:
        return self.granularity in ("layer", ACROSS)

    @property
    def _num_output_units(self) -> int:
        if not self.shape:
            return 1
        return self.shape[self.layout.output_axis] * self.layout.groups

    @cached_property
    def _split_shape(self) -> tuple[int, ...]:
        """The shape with groups, which hide in axis 0, on an axis of their own in front."""
        groups = self.layout.groups
        if groups == 1 or self._is_whole:
            return self.shape
        return (groups, self.shape[0] // groups, *self.shape[1:])

    @cached_property
    def _axes(self) -> tuple[int, ...]:
        """Order of the split shape's axes that puts the output units first."""
        axes = list(range(len(self._split_shape)))
        if self._is_whole or not axes:
            return tuple(axes)
        grouped = self.layout.groups > 1
        output_axis = self.layout.output_axis + grouped
        first = [0, output_axis] if grouped else [output_axis]
        return tuple(first + [axis for axis in axes if axis not in first])

    def to_vectors(self, tensor: Tensor) -> Tensor:
        """The tensor as (V, L): a view of its memory where strides allow it, else a copy."""
        self._check_shape(tensor)
        return (
            tensor.reshape(self._split_shape)
            .permute(self._axes)
            .reshape(self.num_vectors, self.vector_length)
        )

    def to_tensor(self, vectors_VL: Tensor) -> Tensor:
        """The inverse of `to_vectors`: (V, L) back to the tensor's shape."""
        if tuple(vectors_VL.shape) != (self.num_vectors, self.vector_length):
            raise GranularityError(
                f"vectors have shape {tuple(vectors_VL.shape)}; "
                f"allowed: {(self.num_vectors, self.vector_length)}"
            )
        permuted_shape = [self._split_shape[axis] for axis in self._axes]
        inverse = sorted(range(len(self._axes)), key=self._axes.__getitem__)
        return vectors_VL.reshape(permuted_shape).permute(inverse).reshape(self.shape)

    def _check_shape(self, tensor: Tensor) -> None:
        if tuple(tensor.shape) != self.shape:
            raise GranularityError(
                f"a tensor of shape {tuple(tensor.shape)} was given to a view of shape {self.shape}"
            )


def as_view(tensor: Tensor, granularity: Granularity | VectorView) -> VectorView:
    """A view for this tensor: the one given, or one by name with the plain layout of its shape."""
    if isinstance(granularity, VectorView):
        granularity._check_shape(tensor)
        return granularity
    return VectorView(tuple(tensor.shape), granularity, plain_layout(tensor))
