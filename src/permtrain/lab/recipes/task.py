"""What the arms of a recipe compute, where it is not the training of a classifier.

A task has settings of its own, a frozen dataclass with a `seed`, and keeps to the files of a run's
folder: `settings.json`, `environment.json`, checkpoints, and `result.json`, which is written last.
A result holds `wall_s`, `settings_hash` and what `row` tells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from permtrain.lab.training.display import Display
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.settings import Place

if TYPE_CHECKING:
    from permtrain.lab.training.engine import Session
    from permtrain.lab.training.run_folder import RunFolder


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
        begin: from an arm's settings and place to the computation before its first step.
        row: from the folder of a complete arm to its columns in the results.
        measures: the columns that tables show.
    """

    run_name: Callable[[Any], str]
    begin: Callable[[Any, Place], "Session"]
    row: Callable[["RunFolder"], dict[str, Any]]
    measures: tuple[Measure, ...]

    def run(self, settings: Any, place: Place, display: Display) -> None:
        """Begin an arm or go on with it, to its result, with as many threads as it was begun with.

        Raises:
            RunIsBusy, RunIsBegun: another process computes it.
            CheckpointError: the folder tells no settings or no place, or a checkpoint is damaged.
            Diverged, NonFiniteError: weights are not numbers any more.
            Interrupted: the user stopped it.
        """
        from permtrain.lab.training.device import device_at
        from permtrain.lab.training.engine import compute
        from permtrain.lab.training.json_files import read_json
        from permtrain.lab.training.run_folder import RunFolder, alone_in, new_run_folder

        name = self.run_name(settings)
        folder = RunFolder(folder_of(place.runs_folder, name, settings))
        place = folder.place(place)
        device = device_at(place)
        resumed = folder.path.exists()
        if not resumed:
            folder = new_run_folder(
                place.runs_folder, name, settings, place, device, only_once=True
            )
        with alone_in(folder):
            read_json(folder.settings_file)
            compute(self.begin(settings, place), folder, place, display, resumed=resumed)
