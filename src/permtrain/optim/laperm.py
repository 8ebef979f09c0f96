"""LaPerm: weights move freely for k steps, then their order lays out the initial values.

Source: Qiu and Suda, "Train by Reconnect", NeurIPS 2020 (arXiv:2003.02570), section 4, Algorithm 1.
"""

from torch.optim import Optimizer

from permtrain.core.granularity import Biases, GranularityRule
from permtrain.optim.parameters import UNSAID, ModelOrNone
from permtrain.optim.permuter import Permuter
from permtrain.optim.sync_period import SyncPeriod


class LaPerm(Permuter):
    """Synchronises an optimizer's weights every `sync_period` steps.

    At a step t that k divides, each weight vector w_j is replaced by its initial values laid out in
    its order: theta_t <- sigma_theta_t(theta_sorted). In between, the inner optimizer moves the
    weights as it always does. Symbols: k is `sync_period`, Opt is `optimizer`, theta_sorted is
    `tensors[j].profile`.

    Differs from the source: nothing in the rule. Ties are broken by position.

    Args:
        optimizer: any `torch.optim.Optimizer`, the inner optimizer; attached to, not wrapped.
        sync_period: steps between synchronizations, from 1; or a function from the step (applied
            steps, counted from 1) to them, which may return None for "not now", so that permutation
            can begin and stop in mid-training.
        model: names the parameters in messages and saved states, tells transposed convolutions and
            embeddings from plain weights, and lets `verify(model)` know what was permuted. None for
            bare parameters: every tensor's output units are taken to be on axis 0. Leaving it out
            is warned of.
        granularity: which weights may exchange values; a name, patterns, or a function
            (`permtrain.core.granularity`). Default: all weights into one output unit.
        biases: `"inner"`: left to the inner optimizer; `"apart"`: each layer's bias is a weight
            vector of its own (the authors' setting on MNIST). Norm parameters are never permuted.

    How to choose k: within k steps a weight must be able to pass its neighbors, or the
    synchronization undoes the steps. The step of Adam is about its learning rate; the gap between
    two values of a vector of L weights of standard deviation s is about 2.5 s / L in the middle of
    the range. So k times the rate should be a few gaps or more: k = 20 at 1e-3 does for vectors of
    some hundred weights; short vectors (kernels), small rates and profiles of few levels need a
    larger k, or `IndexOptimizer`, which keeps what steps add up to. A falling rate needs a growing
    k. On digits (64 to 100 to 10, 300 steps of Adam at 1e-3) a product of 0.1, 0.5, 1 and 2 gaps
    let 0.8, 4.5, 14 and 33% of the weights change places in each of the first 20 synchronizations,
    and gave 15, 20, 64 and 85% of test images right; below 5% LaPerm warns. The papers use 10 to 30
    on small nets and 250 to 1,200 on deep ones, where a larger k starts slower and ends higher
    (Train by Reconnect, section 5.2).

    Param groups: `granularity` and `sync_period` in a group override the constructor's. They stay
        where a state without them is loaded; functions and cuts are left out of the optimizer's
        `state_dict`.

    The initial values are those found at the first step (weights loaded after attaching and before
    it count). Later writes to the weights by anyone else are an error at the next step, but
    for a permutation of the initial values (the best weights put back) and for what is written
    inside `allow_changes()`; those
    through `.data`, which torch does not count, go unnoticed. Weights that are all equal, as of a
    layer or token that begins at zero, cannot learn by permutation, and are warned of.

    State: `profile` (V, L) of the weights' dtype, or (1, L) if all vectors share it.
    Randomness: none.
    Cost: one sort and one scatter of the weights every k steps; memory for the profile.
    Raises:
        SettingError: sync_period below 1, an unknown granularity, nothing to permute.
        GranularityError: a tensor without vectors at the granularity asked for.
        NonFiniteError: at a step that leaves NaN or infinity in weights; on a GPU, which is not
            waited for, at the next look after a synchronization.

    Example:
        >>> import torch, permtrain
        >>> from torch import nn
        >>> model = nn.Linear(8, 4)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        >>> permuter = LaPerm(optimizer, sync_period=2, model=model)
        >>> for _ in range(4):
        ...     optimizer.zero_grad()
        ...     model(torch.ones(1, 8)).square().sum().backward()
        ...     _ = optimizer.step()
        >>> permuter.num_synchronizations
        2
        >>> bool(permtrain.verify(model, permuter))
        True
    """

    keep_latent = False

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        sync_period: SyncPeriod,
        model: ModelOrNone = UNSAID,
        granularity: GranularityRule = "neuron",
        biases: Biases = "inner",
    ) -> None:
        super().__init__(
            optimizer,
            sync_period=sync_period,
            model=model,
            granularity=granularity,
            biases=biases,
        )
