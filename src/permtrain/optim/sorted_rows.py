"""A weight as rows of sorted values and the slot that holds each: what SGPerm permutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.core.granularity import NamedTensor
from permtrain.core.ranking import sorting_order
from permtrain.errors import CheckpointError, NonFiniteError
from permtrain.graph.search import lay_out_
from permtrain.optim.permuted_tensor import checksum
from permtrain.optim.seen import Seen, changed, refuse_resized, same


@dataclass
class SortedRows:
    """A weight tensor as rows: its sorted values, and which slot holds each.

    Attributes:
        weight: the tensor and its name.
        cut: how it is cut.
        bias: one more weight of each row, or None.
        group: index of its parameter group.
        first_row: its first row's number among all rows, for random words.
        values: (V, L) sorted, in float32 where weights have 16 bits, which it holds exactly;
            rank_to_slot: (V, L) int32. None until the first step.
        dtype: the weight's when the rows were taken; None until the first step.
        seen: each parameter when we last wrote it; none until the first step.
        expected_checksums: of weights that still have to be loaded.
    """

    weight: NamedTensor
    cut: Cut
    bias: Tensor | None
    group: int
    first_row: int
    values: Tensor | None = None
    rank_to_slot: Tensor | None = None
    dtype: torch.dtype | None = None
    seen: list[Seen] = field(default_factory=list)
    expected_checksums: list[int] | None = None

    @property
    def length(self) -> int:
        return self.cut.vector_length + (self.bias is not None)

    def gathered(self, of_weight: Tensor, of_bias: Tensor | None) -> Tensor:
        """Rows of the weight, with the bias as the last column where it is in the row."""
        rows_VL = self.cut.to_vectors(of_weight)
        if self.bias is None:
            return rows_VL.contiguous()
        assert of_bias is not None
        return torch.cat([rows_VL, of_bias.reshape(-1, 1)], dim=1)

    @property
    def _wide(self) -> torch.dtype:
        """Of values and recommendations: what searches are compiled for."""
        dtype = self.weight.parameter.dtype
        return torch.float32 if dtype.itemsize < 4 else dtype

    @property
    def parameters(self) -> list[Tensor]:
        return [self.weight.parameter, *([] if self.bias is None else [self.bias])]

    def begin(self) -> None:
        """Takes the weights as they are for the initial ones.

        Raises:
            NonFiniteError: they hold NaN or infinity, naming the weight.
        """
        self.values, order_VL = self._sorted()
        self.rank_to_slot = order_VL.to(torch.int32)
        self.dtype = self.weight.parameter.dtype

    def initial_values(self) -> Tensor:
        """The sorted values, (V, L); before the first step those of the weights as they are.

        Raises:
            NonFiniteError: as `begin`.
        """
        values_VL = self._sorted()[0] if self.values is None else self.values
        return values_VL.to(self.weight.parameter.dtype)

    def _sorted(self) -> tuple[Tensor, Tensor]:
        self._refuse_resized()
        rows_VL = self.gathered(
            self.weight.parameter.detach(), None if self.bias is None else self.bias.detach()
        ).to(self._wide)
        try:
            order_VL = sorting_order(rows_VL)
        except NonFiniteError as error:
            raise NonFiniteError(f"{self.weight.name}: {error}") from None
        return rows_VL.gather(1, order_VL), order_VL

    def forget(self) -> None:
        """Whatever the weights are at the next step becomes the initial ones."""
        self.values = self.rank_to_slot = self.expected_checksums = None

    def note_seen(self) -> None:
        self.seen = self.seen or [Seen() for _ in self.parameters]
        for seen, parameter in zip(self.seen, self.parameters, strict=True):
            seen.note(parameter)

    def check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote since the last step, as a permuter does."""
        if self.values is None:
            return
        if self.expected_checksums is not None:
            if self._checksums() != self.expected_checksums:
                raise CheckpointError(
                    f"{self.weight.name}: weights are not those this state was saved with; load "
                    "the model's weights from the same checkpoint too"
                )
            self.expected_checksums = None
            self.note_seen()
        elif not self.seen or any(map(Seen.differs, self.seen, self.parameters)):
            self._refuse_resized()
            if not self._hold_what_they_held():
                assert self.dtype is not None
                raise changed(self.weight.name, self.weight.parameter, self.dtype)
            device = self.weight.parameter.device
            self.values = self.values.to(device)
            self.rank_to_slot = None if self.rank_to_slot is None else self.rank_to_slot.to(device)
            self.note_seen()

    def _refuse_resized(self) -> None:
        refuse_resized(self.weight.name, self.weight.parameter, self.cut.shape)

    def _hold_what_they_held(self) -> bool:
        """Whether the parameters hold the values where they were laid out, wherever they are."""
        assert self.values is not None
        assert self.rank_to_slot is not None
        if self.weight.parameter.dtype != self.dtype:
            return False
        rows_VL = lay_out_(torch.empty_like(self.values), self.values, self.rank_to_slot)
        weight, bias = self.weight.parameter.detach(), self.bias
        now_VL = self.gathered(weight, None if bias is None else bias.detach())
        return same(now_VL, rows_VL.to(weight.dtype))

    def write_back(self) -> None:
        """Lays the values out into the parameter."""
        assert self.values is not None
        assert self.rank_to_slot is not None
        weight = self.weight.parameter
        own_VL = self.cut.to_vectors(weight.detach())
        is_own_memory = own_VL.data_ptr() == weight.data_ptr() and own_VL.is_contiguous()
        if self.bias is None and is_own_memory and own_VL.dtype == self.values.dtype:
            lay_out_(own_VL, self.values, self.rank_to_slot)
            torch.autograd.graph.increment_version(weight)  # compiled code does not do it
            return
        rows_VL = lay_out_(torch.empty_like(self.values), self.values, self.rank_to_slot)
        weights_VL = rows_VL if self.bias is None else rows_VL[:, :-1]
        weight.copy_(self.cut.to_tensor(weights_VL))
        if self.bias is not None:
            self.bias.copy_(rows_VL[:, -1])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of these rows."""
        return {
            "cut": self._cut,
            "values": self.values,
            "rank_to_slot": self.rank_to_slot,
            "checksums": self._checksums(),
        }

    def check_state(self, saved: Mapping[str, Any]) -> None:
        """Refuses the state of rows that were cut in another way."""
        slots = saved["rank_to_slot"]
        shape = (self.cut.num_vectors, self.length)
        if slots is not None and tuple(slots.shape) != shape:
            raise CheckpointError(
                f"{self.weight.name}: optimizer state has rows {tuple(slots.shape)}; "
                f"allowed: {shape}"
            )
        cut = saved.get("cut", self._cut)  # states of before: none
        if list(cut) != self._cut:
            raise CheckpointError(
                f"{self.weight.name}: optimizer state has rows of {list(cut)} (granularity, "
                f"output axis, kernel axes, groups); allowed: {self._cut}"
            )

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes over a state that `check_state` has passed; the weights are loaded apart."""
        device = self.weight.parameter.device
        self.values, self.rank_to_slot = (
            None if saved[key] is None else saved[key].detach().to(device, copy=True)
            for key in ("values", "rank_to_slot")
        )
        self.dtype = self.weight.parameter.dtype
        # Before the first step whatever the model holds becomes the initial weights.
        self.expected_checksums = None if self.values is None else saved["checksums"]

    @property
    def _cut(self) -> list[Any]:
        return [self.cut.granularity, *self.cut.layout]

    def _checksums(self) -> list[int]:
        return [checksum(parameter) for parameter in self.parameters]
