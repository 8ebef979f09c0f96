"""Biases that are one more weight of their neuron's vector, for the invariant and the travel."""

from collections.abc import Mapping

import torch
from torch import Tensor

from permtrain.core.cut import Cut


def with_biases_in_rows(
    weights: Mapping[str, Tensor], cuts: Mapping[str, Cut], biases: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Cut]]:
    """The weights as they are permuted: a weight that has its bias in the row, as (V, L + 1).

    Args:
        weights: all tensors of the model, by name.
        cuts: how each permuted weight is cut.
        biases: from the names of weights to those of the biases in their rows.

    Returns:
        The tensors by name, and how each permuted one is cut.

    Example:
        >>> weights = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}
        >>> cuts = {"weight": Cut("neuron").of((1, 2))}
        >>> joined, _ = with_biases_in_rows(weights, cuts, {"weight": "bias"})
        >>> joined["weight"]
        tensor([[1., 2., 3.]])
    """
    joined, cut = dict(weights), dict(cuts)
    for name, bias in biases.items():
        rows_VL = cuts[name].to_vectors(weights[name])
        joined[name] = torch.cat([rows_VL, weights[bias].reshape(-1, 1)], dim=1)
        cut[name] = Cut("neuron").of(tuple(joined[name].shape))
    return joined, cut
