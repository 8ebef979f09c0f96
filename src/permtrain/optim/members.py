"""The parameters that a permuter moves, as the groups of its optimizer and the rules there say."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from permtrain.core.aliases import refuse_aliases
from permtrain.core.cut import Cut
from permtrain.core.granularity import (
    Biases,
    GranularityRule,
    NamedTensor,
    check_rule,
    decide,
    warn_of_unfit,
)
from permtrain.core.kinds import check_numbers
from permtrain.core.names import parameters_of
from permtrain.errors import ChangedWeightsError, GranularityError, SettingError
from permtrain.optim.parameters import leave_cuts, named_parameters, namesakes
from permtrain.optim.permuted_tensor import Block, PermutedTensor
from permtrain.optim.places import Places
from permtrain.optim.pool import Pool
from permtrain.optim.sync_period import SyncPeriod, check_sync_period

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Group = dict[str, Any]


class _New(NamedTuple):
    """A parameter that was not seen before, with its name in the optimizer and its group."""

    name: str
    parameter: Tensor
    group: Group


class Members:
    """The permuted parameters and those that are left alone, and where the model holds both.

    Args:
        model: None where there is none.
        biases: as in `LaPerm`.

    Attributes:
        alone: the block of tensors that are each arranged by itself.
        pool: the block of those that weights cross.
        places: where the model holds the parameters.
    """

    def __init__(self, model: nn.Module | None, biases: Biases) -> None:
        self.places = Places(model)
        self.alone, self.pool = Block(), Pool()
        self._model = model
        self._biases = biases
        self._tensors: dict[int, PermutedTensor] = {}
        self._left_alone: dict[int, Tensor] = {}

    @property
    def tensors(self) -> list[PermutedTensor]:
        """The parameters under permutation, in the optimizer's order."""
        return list(self._tensors.values())

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each of them is cut into weight vectors, by name."""
        return {tensor.name: tensor.cut for tensor in self._tensors.values()}

    def adopt(
        self,
        groups: Sequence[Group],
        granularity: GranularityRule,
        taken: Callable[[], Mapping[int, str]],
        *,
        first_time: bool = False,
    ) -> None:
        """Finds parameters added to the optimizer, and refuses ones that vanished from it.

        Args:
            groups: of the optimizer; their own granularity goes before the one given.
            taken: what others permute on the same optimizer, from identities to their names.
            first_time: whether the rule's patterns have to match something.

        Raises:
            ChangedWeightsError: a parameter vanished.
            SettingError, GranularityError: a rule that does not fit; one parameter under two names
                or on another's memory; a period that is none.
        """
        present: set[int] = set()
        new: list[_New] = []
        for group_index, group in enumerate(groups):
            names = group.get("param_names")
            if "sync_period" in group:
                check_sync_period(group["sync_period"])
            for index, parameter in enumerate(group["params"]):
                present.add(id(parameter))
                if id(parameter) not in self._tensors and id(parameter) not in self._left_alone:
                    name = names[index] if names else f"group {group_index}, parameter {index}"
                    new.append(_New(name, parameter, group))
        for key, tensor in self._tensors.items():
            if key not in present:
                raise ChangedWeightsError(
                    f"{tensor.name}: the parameter was replaced or removed in the optimizer after "
                    "attaching; attach when the model has its final parameters"
                )
        if new:
            self._adopt(groups, new, granularity, taken(), first_time)

    def hand_out_periods(self, groups: Sequence[Group], sync_period: SyncPeriod) -> None:
        """Gives each tensor this period, or that of its group, which a scheduler may change.

        One that was read is kept where the group no longer says it.
        """
        for group in groups:
            for parameter in group["params"]:
                tensor = self._tensors.get(id(parameter))
                if tensor is None:
                    continue
                if "sync_period" in group:
                    tensor.take_own_period(group["sync_period"])
                elif not tensor.has_own_period:
                    tensor.sync_period = sync_period

    def _adopt(
        self,
        groups: Sequence[Group],
        new: Sequence[_New],
        granularity: GranularityRule,
        taken: Mapping[int, str],
        first_time: bool,
    ) -> None:
        named = named_parameters(self._model, [(each.name, each.parameter) for each in new])
        if first_time:
            check_rule(granularity, [tensor.name for tensor in named])
        for group in groups:
            theirs = [t.name for t, each in zip(named, new, strict=True) if each.group is group]
            if theirs and "granularity" in group:
                check_rule(group["granularity"], theirs)
        rules = [each.group.get("granularity", granularity) for each in new]
        decisions = [
            decide(tensor, rule, biases=self._biases, may_go_across=True)
            for tensor, rule in zip(named, rules, strict=True)
        ]
        cuts = {
            tensor.name: decision.cut
            for tensor, decision in zip(named, decisions, strict=True)
            if decision.cut is not None
        }
        written = {tensor.name: tensor.parameter for tensor in named if tensor.name in cuts}
        refuse_aliases(written, self._all_parameters(named))
        for tensor, decision in zip(named, decisions, strict=True):
            if decision.cut is None:
                self._left_alone[id(tensor.parameter)] = tensor.parameter
            else:
                self._add(tensor, decision.cut, taken)
        self.places.add({tensor.name: tensor.parameter for tensor in named})
        leave_cuts(self._model, {tensor.name for tensor in named}, self.cuts)
        warn_of_unfit({t.name: each for t, each in zip(named, decisions, strict=True)})

    def _add(self, tensor: NamedTensor, cut: Cut, taken: Mapping[int, str]) -> None:
        name, parameter = tensor.name, tensor.parameter
        if parameter.dtype not in _DTYPES:
            raise GranularityError(
                f"{name}: dtype is {parameter.dtype}; allowed: floating point, of 16 bits or more"
            )
        check_numbers(name, parameter)
        if id(parameter) in taken:
            raise SettingError(
                f"{name} is already permuted by a {taken[id(parameter)]} on the same optimizer; "
                "call its detach() first"
            )
        if name in self.cuts:
            raise SettingError(namesakes(name))
        block = self.pool if cut.is_across else self.alone
        self._tensors[id(parameter)] = block.tensor(name, parameter, cut)

    def _all_parameters(self, named: Sequence[NamedTensor]) -> list[tuple[str, Tensor]]:
        """Those of the model, or where there is none those of the optimizer, with names."""
        if self._model is not None:
            return list(parameters_of(self._model))
        own = [(tensor.name, tensor.parameter) for tensor in self._tensors.values()]
        return [*own, *((each.name, each.parameter) for each in named)]

    def __getstate__(self) -> dict[str, Any]:
        # Dictionaries keyed by identity travel as lists: a copy's tensors are other objects.
        return self.__dict__ | {
            "_tensors": self.tensors,
            "_left_alone": list(self._left_alone.values()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tensors = {id(tensor.parameter): tensor for tensor in state["_tensors"]}
        self._left_alone = {id(parameter): parameter for parameter in state["_left_alone"]}
