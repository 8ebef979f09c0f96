"""How much of what the inner optimizer did a synchronization keeps, looked at in the beginning.

A synchronization puts initial values back in the order of the moved weights. If a period moves
weights by less than the gaps between neighbouring values, the order stays and the period is undone.
"""

import warnings
from collections.abc import Sequence

from torch import Tensor

from permtrain.optim.permuted_tensor import PermutedTensor

NUM_LOOKS = 20
"""Synchronizations that are looked at."""

SMALLEST_SHARE = 0.05
"""Of weights that change places in one: below it a training hardly learns (figures in `LaPerm`)."""

_SAMPLE = 4096


class KeptMoves:
    """Counts weights that changed places in the first synchronizations of a training.

    A sample of each tensor, its first weights, is kept and compared.
    """

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}
        self._changed: list[Tensor] = []
        self._num_seen = 0
        self._num_looks = 0

    def begin(self, tensors: Sequence[PermutedTensor]) -> None:
        """Takes samples of tensors as they are born."""
        for tensor in tensors:
            self._before[tensor.name] = _sample(tensor).clone()

    def look(self, tensors: Sequence[PermutedTensor], sync_period: object) -> "KeptMoves | None":
        """Compares tensors, just synchronized, with what they were; None once it has seen enough.

        Warns then if almost nothing was kept.
        """
        self._num_looks += 1
        for tensor in tensors:
            before, now = self._before[tensor.name], _sample(tensor)
            if before.device != now.device:
                return None
            self._changed.append((now != before).sum())  # a GPU is not waited for
            self._num_seen += now.numel()
            before.copy_(now)
        if self._num_looks < NUM_LOOKS:
            return self
        share = sum(map(int, self._changed)) / max(self._num_seen, 1)
        if share < SMALLEST_SHARE and (share := share / _movable(tensors)) < SMALLEST_SHARE:
            largest = max(tensors, key=lambda tensor: tensor.parameter.numel())
            warnings.warn(
                f"synchronizations undo almost every move: in the first {NUM_LOOKS} only "
                f"{share:.1%} of the weights that can change places did. Raise sync_period, which "
                f"is {sync_period}, or the learning rate: their product, which is about as far as "
                "Adam moves a weight in a period, should be at least twice the gap between "
                f"neighbouring values, which in {largest.name} is {gap_of(largest):.2g}",
                stacklevel=2,
            )
        return None


def _movable(tensors: Sequence[PermutedTensor]) -> float:
    """The share of weights that can change at once: equal ones, as zeros, take each other's place.

    As many as stand where the commonest value stood, and stands.
    """
    movable = total = 0
    for tensor in tensors:
        assert tensor.profile is not None
        V, L = tensor.cut.num_vectors, tensor.cut.vector_length
        profile = tensor.profile
        commonest = (profile == profile.mode(dim=1, keepdim=True).values).sum(dim=1)
        each = (2 * (L - commonest)).clamp(max=L)
        movable += int(each.sum()) * (V // len(profile))
        total += V * L
    return max(movable, 1) / total


def gap_of(tensor: PermutedTensor) -> float:
    """The mean gap between neighbouring values of a tensor's vectors, the median over vectors."""
    assert tensor.profile is not None
    spread = tensor.profile[:, -1] - tensor.profile[:, 0]
    return float(spread.median()) / max(tensor.cut.vector_length - 1, 1)


def _sample(tensor: PermutedTensor) -> Tensor:
    return tensor.parameter.detach().reshape(-1)[:_SAMPLE]
