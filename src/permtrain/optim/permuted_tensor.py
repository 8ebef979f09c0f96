"""A parameter under permutation: its profile, its scores, and whether somebody else wrote it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from permtrain.core.arrangement import arrange_vectors
from permtrain.core.profile import profile_of
from permtrain.core.ranking import NOT_FINITE
from permtrain.core.vectors import VectorView
from permtrain.errors import ChangedWeightsError, CheckpointError, NonFiniteError


@dataclass
class PermutedTensor:
    """A parameter under permutation.

    Attributes:
        name: its name in the model, or its place in the optimizer where no model was given.
        parameter: the parameter itself.
        view: how it is cut into weight vectors.
        profile: (V, L) or (1, L), ascending; None until the first step fixes it.
        latent: the latent weights, of the parameter's shape; None where they are not kept.
        is_arranged: whether the parameter is the arrangement of the present scores.
        held: the weights shown to the user, while the latent ones stand in their place; None where
            arranging the latent ones gives them again.
        seen: version and address of the parameter when we last wrote it.
        expected_checksum: of weights that still have to be loaded.
    """

    name: str
    parameter: Tensor
    view: VectorView
    profile: Tensor | None = None
    latent: Tensor | None = None
    is_arranged: bool = False
    held: Tensor | None = None
    seen: tuple[int, int] | None = None
    expected_checksum: int | None = None

    @property
    def scores(self) -> Tensor:
        """The weights whose order counts: the latent ones where they are kept."""
        return self.parameter if self.latent is None else self.latent

    def take_profile(self, keep_latent: bool) -> None:
        """Makes the weights as they are the initial weights."""
        with self._named_errors():
            self.profile = profile_of(self.parameter, self.view)
        self.latent = self.parameter.detach().clone() if keep_latent else None
        self.is_arranged = True
        self.expected_checksum = None
        self.note_seen()

    def arranged_like(self, scores: Tensor) -> Tensor:
        """The profile laid out in the order of `scores`, in the parameter's shape."""
        assert self.profile is not None
        with self._named_errors():
            return self.view.to_tensor(
                arrange_vectors(self.profile, self.view.to_vectors(scores.detach()))
            )

    def show_arranged(self) -> None:
        """Puts the profile, laid out in the order of the scores, in the parameter."""
        assert self.profile is not None
        weights = self.parameter.detach()
        weights_VL = self.view.to_vectors(weights)
        rows_are_its_memory = (
            weights_VL.data_ptr() == weights.data_ptr() and weights_VL.is_contiguous()
        )
        if self.latent is None or not rows_are_its_memory or weights.dtype != self.profile.dtype:
            self.parameter.copy_(self.arranged_like(self.scores))
            return
        with self._named_errors():
            arrange_vectors(self.profile, self.view.to_vectors(self.latent), out_VL=weights_VL)
        torch.autograd.graph.increment_version(self.parameter)  # compiled code does not do it

    def note_seen(self) -> None:
        self.seen = (self.parameter._version, self.parameter.data_ptr())

    def check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote since the last step.

        In-place writes are known by the tensor's version counter, replaced memory by its address;
        a move to another device changes the address and no value.
        """
        if self.expected_checksum is not None:
            if checksum(self.parameter) != self.expected_checksum:
                raise CheckpointError(
                    f"{self.name}: weights are not those this state was saved with; load the "
                    "model's weights from the same checkpoint too"
                )
            self.expected_checksum = None
            self.note_seen()
        elif self._follows_to_another_device():
            self.note_seen()
        elif self.was_written:
            raise ChangedWeightsError(
                f"{self.name}: weights were changed since the last step; if that was meant, call "
                "reset_profile() to make them the initial weights, or load_state_dict() to go on "
                "from a saved state"
            )

    @property
    def was_written(self) -> bool:
        """Whether the parameter is no longer what we last saw or wrote."""
        return self.seen != (self.parameter._version, self.parameter.data_ptr())

    def check_finite(self) -> None:
        """Refuses NaN and infinity in the parameter, by name."""
        # A sum is finite unless an addend is not, or it overflows: a look at all decides then.
        total = self.parameter.detach().sum()
        if not torch.isfinite(total) and not torch.isfinite(self.parameter).all():
            raise NonFiniteError(f"{self.name}: {NOT_FINITE}")

    def _follows_to_another_device(self) -> bool:
        device = self.parameter.device
        if self.profile is None or self.profile.device == device:
            return False
        if self.profile.dtype != self.parameter.dtype:
            return False
        self.profile = self.profile.to(device)
        self.latent = None if self.latent is None else self.latent.to(device)
        return True

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except NonFiniteError as error:
            raise NonFiniteError(f"{self.name}: {error}") from None


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return zlib.crc32(flat.view(torch.uint8).numpy().tobytes())
