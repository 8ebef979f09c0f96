"""The search for permutations as the paper words it, slow and obvious, in plain Python.

Source: Permute to Train (2022), sections 2.1 and 2.2. Nothing of permtrain, no NumPy: graphs are
lists of lists, floats are Python's. A *subset* is a list of vertices in ascending order of weight,
given by their weights and recommendations; results are cycles of indices into it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

Reading = Literal["start", "any"]
Order = Literal["nearest", "farthest", "random"]
Graph = list[list[int]]
"""adj_x of every vertex x, in the order of priority."""
Skips = Callable[[int, int], int]
"""For the order `random`: of vertex x, whose list is that long, the entry to begin with."""

# --- section 2.1: the permissibility graph ------------------------------------------------------


def permissibility_graph(
    weights: Sequence[float],
    recommendations: Sequence[float],
    *,
    aggressiveness: float,
    value_range: float,
    order: Order = "nearest",
    skips: Skips | None = None,
) -> Graph:
    """Edges (x, y) with r_x (weight_x - weight_y) >= 0 and l < |weight_x - weight_y| < u.

    l is the smallest gap of the subset, u = l + alpha A, A the range of the whole weight vector.
    A recommendation of 0 starts no move: our choice where the paper is silent (its inequality would
    permit all).

    Example:
        >>> permissibility_graph([0.0, 1.0, 3.0], [-1.0, 0.0, 2.0], aggressiveness=1, value_range=3)
        [[2], [], [1, 0]]
    """
    m = len(weights)
    lower = min(
        (abs(weights[x] - weights[y]) for x in range(m) for y in range(x)), default=float("inf")
    )
    upper = lower + aggressiveness * value_range
    graph: Graph = []
    for x in range(m):
        edges = [
            y
            for y in range(m)
            if y != x
            and recommendations[x] != 0
            and (weights[y] >= weights[x] if recommendations[x] < 0 else weights[y] <= weights[x])
            and lower < abs(weights[x] - weights[y]) < upper
        ]
        graph.append(_by_priority(x, edges, weights, order, skips))
    return graph


def authors_graph(
    weights: Sequence[float],
    recommendations: Sequence[float],
    *,
    aggressiveness: float,
    value_range: float,
    order: Order = "nearest",
    skips: Skips | None = None,
) -> Graph:
    """Edges of the authors' code: higher ranks less than the bound away, lower ones at most it.

    Zero recommendations are left out; m counts the others, and the bound is A (alpha + 1/m). The
    order of equal weights is their order in the subset, and equal weights may be exchanged.

    Example:
        >>> authors_graph([0.0, 0.0, 3.0], [-1.0, 2.0, 2.0], aggressiveness=0.1, value_range=3)
        [[1], [0], []]
    """
    present = [x for x in range(len(weights)) if recommendations[x] != 0]
    graph: Graph = [[] for _ in weights]
    if not present:
        return graph
    bound = value_range * (aggressiveness + 1.0 / len(present))
    for x in present:
        if recommendations[x] < 0:
            edges = [y for y in present if y > x and weights[y] - weights[x] < bound]
        else:
            edges = [y for y in present if y < x and weights[x] - weights[y] <= bound]
        graph[x] = _by_priority(x, edges, weights, order, skips)
    return graph


def _by_priority(
    x: int, edges: list[int], weights: Sequence[float], order: Order, skips: Skips | None
) -> list[int]:
    """Section 2.2.1: closer weights first; or farther ones; or a random entry, and on around."""
    nearest = sorted(edges, key=lambda y: (abs(weights[x] - weights[y]), abs(x - y)))
    if order == "nearest" or not nearest:
        return nearest
    if order == "farthest":
        return nearest[::-1]
    assert skips is not None
    skipped = skips(x, len(nearest))
    # Those who grow read the list upwards from there, those who shrink downwards: nearest outwards.
    return nearest[skipped:] + nearest[:skipped]


# --- section 2.2: finding the permutations ------------------------------------------------------


def find_cycles(
    graph: Graph, recommendations: Sequence[float], reading: Reading
) -> list[list[int]]:
    """Disjoint cycles, in the order in which the depth-first search finds them.

    A cycle (x, y, z): x gets the weight of y, y that of z, z that of x.

    Example:
        >>> find_cycles([[1, 2], [2], [1, 0]], [-3.0, -1.0, 2.0], "start")
        [[0, 1, 2]]
        >>> find_cycles([[1, 2], [2], [1, 0]], [-3.0, -1.0, 2.0], "any")
        [[1, 2]]
    """
    # "starting from the parameter (vertex) with the largest absolute recommendation"
    starts = sorted(range(len(graph)), key=lambda x: -abs(recommendations[x]))
    memorized: set[int] = set()
    cycles = []
    while True:
        left = [x for x in starts if x not in memorized]
        if not left:
            return cycles
        cycle = _cycle_from(left[0], graph, memorized, reading)
        if cycle:
            # "we memorize those vertices that are included in this cycle"
            memorized.update(cycle)
            cycles.append(cycle)
        else:
            # "we only memorize this vertex"
            memorized.add(left[0])


def _cycle_from(start: int, graph: Graph, memorized: set[int], reading: Reading) -> list[int]:
    """Depth-first search, "following the directed edges in order, with backtracking"."""
    path = [start]
    visited = {start}
    edges: list[Iterator[int]] = [iter(graph[start])]
    while path:
        for y in edges[-1]:
            if y in memorized:
                continue
            if reading == "any" and y in path:
                return path[path.index(y) :]
            if reading == "start" and y == start:
                return path
            if y not in visited:
                visited.add(y)
                path.append(y)
                edges.append(iter(graph[y]))
                break
        else:
            path.pop()
            edges.pop()
    return []


# --- a whole row --------------------------------------------------------------------------------


def updated_slots(
    values: Sequence[float],
    slots: Sequence[int],
    recommendations: Sequence[float],
    subset_ids: Sequence[int],
    *,
    aggressiveness: float,
    reading: Reading,
    order: Order = "nearest",
    authors: bool = False,
    skips: Skips | None = None,
) -> list[int]:
    """Which slot holds each rank after one update.

    Args:
        values: sorted.
        slots: which slot holds each rank before.
        recommendations: of each slot.
        subset_ids: of each rank.
        skips: as in the graphs, of ranks.
    """
    result = list(slots)
    value_range = values[-1] - values[0]
    for subset in sorted(set(subset_ids)):
        ranks = [k for k in range(len(values)) if subset_ids[k] == subset]
        weights = [values[k] for k in ranks]
        wishes = [recommendations[slots[k]] for k in ranks]
        make = authors_graph if authors else permissibility_graph
        graph = make(
            weights,
            wishes,
            aggressiveness=aggressiveness,
            value_range=value_range,
            order=order,
            skips=None if skips is None else lambda x, length, ranks=ranks: skips(ranks[x], length),  # type: ignore[misc]
        )
        for cycle in find_cycles(graph, wishes, reading):
            for x, y in zip(cycle, cycle[1:] + cycle[:1], strict=True):
                result[ranks[y]] = slots[ranks[x]]
    return result


# --- not in the paper: bracket matching and pair swap -------------------------------------------


def bracket_swaps(
    weights: Sequence[float],
    recommendations: Sequence[float],
    *,
    aggressiveness: float,
    value_range: float,
) -> list[tuple[int, int]]:
    """Upwards: who shrinks is swapped with the last one below that still waits to grow, in bounds.

    Example:
        >>> bracket_swaps([0.0, 1.0, 3.0], [-1.0, -1.0, 2.0], aggressiveness=1, value_range=3)
        [(1, 2)]
    """
    m = len(weights)
    lower = min((weights[x] - weights[x - 1] for x in range(1, m)), default=float("inf"))
    upper = lower + aggressiveness * value_range
    waiting: list[int] = []
    swaps = []
    for x in range(m):
        if recommendations[x] < 0:
            waiting.append(x)
        elif recommendations[x] > 0:
            for y in reversed(waiting):
                if lower < weights[x] - weights[y] < upper:
                    swaps.append((y, x))
                    waiting.remove(y)
                    break
    return swaps


def bracket_slots(
    values: Sequence[float],
    slots: Sequence[int],
    recommendations: Sequence[float],
    subset_ids: Sequence[int],
    aggressiveness: float,
) -> list[int]:
    """Which slot holds each rank after `bracket_swaps` in every subset."""
    result = list(slots)
    for subset in sorted(set(subset_ids)):
        ranks = [k for k in range(len(values)) if subset_ids[k] == subset]
        for x, y in bracket_swaps(
            [values[k] for k in ranks],
            [recommendations[slots[k]] for k in ranks],
            aggressiveness=aggressiveness,
            value_range=values[-1] - values[0],
        ):
            result[ranks[x]], result[ranks[y]] = slots[ranks[y]], slots[ranks[x]]
    return result


def pair_slots(
    values: Sequence[float],
    slots: Sequence[int],
    recommendations: Sequence[float],
    aggressiveness: float,
    stride: int,
    phase: int,
) -> list[int]:
    """Which slot holds each rank after pairs (k, k + stride) were swapped where both want it."""
    result = list(slots)
    bound = aggressiveness * (values[-1] - values[0])
    for k in range(len(values) - stride):
        is_lower = (k - phase) % (2 * stride) < stride
        wanted = recommendations[slots[k]] < 0 < recommendations[slots[k + stride]]
        if is_lower and wanted and 0 < values[k + stride] - values[k] < bound:
            result[k], result[k + stride] = slots[k + stride], slots[k]
    return result


# --- the random words of permtrain.graph.words --------------------------------------------------

_MODULUS = 2**64
_GOLDEN = 0x9E3779B97F4A7C15


def mix(word: int) -> int:
    """splitmix64's finisher."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _MODULUS
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _MODULUS
    return word ^ (word >> 31)


def row_key(seed: int, step: int, row: int) -> int:
    return mix((mix((mix((seed + _GOLDEN) % _MODULUS) + step) % _MODULUS) + row) % _MODULUS)


def word_at(key: int, i: int) -> int:
    return mix((key + (i + 1) * _GOLDEN) % _MODULUS)


def subset_ids(sizes: Sequence[int], key: int) -> list[int]:
    """The subset of every rank: Fisher and Yates from the last place, two draws from each word."""
    ids = [p for p, size in enumerate(sizes) for _ in range(size)]
    if len(sizes) == 1:
        return ids
    for drawn, k in enumerate(range(len(ids) - 1, 0, -1)):
        word = word_at(key, drawn // 2)
        half = word % 2**32 if drawn % 2 else word >> 32
        j = half * (k + 1) >> 32
        ids[k], ids[j] = ids[j], ids[k]
    return ids


def random_skips(key: int) -> Skips:
    """Where the order `random` begins to read the list of the vertex of a rank."""
    return lambda rank, length: (word_at(mix(key), rank) >> 32) * length >> 32
