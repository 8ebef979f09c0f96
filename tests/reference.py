"""Slow, obvious versions in plain Python of what `permtrain.core` does, written from the papers.

Vectors are lists of floats, weights are lists of lists. No torch, and nothing of permtrain.
"""

from typing import Any

# --- Train by Reconnect, section 3: rankings --------------------------------------------------


def ranking(vector: list[float]) -> list[int]:
    """Distinct integers in [0, #w) with w[p] > w[q] implying R[p] > R[q]; ties by position.

    Example:
        >>> ranking([0.3, -1.0, 0.3])
        [1, 0, 2]
    """
    return [
        sum(
            other < weight or (other == weight and position < own_position)
            for position, other in enumerate(vector)
        )
        for own_position, weight in enumerate(vector)
    ]


def ranking_distance(before: list[float], after: list[float]) -> list[int]:
    """D = |R_after - R_before|, entry by entry."""
    return [abs(a - b) for a, b in zip(ranking(after), ranking(before), strict=True)]


# --- section 4: profile and synchronization ---------------------------------------------------


def profile(vector: list[float]) -> list[float]:
    """The vector's values in ascending order: each at the place its rank says."""
    places: list[float] = [0.0] * len(vector)
    for weight, rank in zip(vector, ranking(vector), strict=True):
        places[rank] = weight
    return places


def arrange(sorted_values: list[float], like: list[float]) -> list[float]:
    """The sorted values, permuted to have the ranking of `like`.

    Example:
        >>> arrange([1.0, 2.0, 3.0], like=[0.5, -7.0, 0.1])
        [3.0, 1.0, 2.0]
    """
    return [sorted_values[rank] for rank in ranking(like)]


# --- permutations, out[i] = src[perm[i]] ------------------------------------------------------


def apply(perm: list[int], src: list[Any]) -> list[Any]:
    return [src[position] for position in perm]


def permutation_between(before: list[Any], after: list[Any]) -> list[int]:
    """Fixed points wherever possible, other equal values in the order of their positions."""
    perm = [i if b == a else -1 for i, (b, a) in enumerate(zip(before, after, strict=True))]
    used = set(perm)
    for target, value in enumerate(after):
        if perm[target] < 0:
            perm[target] = next(
                source
                for source, candidate in enumerate(before)
                if candidate == value and source not in used
            )
            used.add(perm[target])
    return perm


def cycles(perm: list[int]) -> list[tuple[int, ...]]:
    """Follow each position until it comes back; keep a cycle where it is met the first time.

    Example:
        >>> cycles([2, 0, 1, 3])
        [(0, 2, 1)]
    """
    found: list[tuple[int, ...]] = []
    for start in range(len(perm)):
        cycle = [start]
        while perm[cycle[-1]] != start:
            cycle.append(perm[cycle[-1]])
        if len(cycle) > 1 and start == min(cycle):
            found.append(tuple(cycle))
    return found


# --- section 2: weight vectors ----------------------------------------------------------------


def flatten(nested: Any) -> list[float]:
    """All numbers of nested lists, the last axis fastest."""
    return [x for part in nested for x in flatten(part)] if isinstance(nested, list) else [nested]


def layer_vectors(weight: Any) -> list[list[float]]:
    """The whole tensor is one vector."""
    return [flatten(weight)]


def linear_vectors(weight: list[list[float]]) -> list[list[float]]:
    """weight[output unit][input unit]."""
    return [list(row) for row in weight]


def embedding_vectors(weight: list[list[float]]) -> list[list[float]]:
    """weight[token][output unit]: a linear layer on one-hot vectors, stored transposed."""
    return [[row[unit] for row in weight] for unit in range(len(weight[0]))]


def conv_vectors(weight: Any) -> list[list[float]]:
    """weight[output channel][input channel of its group][kernel...], groups or not."""
    return [
        [x for kernel in kernels_of_unit for x in flatten(kernel)] for kernels_of_unit in weight
    ]


def conv_kernels(weight: Any) -> list[list[float]]:
    return [flatten(kernel) for kernels_of_unit in weight for kernel in kernels_of_unit]


def transposed_conv_kernels_of_units(weight: Any, groups: int = 1) -> list[list[list[float]]]:
    """weight[input channel][output channel within its group][kernel...].

    The input channels are split into `groups` blocks; block g feeds the output channels of group g
    only. Output channel o of group g therefore gets the kernels weight[i][o], i in block g.
    """
    block = len(weight) // groups
    return [
        [flatten(weight[channel][unit]) for channel in range(group * block, (group + 1) * block)]
        for group in range(groups)
        for unit in range(len(weight[0]))
    ]


def transposed_conv_vectors(weight: Any, groups: int = 1) -> list[list[float]]:
    return [
        [x for kernel in kernels for x in kernel]
        for kernels in transposed_conv_kernels_of_units(weight, groups)
    ]


def transposed_conv_kernels(weight: Any, groups: int = 1) -> list[list[float]]:
    return [
        kernel for kernels in transposed_conv_kernels_of_units(weight, groups) for kernel in kernels
    ]


# --- comparing --------------------------------------------------------------------------------


def exact(nested: Any) -> Any:
    """Floats as text that tells every bit pattern from every other, -0.0 from 0.0 too.

    Example:
        >>> exact([0.0, -0.0])
        ['0x0.0p+0', '-0x0.0p+0']
    """
    return [exact(part) for part in nested] if isinstance(nested, list) else nested.hex()
