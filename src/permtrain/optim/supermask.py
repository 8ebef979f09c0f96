"""The supermask of edge-popup: weights stay, and scores choose which of them are used.

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted
Neural Network?", CVPR 2020, sections 3 and 4.2. A rival of permutations for small exact files.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from permtrain.core.granularity import named_tensors, refuse_sharded
from permtrain.errors import ChangedWeightsError, CheckpointError, NonFiniteError, SettingError
from permtrain.optim.attached import Attached, closure_of


def used_weights(fixed: Tensor, scores: Tensor, keep: float) -> Tensor:
    """`fixed` where the score is among the layer's largest, elsewhere 0: h(s) w of section 3.

    Args:
        fixed, scores: of one shape.
        keep: part of the weights that is used, k; round(keep x n) of them, at least 1.

    Ties: by position, the first one larger. Signs of scores do not count.

    Example:
        >>> used_weights(torch.tensor([1.0, -1.0, 1.0]), torch.tensor([0.1, -0.4, 0.2]), 0.67)
        tensor([ 0., -1.,  1.])
    """
    num_used = max(1, round(keep * fixed.numel()))
    sizes = scores.detach().abs().flatten()
    smallest = sizes.kthvalue(fixed.numel() - num_used + 1).values  # a selection, not a sort
    larger, equal = sizes > smallest, sizes == smallest
    used = larger | (equal & (equal.cumsum(0) <= num_used - larger.sum()))
    return torch.where(used.view_as(fixed), fixed, 0.0)


def signed_constants(weights: Tensor, fan_in: int, keep: float) -> Tensor:
    """The signs of the weights, times sqrt(2 / fan_in) sqrt(1 / k): sections 3.1 and 4.2.

    Of the weights' dtype. A weight that is 0 counts as positive: every weight can be used.

    Example:
        >>> signed_constants(torch.tensor([[0.3, -2.0]]), 2, 0.25)
        tensor([[ 2., -2.]])
    """
    signs = torch.where(weights.detach() < 0, -1.0, 1.0).to(weights.dtype)
    return signs * math.sqrt(2 / fan_in / keep)


class Supermask(Attached):
    """Trains which weights of a model are used, attached to the optimizer that moves the scores.

    The forward pass uses w h(|s|), h choosing the largest of each layer; the gradient passes
    through h unchanged, so that a score gets (dL/d(w h)) w sign(s). Weights of two or more
    dimensions become signed constants with the signs they had; what else the model holds is the
    optimizer's. Scores begin as uniform draws of bound 1 / sqrt(fan_in), from the seed, as in the
    authors' code. Weights are loaded before it is attached, or with its own state.

    Args:
        optimizer: any `torch.optim.Optimizer` over the model's parameters.
        model: whose weights are masked, at once.
        keep: part of each layer's weights that is used, above 0, at most 1.
        seed: of the scores.

    Raises:
        SettingError: keep is out of range, no weight is among the optimizer's parameters, or one
            that is has a row that must stay zero or is not of floating point.
        GranularityError: each process holds a part of one only.
        SettingError: at a step, a closure.
        ChangedWeightsError: at a step, weights that somebody else wrote since the last one.
        NonFiniteError: at a step, scores that became NaN or infinite, naming the weight; all keep
            the scores of before then.

    Example:
        >>> layer = nn.Linear(4, 2, bias=False)
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> supermask = Supermask(optimizer, layer, keep=0.5)
        >>> layer(torch.ones(1, 4)).sum().backward()
        >>> _ = optimizer.step()
        >>> layer.weight.abs().unique().tolist(), int((layer.weight != 0).sum())
        ([0.0, 1.0], 4)
    """

    def __init__(
        self, optimizer: Optimizer, model: nn.Module, keep: float = 0.5, *, seed: int = 0
    ) -> None:
        if not 0 < keep <= 1:
            raise SettingError(f"keep is {keep}; allowed: above 0, at most 1")
        mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        masked = [
            tensor
            for tensor in named_tensors(model)
            if tensor.is_weight and tensor.parameter.numel() and id(tensor.parameter) in mine
        ]
        if not masked:
            raise SettingError("the optimizer holds no weights of the model; nothing to mask")
        for tensor in masked:
            refuse_sharded(tensor)
            if tensor.has_padding:
                raise SettingError(
                    f"{tensor.name}: the embedding has a padding_idx, whose row must stay zero; "
                    "allowed with a supermask: embeddings without"
                )
            if not tensor.parameter.is_floating_point():
                raise SettingError(
                    f"{tensor.name}: dtype is {tensor.parameter.dtype}; allowed: floating point"
                )
        self.optimizer = optimizer
        self.keep = keep
        self.names = [tensor.name for tensor in masked]
        self.weights = [tensor.parameter for tensor in masked]
        self.fixed = [signed_constants(w, _fan_in(w), keep) for w in self.weights]
        generator = torch.Generator("cpu").manual_seed(seed)
        self.scores = [_first_scores(w.detach(), generator) for w in self.weights]
        self._gradients: list[Tensor | None] | None = None
        """The user's gradients during a step, in which the scores' stand in their place."""
        self._attach()
        self._show()

    @contextmanager
    def arranged(self) -> Iterator[None]:
        """The weights as they are: for loops that treat all methods alike."""
        yield

    def state_dict(self) -> dict[str, Any]:
        """Fixed weights and scores, in the order of the model's weights."""
        return {"version": 1, "fixed": self.fixed, "scores": self.scores}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with saved scores.

        Raises:
            CheckpointError: they are not of these weights.
        """
        shapes = [tuple(weight.shape) for weight in self.weights]
        for key in ("fixed", "scores"):
            saved = state_dict.get(key, [])
            if state_dict.get("version") != 1 or [tuple(t.shape) for t in saved] != shapes:
                raise CheckpointError(
                    f"supermask state does not fit the weights; allowed: {shapes}"
                )
        for key in ("fixed", "scores"):
            tensors = zip(state_dict[key], self.weights, strict=True)
            setattr(self, key, [saved.detach().to(weight, copy=True) for saved, weight in tensors])
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        for weight, fixed, scores in zip(self.weights, self.fixed, self.scores, strict=True):
            weight.copy_(used_weights(fixed, scores, self.keep))
        self._note_seen()

    def _note_seen(self) -> None:
        self._seen = [(weight._version, weight.data_ptr()) for weight in self.weights]

    def _check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote, for the next mask would be of the old ones."""
        tensors = zip(self.names, self.weights, self.fixed, self.scores, self._seen, strict=True)
        for name, weight, fixed, scores, seen in tensors:
            if seen == (weight._version, weight.data_ptr()):
                continue
            if not torch.equal(weight, used_weights(fixed, scores, self.keep)):
                raise ChangedWeightsError(
                    f"{name}: weights were changed since the last step; allowed: weights loaded "
                    "before the supermask is attached, or load_state_dict() of the supermask too"
                )

    @torch.no_grad()
    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Puts scores and their gradients in the place of the weights and theirs."""
        if closure_of(args, kwargs) is not None:
            raise SettingError(
                "step() got a closure, which would be evaluated on scores; allowed with a "
                "supermask: none"
            )
        if self._gradients is not None:  # a step that raised left scores in place of weights
            self._gradients = None
            self._show()
        self._check_unchanged()
        self._gradients = [weight.grad for weight in self.weights]
        for weight, fixed, scores in zip(self.weights, self.fixed, self.scores, strict=True):
            weight.copy_(scores)
            if weight.grad is not None:
                weight.grad = weight.grad * fixed * scores.sign()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        assert self._gradients is not None
        for weight, gradient in zip(self.weights, self._gradients, strict=True):
            weight.grad = gradient
        self._gradients = None
        bad = [
            name
            for name, weight in zip(self.names, self.weights, strict=True)
            if not torch.isfinite(weight.sum()) and not torch.isfinite(weight).all()
        ]
        if not bad:
            for weight, scores in zip(self.weights, self.scores, strict=True):
                scores.copy_(weight)
        self._show()
        if bad:
            raise NonFiniteError(f"{bad[0]}: scores hold NaN or infinity; allowed: finite")

    def __getstate__(self) -> dict[str, Any]:
        if self._handles:
            self._check_unchanged()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._note_seen()


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()


def _first_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    uniform = (
        2 * torch.rand(weight.shape, dtype=torch.float32, device="cpu", generator=generator) - 1
    )
    return (uniform * math.sqrt(1 / _fan_in(weight))).to(weight)
