"""Parameters whose weights exchange values across them."""

from collections.abc import Sequence
from operator import is_
from typing import Protocol

import torch
from torch import Tensor

from permtrain.core.across import check_exact, from_units, to_units
from permtrain.core.arrangement import arrange_vectors
from permtrain.core.cut import Cut
from permtrain.errors import GranularityError, ProfileError, SettingError


class Member(Protocol):
    """What a pool knows of a parameter; the fields are those of `PermutedTensor`."""

    name: str
    parameter: Tensor
    cut: Cut
    profile: Tensor | None


class Pool:
    """The members of one vector that goes across tensors.

    Each member's profile is what it brought in, in units; their union is what is laid out. So a
    member is saved and checked as other tensors are, and the pool itself has nothing to save.
    """

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._shares: tuple[Tensor, ...] = ()
        self._union_1J = torch.empty(1, 0)

    def add(self, member: Member) -> None:
        """Raises GranularityError: its dtype is not that of the others."""
        self._check_dtypes([*self.members, member])
        self.members.append(member)

    def refuse_frozen(self) -> None:
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

    @staticmethod
    def _check_dtypes(members: Sequence[Member]) -> None:
        first = members[0]
        for member in members:
            if member.parameter.dtype != first.parameter.dtype:
                raise GranularityError(
                    f"{member.name} is {member.parameter.dtype}; allowed with granularity "
                    f"'across': {first.parameter.dtype}, as {first.name}"
                )

    def check_exact(self) -> None:
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

    def arranged_like(self, members: Sequence[Member], scores: Sequence[Tensor]) -> list[Tensor]:
        """The union of these members' profiles, laid out in the order of their scores in units.

        Members are all that have a profile, in the pool's order; a new one has none before its
        first step. Scores are finite.

        Ties: by the order of the members, then by position.
        """
        cuts = [member.cut for member in members]
        parts = [to_units(s.detach(), cut) for s, cut in zip(scores, cuts, strict=True)]
        units_1J = arrange_vectors(self._union(members), torch.cat(parts, dim=1))
        split = units_1J.split([cut.num_weights for cut in cuts], dim=1)
        return [from_units(part_1L, cut) for part_1L, cut in zip(split, cuts, strict=True)]

    def _union(self, members: Sequence[Member]) -> Tensor:
        """All values that members brought in, (1, J), ascending; sorted once, bits kept."""
        shares = tuple(member.profile for member in members if member.profile is not None)
        same = len(shares) == len(self._shares) and all(map(is_, shares, self._shares))
        if not same:
            self._shares = shares
            self._union_1J = torch.cat(shares, dim=1).sort(dim=1, stable=True).values
        return self._union_1J
