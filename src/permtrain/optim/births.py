"""Profiles that the records of a model's birth give again, so that a checkpoint need not hold them.

`initialize_` leaves the records (`initial/record.py`); a profile is the sorted initial values.
"""

from typing import Any

import torch
from torch import Tensor, nn

from permtrain.core.cut import Cut
from permtrain.core.notes import RECORDS, notes_of
from permtrain.core.profile import profile_of
from permtrain.errors import CheckpointError
from permtrain.initial.record import TensorRecord, initial_values
from permtrain.optim.permuted_tensor import checksum
from permtrain.optim.seen import same


class Births:
    """What the records of a model say of profiles.

    Args:
        model: None where there is none; then it says nothing.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._known: dict[str, tuple[Tensor, int | None]] = {}

    def without_profile(self, name: str, cut: Cut, state: dict[str, Any]) -> dict[str, Any]:
        """A tensor's state to save; the checksum of its profile in place of one that is born.

        Cost: drawing and sorting the tensor at the first look at a profile.
        """
        profile: Tensor | None = state["profile"]
        if profile is None or not state["has_begun"]:
            # Distributed checkpointing loads into it: a profile, or what says that there is none.
            return state | {"born": None}
        known, crc = self._known.get(name, (None, None))
        if known is not profile:
            born = self._drawn(name, cut)
            is_born = born is not None and same(profile, born)
            crc = checksum(profile) if is_born else None
            self._known[name] = profile, crc
        return state | ({"born": None} if crc is None else {"profile": None, "born": crc})

    def with_profile(self, name: str, cut: Cut, saved: Any) -> Any:
        """The inverse.

        Raises:
            CheckpointError: the records of this model give another profile, or there are none.
        """
        if not isinstance(saved, dict) or saved.get("born") is None:
            return saved
        profile = self._drawn(name, cut)
        if profile is None or checksum(profile) != saved["born"]:
            raise CheckpointError(
                f"{name}: this state was saved of a model that initialize_ drew, and this model "
                "was drawn in another way or not; allowed: initialize_ with the same rule, "
                "structure and seed before"
            )
        return saved | {"profile": profile}

    def _drawn(self, name: str, cut: Cut) -> Tensor | None:
        """The profile by the record; None where there is none that gives one."""
        if self._model is None or cut.is_across:
            return None
        notes = notes_of(self._model, RECORDS).get(name, [])
        record = TensorRecord.from_dict(notes[0][1]) if notes else None
        if record is None or not record.regenerable or record.shape != cut.shape:
            return None
        values = torch.from_numpy(initial_values(record)).to(getattr(torch, record.dtype))
        return profile_of(values, cut)
