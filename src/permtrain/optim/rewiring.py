"""Permutation first, to find out which connections there are; then plain training of those."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from permtrain.core.cut import Cut
from permtrain.core.names import plain_state
from permtrain.core.profile import holding
from permtrain.errors import CheckpointError, KindError, ProfileError, SettingError
from permtrain.optim.attached import Attached
from permtrain.optim.frozen_zeros import FrozenZeros
from permtrain.optim.permuter import Permuter


class Rewiring(Attached):
    """Lets a permuter act for some steps; then its optimizer goes on alone, zeros staying zero.

    The optimizer is one object all along, so that its state is carried over ("Adam, which inherits
    all inner states from the inner optimizer of LAPerm"). At the last step of the first phase the
    weights are synchronised, whether or not a period is complete, and from there the optimizer
    moves what is not zero.

    Source: Permute to Train, section 5.2.3, experiment 1.

    Args:
        permuter: a `LaPerm` or an `IndexOptimizer`, before its first step. It is detached: its
            hooks are called from here.
        num_steps: applied optimizer steps of the first phase, 1 or more.

    State: that of the phase it is in; after the first one also the weights that it ended with.
    Raises:
        SettingError: `num_steps` below 1, or a permuter that has made steps.

    Example:
        >>> from permtrain import LaPerm
        >>> layer = torch.nn.Linear(3, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = layer.weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        >>> rewiring = Rewiring(LaPerm(optimizer, sync_period=1, model=layer), num_steps=1)
        >>> for gradient in ([0.0, -5.0, 0.0], [1.0, 0.5, 1.0]):
        ...     layer.weight.grad = torch.tensor([gradient])
        ...     _ = optimizer.step()
        ...     print(layer.weight.tolist())
        [[0.0, 1.0, 0.0]]
        [[0.0, 0.5, 0.0]]
    """

    def __init__(self, permuter: Permuter, *, num_steps: int) -> None:
        if not isinstance(permuter, Permuter):
            raise KindError(
                f"permuter is of type {type(permuter).__name__}; allowed: a LaPerm or an "
                "IndexOptimizer"
            )
        is_whole = isinstance(num_steps, Integral) and not isinstance(num_steps, bool)
        if not is_whole or num_steps < 1:
            raise SettingError(f"num_steps is {num_steps!r}; allowed: a whole number, 1 or more")
        if permuter.num_steps:
            raise SettingError(
                f"the permuter has made {permuter.num_steps} steps; allowed: one before its first"
            )
        self.optimizer = permuter.optimizer
        self.permuter = permuter
        self.num_steps = int(num_steps)
        self.zeros = FrozenZeros(permuter.optimizer, model=permuter._model)
        self.rewired: dict[str, Tensor] | None = None
        """The permuted weights as the first phase left them, by name; None until then."""
        self._profiles: dict[str, Tensor] | None = None
        """Their initial values, to verify them; a checkpoint does not keep them."""
        # What they do before and after a step is called from here, for hooks cannot be put on and
        # taken off while torch goes through them.
        self.permuter.detach()
        self.zeros.detach()
        self._attach()
        self._beginning, self.permuter._beginning = self.permuter._beginning, None

    @property
    def phase(self) -> Permuter | FrozenZeros:
        """What acts on the next step."""
        return self.permuter if self.rewired is None else self.zeros

    @property
    def ended_at(self) -> int | None:
        """The last step of the first phase, once it is over."""
        return None if self.rewired is None else self.num_steps

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters that are or were permuted, by name."""
        return self.permuter.parameters

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each of them is cut, by name."""
        return self.permuter.cuts

    @property
    def scores(self) -> dict[str, Tensor]:
        """What the optimizer moves in place of the model's weights, by name."""
        return self.phase.scores

    @property
    def unarranged(self) -> list[str]:
        """Names of the parameters whose weights are not a permutation, in the first phase."""
        return self.phase.unarranged

    @property
    def has_begun(self) -> bool:
        """Whether the initial values are known; after loading a state of the second phase: no."""
        return self.permuter.has_begun if self.rewired is None else self._profiles is not None

    def vectors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight vectors of weights by name, (V, L) each."""
        return self.permuter.vectors(weights)

    def weights_to_verify(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights given; after the first phase those that it ended with."""
        return {**weights, **(self.rewired or {})}

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each weight vector holds its initial values, (V,) bool, by name.

        Raises:
            ProfileError: they are not known, for a state of the second phase was loaded.
        """
        if self.rewired is None:
            return self.permuter.intact(weights)
        if self._profiles is None:
            raise ProfileError(
                "a state of Rewiring's second phase holds no initial values; allowed: a model with "
                "the record of permtrain.initialize_, or vectors(weights) compared by hand"
            )
        return holding(self.vectors(weights), self._profiles)

    def arranged(self) -> AbstractContextManager[None]:
        """Shows arranged weights inside the block in the first phase, and any as they are later."""
        return self.phase.arranged()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly, in either phase."""
        self._refuse_unseen_training()
        return {
            "version": 1,
            "permuter": self.permuter.state_dict() if self.rewired is None else None,
            "zeros": self.zeros.state_dict(),
            "rewired": self.rewired,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from a saved state.

        Raises:
            CheckpointError: it is of something else.
        """
        expected = {"version", "permuter", "zeros", "rewired"}
        if set(state_dict) != expected or state_dict["version"] != 1:
            raise CheckpointError(
                f"rewiring state has keys {sorted(map(str, state_dict))}; "
                f"allowed: {sorted(expected)}, version 1"
            )
        shapes = {tensor.name: tuple(tensor.cut.shape) for tensor in self.permuter.tensors}
        rewired = state_dict["rewired"]
        if rewired is not None:
            rewired = plain_state(rewired, shapes)
        # Layers added after the switch were never permuted.
        saved = {name: tuple(weight.shape) for name, weight in (rewired or {}).items()}
        if not saved.items() <= shapes.items():
            raise CheckpointError(f"rewired weights are of another model; allowed: {shapes}")
        if rewired is None and state_dict["permuter"]["num_steps"] >= self.num_steps:
            raise CheckpointError(
                f"rewiring state has permuted for {state_dict['permuter']['num_steps']} steps; "
                f"allowed: less than num_steps, {self.num_steps}"
            )
        self.zeros.load_state_dict(state_dict["zeros"])
        self._beginning = None
        if rewired is None:
            self.permuter.load_state_dict(state_dict["permuter"])
            self.rewired = None
        self._profiles = None
        if rewired is not None:
            self.rewired = {
                tensor.name: rewired[tensor.name].to(tensor.parameter.device, copy=True)
                for tensor in self.permuter.tensors
                if tensor.name in rewired
            }

    def __getstate__(self) -> dict[str, Any]:
        if self._handles:
            self.permuter._check_unchanged()
        return super().__getstate__()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        return self.phase._before_step(optimizer, args, kwargs)

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self.phase._after_step(optimizer, args, kwargs)
        if self.rewired is None and self.permuter.num_steps == self.num_steps:
            self.permuter.synchronize()
            self.rewired = {
                tensor.name: tensor.parameter.detach().clone() for tensor in self.permuter.tensors
            }
            self._profiles = self.permuter.profiles()
            for tensor in self.permuter.tensors:  # it is not asked any more
                tensor.profile = tensor.latent = None
