"""A run's folder: what was asked for, on what it ran, and what came out.

settings.json      the resolved settings
place.json         where it runs: data folder, device, threads
environment.json   versions, device, commit
metrics.jsonl      one line an epoch
trained.safetensors   with rule shuffle, the weights that were shuffled
ranking.jsonl      likewise, with --watch-ranking-distance
checkpoints/       the last few, and the best
weights.safetensors, packed.safetensors, result.json   when the run is complete
failure.json       the error, where an arm of a recipe failed
"""

import errno
import itertools
import json
import os
import platform
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from permtrain.errors import CheckpointError, SettingError, one_line
from permtrain.files import written_whole
from permtrain.lab.training.checkpoint import load_checkpoint, save_checkpoint
from permtrain.lab.training.folders import holds, numbered
from permtrain.lab.training.settings import (
    Place,
    Settings,
    settings_hash,
    stored_settings,
    to_dict,
)
from permtrain.lab.training.trainer import Metrics, Position, Trainer

_PACKAGES = ("permtrain", "torch", "numpy", "datasets", "scikit-learn")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

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

    def trained(self) -> dict[str, Tensor] | None:
        """The weights that were shuffled at the beginning; None if none were.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        if self.settings().initial.rule != "shuffle":
            return None
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

    def metrics(self) -> list[Metrics]:
        """The record of every completed epoch.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.metrics_file.is_file():
            return []
        try:
            history = [json.loads(line) for line in self.metrics_file.read_text().splitlines()]
        except ValueError as error:
            raise CheckpointError(
                f"{self.metrics_file}: not readable as JSON ({one_line(error)})"
            ) from None
        for number, metrics in enumerate(history, 1):
            if not isinstance(metrics, dict):
                raise CheckpointError(
                    f"{self.metrics_file}: line {number} holds a {type(metrics).__name__}; "
                    "allowed: an object"
                )
        return history

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
        return self.checkpoints / "best.pt" if name == "best" else Path(name)

    def numbered_checkpoints(self) -> list[Path]:
        """All checkpoints but the best, oldest first."""
        return sorted(self.checkpoints.glob("step-*.pt"))


class RunIsBegun(SettingError):
    """The same run was begun before."""


def new_run_folder(
    runs_folder: Path,
    name: str,
    settings: Any,
    place: Place,
    device: torch.device,
    *,
    only_once: bool = False,
) -> RunFolder:
    """Makes the folder of a new run, whole or not at all.

    A copy of a complete one gets a number, and so does a run whose name an older one of other
    settings has (`folders.folder_of` says how that comes).

    Args:
        settings: `Settings`, or the dataclass of a recipe's own task.
        only_once: no copies. For those who have found no such folder: one that is there now is of
            another process, however far that is.

    Raises:
        RunIsBegun: the same run was begun and is not complete; with `only_once`, also if it is.
    """
    runs_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=runs_folder) as beside:
        prepared = RunFolder(Path(beside) / name)
        write_json(prepared.settings_file, to_dict(settings))
        write_json(prepared.environment_file, environment(device))
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


