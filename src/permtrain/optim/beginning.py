"""What was there before a method's first step: weights, and steps that the optimizer had made."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from permtrain.errors import ChangedWeightsError, CheckpointError

_COUNTERS = ("step", "k")
"""Under what names optimizers count steps, for a parameter or a group."""

_TRACES = ("momentum_buffer", "exp_avg", "n_iter")
"""Under what names those that count none keep what steps leave: SGD with momentum, Lion, LBFGS."""


class Beginning:
    """A method between attaching and its first step.

    Args:
        optimizer: what it is attached to.
        parameters: those that it acts on, by name.
        anew: what to call where the weights as they are shall be the initial ones.
    """

    def __init__(self, optimizer: Optimizer, parameters: Mapping[str, Tensor], anew: str) -> None:
        self._num_steps = steps_counted(optimizer)
        self._num_made_up = 0
        self._has_state = bool(optimizer.state)
        self._has_traces = not any(_counts(optimizer)) and _has_traces(optimizer)
        self._versions = {name: (each, each._version) for name, each in parameters.items()}
        self._anew = anew

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copy's parameters are other tensors, whose versions begin anew.
        self._versions = {name: (each, each._version) for name, (each, _) in self._versions.items()}

    def note_made_up_step(self, optimizer: Optimizer) -> None:
        """Takes a step with which distributed checkpointing creates state for none."""
        self._num_made_up = steps_counted(optimizer) + 1
        self._has_state = True

    def check_first_step(self, optimizer: Optimizer, who: str) -> None:
        """Refuses an optimizer whose saved state was loaded without the method's own.

        Warns where the steps had been made before attaching, which may be meant.

        Raises:
            CheckpointError: naming the number of steps.
        """
        num_steps = steps_counted(optimizer) - self._num_made_up
        was_loaded = num_steps > self._num_steps or (
            num_steps <= 0 and bool(optimizer.state) and not self._has_state
        )
        count = {1: "a step"}.get(num_steps, f"{num_steps} steps" if num_steps > 0 else "steps")
        if was_loaded:
            raise CheckpointError(
                f"the optimizer has made {count} that {who} did not see: a saved state was loaded "
                f"into it and not into {who}; allowed: its own load_state_dict() too, or "
                f"{self._anew}, which makes the weights as they are the initial ones"
            )
        if num_steps > 0 or self._has_traces:
            warnings.warn(
                f"{who} was attached to an optimizer that had made {count}: the weights as they "
                f"are become the initial ones. To go on with a training, load {who}'s saved state "
                f"too; {self._anew} says that it is meant",
                stacklevel=2,
            )

    def changed(self) -> list[str]:
        """Names of the parameters that were written since attaching."""
        return [name for name, (each, was) in self._versions.items() if each._version != was]

    def check_nothing_trained(self, optimizer: Optimizer | None, who: str) -> None:
        """Refuses weights that were trained though the method has seen no step.

        Written weights alone may have been loaded; with gradients, or steps counted, somebody
        trains them.

        Args:
            optimizer: None if it is gone.

        Raises:
            ChangedWeightsError: naming the first parameter.
        """
        num_steps = 0 if optimizer is None else steps_counted(optimizer) - self._num_made_up
        for name in self.changed():
            has_gradient = self._versions[name][0].grad is not None
            if has_gradient or num_steps > self._num_steps:
                raise ChangedWeightsError(
                    f"{name}: weights were trained, and {who} has seen no step: the optimizer that "
                    "it is attached to does not make them through step(); allowed: step(), as "
                    "step(closure) of SAM in place of first_step() and second_step(), or attaching "
                    f"to the optimizer that does; {self._anew} after other changes"
                )


def steps_counted(optimizer: Optimizer) -> int:
    """The steps that an optimizer, or one that it holds, says that it has made; 0 if it has no say.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.Adam([weight])
        >>> weight.grad = torch.ones(2)
        >>> _ = optimizer.step(), optimizer.step()
        >>> steps_counted(optimizer)
        2
    """
    return max((int(count) for count in _counts(optimizer)), default=0)


def _has_traces(optimizer: Optimizer) -> bool:
    """Whether the state holds what steps leave, and constructors do not."""
    states = [each for each in optimizer.state.values() if isinstance(each, Mapping)]
    return any(state.get(key) is not None for state in states for key in _TRACES)


def _counts(optimizer: Any) -> Iterator[Any]:
    # What a constructor was given under such a name is a setting, as the k of Lookahead and Ranger.
    counters = [key for key in _COUNTERS if not getattr(optimizer, "defaults", {}).get(key)]
    for holder in (*optimizer.state.values(), *optimizer.param_groups):
        for key in counters:
            count = holder.get(key) if isinstance(holder, Mapping) else None
            if isinstance(count, int | float) or (isinstance(count, Tensor) and count.numel() == 1):
                yield count
    inside = getattr(optimizer, "base_optimizer", None)
    if isinstance(inside, Optimizer) and inside is not optimizer:
        yield from _counts(inside)
