"""What the arms of a recipe compute, where it is not the training of a classifier.

A task has settings of its own, a frozen dataclass with a `seed`, and keeps to the files of a run's
folder: `settings.json`, `environment.json`, checkpoints, and `result.json`, which is written last.
A result holds `wall_s`, `settings_hash` and what `row` tells.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from permtrain.lab.training.display import Display
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.settings import Place

if TYPE_CHECKING:
    import torch

    from permtrain.lab.training.record import RunFolder


@dataclass(frozen=True)
class Measure:
    """A column of results whose mean and spread over seeds tables show.

    Attributes:
        column: its name in the CSV.
        title: what tables call it, with its unit.
        decimals: how many of them tables show.
    """

    column: str
    title: str
    decimals: int = 2


@dataclass(frozen=True)
class Task:
    """How an arm is computed.

    Attributes:
        run_name: from an arm's settings to the name of its folder; see
            `training.settings.hash_of`.
        run: begins an arm or goes on with it, from its settings; when it returns, the arm is
            complete. It raises what training raises: RunIsBusy, Diverged, NonFiniteError.
        row: from the folder of a complete arm to its columns in the results.
        measures: the columns that tables show.
    """

    run_name: Callable[[Any], str]
    run: Callable[[Any, Place, Display], None]
    row: Callable[["RunFolder"], dict[str, Any]]
    measures: tuple[Measure, ...]


def place_of(name: str, settings: Any, place: Place) -> Place:
    """Where an arm was begun, but for what is given otherwise: on it goes with as many threads.

    Raises:
        CheckpointError: the arm's folder tells no place.
    """
    from permtrain.lab.training.record import RunFolder

    return RunFolder(folder_of(place.runs_folder, name, settings)).place(place)


@contextmanager
def run_folder(
    name: str, settings: Any, place: Place, device: "torch.device"
) -> Iterator["RunFolder"]:
    """The folder of an arm, made if it is not there, and held against other processes.

    Raises:
        RunIsBusy, RunIsBegun: another process computes it.
        CheckpointError: the folder tells no settings.
    """
    from permtrain.lab.training.record import RunFolder, new_run_folder, note_resumed, read_json
    from permtrain.lab.training.run import alone_in

    folder = RunFolder(folder_of(place.runs_folder, name, settings))
    is_new = not folder.path.exists()
    if is_new:
        folder = new_run_folder(place.runs_folder, name, settings, place, device, only_once=True)
    with alone_in(folder):
        read_json(folder.settings_file)
        if not is_new:
            note_resumed(folder, device)
        yield folder
