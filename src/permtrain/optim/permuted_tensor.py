"""A parameter under permutation, and the blocks of them that are arranged together."""

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from permtrain.core.arrangement import arrange_on_device, arrange_vectors
from permtrain.core.cut import Cut
from permtrain.core.device_rows import DeviceRows
from permtrain.core.kinds import check_numbers
from permtrain.core.profile import holding, profile_of
from permtrain.core.ranking import NOT_FINITE
from permtrain.errors import CheckpointError, NonFiniteError, ProfileError
from permtrain.optim.seen import Seen, changed, refuse_resized, same
from permtrain.optim.sync_period import SyncPeriod, period_at

_ALLOWED = (
    "write them inside `with permuter.allow_changes():` (torch's parametrizations write them too "
    "when they are put on), "
)


@dataclass(eq=False)
class PermutedTensor:
    """A parameter under permutation.

    Attributes:
        name: its name in the model, or its place in the optimizer where no model was given.
        parameter: the parameter itself.
        cut: how it is cut into weight vectors.
        block: the tensors that it is arranged together with.
        profile: (V, L) or (1, L), ascending; None until the first step fixes it.
        latent: the latent weights, of the parameter's shape; None where they are not kept.
        is_arranged: whether the parameter is the arrangement of the present scores.
        held: the weights shown to the user, while the latent ones stand in their place; None where
            arranging the latent ones gives them again.
        sync_period: that of its parameter group, or the permuter's.
        has_own_period: whether it is its group's.
        step_period: what the schedule says of the step that is being made; None for "not now".
        is_due: whether that step synchronizes it.
        seen: the parameter when we last wrote it.
        expected_checksum: of weights that still have to be loaded.
        not_finite: where the host runs ahead of the parameter's device, an int32 there that becomes
            1 once a step meets NaN or infinity; None elsewhere.
    """

    name: str
    parameter: Tensor
    cut: Cut
    block: "Block" = field(repr=False)
    profile: Tensor | None = None
    latent: Tensor | None = None
    is_arranged: bool = False
    held: Tensor | None = None
    sync_period: SyncPeriod = None
    has_own_period: bool = False
    step_period: int | None = None
    is_due: bool = False
    seen: Seen = field(default_factory=Seen, repr=False)
    expected_checksum: int | None = None
    not_finite: Tensor | None = None

    def enter_step(self, step: int) -> None:
        """Notes what the schedule says of a step, which is counted from 1."""
        self.step_period = period_at(self.sync_period, step)
        self.is_due = self.step_period is not None and step % self.step_period == 0

    def take_own_period(self, sync_period: SyncPeriod) -> None:
        """Takes the sync period that its parameter group has of its own."""
        self.sync_period = sync_period
        self.has_own_period = True

    @property
    def scores(self) -> Tensor:
        """The weights whose order counts: the latent ones where they are kept."""
        return self.parameter if self.latent is None else self.latent

    def take_profile(self, keep_latent: bool) -> None:
        """Makes the weights as they are the initial weights."""
        self.profile = self.initial_profile()
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

    def initial_profile(self) -> Tensor:
        """What the weights as they are would have for a profile.

        Raises:
            NonFiniteError, ProfileError, ChangedWeightsError: naming the parameter.
        """
        refuse_resized(self.name, self.parameter, self.cut.shape)
        with self.named_errors():
            return self._profile_of(self.parameter.detach())

    def _profile_of(self, weights: Tensor) -> Tensor:
        return profile_of(weights, self.cut)

    def _cannot_learn(self) -> bool:
        """Whether a weight that is to be trained has nothing to permute, as one made of zeros."""
        assert self.profile is not None
        is_weight = self.parameter.requires_grad and self.parameter.dim() >= 2
        if not is_weight or self.parameter.numel() < 2:
            return False
        return bool((self.profile[:, 0] == self.profile[:, -1]).all())

    def laid_out(self, scores: Tensor) -> Tensor:
        """The profile laid out in the order of `scores`, in the parameter's shape."""
        assert self.profile is not None
        with self.named_errors():
            return self.cut.to_tensor(
                arrange_vectors(self.profile, self.cut.to_vectors(scores.detach()))
            )

    def set_profile(self, values: Tensor) -> None:
        """Takes other values for the profile, in any order; the scores stay.

        Raises:
            ProfileError: another shape or dtype; NonFiniteError: they are not finite.
        """
        check_numbers("values", values)
        V, L = self.cut.num_vectors, self.cut.vector_length
        values_VL = values.detach()[None] if values.dim() == 1 else values.detach()
        if tuple(values_VL.shape) not in {(V, L), (1, L)} or values.dtype != self.parameter.dtype:
            raise ProfileError(
                f"{self.name}: values are {values.dtype} of shape {tuple(values.shape)}; allowed: "
                f"{self.parameter.dtype} of shape {(V, L)}, {(1, L)} or {(L,)}"
            )
        with self.named_errors():
            rows = Cut("neuron", shape=tuple(values_VL.shape))
            self.profile = profile_of(values_VL.to(self.parameter.device), rows)

    def leave_step(self) -> None:
        """After the inner step: puts in place what the model shows where it is not arranged."""
        if self.latent is not None and not self.is_due:
            self.take_latent()
            if self.held is not None and self.step_period is not None:
                self.parameter.copy_(self.held)
        self.is_arranged = self.is_due
        self.held = None
        self.note_seen()

    def state_dict(self, keep_latent: bool) -> dict[str, Any]:
        """What a checkpoint keeps of it: plain data and tensors, which are references.

        Of the same shapes before the first step, where distributed checkpointing loads into it.
        """
        has_begun = self.profile is not None
        profile, latent = self.profile, self.latent
        if not has_begun:
            profile = self.initial_profile()
            latent = self.parameter.detach().clone() if keep_latent else None
        return {
            "shape": list(self.cut.shape),
            "granularity": self.cut.granularity,
            "layout": list(self.cut.layout),
            "has_begun": has_begun,
            "profile": profile,
            "latent": latent,
            "checksum": checksum(self.parameter),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes over a state that `check_state` has passed; the weights are loaded apart."""
        device = self.parameter.device
        profile, latent = saved["profile"], saved["latent"]
        if not saved.get("has_begun", True):  # states of before then hold None
            profile = latent = None
        self.profile = None if profile is None else profile.detach().to(device, copy=True)
        self.latent = None if latent is None else latent.detach().to(device, copy=True)
        self.expected_checksum = None if profile is None else saved["checksum"]
        self.is_arranged = False
        self.forget_not_finite()

    def check_state(self, saved: Mapping[str, Any], keep_latent: bool) -> None:
        """Refuses the state of another tensor, or of one that was cut in another way.

        Raises:
            CheckpointError: naming the tensor, what the state has and what is allowed.
        """
        here = (list(self.cut.shape), self.cut.granularity)
        there = (list(saved["shape"]), saved["granularity"])
        layout = list(self.cut.layout)
        profile, latent = saved["profile"], saved["latent"]
        V, L = self.cut.num_vectors, self.cut.vector_length
        found = None if latent is None else (latent.dtype, tuple(latent.shape))
        is_kept = keep_latent and profile is not None
        allowed = (self.parameter.dtype, self.cut.shape) if is_kept else None
        if here != there:
            problem = f"shape and granularity {there}; allowed: {here}"
        elif saved.get("layout", layout) != layout:  # states of before have none
            problem = (
                f"vectors of layout {saved['layout']} (output axis, kernel axes, groups); "
                f"allowed: {layout}"
            )
        elif profile is None and saved.get("has_begun", False):
            problem = "no profile, though training had begun; allowed: one, or a model drawn alike"
        elif profile is not None and profile.dtype != self.parameter.dtype:
            problem = f"values of {profile.dtype}; allowed: {self.parameter.dtype}"
        elif profile is not None and tuple(profile.shape) not in {(V, L), (1, L)}:
            problem = f"a profile of shape {tuple(profile.shape)}; allowed: {(V, L)}, {(1, L)}"
        elif found != allowed:
            problem = f"latent weights {found}; allowed: {allowed}"
        else:
            return
        raise CheckpointError(f"{self.name}: permuter state has {problem}")

    def needs_held(self) -> bool:
        """Whether what is shown has to be kept while the latent weights stand in its place."""
        return not (self.is_due and self.is_arranged and self.step_period == 1)

    def show_arranged(self) -> None:
        """Puts the profile, laid out in the order of the scores, in the parameter."""
        assert self.profile is not None
        if self.not_finite is not None:
            self._show_arranged_on_device(self.not_finite)
            return
        weights = self.parameter.detach()
        weights_VL = self.cut.to_vectors(weights)
        if self.latent is None or not self._may_be_written_by_rows(weights_VL):
            self.parameter.copy_(self.laid_out(self.scores))
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
        self.seen.note(self.parameter)

    def check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote since the last step.

        Weights that are elsewhere and the same are taken as they are.
        """
        if self.expected_checksum is not None:
            if checksum(self.parameter) != self.expected_checksum:
                raise CheckpointError(
                    f"{self.name}: weights are not those this state was saved with; load the "
                    "model's weights from the same checkpoint too"
                )
            self.expected_checksum = None
            self.note_seen()
        elif self.seen.differs(self.parameter):
            refuse_resized(self.name, self.parameter, self.cut.shape)
            if self.was_written and not self._is_a_permutation_to_go_on_from():
                dtype = self.parameter.dtype if self.profile is None else self.profile.dtype
                raise changed(self.name, self.parameter, dtype, _ALLOWED)
            self._follow_to_another_device()
            self.note_seen()

    @property
    def was_written(self) -> bool:
        """Whether the parameter's weights are no longer those that we last saw or wrote."""
        if not self.seen.differs(self.parameter) or self.seen.holds(self.parameter):
            return False
        if self.latent is None or not self.is_arranged:
            return True
        return not same(self.parameter, self.laid_out(self.latent))

    def _is_a_permutation_to_go_on_from(self) -> bool:
        """Whether somebody put a permutation of the initial values in place, as the best weights.

        Where latent weights decide it would be overwritten, and passes for no such thing.
        """
        if self.latent is not None or self.profile is None or self.cut.is_across:
            return False
        weights = self.parameter.detach()
        if weights.dtype != self.profile.dtype:
            return False
        vectors = {self.name: self.cut.to_vectors(weights)}
        is_one = bool(holding(vectors, {self.name: self.profile})[self.name].all())
        self.is_arranged = self.is_arranged or is_one
        return is_one

    def has_changed_since(self, checksum_before: int) -> bool:
        """Whether somebody wrote other weights, which may be gone on from.

        Raises:
            ChangedWeightsError: they are of another shape or dtype.
            NonFiniteError: they hold NaN or infinity.
        """
        if not self.seen.differs(self.parameter):
            return False
        assert self.profile is not None
        refuse_resized(self.name, self.parameter, self.cut.shape)
        if self.parameter.dtype != self.profile.dtype:
            raise changed(self.name, self.parameter, self.profile.dtype)
        if checksum(self.parameter) == checksum_before:
            self._follow_to_another_device()
            self.note_seen()
            return False
        self.check_finite()
        return True

    def check_finite(self) -> None:
        """Refuses NaN and infinity in the parameter, by name.

        Where the host runs ahead of the device it does not wait for the answer: `take_latent` and
        `show_arranged` note it there, and `found_not_finite` asks later.
        """
        if self.not_finite is not None:
            return
        if not torch.isfinite(self._looked_at(self.parameter.detach())).all():
            raise NonFiniteError(f"{self.name}: {NOT_FINITE}")

    def sum_of_weights(self) -> float:
        """The sum of the weights as they are ranked; 0 where the host runs ahead of the device.

        Call it without gradients: it spares the hot path a `detach`.
        """
        if self.not_finite is not None:
            return 0.0
        return self._looked_at(self.parameter).sum().item()

    def _looked_at(self, weights: Tensor) -> Tensor:
        """The weights as they are ranked."""
        return weights

    def found_not_finite(self) -> bool:
        """Whether a step since the last call met NaN or infinity; waits for the device."""
        if self.not_finite is None or not self.not_finite:
            return False
        self.not_finite.zero_()
        return True

    def forget_not_finite(self) -> None:
        """Begins to note anew, where the parameter is now."""
        device = self.parameter.device
        notes = self._may_note_not_finite() and runs_ahead_of(device)
        self.not_finite = torch.zeros((), dtype=torch.int32, device=device) if notes else None

    def _may_note_not_finite(self) -> bool:
        return True

    def _follow_to_another_device(self) -> None:
        device = self.parameter.device
        if self.profile is None or self.profile.device == device:
            return
        if self.found_not_finite():
            raise NonFiniteError(f"{self.name}: {NOT_FINITE}")
        self.forget_not_finite()
        self.profile = self.profile.to(device)
        self.latent = None if self.latent is None else self.latent.to(device)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Errors that arise inside the block say whose weights they are about."""
        try:
            yield
        except (NonFiniteError, ProfileError) as error:
            raise type(error)(f"{self.name}: {error}") from None


class Block:
    """Tensors that a permuter arranges together: as it is, each by itself."""

    def tensor(self, name: str, parameter: Tensor, cut: Cut) -> PermutedTensor:
        """A parameter that joins the block."""
        return PermutedTensor(name, parameter, cut, self)

    def check_step(self) -> None:
        """Refuses what would go wrong in the next step."""

    def check_profiles(self) -> None:
        """Refuses profiles, just taken, that do not go together."""

    def profiles(self, tensors: Sequence[PermutedTensor]) -> dict[str, Tensor]:
        """The profiles of the block's vectors, by the names of `core.vectors.vectors_of`."""
        return {tensor.name: _profile_or_initial(tensor) for tensor in tensors}

    def laid_out(self, tensors: Sequence[PermutedTensor], scores: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor's profile in the order of its scores.

        Raises:
            NonFiniteError: scores hold NaN or infinity, by the tensor's name.
        """
        return [tensor.laid_out(score) for tensor, score in zip(tensors, scores, strict=True)]

    def show_moved(self, tensors: Sequence[PermutedTensor]) -> None:
        """After the inner step: its weights become the latent ones, arranged ones are shown.

        What a device can do without the host is handed to it together, for all tensors.
        """
        together: list[DeviceRows] = []
        written: list[Tensor] = []
        for tensor in tensors:
            rows = tensor.rows_on_device()
            if rows is not None:
                together.append(rows)
                written.append(tensor.parameter)
                continue
            if tensor.latent is not None:
                tensor.take_latent()
            tensor.show_arranged()
        arrange_on_device(together)
        for parameter in written:
            torch.autograd.graph.increment_version(parameter)  # compiled code does not do it


def _profile_or_initial(tensor: PermutedTensor) -> Tensor:
    """The profile; before the first step that of the weights, which are the initial ones."""
    return tensor.initial_profile() if tensor.profile is None else tensor.profile


def in_blocks(tensors: Sequence[PermutedTensor]) -> dict[Block, list[PermutedTensor]]:
    """The tensors of each block, in their order."""
    found: dict[Block, list[PermutedTensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor.block, []).append(tensor)
    return found


def laid_out(tensors: Sequence[PermutedTensor], scores: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor's profile in the order of its scores, whatever block it is of.

    Raises:
        NonFiniteError: scores hold NaN or infinity, by the tensor's name.
    """
    score_of = {id(tensor): score for tensor, score in zip(tensors, scores, strict=True)}
    arranged: dict[int, Tensor] = {}
    for block, theirs in in_blocks(tensors).items():
        values = block.laid_out(theirs, [score_of[id(tensor)] for tensor in theirs])
        arranged |= {id(tensor): each for tensor, each in zip(theirs, values, strict=True)}
    return [arranged[id(tensor)] for tensor in tensors]


def runs_ahead_of(device: torch.device) -> bool:
    """Whether the host goes on while the device works, so that reading a value has to wait."""
    return device.type == "cuda"


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return zlib.crc32(flat.view(torch.uint8).numpy().tobytes())
