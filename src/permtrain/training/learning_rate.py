"""The learning rate of an epoch. A schedule is asked; it does not count."""

from permtrain.training.settings import OptimizerSettings


def learning_rate(settings: OptimizerSettings, epoch: int) -> float:
    """The learning rate during an epoch, counted from 0.

    Example:
        >>> settings = OptimizerSettings(lr=1.0, lr_milestones=(80, 180), lr_factors=(0.5, 0.5))
        >>> [learning_rate(settings, epoch) for epoch in (79, 80, 180)]
        [1.0, 0.5, 0.25]
        >>> learning_rate(OptimizerSettings(lr=1.0, lr_decay=0.5, lr_decay_epochs=10), 25)
        0.25
    """
    rate = settings.lr * settings.lr_decay ** (epoch // settings.lr_decay_epochs)
    for milestone, factor in zip(settings.lr_milestones, settings.lr_factors, strict=True):
        if epoch >= milestone:
            rate *= factor
    return rate
