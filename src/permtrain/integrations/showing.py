"""A permuter in a framework's loop: arranged weights where they are used, exact resumption."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

from permtrain.core.names import plain_state
from permtrain.errors import ChangedWeightsError, CheckpointError
from permtrain.optim.permuter import Permuter

Attach: TypeAlias = Callable[..., Permuter]
"""Makes a permuter from an optimizer and `model=...`: `partial(LaPerm, sync_period=20)`."""


def training_state(permuter: Permuter) -> dict[str, Any]:
    """What goes on exactly from a checkpoint whose model holds arranged weights.

    The permuter's state, and copies of the training weights that `arranged()` replaces.
    """
    replaced = permuter.replaced_when_arranged
    weights = {name: weight.detach().clone() for name, weight in replaced.items()}
    return {"version": 1, "permuter": permuter.state_dict(), "weights": weights}


@torch.no_grad()
def go_on_from(permuter: Permuter, saved: Mapping[str, Any]) -> None:
    """Puts the training weights back, and the permuter's state.

    Raises:
        CheckpointError: it is no such state, or of another model.
    """
    if set(saved) != {"version", "permuter", "weights"} or saved["version"] != 1:
        raise CheckpointError(
            f"training state has keys {sorted(map(str, saved))}; allowed: permuter, version (1), "
            "weights"
        )
    parameters = permuter.parameters
    weights: dict[str, Tensor] = plain_state(saved["weights"], parameters)
    for name, weight in weights.items():
        if name not in parameters or parameters[name].shape != weight.shape:
            raise CheckpointError(
                f"training state has weights {name} of shape {tuple(weight.shape)}, which are not "
                "the model's; allowed: a checkpoint of this model"
            )
    permuter.load_state_dict(saved["permuter"])
    for name, weight in weights.items():
        parameters[name].copy_(weight)


class Showing:
    """Shows arranged weights from one event of a loop to another one.

    Attributes:
        state: the training state, while they are shown; else None.
    """

    def __init__(self, permuter: Permuter) -> None:
        self.permuter = permuter
        self.state: dict[str, Any] | None = None
        self._block: AbstractContextManager[None] | None = None

    def begin(self) -> None:
        """Shows arranged weights; again does nothing."""
        if self._block is None:
            self.state = training_state(self.permuter)
            self._block = self.permuter.arranged()
            self._block.__enter__()

    def end(self) -> None:
        """Puts the training weights back; without a beginning does nothing.

        Raises:
            ChangedWeightsError: weights were changed in between.
        """
        block, self._block, self.state = self._block, None, None
        if block is not None:
            block.__exit__(None, None, None)

    @torch.no_grad()
    def abandon(self) -> None:
        """Ends it, and leaves the model with the weights that it has now."""
        if self._block is None:
            return
        parameters = self.permuter.parameters.values()
        kept = [parameter.detach().clone() for parameter in parameters]
        with suppress(ChangedWeightsError):
            self.end()
        for parameter, weights in zip(parameters, kept, strict=True):
            parameter.copy_(weights)
