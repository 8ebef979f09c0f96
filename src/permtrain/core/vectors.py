"""The weight vectors that the tensors of a model form together, by name."""

from collections.abc import Mapping

import torch
from torch import Tensor

from permtrain.core.across import to_units
from permtrain.core.cut import Cut


def vectors_of(
    weights: Mapping[str, Tensor], cuts: Mapping[str, Cut], biases: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """Return the weight vectors of tensors, (V, L) each, in the order of the cuts.

    Args:
        weights: by name, at least those that are cut and their biases.
        cuts: how each permuted tensor is cut. Those that weights cross form one vector, (1, J), in
            units (`core.across`); it is called by all their names and comes last.
        biases: from the name of a weight to that of the bias that is one more weight of each of
            its vectors, (V, L + 1).

    Example:
        >>> weights = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
        >>> cuts = {"weight": Cut("neuron").of((1, 2))}
        >>> vectors_of(weights, cuts, {"weight": "bias"})
        {'weight': tensor([[1., 2., 3.]])}
        >>> weights = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.full((1, 8), 0.25)}
        >>> across = {name: Cut("across").of(tuple(w.shape)) for name, w in weights.items()}
        >>> vectors_of(weights, across)["a, b"][:, :4]
        tensor([[1.0000, 2.0000, 0.5000, 0.5000]])
    """
    biases = biases or {}
    found = {}
    for name, cut in cuts.items():
        if cut.is_across:
            continue
        vectors_VL = cut.to_vectors(weights[name].detach())
        if name in biases:
            bias_V1 = weights[biases[name]].detach().reshape(-1, 1)
            vectors_VL = torch.cat([vectors_VL, bias_V1], dim=1)
        found[name] = vectors_VL
    if across := names_across(cuts):
        parts = [to_units(weights[name].detach(), cuts[name]) for name in across]
        found[", ".join(across)] = torch.cat(parts, dim=1)
    return found


def names_across(cuts: Mapping[str, Cut]) -> list[str]:
    """The tensors that weights cross, in the joint vector's order."""
    return [name for name, cut in cuts.items() if cut.is_across]
