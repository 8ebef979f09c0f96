"""What a rule would permute in a model, as a table to check before training."""

from dataclasses import dataclass

from torch import nn

from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
    check_rule,
    decide,
    named_tensors,
)
from permtrain.core.kinds import check_model


@dataclass(frozen=True)
class DescribedTensor:
    """One parameter of a model under a rule.

    Attributes:
        name: its first name in the model.
        layer: the type of the module that holds it.
        shape: its sizes.
        cut: how it is cut into weight vectors; None where it is left alone.
        why: in words, why it is left alone; empty where it is cut.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    cut: Cut | None
    why: str

    @property
    def num_vectors(self) -> int:
        """V; 0 where it is left alone."""
        return 0 if self.cut is None else self.cut.num_vectors


@dataclass(frozen=True)
class Description:
    """What `describe` found; printed as a table.

    Attributes:
        tensors: the model's parameters, in its own order.
    """

    tensors: tuple[DescribedTensor, ...]

    @property
    def num_vectors(self) -> int:
        """Weight vectors in all; those that weights cross count once a tensor."""
        return sum(tensor.num_vectors for tensor in self.tensors)

    @property
    def num_permuted(self) -> int:
        """Weights that would change places."""
        return sum(each.cut.num_weights for each in self.tensors if each.cut is not None)

    def __str__(self) -> str:
        lines = [("parameter", "layer", "shape", "vectors x length", "")]
        for tensor in self.tensors:
            shape = " x ".join(map(str, tensor.shape))
            said = f"left alone: {tensor.why}"
            size = ""
            if tensor.cut is not None:
                size = f"{tensor.cut.num_vectors} x {tensor.cut.vector_length}"
                said = tensor.cut.granularity
            lines.append((tensor.name, tensor.layer, shape, size, said))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*table, f"{self.num_permuted:,} weights in {self.num_vectors:,} vectors"])


def describe(
    model: nn.Module, granularity: GranularityRule = "neuron", *, biases: Biases = "inner"
) -> Description:
    """Return which parameters a rule would permute, in which vectors, and which it leaves and why.

    Nothing is attached and nothing is written. Layouts come from the modules' types; of layers that
    are not known, `register_layout` says them.

    Args:
        model: its parameters may be on any device, meta too.
        granularity, biases: as in `LaPerm`.

    Raises:
        KindError: no model.
        SettingError: a misspelt granularity, or a pattern that matches nothing.
        GranularityError: as attaching would.

    Example:
        >>> print(describe(nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6))))
        parameter  layer        shape          vectors x length
        0.weight   Conv2d       6 x 1 x 5 x 5  6 x 25            neuron
        0.bias     Conv2d       6                                left alone: one dimension
        1.weight   BatchNorm2d  6                                left alone: one dimension
        1.bias     BatchNorm2d  6                                left alone: one dimension
        150 weights in 6 vectors
    """
    check_model(model)

    named = named_tensors(model)
    check_rule(granularity, [tensor.name for tensor in named])
    layers = {
        id(parameter): type(module).__name__
        for module in reversed(list(model.modules()))
        for parameter in module.parameters(recurse=False)
    }
    found = []
    for tensor in named:
        decision = decide(tensor, granularity, biases=biases, may_go_across=True)
        shape = tuple(tensor.parameter.shape)
        layer = layers[id(tensor.parameter)]
        found.append(DescribedTensor(tensor.name, layer, shape, decision.cut, decision.why))
    return Description(tuple(found))
