"""Permutations as data: between two weight tensors, their cycles, and how far weights travelled.

One convention everywhere: a permutation *gathers*, `out[i] = src[perm[i]]`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut, Granularity, as_cut
from permtrain.core.kinds import check_numbers, check_weights
from permtrain.core.ranking import ranking
from permtrain.errors import ProfileError


@dataclass(frozen=True, eq=False)
class Permutation:
    """One permutation per weight vector, as gather indices.

    Args:
        perm: (V, L) int64; each row holds 0 to L - 1 once.

    Raises:
        ProfileError: a row is not a permutation.

    Example:
        >>> p = Permutation(torch.tensor([[2, 0, 1, 3]]))
        >>> p.apply(torch.tensor([[10.0, 20.0, 30.0, 40.0]]))
        tensor([[30., 10., 20., 40.]])
        >>> p.cycles()
        [[(0, 2, 1)]]
    """

    perm: Tensor

    def __post_init__(self) -> None:
        check_numbers("perm", self.perm)
        if self.perm.dim() != 2 or self.perm.dtype != torch.int64:
            raise ProfileError(
                f"perm is {self.perm.dtype} of shape {tuple(self.perm.shape)}; "
                "allowed: int64 (V, L)"
            )
        places = torch.arange(self.perm.shape[1], device=self.perm.device)
        wrong = (self.perm.sort(dim=1).values != places).any(dim=1).nonzero().flatten()
        if len(wrong):
            raise ProfileError(
                f"row {int(wrong[0])} of perm does not hold each of "
                f"0 to {self.perm.shape[1] - 1} once"
            )

    def apply(self, src_VL: Tensor) -> Tensor:
        """`out[v, i] = src[v, perm[v, i]]`, (V, L) to (V, L).

        Raises:
            ProfileError: src has another shape.
        """
        self._check_shape("src", src_VL)
        return src_VL.gather(1, self.perm)

    def inverse(self) -> "Permutation":
        """The permutation that undoes this one."""
        places = torch.arange(self.perm.shape[1], device=self.perm.device).expand_as(self.perm)
        return Permutation(torch.empty_like(self.perm).scatter_(1, self.perm, places))

    def then(self, later: "Permutation") -> "Permutation":
        """This one first, `later` on its result.

        Raises:
            ProfileError: `later` has another shape.
        """
        self._check_shape("later", later.perm)
        return Permutation(self.perm.gather(1, later.perm))

    def _check_shape(self, name: str, other_VL: Tensor) -> None:
        # A gather takes other shapes too, and leaves out what is too much.
        if other_VL.shape != self.perm.shape:
            raise ProfileError(
                f"{name} has shape {tuple(other_VL.shape)}; allowed: {tuple(self.perm.shape)}"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Permutation) and torch.equal(self.perm, other.perm)

    def __hash__(self) -> int:
        return hash(tuple(self.perm.flatten().tolist()))

    @property
    def moved(self) -> Tensor:
        """Which positions hold a value that came from elsewhere, (V, L) bool."""
        return self.perm != torch.arange(self.perm.shape[1], device=self.perm.device)

    def cycles(self) -> list[list[tuple[int, ...]]]:
        """Disjoint cycles of each vector, fixed points left out, smallest position first.

        A cycle (a, b, c) reads: a holds what was at b, b what was at c, c what was at a.
        """
        return [_cycles_of_row(row) for row in self.perm.tolist()]

    @property
    def num_cycles(self) -> int:
        """How many cycles there are in all vectors, without listing them.

        Example:
            >>> before, after = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 1.0, 3.0]])
            >>> permutation_between(before, after).num_cycles
            1
        """
        V, L = self.perm.shape
        firsts_V1 = L * torch.arange(V, device=self.perm.device)[:, None]
        sources = (self.perm + firsts_V1).flatten().cpu().numpy()
        edges = (np.ones(V * L, dtype=bool), sources, np.arange(V * L + 1))
        graph = csr_array(edges, shape=(V * L, V * L))
        # A cycle is what can be reached from one another; fixed points are such by themselves.
        num_components, _ = connected_components(graph, directed=True, connection="strong")
        return int(num_components) - V * L + int(self.moved.sum())


def _cycles_of_row(perm: list[int]) -> list[tuple[int, ...]]:
    cycles = []
    seen = bytearray(len(perm))
    for start in range(len(perm)):
        if seen[start] or perm[start] == start:
            continue
        cycle = []
        position = start
        while not seen[position]:
            seen[position] = 1
            cycle.append(position)
            position = perm[position]
        cycles.append(tuple(cycle))
    return cycles


def permutation_between(
    before: Tensor, after: Tensor, granularity: Granularity | Cut = "neuron"
) -> Permutation:
    """The permutation with `after = perm(before)` in every weight vector, bit for bit.

    Under ties it is not unique: a position whose value did not change is a fixed point, and other
    equal values are matched in the order of their positions. -0.0 and 0.0 are different values.

    Shapes: `before` and `after` of one shape and dtype; the permutation's rows are their vectors.
    Raises:
        KindError: one of them is no tensor, or holds no numbers.
        ProfileError: shapes or dtypes differ, or a vector of `after` holds other values.

    Example:
        >>> before, after = torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[2.0, 1.0, 1.0]])
        >>> permutation_between(before, after).perm
        tensor([[2, 1, 0]])
    """
    check_numbers("before", before)
    check_numbers("after", after)
    if before.shape != after.shape or before.dtype != after.dtype:
        raise ProfileError(
            f"before is {before.dtype} {tuple(before.shape)}, after is {after.dtype} "
            f"{tuple(after.shape)}; allowed: the same dtype and shape"
        )
    if not before.is_floating_point():
        raise ProfileError(f"before is {before.dtype}; allowed: floating point")
    cut = as_cut(before, granularity)
    before_VL = bits_of(cut.to_vectors(before))
    after_VL = bits_of(cut.to_vectors(after))
    fixed_VL = before_VL == after_VL
    source_VL = _order_by_value_then_fixed(before_VL, fixed_VL)
    target_VL = _order_by_value_then_fixed(after_VL, fixed_VL)
    differs = (before_VL.gather(1, source_VL) != after_VL.gather(1, target_VL)).any(dim=1)
    if differs.any():
        wrong = differs.nonzero().flatten()
        raise ProfileError(
            f"after is not a permutation of before: {len(wrong)} of {len(differs)} vectors hold "
            f"other values, the first is vector {int(wrong[0])}"
        )
    return Permutation(torch.empty_like(source_VL).scatter_(1, target_VL, source_VL))


def _order_by_value_then_fixed(bits_VL: Tensor, fixed_VL: Tensor) -> Tensor:
    """Positions by value; among equal values fixed points first, then by position.

    Fixed points of one value stand at the same positions before and after, so they meet themselves.
    """
    by_fixed_VL = torch.argsort((~fixed_VL).to(torch.uint8), dim=1, stable=True)
    by_value_VL = torch.argsort(bits_VL.gather(1, by_fixed_VL), dim=1, stable=True)
    return by_fixed_VL.gather(1, by_value_VL)


def ranking_distance(
    before: Tensor, after: Tensor, granularity: Granularity | Cut = "neuron"
) -> Tensor:
    """How many places each weight's rank changed: D = |R_after - R_before|.

    Source: Train by Reconnect, section 3. `after` need not be a permutation of `before`. The
    paper's figures divide mean and standard deviation over all entries by the vector length.

    Shapes: int64, the shape of `before`.
    Raises:
        KindError: as `ranking`.
        ProfileError: their shapes differ.
        NonFiniteError: one of them holds NaN or infinity.

    Example:
        >>> ranking_distance(torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[0.4, 0.2, 0.3]]))
        tensor([[2, 1, 1]])
    """
    check_weights("before", before)
    check_weights("after", after)
    if before.shape != after.shape:
        raise ProfileError(
            f"before has shape {tuple(before.shape)}, after {tuple(after.shape)}; allowed: the same"
        )
    return (ranking(after, granularity) - ranking(before, granularity)).abs()
