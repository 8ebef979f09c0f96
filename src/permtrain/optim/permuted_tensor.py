"""A parameter under permutation: its profile, its scores, and whether somebody else wrote it."""

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from permtrain.core.across import from_units, to_units
from permtrain.core.arrangement import arrange_on_device, arrange_vectors
from permtrain.core.cut import Cut
from permtrain.core.device_rows import DeviceRows
from permtrain.core.profile import profile_of
from permtrain.core.ranking import NOT_FINITE
from permtrain.errors import ChangedWeightsError, CheckpointError, NonFiniteError, ProfileError
from permtrain.optim.pool import Pool


@dataclass
class PermutedTensor:
    """A parameter under permutation.

    Attributes:
        name: its name in the model, or its place in the optimizer where no model was given.
        parameter: the parameter itself.
        cut: how it is cut into weight vectors.
        profile: (V, L) or (1, L), ascending; None until the first step fixes it. Of a pool's
            member, what it brings in: (1, L), in its units.
        latent: the latent weights, of the parameter's shape; None where they are not kept.
        is_arranged: whether the parameter is the arrangement of the present scores.
        held: the weights shown to the user, while the latent ones stand in their place; None where
            arranging the latent ones gives them again.
        seen: version and address of the parameter when we last wrote it.
        expected_checksum: of weights that still have to be loaded.
        not_finite: where the host runs ahead of the parameter's device, an int32 there that becomes
            1 once a step meets NaN or infinity; None elsewhere, and for members of a pool, which
            are arranged while the host waits.
        pool: the tensors that it exchanges values with; None for one that keeps its own.
    """

    name: str
    parameter: Tensor
    cut: Cut
    profile: Tensor | None = None
    latent: Tensor | None = None
    is_arranged: bool = False
    held: Tensor | None = None
    seen: tuple[int, int] | None = None
    expected_checksum: int | None = None
    not_finite: Tensor | None = None
    pool: Pool | None = field(default=None, repr=False, compare=False)

    @property
    def scores(self) -> Tensor:
        """The weights whose order counts: the latent ones where they are kept."""
        return self.parameter if self.latent is None else self.latent

    def take_profile(self, keep_latent: bool) -> None:
        """Makes the weights as they are the initial weights."""
        with self.named_errors():
            self.profile = initial_profile(self.parameter, self.cut)
        self.latent = self.parameter.detach().clone() if keep_latent else None
        self.is_arranged = True
        self.held = None
        self.expected_checksum = None
        self.forget_not_finite()
        self.note_seen()
        if self._cannot_learn():
            warnings.warn(
                f"{self.name}: the weights of each vector are all equal, so that no permutation "
                "changes them and it will not learn; granularity None, as in a parameter group of "
                "its own, leaves it to the optimizer",
                stacklevel=2,
            )

    def _cannot_learn(self) -> bool:
        """Whether a weight that is to be trained has nothing to permute, as one made of zeros."""
        assert self.profile is not None
        is_weight = self.parameter.requires_grad and self.parameter.dim() >= 2
        if not is_weight or self.pool is not None or self.parameter.numel() < 2:
            return False
        return bool((self.profile[:, 0] == self.profile[:, -1]).all())

    def arranged_like(self, scores: Tensor) -> Tensor:
        """The profile laid out in the order of `scores`, in the parameter's shape."""
        assert self.profile is not None
        with self.named_errors():
            return self.cut.to_tensor(
                arrange_vectors(self.profile, self.cut.to_vectors(scores.detach()))
            )

    def show_arranged(self) -> None:
        """Puts the profile, laid out in the order of the scores, in the parameter."""
        assert self.profile is not None
        if self.not_finite is not None:
            self._show_arranged_on_device(self.not_finite)
            return
        weights = self.parameter.detach()
        weights_VL = self.cut.to_vectors(weights)
        if self.latent is None or not self._may_be_written_by_rows(weights_VL):
            self.parameter.copy_(self.arranged_like(self.scores))
            return
        with self.named_errors():
            arrange_vectors(self.profile, self.cut.to_vectors(self.latent), out_VL=weights_VL)
        torch.autograd.graph.increment_version(self.parameter)  # compiled code does not do it

    def _show_arranged_on_device(self, not_finite: Tensor) -> None:
        """The same without a look at the result: rows that are not finite stay as they are."""
        assert self.profile is not None
        weights_VL = self.cut.to_vectors(self.parameter.detach())
        scores_VL = self.cut.to_vectors(self.scores.detach())
        if self._may_be_written_by_rows(weights_VL):
            arrange_on_device([DeviceRows(self.profile, scores_VL, weights_VL, not_finite)])
            torch.autograd.graph.increment_version(self.parameter)  # compiled code does not do it
        else:
            out_VL = weights_VL.to(self.profile.dtype, copy=True).contiguous()
            arrange_on_device([DeviceRows(self.profile, scores_VL, out_VL, not_finite)])
            self.parameter.copy_(self.cut.to_tensor(out_VL))

    def rows_on_device(self) -> DeviceRows | None:
        """What `take_latent` and `show_arranged` do, for a device to do at once.

        None where the host waits for the device, or where rows are copies: not the memory of the
        parameter and of its latent weights.
        """
        weights_VL = self.cut.to_vectors(self.parameter.detach())
        if self.not_finite is None or not self._may_be_written_by_rows(weights_VL):
            return None
        assert self.profile is not None
        latent_VL = None
        if self.latent is not None:
            latent_VL = self.cut.to_vectors(self.latent)
            if latent_VL.data_ptr() != self.latent.data_ptr() or not latent_VL.is_contiguous():
                return None
        return DeviceRows(self.profile, weights_VL, weights_VL, self.not_finite, latent_VL)

    def _may_be_written_by_rows(self, weights_VL: Tensor) -> bool:
        """Whether these rows are the parameter's own memory, and hold what the profile does."""
        assert self.profile is not None
        is_its_memory = weights_VL.data_ptr() == self.parameter.data_ptr()
        return (
            is_its_memory and weights_VL.is_contiguous() and weights_VL.dtype == self.profile.dtype
        )

    def take_latent(self) -> None:
        """Makes the weights that the inner optimizer moved the latent ones.

        Where the host runs ahead of the device, vectors that are not finite keep their latent
        weights, and so their last arrangement.
        """
        assert self.latent is not None
        if self.not_finite is None:
            self.latent.copy_(self.parameter)
            return
        moved_VL = self.cut.to_vectors(self.parameter.detach())
        latent_VL = self.cut.to_vectors(self.latent)
        is_finite_V1 = torch.isfinite(moved_VL).all(dim=1, keepdim=True)
        self.latent.copy_(self.cut.to_tensor(torch.where(is_finite_V1, moved_VL, latent_VL)))
        self.not_finite.logical_or_(~is_finite_V1.all())

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
        """Refuses NaN and infinity in the parameter, by name.

        Where the host runs ahead of the device it does not wait for the answer: `take_latent` and
        `show_arranged` note it there, and `found_not_finite` asks later.
        """
        if self.not_finite is not None:
            return
        weights = self.parameter.detach()
        if self.pool is not None:  # where a large one may become infinite
            weights = to_units(weights, self.cut)
        # A sum is finite unless an addend is not, or it overflows: a look at all decides then.
        if not torch.isfinite(weights.sum()) and not torch.isfinite(weights).all():
            raise NonFiniteError(f"{self.name}: {NOT_FINITE}")

    def found_not_finite(self) -> bool:
        """Whether a step since the last call met NaN or infinity; waits for the device."""
        if self.not_finite is None or not self.not_finite:
            return False
        self.not_finite.zero_()
        return True

    def forget_not_finite(self) -> None:
        """Begins to note anew, where the parameter is now."""
        device = self.parameter.device
        notes = self.pool is None and runs_ahead_of(device)
        self.not_finite = torch.zeros((), dtype=torch.int32, device=device) if notes else None

    def _follows_to_another_device(self) -> bool:
        device = self.parameter.device
        if self.profile is None or self.profile.device == device:
            return False
        if self.profile.dtype != self.parameter.dtype:
            return False
        if self.found_not_finite():
            raise NonFiniteError(f"{self.name}: {NOT_FINITE}")
        self.forget_not_finite()
        self.profile = self.profile.to(device)
        self.latent = None if self.latent is None else self.latent.to(device)
        return True

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Errors that arise inside the block say whose weights they are about."""
        try:
            yield
        except (NonFiniteError, ProfileError) as error:
            raise type(error)(f"{self.name}: {error}") from None


def initial_profile(weights: Tensor, cut: Cut) -> Tensor:
    """What a tensor with these initial weights has for a profile; in units if it goes across.

    Raises:
        NonFiniteError: they hold NaN or infinity.
        ProfileError: one that goes across would not keep its bits in units.
    """
    if not cut.is_across:
        return profile_of(weights, cut)
    units_1L = to_units(weights.detach(), cut)
    profile = profile_of(units_1L, "layer")
    lost = from_units(units_1L, cut) != weights.detach()
    if lost.any():
        raise ProfileError(
            f"the value {weights[lost][0].item():g} is too small for {weights.dtype} in units of "
            f"2**{cut.exponent}; allowed with granularity 'across': values that keep their bits"
        )
    return profile


def arranged_like(tensors: Sequence[PermutedTensor], scores: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor's profile laid out in the order of its scores; members of a pool together.

    Raises:
        NonFiniteError: scores hold NaN or infinity, by the tensor's name.
    """
    arranged: dict[int, Tensor] = {}
    members: list[PermutedTensor] = []
    for tensor, score in zip(tensors, scores, strict=True):
        if tensor.pool is None:
            arranged[id(tensor)] = tensor.arranged_like(score)
        elif torch.isfinite(to_units(score.detach(), tensor.cut)).all():
            members.append(tensor)
        else:
            raise NonFiniteError(f"{tensor.name}: {NOT_FINITE}")
    if members:
        pool = members[0].pool
        assert pool is not None  # a permuter has but one
        theirs = [s for t, s in zip(tensors, scores, strict=True) if t.pool is not None]
        together = pool.arranged_like(members, theirs)
        arranged |= {id(m): values for m, values in zip(members, together, strict=True)}
    return [arranged[id(tensor)] for tensor in tensors]


def arrange_moved(tensors: Iterable[PermutedTensor]) -> None:
    """After the inner step: its weights become the latent ones, and arranged ones are shown.

    What a device can do without the host is handed to it together, for all tensors of the step.
    """
    together: list[DeviceRows] = []
    written: list[Tensor] = []
    members: list[PermutedTensor] = []
    for tensor in tensors:
        if tensor.pool is not None:
            if tensor.latent is not None:
                tensor.take_latent()
            members.append(tensor)
            continue
        rows = tensor.rows_on_device()
        if rows is not None:
            together.append(rows)
            written.append(tensor.parameter)
            continue
        if tensor.latent is not None:
            tensor.take_latent()
        tensor.show_arranged()
    for tensor, values in zip(
        members, arranged_like(members, [member.scores for member in members]), strict=True
    ):
        tensor.parameter.copy_(values)
    arrange_on_device(together)
    for parameter in written:
        torch.autograd.graph.increment_version(parameter)  # compiled code does not do it


def runs_ahead_of(device: torch.device) -> bool:
    """Whether the host goes on while the device works, so that reading a value has to wait."""
    return device.type == "cuda"


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return zlib.crc32(flat.view(torch.uint8).numpy().tobytes())
