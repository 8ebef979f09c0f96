"""Models to pack, small ones of every kind, with their weights moved about."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from permtrain import Rule, Structure, initialize_
from permtrain.core.cut import Granularity
from permtrain.core.granularity import named_tensors


def shuffled_(model: nn.Module, granularity: Granularity, seed: int = 0) -> nn.Module:
    """Permutes the weights of two or more dimensions within their vectors, in place."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in named_tensors(model):
        if tensor.is_weight:
            weight = tensor.parameter
            cut = tensor.cut.at(granularity)
            vectors = cut.to_vectors(weight.detach())
            order = torch.rand(vectors.shape, generator=generator).argsort(1)
            with torch.no_grad():
                weight.copy_(cut.to_tensor(vectors.gather(1, order)))
    return model


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, groups=2), nn.Linear(12, 5)
    )


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(12, 12)
        self.decode = nn.Linear(12, 12, bias=False)
        self.decode.weight = self.encode.weight


def _born(
    model: nn.Module,
    granularity: Granularity = "neuron",
    rule: str | Rule = "kaiming_uniform",
    **structure: Any,
) -> nn.Module:
    initialize_(model, rule, Structure(granularity, **structure), bias_values="rule")
    return shuffled_(model, granularity)


def _unmoved() -> nn.Module:
    model = nn.Linear(5, 4)
    initialize_(model, seed=2, bias_values="rule")
    return model


def _mixed() -> nn.Module:
    model = conv_net()
    initialize_(model, seed=5, bias_values="rule")
    shuffled_(model[0], "kernel")
    shuffled_(model[3], "layer")
    return model


def _changed() -> nn.Module:
    model = _born(nn.Linear(9, 4))
    with torch.no_grad():
        model.get_parameter("weight")[1, 2] += 1
    return model


def _drawn_in_parts() -> nn.Module:
    """Modules that were drawn before they became parts of a model."""
    body, head = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 6)), nn.Linear(6, 3)
    initialize_(body, seed=1, bias_values="rule")
    initialize_(head, seed=2, bias_values="rule")
    return shuffled_(nn.ModuleDict({"body": body, "head": head}), "neuron")


def _part_of_a_whole() -> nn.Module:
    model = nn.ModuleDict({"a part": nn.Linear(20, 8), "head": nn.Linear(8, 3)})
    initialize_(model, seed=6, bias_values="rule")
    return shuffled_(model["a part"], "neuron")


def _few_levels_unborn() -> nn.Module:
    model = nn.Linear(50, 8)
    with torch.no_grad():
        model.weight.copy_(torch.randint(-1, 2, (8, 50)) * 0.25)
    return model


def _zeros_of_both_signs() -> nn.Module:
    model = nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, -0.0, 1, -1, 0, -0.0], [2, 3, 4, 5, 6, 7.0]]))
    return model


def _hardly_moved() -> nn.Module:
    model = nn.Linear(60, 20)
    initialize_(model, seed=4, bias_values="rule")
    with torch.no_grad():
        model.weight[:, :4] = model.weight[:, :4].flip(1)
    return model


NETS: dict[str, Callable[[], nn.Module]] = {
    "per neuron": lambda: _born(conv_net()),
    "per kernel": lambda: _born(nn.Conv2d(3, 4, 3), "kernel"),
    "per layer": lambda: _born(nn.Linear(30, 20), "layer"),
    "mixed": _mixed,
    "transposed, groups": lambda: _born(nn.ConvTranspose2d(4, 6, 3, groups=2)),
    "embedding": lambda: _born(nn.Embedding(20, 6)),
    "sparse": lambda: _born(nn.Linear(40, 10), sparsity=0.7),
    "sparse, uneven": lambda: _born(nn.Linear(40, 10), sparsity=0.7, sparsity_by="bernoulli"),
    "two levels": lambda: _born(nn.Linear(40, 10), levels=2),
    "three levels, sparse": lambda: _born(nn.Linear(40, 10), levels=2, sparsity=0.9, share=True),
    "shared profile": lambda: _born(nn.Linear(40, 10), share=True),
    "quantiles": lambda: _born(nn.Linear(40, 10), quantiles=True),
    "pairs": lambda: _born(nn.Linear(41, 10), pairwise=True),
    "constant": lambda: _born(nn.Linear(8, 3), rule=Rule("constant", 0.5), sparsity=0.5),
    "bfloat16": lambda: _born(nn.Linear(40, 10).bfloat16()),
    "float16": lambda: _born(nn.Linear(40, 10).half()),
    "float64": lambda: _born(nn.Linear(40, 10).double()),
    "bfloat16, unborn": lambda: shuffled_(nn.Linear(40, 10).bfloat16(), "neuron"),
    "tied": lambda: _born(Tied()),
    "drawn in parts": _drawn_in_parts,
    "part of a whole": _part_of_a_whole,
    "hardly moved": _hardly_moved,
    "unmoved": _unmoved,
    "unborn": lambda: nn.Linear(5, 4),
    "changed": _changed,
    "few levels, unborn": _few_levels_unborn,
    "zeros of both signs": _zeros_of_both_signs,
    "single weights": lambda: _born(nn.Linear(5, 1), "layer"),
    "no weights": lambda: nn.Embedding.from_pretrained(torch.zeros(0, 3)),
}


def same_bits(left: Tensor, right: Tensor) -> bool:
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.contiguous().flatten().view(torch.uint8).tolist()
        == right.contiguous().flatten().view(torch.uint8).tolist()
    )
