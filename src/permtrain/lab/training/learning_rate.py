"""Learning rates: torch's own scheduler, from the factor of a step."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from permtrain.lab.training.settings import OptimizerSettings


def schedule(
    optimizer: Optimizer, lr: float, factor: Callable[[int], float], num_done: int = 0
) -> LambdaLR:
    """Attach a schedule: in step n, counted from 0, the rate of every group is lr * factor(n).

    There is nothing to save: after `optimizer.load_state_dict` it is attached anew.

    Args:
        lr: the rate that factors multiply.
        factor: of a step; with `schedule.step()` called once an epoch, of an epoch.
        num_done: steps made before.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule(optimizer, 0.5, lambda step: 0.1**step, num_done=2).get_last_lr()
        [0.005000000000000001]
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    return LambdaLR(optimizer, factor, last_epoch=num_done - 1)


def half_cosine(progress: float) -> float:
    """A factor that falls from 1 to 0 along half a cosine wave.

    Example:
        >>> half_cosine(0.0), half_cosine(0.5), half_cosine(1.0)
        (1.0, 0.5, 0.0)
    """
    return (1 + math.cos(math.pi * progress)) / 2


def rate_factor(
    settings: OptimizerSettings, epoch: int, progress: float = 0.0, step: int | None = None
) -> float:
    """What the learning rate of a step is multiplied by.

    Args:
        epoch: the step's, counted from 0.
        progress: part of the run's steps that lie before it, in [0, 1]; counts with `lr_cosine`.
        step: counted from 0; counts with `lr_warmup`. None: after the warm-up.

    Example:
        >>> settings = OptimizerSettings(lr_milestones=(80, 180), lr_factors=(0.5, 0.5))
        >>> [rate_factor(settings, epoch) for epoch in (79, 80, 180)]
        [1.0, 0.5, 0.25]
        >>> rate_factor(OptimizerSettings(lr_decay=0.5, lr_decay_epochs=10), 25)
        0.25
        >>> rate_factor(OptimizerSettings(lr_cosine=True), 0, progress=0.5)
        0.5
        >>> [rate_factor(OptimizerSettings(lr_warmup=4), 0, step=step) for step in (0, 2, 3, 4)]
        [0.25, 0.75, 1.0, 1.0]
    """
    factor = settings.lr_decay ** (epoch // settings.lr_decay_epochs)
    for milestone, each in zip(settings.lr_milestones, settings.lr_factors, strict=True):
        if epoch >= milestone:
            factor *= each
    if step is not None and step < settings.lr_warmup:
        factor *= (step + 1) / settings.lr_warmup
    return factor * half_cosine(progress) if settings.lr_cosine else factor