def _as_it_turned_out(place: Place, device: torch.device) -> Place:
    """The place with what was left open filled in."""
    folder = place.data_folder or os.environ.get("PERMTRAIN_DATA")
    return replace(
        place,
        data_folder=None if folder is None else Path(folder).expanduser().resolve(),
        device=str(device),
        threads=torch.get_num_threads(),
    )


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as file:
        file.write((json.dumps(plain, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        plain = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({one_line(error)})") from None
    if not isinstance(plain, dict):
        raise CheckpointError(f"{path}: holds a {type(plain).__name__}; allowed: an object")
    return plain


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{path}: not readable as safetensors ({one_line(error)})") from error


def environment(device: torch.device) -> dict[str, Any]:
    """What the run is computed with."""
    return {
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def note_resumed(folder: RunFolder, device: torch.device) -> None:
    """Adds to the folder's environment what the run goes on with."""
    begun = read_json(folder.environment_file)
    sessions = [*begun.get("resumed", []), environment(device)]
    write_json(folder.environment_file, begun | {"resumed": sessions})


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's cores, kind and torch's choice of instructions.

    These are part of what decides how sums are split, and so rounded: on another processor the
    same run ends elsewhere, after a few epochs by some tenths of a percent.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"cpu, {os.cpu_count()} cores, {platform.machine()}, {instructions}"


def commit() -> str | None:
    """The commit of the checkout this package runs from, with "+" if files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
    head = git("rev-parse", "HEAD")
    if not tracked or not head:  # installed as a package, perhaps inside somebody's repository
        return None
    return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


class Recorder:
    """Adds a line to the record after every epoch."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def after_step(self, trainer: Trainer) -> None:
        pass

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        _write_metrics(self.folder, [*self.folder.metrics(), metrics])


class Checkpointer:
    """Keeps the last few checkpoints and the best.

    The best is the one of highest validation accuracy; where no validation images were set aside
    it is that of highest *test* accuracy, and results say so.
    """

    def __init__(self, folder: RunFolder, every_steps: int | None, keep: int) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.keep = keep

    def save(self, trainer: Trainer) -> Path:
        path = self.folder.checkpoints / _checkpoint_name(trainer.position.step)
        save_checkpoint(path, _with_identity(trainer))
        for old in self.folder.numbered_checkpoints()[: -self.keep]:
            old.unlink()
        return path

    def after_step(self, trainer: Trainer) -> None:
        if self.every_steps is not None and trainer.position.step % self.every_steps == 0:
            self.save(trainer)

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        # The best comes first: a run that is killed in between goes on from before the epoch.
        key = selection_key(metrics)
        earlier = [each[key] for each in self.folder.metrics() if each["epoch"] < metrics["epoch"]]
        if all(metrics[key] > accuracy for accuracy in earlier):
            save_checkpoint(self.folder.checkpoints / "best.pt", _with_identity(trainer))
        self.save(trainer)


def forget_after(folder: RunFolder, position: Position) -> None:
    """Removes what lies beyond a position that a run goes on from, and will be written again.

    Raises:
        CheckpointError: the record lacks an epoch before the position.
    """
    kept = [metrics for metrics in folder.metrics() if metrics["epoch"] <= position.epoch]
    epochs = [metrics["epoch"] for metrics in kept]
    if epochs != list(range(1, position.epoch + 1)):
        raise CheckpointError(
            f"{folder.metrics_file}: holds epochs {epochs}; allowed: 1 to {position.epoch}, as the "
            "checkpoint; start the run anew"
        )
    for file in (folder.result_file, folder.weights_file, folder.packed_file):
        file.unlink(missing_ok=True)
    for checkpoint in folder.numbered_checkpoints():
        if checkpoint.name > _checkpoint_name(position.step):
            checkpoint.unlink()
    _write_metrics(folder, kept)


def _write_metrics(folder: RunFolder, history: Sequence[Metrics]) -> None:
    with written_whole(folder.metrics_file) as file:
        file.write("".join(json.dumps(metrics) + "\n" for metrics in history).encode())


def _checkpoint_name(step: int) -> str:
    return f"step-{step:09d}.pt"


def selection_key(metrics: Metrics) -> str:
    """The accuracy by which the best epoch is chosen."""
    return "validation_accuracy" if "validation_accuracy" in metrics else "test_accuracy"


def load_into(trainer: Trainer, path: Path) -> None:
    """Loads a checkpoint into a trainer of the same settings.

    Raises:
        CheckpointError: it is missing, damaged, or of other settings.
    """
    state = load_checkpoint(path)
    if set(state) != {"format", "settings", "trainer"} or state["format"] != 1:
        raise CheckpointError(f"{path}: no checkpoint of a permtrain run, format 1")
    saved, here = stored_settings(state["settings"]), trainer.settings
    if saved != here:
        raise CheckpointError(
            f"{path}: is of settings {settings_hash(saved)}; allowed: {settings_hash(here)}"
        )
    trainer.load_state_dict(state["trainer"])


def _with_identity(trainer: Trainer) -> dict[str, Any]:
    return {"format": 1, "settings": to_dict(trainer.settings), "trainer": trainer.state_dict()}
