"""Weights of several tensors as one vector: each in units of its own tensor.

Permute to Train, section 6, asks for permutations across layers. Layers differ in scale, so that
weights are counted in units: that of a tensor is a power of two near its He standard deviation
(`Cut.exponent`). A weight times or by a power of two is exact, unless it gets too small or
too large for its dtype, so that what moved can be told bit for bit from the weights alone.

Suffixes: L weights of a tensor, J weights of the joint vector.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.errors import ProfileError


def to_units(weights: Tensor, cut: Cut) -> Tensor:
    """A tensor's weights as its part of the joint vector, (1, L), in its units.

    Example:
        >>> to_units(torch.tensor([[0.5, -1.5]]), Cut("across").of((1, 2)))
        tensor([[ 0.5000, -1.5000]])
        >>> to_units(torch.full((1, 8), 0.5), Cut("across").of((1, 8)))[0, 0]  # units of 1/2
        tensor(1.)
    """
    return cut.to_vectors(weights) * 2.0**-cut.exponent


def from_units(units_1L: Tensor, cut: Cut) -> Tensor:
    """The inverse of `to_units`: in the tensor's shape and scale."""
    return cut.to_tensor(units_1L * 2.0**cut.exponent)


def check_exact(units_1J: Tensor, cuts: Mapping[str, Cut]) -> None:
    """Refuses values that would not keep their bits in one of the tensors.

    Raises:
        ProfileError: naming the tensor and the value.

    Example:
        >>> cuts = {"w": Cut("across").of((1, 8))}
        >>> check_exact(torch.tensor([[6e-8]], dtype=torch.float16), cuts)
        Traceback (most recent call last):
        ...
        permtrain.errors.ProfileError: w: in its units of 2**-1 the value 5.96046e-08 is too small \
or too large for torch.float16; allowed with granularity 'across': values that any layer can hold
    """
    for name, cut in cuts.items():
        there_and_back = (units_1J * 2.0**cut.exponent) * 2.0**-cut.exponent
        lost = there_and_back != units_1J
        if lost.any():
            raise ProfileError(
                f"{name}: in its units of 2**{cut.exponent} the value "
                f"{units_1J[lost][0].item():g} is too small or too large for {units_1J.dtype}; "
                "allowed with granularity 'across': values that any layer can hold"
            )


def origins(from_places_J: Tensor, cuts: Sequence[Cut]) -> list[list[int]]:
    """How many weights of each tensor (row) came from each tensor (column).

    Args:
        from_places_J: for each place of the joint vector the place its value came from.
        cuts: of the tensors, in the joint vector's order.

    Example:
        >>> cuts = [Cut("across").of((1, 2)), Cut("across").of((1, 3))]
        >>> origins(torch.tensor([0, 4, 3, 2, 1]), cuts)
        [[1, 1], [1, 2]]
    """
    sizes = torch.tensor([cut.num_weights for cut in cuts], device="cpu")
    tensor_of_J = torch.repeat_interleave(torch.arange(len(cuts), device="cpu"), sizes)
    pairs_J = tensor_of_J * len(cuts) + tensor_of_J[from_places_J.cpu()]
    counts = torch.bincount(pairs_J, minlength=len(cuts) ** 2)
    return counts.reshape(len(cuts), -1).tolist()
