"""Which folder is that of a run's settings. Reads no more than JSON, so that looking is quick."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.settings import Settings, default_of


def folder_of(runs_folder: Path, name: str, settings: Any) -> Path:
    """The folder that holds a run of these settings, else the first free name.

    A name is made of what differs from the defaults. Where a default has changed since, an older
    run of other settings may have the name that these settings get now: it keeps its folder, and
    this run gets a numbered one.

    Args:
        name: that of the run, by its settings.
        settings: `Settings`, or the dataclass of a recipe's own task.
    """
    for number in itertools.count(1):
        path = numbered(runs_folder, name, number)
        # A folder without settings is left to whoever opens it: he says what is missing.
        if not (path / "settings.json").is_file() or holds(path, settings):
            return path
    raise AssertionError("unreachable")


def numbered(runs_folder: Path, name: str, number: int) -> Path:
    """The first, second, ... folder of a name."""
    return runs_folder / (name if number == 1 else f"{name}-{number}")


def holds(path: Path, settings: Any) -> bool:
    """Whether a run's folder was begun with these settings, whatever the defaults were then."""
    try:
        plain = read_json(path / "settings.json")
    except CheckpointError:
        return False
    return not differing(plain, settings)


def differing(plain: Any, settings: Any, name: str = "settings") -> list[str]:
    """Names of the settings in which stored ones differ from these.

    One that is not stored did not exist when the run was begun, which then did what its default
    does. SGPerm's mean nothing where another method is used.

    Args:
        plain: a run's `settings.json`.
        settings: `Settings`, or the dataclass of a recipe's own task.

    Example:
        >>> differing({"epochs": 3, "gone": 1}, Settings(seed=2))
        ['settings.gone', 'settings.epochs', 'settings.seed']
        >>> differing({"epochs": 3}, Settings(epochs=3))
        []
    """
    if isinstance(settings, tuple) and isinstance(plain, list) and len(plain) == len(settings):
        pairs = enumerate(zip(plain, settings, strict=True))
        return [found for i, (a, b) in pairs for found in differing(a, b, f"{name}.{i}")]
    if not dataclasses.is_dataclass(settings) or not isinstance(plain, dict):
        return [] if plain == settings else [name]
    fields = {each.name: each for each in dataclasses.fields(settings)}
    found = [f"{name}.{unknown}" for unknown in plain if unknown not in fields]
    for key, field in fields.items():
        value = getattr(settings, key)
        if key == "sgperm" and isinstance(settings, Settings) and not _is_sgperm(settings):
            continue
        if key in plain:
            found += differing(plain[key], value, f"{name}.{key}")
        elif value != default_of(field):
            found.append(f"{name}.{key}")
    return found


def _is_sgperm(settings: Settings) -> bool:
    return settings.permutation.method == "sgperm"


def is_complete(path: Path) -> bool:
    """Whether the run has its result."""
    return (path / "result.json").is_file()
