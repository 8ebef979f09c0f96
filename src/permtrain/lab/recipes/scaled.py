"""The budget `scaled`: a training at a fifth of its length, its schedules shrunk alike."""

from dataclasses import replace

from permtrain.lab.training.settings import Settings

SCALE = 5
"""How many epochs of the full training one epoch stands for."""


def scaled(settings: Settings) -> Settings:
    """Return the settings with every schedule at a fifth of its length; the data stays whole.

    Epochs, milestones of the learning rate and of the sync period, and the steps of a first phase
    of permutation are divided by `SCALE` and rounded, to 1 at least. A decay every N epochs comes
    every N/5; if that is not whole, the decay of five epochs comes every N. The sync period itself
    stays: it is counted in steps of the inner optimizer.

    The forward pass runs in bfloat16, in every arm alike, wherever it is computed: on a processor
    with the instructions a step takes about 0.6 of the time, on others several times as long.

    Args:
        settings: of the full budget.

    Example:
        >>> from permtrain.lab.training.settings import OptimizerSettings
        >>> rate = OptimizerSettings(lr_milestones=(80, 120), lr_factors=(0.1, 0.1))
        >>> shrunk = scaled(Settings(epochs=200, optimizer=rate))
        >>> shrunk.epochs, shrunk.optimizer.lr_milestones
        (40, (16, 24))
        >>> every_ten = OptimizerSettings(lr_decay=0.5, lr_decay_epochs=10)
        >>> scaled(Settings(epochs=125, optimizer=every_ten)).optimizer.lr_decay_epochs
        2
    """
    optimizer, permutation = settings.optimizer, settings.permutation
    decay, every = optimizer.lr_decay, optimizer.lr_decay_epochs
    if every % SCALE:
        decay = decay**SCALE
    else:
        every //= SCALE
    steps, trained = permutation.permuted_steps, settings.initial.trained_epochs
    return replace(
        settings,
        initial=replace(
            settings.initial, trained_epochs=None if trained is None else _shrunk(trained)
        ),
        optimizer=replace(
            optimizer,
            lr_decay=decay,
            lr_decay_epochs=every,
            lr_milestones=tuple(_shrunk(epoch) for epoch in optimizer.lr_milestones),
        ),
        permutation=replace(
            permutation,
            sync_milestones=tuple(_shrunk(moment) for moment in permutation.sync_milestones),
            permuted_steps=None if steps is None else _shrunk(steps),
        ),
        epochs=_shrunk(settings.epochs),
        autocast="bfloat16",
    )


def _shrunk(length: int) -> int:
    return max(1, round(length / SCALE))
