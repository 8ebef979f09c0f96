"""A run's folder: what was asked for, on what it ran, and what came out.

settings.json      the resolved settings
place.json         where it runs: data folder, device, threads
environment.json   versions, device, commit
origin.json        fingerprints of what it is computed from
metrics.jsonl      one line for each epoch or part
trained.safetensors   with rule shuffle, the weights that were shuffled
ranking.jsonl      one line for each epoch and layer, with --watch-ranking-distance
checkpoints/       the last few, and the best
weights.safetensors, packed.safetensors, result.json   when the run is complete
images.safetensors, images.png   likewise, where pixels were permuted
failure.json       the error, where an arm of a recipe failed

Imports no torch until a run begins, so that looking for a folder's files is quick.
"""

import errno
import itertools
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import Timeout

from permtrain.errors import CheckpointError, PermtrainError, SettingError, one_line
from permtrain.files import folder_beside, from_home, resolved
from permtrain.lab.training.folders import holds, numbered
from permtrain.lab.training.json_files import read_json, read_lines, with_nan, write_json
from permtrain.lab.training.locks import locked
from permtrain.lab.training.settings import Place, Settings, stored_settings, to_dict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from permtrain.lab.training.origin import Origin

Metrics: TypeAlias = dict[str, Any]
"""A line of a run's record: what was measured, by name."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name.

    Attributes:
        trust_model: whether its network may run code even where it was not trained here, because
            the user said so.
    """

    path: Path
    trust_model: bool = False

    @property
    def settings_file(self) -> Path:
        return self.path / "settings.json"

    @property
    def place_file(self) -> Path:
        return self.path / "place.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def origin_file(self) -> Path:
        return self.path / "origin.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def ranking_file(self) -> Path:
        return self.path / "ranking.jsonl"

    @property
    def result_file(self) -> Path:
        return self.path / "result.json"

    @property
    def failure_file(self) -> Path:
        return self.path / "failure.json"

    @property
    def weights_file(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def trained_file(self) -> Path:
        return self.path / "trained.safetensors"

    @property
    def packed_file(self) -> Path:
        return self.path / "packed.safetensors"

    @property
    def images_file(self) -> Path:
        return self.path / "images.safetensors"

    @property
    def picture_file(self) -> Path:
        return self.path / "images.png"

    @property
    def files_of_end(self) -> list[Path]:
        """What a complete run leaves, its result first: they would be taken for another end."""
        return [
            self.result_file,
            self.weights_file,
            self.packed_file,
            self.images_file,
            self.picture_file,
        ]

    @property
    def tensorboard_folder(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def is_complete(self) -> bool:
        return self.result_file.is_file()

    def settings(self) -> Settings:
        """The settings that the run was started with.

        Raises:
            CheckpointError: this is no run folder.
            SettingError: the file holds something that is not a setting.
        """
        if not self.settings_file.is_file():
            raise CheckpointError(f"{self.path}: no run folder, settings.json is missing")
        plain = read_json(self.settings_file)
        try:
            return stored_settings(plain)
        except SettingError as error:
            hint = ""
            if plain.keys() - {each.name for each in fields(Settings)}:
                hint = (
                    " (if it is of a recipe with a task of its own, permtrain run goes on with it)"
                )
            raise SettingError(f"{self.settings_file}: {error}{hint}") from None

    def trained(self) -> "dict[str, Tensor] | None":
        """The weights that were shuffled at the beginning; None if none were.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        if self.settings().initial.rule != "shuffle":
            return None
        from permtrain.lab.training.weights_file import read_weights

        return read_weights(self.trained_file)

    def place(self, given: Place) -> Place:
        """Where the run was started, but for what is given otherwise.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.place_file.is_file():
            return given
        try:
            return given.filled_from(read_json(self.place_file))
        except SettingError as error:
            raise CheckpointError(f"{self.place_file}: {error}") from None
        except TypeError as error:  # no path
            raise CheckpointError(
                f"{self.place_file}: has a value of another type ({one_line(error)})"
            ) from None

    def origin(self) -> "Origin | None":
        """What the run was computed from; None where it was begun before that was kept.

        Raises:
            CheckpointError: the file is damaged.
        """
        from permtrain.lab.training.origin import Origin

        return Origin.read(self.origin_file) if self.origin_file.is_file() else None

    def import_from(self) -> list[Path]:
        """Where the run's network is imported from, if it is the user's own; see `import_folders`.

        Raises:
            SettingError: its code was not trained here, and is not trusted either.
        """
        from permtrain.lab.training.origin import import_folders

        return import_folders(self.settings().model, self.origin(), self.trust_model, self.path)

    def metrics(self) -> list[Metrics]:
        """The record, a line for each completed epoch or part; a null in it is NaN here.

        Raises:
            CheckpointError: the file is damaged.
        """
        lines = read_lines(self.metrics_file) if self.metrics_file.is_file() else []
        return list(map(with_nan, lines))

    def last_checkpoint(self) -> Path:
        """The newest checkpoint.

        Raises:
            CheckpointError: there is none.
        """
        saved = self.numbered_checkpoints()
        if not saved:
            raise CheckpointError(f"{self.path}: holds no checkpoint; start the run anew")
        return saved[-1]

    def checkpoint(self, name: str) -> Path:
        """The checkpoint of a name: `last`, `best`, or that of a file.

        Raises:
            CheckpointError: the last one of none.
        """
        if name == "last":
            return self.last_checkpoint()
        return self.best_checkpoint if name == "best" else Path(name)

    @property
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "best.pt"

    def checkpoint_after(self, step: int) -> Path:
        """The checkpoint written after so many steps."""
        return self.checkpoints / f"step-{step:09d}.pt"

    def numbered_checkpoints(self) -> list[Path]:
        """All checkpoints but the best, oldest first."""
        return sorted(self.checkpoints.glob("step-*.pt"))

    def checkpoint_before(self, checkpoint: Path) -> Path | None:
        """The numbered checkpoint before another; None for the first, and for any other file."""
        saved = self.numbered_checkpoints()
        return saved[saved.index(checkpoint) - 1] if checkpoint in saved[1:] else None


class RunIsBegun(SettingError):
    """The same run was begun before."""


class RunIsBusy(PermtrainError):
    """Another process trains this run."""


def new_run_folder(
    runs_folder: Path,
    name: str,
    settings: Any,
    place: Place,
    device: "torch.device",
    *,
    origin: "Origin | None" = None,
    only_once: bool = False,
) -> RunFolder:
    """Makes the folder of a new run, whole or not at all.

    A copy of a complete one gets a number, and so does a run whose name an older one of other
    settings has (`folders.folder_of` says how that comes).

    Args:
        settings: `Settings`, or the dataclass of a recipe's own task.
        origin: what it is to be computed from, where that is kept.
        only_once: no copies. For those who have found no such folder: one that is there now is of
            another process, however far that is.

    Raises:
        RunIsBegun: the same run was begun and is not complete; with `only_once`, also if it is.
    """
    from permtrain.lab.training.environment import environment

    with folder_beside(runs_folder / name) as beside:
        prepared = RunFolder(beside)
        write_json(prepared.settings_file, to_dict(settings))
        write_json(prepared.environment_file, environment(device, place))
        if origin is not None:
            write_json(prepared.origin_file, origin.to_dict())
        write_json(prepared.place_file, _as_it_turned_out(place, device).to_dict())
        for number in itertools.count(1):
            folder = RunFolder(numbered(runs_folder, name, number))
            try:
                prepared.path.rename(folder.path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                has_settings = folder.settings_file.is_file()
                if has_settings and not holds(folder.path, settings):
                    continue
                if only_once:
                    raise RunIsBegun(
                        f"{folder.path} was begun by another process just now"
                    ) from None
                if not folder.is_complete:
                    raise RunIsBegun(
                        f"{folder.path} was begun and is not complete; go on with: permtrain "
                        f"resume {shlex.quote(str(folder.path))}; or remove it"
                    ) from None
            else:
                return folder
    raise AssertionError("unreachable")


def _as_it_turned_out(place: Place, device: "torch.device") -> Place:
    """The place with what was left open filled in."""
    import torch

    folder = place.data_folder or os.environ.get("PERMTRAIN_DATA")
    return replace(
        place,
        data_folder=None if folder is None else resolved(from_home(folder)),
        device=str(device),
        threads=torch.get_num_threads(),
    )


@contextmanager
def alone_in(folder: RunFolder) -> Iterator[None]:
    """Keep a second process out of a run that is being trained.

    Raises:
        RunIsBusy: another process is in it.
    """
    try:
        with locked(folder.path / ".lock", wait=False):
            yield
    except Timeout:
        raise RunIsBusy(f"{folder.path} is being trained by another process") from None
