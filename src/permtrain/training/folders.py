"""Which folder is that of a run's settings. Reads no more than JSON, so that looking is quick."""

import itertools
import json
from pathlib import Path
from typing import Any

from permtrain.errors import SettingError
from permtrain.training.settings import Settings, stored_settings, to_dict


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
        plain = json.loads((path / "settings.json").read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(settings, Settings):
        return bool(plain == to_dict(settings))
    try:
        return stored_settings(plain) == settings
    except SettingError:  # of another version, that knew other settings
        return False


def is_complete(path: Path) -> bool:
    """Whether the run has its result."""
    return (path / "result.json").is_file()
