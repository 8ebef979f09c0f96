"""The index optimizer: latent weights move, and their order lays out the fixed values.

Source: "Index optimizer and sortGAN", semester thesis, ETH Zurich, 2021, chapter 4, Algorithm 1.
"""

from typing import Any

import torch
from torch.optim import Optimizer

from permtrain.core.granularity import Biases, GranularityRule
from permtrain.optim.attached import closure_of, with_closure
from permtrain.optim.parameters import UNSAID, ModelOrNone
from permtrain.optim.permuted_tensor import laid_out
from permtrain.optim.permuter import Permuter
from permtrain.optim.sync_period import SyncPeriod


class IndexOptimizer(Permuter):
    """Permutes weights by the order of latent weights that are kept from step to step.

    The gradient is taken at the arranged weights w^k and moves the latent ones, straight through:
    w_hat^k = w_hat^{k-1} + opt(dL/dw^{k-1}); then w^k <- w^sorted laid out by the ranking of
    w_hat^k. Symbols: w_hat is `tensors[l].latent`, w^sorted is `tensors[l].profile`, opt is
    `optimizer`.

    Between steps the model holds the arranged weights only, so evaluating and saving it need no
    care; the latent ones are in place just while the inner optimizer steps. "Without STE" in the
    source's tables is `LaPerm` with `sync_period=1`.

    Differs from the source: line 11 of its Algorithm 1 indexes by argsort, which taken literally is
    the inverse permutation; the ranking, which its text describes, is used.

    Args:
        optimizer: any `torch.optim.Optimizer`, the inner optimizer; attached to, not wrapped.
        model, biases: as in `LaPerm`.
        granularity: which weights may exchange values. Default, as in the source: a whole layer.
        sync_period: steps between new arrangements; 1 in the source. While it is None ("not now")
            the model shows the latent weights: plain training. A closure is evaluated at what the
            step before left.

    Param groups, initial values: as in `LaPerm`. Weight decay and the like act on latent weights.
    State: `profile` as in `LaPerm`, `latent` of the weights' shape and dtype.
    Cost: one sort and one scatter of the weights and two copies a step; memory for the profile and
    the latent weights; while `sync_period` is not 1, for one more copy during the inner step.
    Raises:
        as `LaPerm`.

    Example:
        >>> import torch, permtrain
        >>> from torch import nn
        >>> model = nn.Linear(8, 4)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        >>> permuter = IndexOptimizer(optimizer, granularity="neuron", model=model)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     model(torch.ones(1, 8)).square().sum().backward()
        ...     _ = optimizer.step()
        ...     assert permtrain.verify(model, permuter)
    """

    keep_latent = True

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        model: ModelOrNone = UNSAID,
        granularity: GranularityRule = "layer",
        sync_period: SyncPeriod = 1,
        biases: Biases = "inner",
    ) -> None:
        super().__init__(
            optimizer,
            sync_period=sync_period,
            model=model,
            granularity=granularity,
            biases=biases,
        )

    def _with_closure_replaced(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The closure evaluated at what the model shows; the latent weights stand in its place."""
        closure = closure_of(args, kwargs)
        if closure is None:
            return None
        is_first = True

        def at_shown_weights() -> Any:
            nonlocal is_first
            latent = [tensor.parameter.detach().clone() for tensor in self.tensors]
            with torch.no_grad():
                self._show_for_closure(is_first)
            is_first = False
            succeeded = False
            try:
                loss = closure()
                succeeded = True
            finally:
                with torch.no_grad():
                    for tensor, scores in zip(self.tensors, latent, strict=True):
                        tensor.parameter.copy_(scores)
                if not succeeded:
                    self._recover()
            return loss

        return with_closure(args, kwargs, at_shown_weights)

    def _show_for_closure(self, is_first: bool) -> None:
        """Shows what the step before left, as a loss computed before the step would see it.

        An optimizer that evaluates again in the same step sees its latent weights arranged anew
        where each step arranges them, and the latent ones where the schedule says "not now".
        """
        anew = []
        for tensor in self.tensors:
            if tensor.held is not None and (is_first or (tensor.step_period or 1) > 1):
                tensor.parameter.copy_(tensor.held)
            elif is_first or tensor.step_period is not None:
                anew.append(tensor)
        arranged = laid_out(anew, [tensor.parameter for tensor in anew])
        for tensor, values in zip(anew, arranged, strict=True):
            tensor.parameter.copy_(values)
