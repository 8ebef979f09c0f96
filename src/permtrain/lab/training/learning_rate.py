"""The learning rate at a moment of training. A schedule is asked; it does not count."""

import math

from permtrain.lab.training.settings import OptimizerSettings


def learning_rate(settings: OptimizerSettings, epoch: int, progress: float = 0.0) -> float:
    """The learning rate of a step.

    Args:
        epoch: the step's, counted from 0.
        progress: part of the run's steps that lie before it, in [0, 1]; counts with `lr_cosine`.

    Example:
        >>> settings = OptimizerSettings(lr=1.0, lr_milestones=(80, 180), lr_factors=(0.5, 0.5))
        >>> [learning_rate(settings, epoch) for epoch in (79, 80, 180)]
        [1.0, 0.5, 0.25]
        >>> learning_rate(OptimizerSettings(lr=1.0, lr_decay=0.5, lr_decay_epochs=10), 25)
        0.25
        >>> learning_rate(OptimizerSettings(lr=1.0, lr_cosine=True), 0, progress=0.5)
        0.5
    """
    rate = settings.lr * settings.lr_decay ** (epoch // settings.lr_decay_epochs)
    for milestone, factor in zip(settings.lr_milestones, settings.lr_factors, strict=True):
        if epoch >= milestone:
            rate *= factor
    return rate * (1 + math.cos(math.pi * progress)) / 2 if settings.lr_cosine else rate
