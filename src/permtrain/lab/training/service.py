"""Services that keep the numbers of runs, as wandb and trackio do, beside a run's own records."""

import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

from permtrain.errors import SettingError, one_line
from permtrain.lab.training.record import numbers_of
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.settings import flat, to_dict
from permtrain.lab.training.trainer import Trainer

PROJECT = "permtrain"
_NEEDED = ("init", "log", "finish")


def service_of(name: str) -> ModuleType:
    """The library of a service.

    Raises:
        SettingError: it is not installed, or has other functions.

    Example:
        >>> service_of("json")
        Traceback (most recent call last):
        permtrain.errors.SettingError: logger is 'json', which lacks init; allowed: ...
    """
    try:
        library = import_module(name)
    except Exception as error:  # what it runs when it is imported may raise anything
        raise SettingError(
            f"logger is {name!r}, which cannot be imported ({one_line(error)}); allowed: an "
            "installed library, as wandb or trackio, or nothing"
        ) from None
    for function in _NEEDED:
        if not callable(getattr(library, function, None)):
            raise SettingError(
                f"logger is {name!r}, which lacks {function}; allowed: a library with init, log "
                "and finish, as wandb and trackio have them"
            )
    return library


def require_service(name: str | None) -> None:
    """Refuse a service that is not there before a run has a folder; None is none."""
    if name is not None:
        service_of(name)


class ServiceLog:
    """Gives every number of an epoch's metrics to a service, under its own name.

    The service's project is `permtrain`, its run has the folder's name and the settings. A run that
    goes on begins a further one there. `step`, which services count in their own way, is
    `optimizer_step`. Where the service fails in training, a warning says so, and training goes on
    without it.

    Args:
        library: as `service_of` gives it.
        name: of the run.
        trainer: as it begins, or goes on.

    Raises:
        SettingError: the service cannot begin.
    """

    def __init__(self, library: ModuleType, name: str, trainer: Trainer) -> None:
        self._library: Any = library
        self._works = True
        settings = flat(to_dict(trainer.settings))
        try:
            self._library.init(project=PROJECT, name=name, config=settings)
        except Exception as error:  # somebody else's code
            raise SettingError(
                f"logger is {library.__name__!r}, which cannot begin ({one_line(error)}); allowed: "
                "one that can, or nothing"
            ) from error

    def after_step(self, trainer: Trainer) -> None:
        """Nothing: epochs are logged."""

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        # What services call a step is an epoch here.
        names = {"step": "optimizer_step"}
        numbers = {names.get(name, name): value for name, value in numbers_of(metrics).items()}
        self._try("log", numbers, step=metrics["epoch"])

    def close(self) -> None:
        """The run is complete, or stops here."""
        self._try("finish")

    def _try(self, function: str, *values: Any, **more: Any) -> None:
        if not self._works:
            return
        try:
            getattr(self._library, function)(*values, **more)
        except Exception as error:
            self._works = False
            warnings.warn(
                f"{self._library.__name__}.{function} failed ({one_line(error)}); nothing more is "
                "logged there",
                stacklevel=2,
            )
