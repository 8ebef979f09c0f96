"""Other ways to make a trained net small, and what their files take: rivals of the packed file.

Sizes are in bytes. Each is what its way needs at least, entropy coded where that is smaller,
without a header: in favour of the rivals.
"""

import lzma
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def float32(weights: Weights) -> tuple[dict[str, Tensor], int]:
    """As they are: 4 bytes a weight."""
    return dict(weights), sum(4 * tensor.numel() for tensor in weights.values())


def bfloat16(weights: Weights) -> tuple[dict[str, Tensor], int]:
    """Rounded to bfloat16: 2 bytes a weight.

    Example:
        >>> bfloat16({"w": torch.tensor([1.001, 3.0])})
        ({'w': tensor([1., 3.])}, 4)
    """
    rounded = {name: tensor.bfloat16().to(tensor.dtype) for name, tensor in weights.items()}
    return rounded, sum(2 * tensor.numel() for tensor in weights.values())


def int8(weights: Weights) -> tuple[dict[str, Tensor], int]:
    """A scale for each output unit, its largest weight by 127; 8 bits, compressed by xz.

    What has one dimension stays float32.

    Example:
        >>> int8({"w": torch.tensor([[127.0, -3.2, 0.4]])})[0]["w"]
        tensor([[127.,  -3.,   0.]])
    """
    return _by_rows(weights, _int8_rows, lambda codes: len(_xz(codes)))


def ternary(weights: Weights) -> tuple[dict[str, Tensor], int]:
    """-a, 0, a for each output unit: zero below .7 of the mean size, a the mean size of the rest.

    Source: Li, Zhang, Liu, "Ternary weight networks", 2016, section 2.2. Levels at their entropy.
    What has one dimension stays float32.

    Example:
        >>> ternary({"w": torch.tensor([[1.0, -3.0, 0.1, 0.3]])})[0]["w"]
        tensor([[ 2., -2.,  0.,  0.]])
    """
    return _by_rows(weights, _ternary_rows, _entropy_bytes)


QUANTISERS: dict[str, Callable[[Weights], tuple[dict[str, Tensor], int]]] = {
    "float32": float32,
    "bfloat16": bfloat16,
    "8-bit": int8,
    "ternary": ternary,
}
"""Every way by name: the weights as they are then, and bytes."""


def supermask_bytes(weights: Weights) -> int:
    """A seed of 8 bytes, and which weights are used: log2 C(n, k) bits for each layer.

    Signs and sizes come from the seed. What has one dimension is float32.

    Example:
        >>> supermask_bytes({"w": torch.tensor([[0.0, 1.0, -1.0, 0.0]])})
        9
    """
    total = 8
    for tensor in weights.values():
        if tensor.dim() < 2:
            total += 4 * tensor.numel()
        else:
            counts = [int((tensor == 0).sum()), int((tensor != 0).sum())]
            total += math.ceil(_log2_arrangements(counts) / 8)
    return total


def _by_rows(
    weights: Weights,
    quantise: Callable[[Tensor], tuple[Tensor, Tensor]],
    size_of: Callable[[Tensor], int],
) -> tuple[dict[str, Tensor], int]:
    """Codes and a float32 scale for each row of what has rows."""
    rebuilt, size = {}, 0
    for name, tensor in weights.items():
        if tensor.dim() < 2:
            rebuilt[name] = tensor
            size += 4 * tensor.numel()
            continue
        codes, scales = quantise(tensor.flatten(1))
        rebuilt[name] = (codes.to(tensor.dtype) * scales[:, None]).view_as(tensor)
        size += size_of(codes) + 4 * len(scales)
    return rebuilt, size


def _int8_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    scales = rows.abs().amax(dim=1) / 127
    codes = (rows / torch.where(scales > 0, scales, 1.0)[:, None]).round()
    return codes.to(torch.int8), scales


def _ternary_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    sizes = rows.abs()
    is_used = sizes > 0.7 * sizes.mean(dim=1, keepdim=True)
    scales = (sizes * is_used).sum(dim=1) / is_used.sum(dim=1).clamp(min=1)
    return (rows.sign() * is_used).to(torch.int8), scales


def _xz(codes: Tensor) -> bytes:
    return lzma.compress(codes.numpy().tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)


_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def _entropy_bytes(codes: Tensor) -> int:
    return math.ceil(_log2_arrangements(torch.unique(codes, return_counts=True)[1].tolist()) / 8)


def _log2_arrangements(counts: list[int]) -> float:
    """log2(n! / prod m_i!)."""
    logarithm = math.lgamma(sum(counts) + 1) - sum(math.lgamma(count + 1) for count in counts)
    return max(0.0, logarithm / math.log(2))
