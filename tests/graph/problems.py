"""Rows that are hard to search, and how far two searches agree."""

import random

import torch
from torch import Tensor

from permtrain.graph.partition import Sizes, authors_subsets, equal_subsets, whole_vector
from permtrain.graph.search import permute_ranks_

PROFILES = ["uniform", "normal", "grid", "uneven grid", "few levels", "sparse"]
WISHES = ["normal", "equal sizes", "zeros"]


def profile(rng: random.Random, kind: str, length: int) -> list[float]:
    """Ascending values of one of `PROFILES`; grids have many gaps of the smallest size."""
    draw = {
        "uniform": lambda i: rng.random() - 0.5,
        "normal": lambda i: rng.gauss(0, 1),
        "grid": lambda i: i / 8,
        "uneven grid": lambda i: i * 0.1 + rng.choice([0.0, 0.1, 0.3]),
        "few levels": lambda i: rng.choice([-1.0, -0.0, 0.0, 0.5, 1.0]),
        "sparse": lambda i: rng.gauss(0, 1) if rng.random() < 0.2 else 0.0,
    }[kind]
    return sorted(draw(i) for i in range(length))


def wishes(rng: random.Random, kind: str, length: int) -> list[float]:
    """Recommendations of one of `WISHES`."""
    draw = {
        "normal": lambda: rng.gauss(0, 1),
        "equal sizes": lambda: rng.choice([-2.0, -1.0, 1.0, 2.0]),
        "zeros": lambda: rng.choice([-1.0, 0.0, -0.0, 1.0, -0.5, rng.gauss(0, 1)]),
    }[kind]
    return [draw() for _ in range(length)]


def partition(rng: random.Random, length: int) -> Sizes:
    ratio = rng.choice([0.05, 0.1, 0.3, 0.5])
    return rng.choice(
        [whole_vector(length), equal_subsets(length, ratio), authors_subsets(length, ratio)]
    )


def rows(
    num_rows: int, length: int, *, sparsity: float = 0.0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted values, rank-to-slot map and recommendations of many rows, from torch's generator."""
    weights = torch.rand(num_rows, length, dtype=dtype) - 0.5
    weights[torch.rand(num_rows, length) < sparsity] = 0.0
    values, slots = weights.sort(dim=1, stable=True)
    return values, slots.int(), torch.randn(num_rows, length, dtype=dtype)


def agreement(
    one: str,
    other: str,
    values: Tensor,
    slots: Tensor,
    recommendations: Tensor,
    *,
    aggressiveness: float,
    sizes: Sizes,
    step: int = 0,
) -> float:
    """Fraction of ranks that two searches give to the same slot; the arguments are not changed."""
    results = []
    for search in (one, other):
        result = slots.clone()
        permute_ranks_(
            values,
            result,
            recommendations,
            aggressiveness=aggressiveness,
            search=search,
            sizes=sizes,
            step=step,
        )
        results.append(result)
    return float((results[0] == results[1]).double().mean())
