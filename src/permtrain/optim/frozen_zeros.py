"""Zeros that stay zero: the baseline of sparse nets, attached like a permuter."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from permtrain.core.granularity import named_tensors
from permtrain.core.kinds import check_model
from permtrain.errors import CheckpointError
from permtrain.optim.attached import Attached, closure_of, optimizer_inside, with_closure
from permtrain.optim.places import Places


class FrozenZeros(Attached):
    """Keeps weights that are zero at the first step at zero, whatever the optimizer does.

    Their gradients are cleared before each step, and after each evaluation of a closure, so that
    they do not enter the optimizer's state, and they are set to zero after it, for a state that was
    carried over still moves them ("Adam with the zeros fixed": Permute to Train, section 5.2.3).
    Parameters added to the optimizer later are held from the next step on.

    Args:
        optimizer: any `torch.optim.Optimizer`; parameters of two or more dimensions are held.
        model: whose parameters they are. Where it is given, one that was replaced in it is refused
            at the next step (ChangedWeightsError).

    Example:
        >>> layer = torch.nn.Linear(3, 1, bias=False)
        >>> _ = torch.nn.init.constant_(layer.weight, 0.0)
        >>> with torch.no_grad():
        ...     layer.weight[0, 1] = 2.0
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        >>> _ = FrozenZeros(optimizer)
        >>> layer(torch.ones(1, 3)).sum().backward()
        >>> _ = optimizer.step()
        >>> layer.weight.detach()
        tensor([[0., 1., 0.]])
    """

    def __init__(self, optimizer: Optimizer, *, model: nn.Module | None = None) -> None:
        if model is not None:
            check_model(model)
        self.optimizer = optimizer_inside(optimizer)
        self._model = model
        self._places = Places(model)
        self._look_after_places()
        self.masks: list[Tensor] = []
        self._attach()

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights that it holds, by the names that the optimizer has for them."""
        found = {}
        for group_index, group in enumerate(self._groups):
            names = group.get("param_names")
            for index, parameter in enumerate(group["params"]):
                if parameter.dim() >= 2:
                    name = names[index] if names else f"group {group_index}, parameter {index}"
                    found[name] = parameter
        return found

    @property
    def has_begun(self) -> bool:
        """Whether a first step has told which weights are zero."""
        return bool(self.masks)

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each output unit's zeros are still zero, (V,) bool, by name."""
        masks = zip(self.parameters, self.masks, strict=False)
        return {
            name: ~(mask & (weights[name].detach().to(mask.device) != 0)).flatten(1).any(dim=1)
            for name, mask in masks
        }

    def state_dict(self) -> dict[str, Any]:
        """The masks, one bool tensor for each weight, true where it is held at zero."""
        return {"version": 1, "masks": self.masks}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with saved masks.

        Raises:
            CheckpointError: they are not of this optimizer's weights.
        """
        if set(state_dict) != {"version", "masks"} or state_dict["version"] != 1:
            raise CheckpointError(
                f"frozen-zeros state has keys {sorted(state_dict)}; allowed: masks, version (1)"
            )
        masks = state_dict["masks"]
        shapes = [tuple(weight.shape) for weight in self._weights()]
        if masks and [tuple(mask.shape) for mask in masks] != shapes:
            raise CheckpointError(f"masks do not fit the optimizer's weights; allowed: {shapes}")
        self.masks = [
            mask.to(weight.device) for mask, weight in zip(masks, self._weights(), strict=False)
        ]

    def _look_after_places(self) -> None:
        if self._model is None:
            return
        held = {id(parameter) for group in self._groups for parameter in group["params"]}
        known = [tensor for tensor in named_tensors(self._model) if id(tensor.parameter) in held]
        self._places.add({tensor.name: tensor.parameter for tensor in known})

    def _weights(self) -> list[Tensor]:
        return list(self.parameters.values())

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._places.check()
        new = self._weights()[len(self.masks) :]
        if new:
            self._look_after_places()
            self.masks = self.masks + [weight == 0 for weight in new]
        self.masks = [
            mask if mask.device == weight.device else mask.to(weight.device)
            for mask, weight in zip(self.masks, self._weights(), strict=True)
        ]
        self._clear_gradients()
        closure = closure_of(args, kwargs)
        if closure is None:
            return None

        def with_cleared_gradients() -> Any:
            loss = closure()
            self._clear_gradients()
            return loss

        return with_closure(args, kwargs, with_cleared_gradients)

    @torch.no_grad()
    def _clear_gradients(self) -> None:
        for weight, mask in zip(self._weights(), self.masks, strict=True):
            if weight.grad is not None and weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()
                weight.grad.values().masked_fill_(mask[tuple(weight.grad.indices())], 0.0)
            elif weight.grad is not None:
                weight.grad.masked_fill_(mask, 0.0)

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        for weight, mask in zip(self._weights(), self.masks, strict=True):
            weight.masked_fill_(mask, 0.0)
