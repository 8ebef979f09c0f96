"""The supermask of edge-popup: weights stay, and scores choose which of them are used.

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted
Neural Network?", CVPR 2020, sections 3 and 4.2. A rival of permutations for small exact files.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from permtrain.core.aliases import refuse_aliases
from permtrain.core.granularity import named_tensors, refuse_sharded
from permtrain.core.kinds import check_model, check_numbers
from permtrain.core.names import parameters_of
from permtrain.errors import (
    ChangedWeightsError,
    CheckpointError,
    LeftAloneWarning,
    NonFiniteError,
    SettingError,
)
from permtrain.optim.attached import Attached, closure_of, optimizer_inside
from permtrain.optim.places import Places
from permtrain.optim.seen import Seen, changed, same
from permtrain.ranges import Seed, Share, as_plain, check_values


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


@dataclass(eq=False)
class MaskedWeight:
    """A weight whose scores the optimizer moves.

    Attributes:
        name: in the model.
        parameter: shows the used ones of the fixed weights.
        fixed: the signed constants, of the parameter's shape.
        score: what says which are used, likewise.
        gradient: the user's during a step, in which the score's stands in its place.
        seen: the parameter when we last wrote it.
    """

    name: str
    parameter: Tensor
    fixed: Tensor
    score: Tensor
    gradient: Tensor | None = None
    seen: Seen = field(default_factory=Seen)

    def note_seen(self) -> None:
        self.seen.note(self.parameter)


@dataclass(frozen=True)
class SupermaskSettings:
    """What a supermask may be told."""

    keep: Share = 0.5
    seed: Seed = 0


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
        ChangedWeightsError: at a step, weights that somebody else wrote since the last one, or
            replaced in the model.
        NonFiniteError: at a step, scores that became NaN or infinite, naming the weight; all keep
            the scores of before then.

    Example:
        >>> layer = nn.Linear(4, 2, bias=False)
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> supermask = Supermask(optimizer, model=layer, keep=0.5)
        >>> layer(torch.ones(1, 4)).sum().backward()
        >>> _ = optimizer.step()
        >>> layer.weight.abs().unique().tolist(), int((layer.weight != 0).sum())
        ([0.0, 1.0], 4)
    """

    def __init__(
        self, optimizer: Optimizer, *, model: nn.Module, keep: float = 0.5, seed: int = 0
    ) -> None:
        check_model(model)
        optimizer = optimizer_inside(optimizer)
        keep, seed = as_plain(keep), as_plain(seed)
        check_values(SupermaskSettings, {"keep": keep, "seed": seed})
        mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        known = [tensor for tensor in named_tensors(model) if id(tensor.parameter) in mine]
        weights = [tensor for tensor in known if tensor.is_weight and tensor.parameter.numel()]
        if padded := [tensor.name for tensor in weights if tensor.has_padding]:
            warnings.warn(
                "left to the inner optimizer, for the row of their padding_idx must stay zero: "
                + ", ".join(padded),
                LeftAloneWarning,
                stacklevel=2,
            )
        masked = [tensor for tensor in weights if not tensor.has_padding]
        if not masked:
            raise SettingError("the optimizer holds no weights of the model; nothing to mask")
        for tensor in masked:
            refuse_sharded(tensor)
            check_numbers(tensor.name, tensor.parameter)
            if not tensor.parameter.is_floating_point():
                raise SettingError(
                    f"{tensor.name}: dtype is {tensor.parameter.dtype}; allowed: floating point"
                )
        refuse_aliases({tensor.name: tensor.parameter for tensor in masked}, parameters_of(model))
        self.optimizer = optimizer
        self.keep = keep
        self._places = Places(model)
        self._places.add({tensor.name: tensor.parameter for tensor in known})
        generator = torch.Generator("cpu").manual_seed(seed)
        self.masked = [
            MaskedWeight(
                tensor.name,
                tensor.parameter,
                signed_constants(tensor.parameter, _fan_in(tensor.parameter), keep),
                _first_scores(tensor.parameter.detach(), generator),
            )
            for tensor in masked
        ]
        self._is_inside_step = False
        self._attach()
        self._show()
        self._watch_beginning()

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights that it masks, by name."""
        return {masked.name: masked.parameter for masked in self.masked}

    @property
    def scores(self) -> dict[str, Tensor]:
        """What the optimizer moves in their place, by name."""
        return {masked.name: masked.score for masked in self.masked}

    def intact(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whether each output unit's weights are the used ones of the fixed ones, bit for bit."""
        found = {}
        for masked in self.masked:
            now = weights[masked.name].detach()
            shown = used_weights(masked.fixed, masked.score, self.keep).to(now.device)
            found[masked.name] = (now == shown).flatten(1).all(dim=1)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Fixed weights and scores, in the order of the model's weights."""
        self._places.check()
        return {
            "version": 1,
            "fixed": [masked.fixed for masked in self.masked],
            "scores": [masked.score for masked in self.masked],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with saved scores.

        Raises:
            CheckpointError: they are not of these weights.
        """
        self._places.check()
        shapes = [tuple(masked.parameter.shape) for masked in self.masked]
        for key in ("fixed", "scores"):
            saved = state_dict.get(key, [])
            if state_dict.get("version") != 1 or [tuple(t.shape) for t in saved] != shapes:
                raise CheckpointError(
                    f"supermask state does not fit the weights; allowed: {shapes}"
                )
        saved = zip(self.masked, state_dict["fixed"], state_dict["scores"], strict=True)
        for masked, fixed, score in saved:
            masked.fixed = fixed.detach().to(masked.parameter, copy=True)
            masked.score = score.detach().to(masked.parameter, copy=True)
        self._beginning = None
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        for masked in self.masked:
            masked.parameter.copy_(used_weights(masked.fixed, masked.score, self.keep))
            masked.note_seen()

    def _check_unchanged(self) -> None:
        """Refuses weights that somebody else wrote, for the next mask would be of the old ones."""
        for masked in self.masked:
            weight, fixed = masked.parameter, masked.fixed
            if not masked.seen.differs(weight):
                continue
            if weight.dtype != fixed.dtype:
                raise changed(masked.name, weight, fixed.dtype)
            if not same(weight, used_weights(fixed, masked.score, self.keep)):
                raise ChangedWeightsError(
                    f"{masked.name}: weights were changed since the last step; allowed: weights "
                    "loaded before the supermask is attached, or load_state_dict() of the "
                    "supermask too"
                )
            masked.fixed, masked.score = fixed.to(weight.device), masked.score.to(weight.device)
            masked.note_seen()

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
        self._places.check()
        if self._is_inside_step:  # a step that raised left scores in place of weights
            self._is_inside_step = False
            self._show()
        self._check_unchanged()
        self._is_inside_step = True
        for masked in self.masked:
            weight = masked.parameter
            masked.gradient = weight.grad
            weight.copy_(masked.score)
            if weight.grad is not None:
                weight.grad = weight.grad * masked.fixed * masked.score.sign()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._is_inside_step = False
        bad = []
        for masked in self.masked:
            weight = masked.parameter
            weight.grad, masked.gradient = masked.gradient, None
            if not torch.isfinite(weight.sum()) and not torch.isfinite(weight).all():
                bad.append(masked.name)
        if not bad:
            for masked in self.masked:
                masked.score.copy_(masked.parameter)
        self._show()
        if bad:
            raise NonFiniteError(f"{bad[0]}: scores hold NaN or infinity; allowed: finite")

    def __getstate__(self) -> dict[str, Any]:
        if self._handles:
            self._check_unchanged()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for masked in self.masked:
            masked.note_seen()


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()


def _first_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    uniform = (
        2 * torch.rand(weight.shape, dtype=torch.float32, device="cpu", generator=generator) - 1
    )
    return (uniform * math.sqrt(1 / _fan_in(weight))).to(weight)
