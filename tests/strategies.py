"""Hypothesis strategies: weights that are hard to rank."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
WIDTHS = {torch.float64: 64, torch.float32: 32, torch.float16: 16, torch.bfloat16: 32}

# Few values, so that most vectors hold ties; both zeros; a subnormal number of every dtype.
TIED = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0**-24, -(2.0**-24)])


def values(dtype: torch.dtype) -> st.SearchStrategy[float]:
    width: Any = WIDTHS[dtype]
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)
    if dtype == torch.bfloat16:  # the largest float32 numbers round to its infinity
        finite = finite.filter(lambda x: abs(x) < 3.0e38)
    return TIED | finite


def laid_out(contiguous: Tensor, layout: str) -> Tensor:
    """The same numbers under other strides."""
    if layout == "transposed":
        return contiguous.t().contiguous().t()
    if layout == "every second":
        wide = torch.full((contiguous.shape[0] * 2 + 1, contiguous.shape[1] * 2), torch.nan)
        wide = wide.to(contiguous.dtype).to(contiguous.device)
        wide[1::2, ::2] = contiguous
        return wide[1::2, ::2]
    return contiguous


LAYOUTS = ["contiguous", "transposed", "every second"]


@st.composite
def matrices(draw: st.DrawFn, max_vectors: int = 4, max_length: int = 9) -> Tensor:
    """(V, L) of any dtype and strides, lengths 0 and 1 among them, on the CPU."""
    dtype = draw(st.sampled_from(DTYPES))
    L = draw(st.integers(0, max_length))
    V = draw(st.integers(0, 1 if L == 1 else max_vectors))  # single weights make no (V, 1) vectors
    numbers = draw(st.lists(values(dtype), min_size=V * L, max_size=V * L))
    contiguous = torch.tensor(numbers, dtype=dtype).reshape(V, L)
    return laid_out(contiguous, draw(st.sampled_from(LAYOUTS)))


@st.composite
def shuffled_matrices(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """A matrix, and the same with the values of each row in another order."""
    before = draw(matrices())
    rows = [draw(st.permutations(row)) for row in before.tolist()]
    after = torch.tensor(rows, dtype=before.dtype).reshape(before.shape)
    return before, laid_out(after, draw(st.sampled_from(LAYOUTS)))


@st.composite
def permutations(draw: st.DrawFn, num_copies: int = 1) -> list[Tensor]:
    """(V, L) int64, each row a permutation; several of one shape."""
    V, L = draw(st.integers(0, 3)), draw(st.integers(0, 9))
    rows = st.lists(st.permutations(range(L)), min_size=V, max_size=V)
    return [torch.tensor(draw(rows), dtype=torch.int64).reshape(V, L) for _ in range(num_copies)]
