"""The bits of numbers, as integers of the same width."""

import torch
from torch import Tensor

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits_of(values: Tensor) -> Tensor:
    """The values' bit patterns as integers of the same width, so that -0.0 differs from 0.0."""
    return values.detach().contiguous().view(_BITS[values.element_size()])
