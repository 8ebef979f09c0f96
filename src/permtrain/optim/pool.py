"""Parameters whose weights exchange values across them: one block, one vector."""

from collections.abc import Sequence
from operator import is_
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from permtrain.core.across import check_exact, from_units, to_units
from permtrain.core.arrangement import arrange_vectors
from permtrain.core.cut import Cut
from permtrain.core.profile import profile_of
from permtrain.core.ranking import NOT_FINITE
from permtrain.errors import GranularityError, NonFiniteError, ProfileError, SettingError
from permtrain.optim.permuted_tensor import Block, PermutedTensor
from permtrain.optim.sync_period import SyncPeriod


class PooledTensor(PermutedTensor):
    """A member of a pool. Its profile is what it brings in: (1, L), in its units.

    It is arranged while the host waits, so that nothing is noted on its device.
    """

    def take_own_period(self, sync_period: SyncPeriod) -> None:
        """Refuses a period of its own: a pool is arranged as a whole.

        Raises:
            SettingError: naming the parameter.
        """
        raise SettingError(
            f"{self.name}: its group has a sync_period of its own; allowed with granularity "
            "'across': the same for all, given to the permuter"
        )

    def needs_held(self) -> bool:
        """Always: a new member would arrange the others in another way than they are shown."""
        return True

    def _profile_of(self, weights: Tensor) -> Tensor:
        units_1L = to_units(weights, self.cut)
        profile = profile_of(units_1L, "layer")
        lost = from_units(units_1L, self.cut) != weights
        if lost.any():
            raise ProfileError(
                f"the value {weights[lost][0].item():g} is too small for {weights.dtype} in units "
                f"of 2**{self.cut.exponent}; allowed with granularity 'across': values that keep "
                "their bits"
            )
        return profile

    def _cannot_learn(self) -> bool:
        return False

    def _looked_at(self, weights: Tensor) -> Tensor:
        return to_units(weights, self.cut)  # where a large one may become infinite

    def _may_note_not_finite(self) -> bool:
        return False


class Pool(Block):
    """The members of one vector that goes across tensors.

    The union of what they brought in is laid out. So a member is saved and checked as other tensors
    are, and the pool itself has nothing to save. Members hold it, and not the other way round.
    """

    def __init__(self, members: Sequence[PermutedTensor] = ()) -> None:
        self._members = [ref(member) for member in members]
        self._shares: tuple[Tensor, ...] = ()
        self._union_1J = torch.empty(1, 0)

    @property
    def members(self) -> list[PermutedTensor]:
        """In the order in which they joined."""
        return [member for each in self._members if (member := each()) is not None]

    def __getstate__(self) -> dict[str, Any]:
        return {"members": self.members}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["members"])  # type: ignore[misc]

    def tensor(self, name: str, parameter: Tensor, cut: Cut) -> PermutedTensor:
        """A parameter that joins the pool.

        Raises:
            GranularityError: its dtype is not that of the others.
        """
        member = PooledTensor(name, parameter, cut, self)
        self._check_dtypes([*self.members, member])
        self._members.append(ref(member))
        return member

    def check_step(self) -> None:
        """Refuses members that are to stay as they are: other members' values would move in.

        Raises:
            SettingError: naming the first.
        """
        for member in self.members:
            if not member.parameter.requires_grad:
                raise SettingError(
                    f"{member.name} is frozen; allowed with granularity 'across': parameters that "
                    f"are trained (None leaves one alone, as in {{{member.name!r}: None, ...}})"
                )

    def check_profiles(self) -> None:
        """Refuses profiles whose values would not keep their bits in some member.

        The profiles are forgotten then, to be taken anew.

        Raises:
            ProfileError: naming the member and the value.
            GranularityError: a member got another dtype since it was added.
        """
        cuts = {member.name: member.cut for member in self.members}
        try:
            self._check_dtypes(self.members)
            check_exact(self._union(self.members), cuts)
        except (GranularityError, ProfileError):
            for member in self.members:
                member.profile = None
            raise

    def profiles(self, tensors: Sequence[PermutedTensor]) -> dict[str, Tensor]:
        """That of the one vector: all values that the members brought in."""
        profiles = super().profiles(tensors)
        return {", ".join(profiles): torch.cat(list(profiles.values()), dim=1)}

    def laid_out(self, tensors: Sequence[PermutedTensor], scores: Sequence[Tensor]) -> list[Tensor]:
        """The union of these members' profiles, laid out in the order of their scores in units.

        Members are all that have a profile, in the pool's order; a new one has none before its
        first step.

        Ties: by the order of the members, then by position.
        Raises:
            NonFiniteError: scores hold NaN or infinity, by the member's name.
        """
        cuts = [tensor.cut for tensor in tensors]
        parts = [to_units(s.detach(), cut) for s, cut in zip(scores, cuts, strict=True)]
        for tensor, part_1L in zip(tensors, parts, strict=True):
            if not torch.isfinite(part_1L).all():
                raise NonFiniteError(f"{tensor.name}: {NOT_FINITE}")
        units_1J = arrange_vectors(self._union(tensors), torch.cat(parts, dim=1))
        split = units_1J.split([cut.num_weights for cut in cuts], dim=1)
        return [from_units(part_1L, cut) for part_1L, cut in zip(split, cuts, strict=True)]

    def show_moved(self, tensors: Sequence[PermutedTensor]) -> None:
        """As other blocks, all members at once."""
        for tensor in tensors:
            if tensor.latent is not None:
                tensor.take_latent()
        arranged = self.laid_out(tensors, [tensor.scores for tensor in tensors])
        for tensor, values in zip(tensors, arranged, strict=True):
            tensor.parameter.copy_(values)

    @staticmethod
    def _check_dtypes(members: Sequence[PermutedTensor]) -> None:
        first = members[0]
        for member in members:
            if member.parameter.dtype != first.parameter.dtype:
                raise GranularityError(
                    f"{member.name} is {member.parameter.dtype}; allowed with granularity "
                    f"'across': {first.parameter.dtype}, as {first.name}"
                )

    def _union(self, members: Sequence[PermutedTensor]) -> Tensor:
        """All values that members brought in, (1, J), ascending; sorted once, bits kept."""
        shares = tuple(member.profile for member in members if member.profile is not None)
        same = len(shares) == len(self._shares) and all(map(is_, shares, self._shares))
        if not same:
            self._shares = shares
            self._union_1J = torch.cat(shares, dim=1).sort(dim=1, stable=True).values
        return self._union_1J
