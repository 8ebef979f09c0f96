"""Where each kind of layer keeps its output units and its kernels."""

from dataclasses import replace

from torch import Tensor, nn

from permtrain.core.cut import Cut, plain_cut

COMPUTED_FROM = ("", "_orig", "_v")
"""Endings of the parameter that torch's hooks compute a weight from: as it is, spectral norm and
pruning, weight norm's direction."""


def neuron_cut(module: nn.Module, parameter_name: str, weight: Tensor | None = None) -> Cut:
    """The cut into neurons of one of a module's own parameters, by the module's type.

    Args:
        module: the layer.
        parameter_name: its name there. What a hook computes the weight from is cut as the weight.
        weight: the parameter, where the module does not hold it itself (parametrizations).

    All weights into one output unit are found along the other axes: axis 0 counts output units for
    linear and convolution weights, axis 1 for transposed convolutions and for embeddings (an
    embedding is a linear layer fed with one-hot vectors). Unknown modules keep them on axis 0.

    Example:
        >>> neuron_cut(nn.ConvTranspose2d(4, 6, 3, groups=2), "weight").layout
        (1, 2, 2)
    """
    weight = getattr(module, parameter_name) if weight is None else weight
    plain = plain_cut(weight)
    is_weight = parameter_name in {"weight" + ending for ending in COMPUTED_FROM}
    if is_weight and isinstance(module, nn.modules.conv._ConvTransposeNd):
        return replace(plain, output_axis=1, groups=module.groups)
    if is_weight and isinstance(module, nn.modules.conv._ConvNd):
        return plain
    if is_weight and isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return replace(plain, output_axis=1, num_kernel_axes=0)
    return replace(plain, num_kernel_axes=0)
