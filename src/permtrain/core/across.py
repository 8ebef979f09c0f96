"""Weights of several tensors as one vector: each in units of its own tensor.

Permute to Train, section 6, asks for permutations across layers. Layers differ in scale, so that
weights are counted in units: that of a tensor is a power of two near its He standard deviation
(`VectorView.exponent`). A weight times or by a power of two is exact, unless it gets too small or
too large for its dtype, so that what moved can be told bit for bit from the weights alone.

Suffixes: L weights of a tensor, J weights of the joint vector.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from permtrain.core.vectors import VectorView
from permtrain.errors import ProfileError


def to_units(weights: Tensor, view: VectorView) -> Tensor:
    """A tensor's weights as its part of the joint vector, (1, L), in its units.

    Example:
        >>> to_units(torch.tensor([[0.5, -1.5]]), VectorView((1, 2), "across"))
        tensor([[ 0.5000, -1.5000]])
        >>> to_units(torch.full((1, 8), 0.5), VectorView((1, 8), "across"))[0, 0]  # units of 1/2
        tensor(1.)
    """
    return view.to_vectors(weights) * 2.0**-view.exponent


def from_units(units_1L: Tensor, view: VectorView) -> Tensor:
    """The inverse of `to_units`: in the tensor's shape and scale."""
    return view.to_tensor(units_1L * 2.0**view.exponent)


def check_exact(units_1J: Tensor, views: Mapping[str, VectorView]) -> None:
    """Refuses values that would not keep their bits in one of the tensors.

    Raises:
        ProfileError: naming the tensor and the value.

    Example:
        >>> views = {"w": VectorView((1, 8), "across")}
        >>> check_exact(torch.tensor([[6e-8]], dtype=torch.float16), views)
        Traceback (most recent call last):
        ...
        permtrain.errors.ProfileError: w: in its units of 2**-1 the value 5.96046e-08 is too small \
or too large for torch.float16; allowed with granularity 'across': values that any layer can hold
    """
    for name, view in views.items():
        there_and_back = (units_1J * 2.0**view.exponent) * 2.0**-view.exponent
        lost = there_and_back != units_1J
        if lost.any():
            raise ProfileError(
                f"{name}: in its units of 2**{view.exponent} the value "
                f"{units_1J[lost][0].item():g} is too small or too large for {units_1J.dtype}; "
                "allowed with granularity 'across': values that any layer can hold"
            )


def joined(
    weights: Mapping[str, Tensor], views: Mapping[str, VectorView]
) -> tuple[dict[str, Tensor], dict[str, VectorView]]:
    """Tensors that weights cross as one, in units; others as they are.

    Args:
        weights: by name, at least those that have a view.
        views: how each permuted tensor is cut.

    Returns:
        The tensors by name, and how each permuted one is cut: the joint one is called by all its
        names and is a layer of (J,).

    Example:
        >>> weights = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.full((1, 8), 0.25)}
        >>> views = {name: VectorView(tuple(w.shape), "across") for name, w in weights.items()}
        >>> both, _ = joined(weights, views)
        >>> both["a, b"][:4]
        tensor([1.0000, 2.0000, 0.5000, 0.5000])
    """
    across = [name for name, view in views.items() if view.is_across]
    if not across:
        return dict(weights), dict(views)
    name = ", ".join(across)
    units_J = torch.cat([to_units(weights[each].detach(), views[each])[0] for each in across])
    cut = {each: view for each, view in views.items() if not view.is_across}
    joint = {name: VectorView((len(units_J),), "layer")}
    return {**weights, name: units_J}, {**cut, **joint}


def origins(from_places_J: Tensor, views: Sequence[VectorView]) -> list[list[int]]:
    """How many weights of each tensor (row) came from each tensor (column).

    Args:
        from_places_J: for each place of the joint vector the place its value came from.
        views: of the tensors, in the joint vector's order.

    Example:
        >>> views = [VectorView((1, 2), "across"), VectorView((1, 3), "across")]
        >>> origins(torch.tensor([0, 4, 3, 2, 1]), views)
        [[1, 1], [1, 2]]
    """
    sizes = torch.tensor([view.num_weights for view in views], device="cpu")
    tensor_of_J = torch.repeat_interleave(torch.arange(len(views), device="cpu"), sizes)
    pairs_J = tensor_of_J * len(views) + tensor_of_J[from_places_J.cpu()]
    counts = torch.bincount(pairs_J, minlength=len(views) ** 2)
    return counts.reshape(len(views), -1).tolist()
