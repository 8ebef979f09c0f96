"""How a tensor is cut into weight vectors, the rows of a matrix, and put together again.

One class for torch's tensors and NumPy's arrays; it imports neither.
Shape suffixes used in `core`: V vectors, L weights in a vector.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from permtrain.errors import GranularityError

LinearGranularity: TypeAlias = Literal["neuron", "layer"]
"""Those of a weight without kernels."""

Granularity: TypeAlias = Literal["kernel", LinearGranularity]
"""Which weights of a tensor may exchange values; `MEANINGS` says what each name means."""
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""What cuts a tensor by itself, the finest first."""

ACROSS: Literal["across"] = "across"
"""The granularity in which weights of several tensors exchange values, in units of each."""

AnyGranularity: TypeAlias = Literal[Granularity, "across"]
MEANINGS: dict[AnyGranularity, str] = {
    "kernel": "weights change places within one kernel of a convolution",
    "neuron": "within all weights into one output unit: a row of a matrix, a filter",
    "layer": "within a whole weight tensor",
    "across": "across all layers, each weight in units of its layer",
}

_T = TypeVar("_T")
"""A torch tensor or a NumPy array."""


@dataclass(frozen=True)
class Cut:
    """How a tensor is cut into weight vectors, together with the way back.

    Granularity says which weights may exchange values (Train by Reconnect, section 2; index
    optimizer, section 5.1.1):

    - `"kernel"`: one kernel, the trailing axes of a convolution weight;
    - `"neuron"`: all weights into one output unit, the papers' weight vector;
    - `"layer"`: the whole tensor;
    - `"across"`: the whole tensor as a part of a vector that other tensors are parts of too
      (`core.across`).

    Args:
        granularity: one of `GRANULARITIES`, or `ACROSS`.
        output_axis: the axis that counts output units (0 for linear and convolution weights).
        num_kernel_axes: how many trailing axes form one kernel; 0 where there are none.
        groups: blocks of axis 0 that hold different output units, which `output_axis`, 1 or more,
            counts in each (inputs of a transposed convolution with groups); 1 otherwise.
        shape: the tensor's shape; () for a cut that is not bound to a tensor yet (`of`).
        is_stack: whether axis 0 counts layers of their own, such as experts or the members of an
            ensemble, so that "layer" is one entry of it. Binding to a tensor (`of`) says the same
            by the other fields: with as many groups as layers, or "layer" as "neuron".

    Nothing is checked here; `of` and `at` check.

    Example:
        >>> cut = Cut("neuron").of((6, 3, 5, 5))
        >>> cut.num_vectors, cut.vector_length
        (6, 75)
        >>> import torch
        >>> w = torch.randn(6, 3, 5, 5)
        >>> torch.equal(cut.to_tensor(cut.to_vectors(w)), w)
        True
        >>> import numpy as np
        >>> Cut("neuron", output_axis=1).of((2, 3)).to_vectors(np.arange(6).reshape(2, 3))
        array([[0, 3],
               [1, 4],
               [2, 5]])
        >>> experts = Cut("neuron", output_axis=1, is_stack=True)  # (experts, out, in)
        >>> experts.of((8, 6, 4)).num_vectors, experts.of((8, 6, 4)).vector_length
        (48, 4)
        >>> Cut("layer", is_stack=True).of((8, 6, 4)).num_vectors
        8
    """

    granularity: AnyGranularity
    output_axis: int = 0
    num_kernel_axes: int = 0
    groups: int = 1
    shape: tuple[int, ...] = ()
    is_stack: bool = False

    def of(self, shape: tuple[int, ...]) -> "Cut":
        """This cut, of a tensor of a shape.

        Raises:
            GranularityError: an unknown granularity, an axis the tensor does not have, or vectors
                of a single weight, which leave nothing to permute.
        """
        cut = replace(self, shape=tuple(shape))
        cut = cut._unstacked() if cut.is_stack else cut
        cut._check()
        return cut

    def at(self, granularity: AnyGranularity) -> "Cut":
        """The cut of the same tensor at another granularity; errors as of `of`.

        Example:
            >>> Cut("neuron").of((6, 3)).at("layer").vector_length
            18
        """
        return replace(self, granularity=granularity).of(self.shape)

    @property
    def layout(self) -> tuple[int, int, int]:
        """Where output units and kernels are: output axis, number of kernel axes, groups."""
        return self.output_axis, self.num_kernel_axes, self.groups

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def vector_length(self) -> int:
        """Number of weights in one vector, L; of one that goes across, in this tensor."""
        if self._is_whole:
            return self.num_weights
        if self.granularity == "kernel":
            return math.prod(self.shape[len(self.shape) - self.num_kernel_axes :])
        return self.num_weights // max(self._num_output_units, 1)

    @cached_property
    def num_vectors(self) -> int:
        """Number of vectors, V."""
        return 1 if self._is_whole else self.num_weights // max(self.vector_length, 1)

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
            >>> fans = (2, 7, 9, 31, 33, 784)
            >>> [Cut("across").of((8, fan_in)).exponent for fan_in in fans]
            [0, -1, -1, -2, -2, -4]
        """
        fan_in = self.num_weights
        if len(self.shape) > 1:
            fan_in //= max(self._num_output_units, 1)
        return math.floor(1 - math.log2(max(fan_in, 1)) / 2)

    def to_vectors(self, tensor: _T) -> _T:
        """The tensor as (V, L): a view of its memory where strides allow it, else a copy."""
        self.check_fits(tensor)
        split: Any = tensor.reshape(self._split_shape)  # type: ignore[attr-defined]
        return _transposed(split, self._axes).reshape(  # type: ignore[no-any-return]
            self.num_vectors, self.vector_length
        )

    def to_tensor(self, vectors_VL: _T) -> _T:
        """The inverse of `to_vectors`: (V, L) back to the tensor's shape."""
        vectors: Any = vectors_VL
        if tuple(vectors.shape) != (self.num_vectors, self.vector_length):
            raise GranularityError(
                f"vectors have shape {tuple(vectors.shape)}; "
                f"allowed: {(self.num_vectors, self.vector_length)}"
            )
        transposed = vectors.reshape(tuple(self._split_shape[axis] for axis in self._axes))
        inverse = tuple(sorted(range(len(self._axes)), key=self._axes.__getitem__))
        return _transposed(transposed, inverse).reshape(self.shape)  # type: ignore[no-any-return]

    def check_fits(self, tensor: Any) -> None:
        """Refuse a tensor of another shape.

        Raises:
            GranularityError: naming both shapes.
        """
        if tuple(tensor.shape) != self.shape:
            raise GranularityError(
                f"a tensor of shape {tuple(tensor.shape)} was given to a cut of shape {self.shape}"
            )

    @property
    def _is_whole(self) -> bool:
        return self.granularity in ("layer", ACROSS)

    @property
    def _num_output_units(self) -> int:
        return self.shape[self.output_axis] * self.groups if self.shape else 1

    @cached_property
    def _split_shape(self) -> tuple[int, ...]:
        """The shape with groups, which hide in axis 0, on an axis of their own in front."""
        if self.groups == 1 or self._is_whole:
            return self.shape
        return (self.groups, self.shape[0] // self.groups, *self.shape[1:])

    @cached_property
    def _axes(self) -> tuple[int, ...]:
        """Order of the split shape's axes that puts the output units first."""
        axes = range(len(self._split_shape))
        if self._is_whole or not axes:
            return tuple(axes)
        first = (0, self.output_axis + 1) if self.groups > 1 else (self.output_axis,)
        return (*first, *(axis for axis in axes if axis not in first))

    def _unstacked(self) -> "Cut":
        """The same vectors of a stack, said by groups or by rows."""
        if self.granularity == "layer":
            return Cut("neuron", shape=self.shape)
        if self.groups > 1 or self.output_axis < 1 or not self.shape or not self.shape[0]:
            raise GranularityError(
                f"a stack has groups {self.groups}, output_axis {self.output_axis} and shape "
                f"{self.shape}; allowed: groups 1, output_axis 1 or more, an axis 0 that counts "
                "its layers"
            )
        return replace(self, groups=self.shape[0], is_stack=False)

    def _check(self) -> None:
        shape, dims = self.shape, len(self.shape)
        if self.granularity not in (*GRANULARITIES, ACROSS):
            raise GranularityError(
                f"granularity is {self.granularity!r}; allowed: {', '.join(GRANULARITIES)}"
            )
        if not 0 <= self.output_axis < max(dims, 1):
            raise GranularityError(
                f"output_axis is {self.output_axis}; allowed for shape {shape}: "
                f"{f'0 to {dims - 1}' if dims else 'only 0'}"
            )
        first_kernel_axis = dims - self.num_kernel_axes
        if not self.output_axis < max(first_kernel_axis, 1):
            raise GranularityError(
                f"output_axis is {self.output_axis}, an axis of the kernels of shape "
                f"{shape[first_kernel_axis:]}; allowed: below {max(first_kernel_axis, 1)}"
            )
        if self.groups > 1 and shape[0] % self.groups:
            raise GranularityError(
                f"groups is {self.groups}; allowed for shape {shape}: what divides {shape[0]}"
            )
        if self.num_weights > 1 and self.vector_length == 1:
            what = {"kernel": "a kernel", "neuron": "a neuron's weight vector"}
            other = "'layer'" if self.granularity == "neuron" or dims < 2 else "'neuron', 'layer'"
            raise GranularityError(
                f"granularity is {self.granularity!r}, but {what[self.granularity]} of a tensor of "
                f"shape {shape} is a single weight, nothing to permute; allowed: {other}, "
                f"or None to leave it alone"
            )


def plain_cut(tensor: Any) -> Cut:
    """A neuron's cut of a tensor known by its shape alone: as a linear or convolution weight."""
    shape = tuple(tensor.shape)
    return Cut("neuron", num_kernel_axes=max(len(shape) - 2, 0), shape=shape)


def as_cut(tensor: Any, granularity: Granularity | Cut) -> Cut:
    """A cut of this tensor: the one given, or by name that of a tensor known by its shape alone.

    Raises:
        GranularityError: it has no vectors at this granularity, or the cut is of another shape.
    """
    if not isinstance(granularity, Cut):
        return plain_cut(tensor).at(granularity)
    if not granularity.shape:
        return granularity.of(tuple(tensor.shape))
    granularity.check_fits(tensor)
    return granularity


def _transposed(tensor: Any, axes: tuple[int, ...]) -> Any:
    """Axes in another order: `permute` of a torch tensor, `transpose` of a NumPy array."""
    return tensor.permute(axes) if hasattr(tensor, "permute") else tensor.transpose(axes)
