"""A run from start to result, in its folder; interrupted and resumed at will."""

import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from permtrain.core.profile import holding
from permtrain.errors import CheckpointError, PackedFileError, PermtrainError, one_line
from permtrain.files import written_whole
from permtrain.lab.training.change import Change, mean_change
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.ranking_watch import RankingWatch
from permtrain.lab.training.record import (
    Checkpointer,
    Recorder,
    RunFolder,
    RunIsBegun,
    forget_after,
    load_into,
    new_run_folder,
    note_resumed,
    read_json,
    read_weights,
    selection_key,
    write_json,
)
from permtrain.lab.training.settings import (
    Place,
    Settings,
    first_training,
    run_name,
    settings_hash,
)
from permtrain.lab.training.stopping import Interrupted, stop_on_signal
from permtrain.lab.training.tensorboard import TensorBoardLog
from permtrain.lab.training.trainer import Callback, Metrics, Trainer
from permtrain.lab.training.travel import Travel, travel_between
from permtrain.packed.model import pack
from permtrain.verification import Verification


class RunIsBusy(PermtrainError):
    """Another process trains this run."""


@dataclass(frozen=True)
class RunResult:
    """What a complete run has to tell.

    Attributes:
        folder: the run's folder.
        test_accuracy: of the last epoch, a fraction.
        best_test_accuracy, best_epoch: of the epoch with the highest accuracy on `selected_on`.
        selected_on: "validation", or "test" where no validation images were set aside.
        verification: whether every permuted vector holds its initial values, in words; None where
            the method permutes nothing. Where permutation ended before training did, what held
            then.
        intact: the same as a truth value.
        travel: how far the permuted weights travelled; None likewise, or if they are not intact.
        wall_s: seconds of training and evaluation, over all sessions.
        evaluations: step, losses and accuracies after the steps that were asked for.
        changes: means over the steps that were watched; None if none was.
        validation_accuracy: after the last epoch; None without a validation split.
    """

    folder: Path
    settings_hash: str
    epochs: int
    test_accuracy: float
    best_test_accuracy: float
    best_epoch: int
    selected_on: str
    verification: str | None
    intact: bool | None
    travel: Travel | None
    wall_s: float
    evaluations: list[Metrics] = field(default_factory=list)
    changes: Change | None = None
    validation_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"folder": self.folder.name}

    @classmethod
    def read(cls, folder: RunFolder) -> "RunResult":
        """The result of a complete run, from its file.

        Raises:
            CheckpointError: the file is damaged.
        """
        plain = read_json(folder.result_file) | {"folder": folder.path}
        try:
            travel, changes = plain["travel"], plain.get("changes")
            return cls(
                **plain
                | {
                    "travel": None if travel is None else Travel(**travel),
                    "changes": None if changes is None else Change(**changes),
                }
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                f"{folder.result_file}: not the result of a run ({one_line(error)})"
            ) from None


def start_run(
    settings: Settings,
    place: Place,
    callbacks: Sequence[Callback] = (),
    *,
    only_once: bool = False,
) -> RunResult:
    """Trains a new run in a folder of its own under `place.runs_folder`.

    With rule shuffle a run comes first that trains what is shuffled, in a folder of its own beside
    it; if that is there already, it is taken, or gone on with, or, where another process trains it,
    waited for.

    Args:
        only_once: as in `new_run_folder`.

    Raises:
        RunIsBegun: as there.
        SettingError, DataError: before any folder is made, if the settings cannot be run.
        Interrupted: the user stopped it.
    """
    trained = _trained_weights(settings, place, callbacks)
    trainer = Trainer(settings, place, trained=trained)
    folder = new_run_folder(
        place.runs_folder,
        run_name(settings),
        settings,
        place,
        trainer.device,
        only_once=only_once,
    )
    with alone_in(folder):
        _keep(trained, folder)
        return _run(trainer, folder, place, callbacks)


def _trained_weights(
    settings: Settings, place: Place, callbacks: Sequence[Callback]
) -> dict[str, Tensor] | None:
    """The weights that rule shuffle takes, after the last epoch; None with other rules."""
    first = first_training(settings)
    if first is None:
        return None
    folder = RunFolder(folder_of(place.runs_folder, run_name(first), first))
    while not folder.is_complete:
        try:
            if folder.path.exists():
                resume_run(folder.path, place, callbacks)
            else:
                start_run(first, place, callbacks, only_once=True)
        except (RunIsBusy, RunIsBegun) as busy:
            warnings.warn(f"{busy}; its end is waited for", stacklevel=2)
            with FileLock(folder.path / ".lock", poll_interval=1):
                pass  # complete, or to be gone on with
    return read_weights(folder.weights_file)


def _keep(trained: dict[str, Tensor] | None, folder: RunFolder) -> None:
    if trained is not None and not folder.trained_file.is_file():
        with written_whole(folder.trained_file) as file:
            file.write(safetensors_bytes(trained))


def resume_run(
    path: Path, place: Place, callbacks: Sequence[Callback] = (), checkpoint: Path | None = None
) -> RunResult:
    """Goes on with a run from its last checkpoint, or from another one; bit for bit.

    A complete run is left as it is, unless a checkpoint is given.

    Raises:
        CheckpointError: no run folder, or no readable checkpoint of it.
        RunIsBusy: another process trains it.
        Interrupted: the user stopped it.
    """
    folder = RunFolder(path)
    place = folder.place(place)
    settings = folder.settings()
    if folder.trained_file.is_file():
        trained = folder.trained()
    else:  # it was killed before it kept them
        trained = _trained_weights(settings, replace(place, runs_folder=path.parent), callbacks)
    trainer = Trainer(settings, place, trained=trained)
    with alone_in(folder):
        if checkpoint is None and folder.is_complete:  # by another process, just now
            return RunResult.read(folder)
        _keep(trained, folder)
        if checkpoint is not None or folder.numbered_checkpoints():
            load_into(trainer, checkpoint or folder.last_checkpoint())
        forget_after(folder, trainer.position)
        note_resumed(folder, trainer.device)
        return _run(trainer, folder, place, callbacks)


def load_run(path: Path, place: Place, checkpoint: str = "last") -> Trainer:
    """The trainer of a run as it stood at a checkpoint: `last`, `best`, or a file."""
    folder = RunFolder(path)
    trainer = Trainer(folder.settings(), folder.place(place), trained=folder.trained())
    load_into(trainer, folder.checkpoint(checkpoint))
    return trainer


def verify_weights_file(trainer: Trainer, path: Path) -> Verification | None:
    """The invariant of a weights file, against the initial values of its run.

    None if the method permutes nothing, or no longer did when the file was written.

    Raises:
        CheckpointError: the file is missing or damaged.
        ProfileError: it holds other tensors.
    """
    method = trainer.method
    if not method.cuts or method.ended_at is not None:
        return None
    weights = read_weights(path)
    if missing := sorted(set(method.parameters) - set(weights)):
        raise CheckpointError(f"{path}: holds no {missing[0]}")
    return Verification(holding(method.vectors(weights), _born_vectors(trainer)))


def verify_trainer(trainer: Trainer) -> tuple[Verification, Travel | None] | None:
    """The invariant and the travel of a run's arranged weights, against its initial values.

    The initial values are drawn anew from the record of how the model was born, so that this shows
    more than that the permuter agrees with itself. Where permutation has ended before training
    does, the weights are those of that moment. None if the method permutes nothing; no travel where
    the weights are not those of the beginning.
    """
    method = trainer.method
    if not method.cuts:
        return None
    born = _born_vectors(trainer)
    weights = method.weights_to_verify(trainer.shown_weights())
    now = method.vectors({name: weight.cpu() for name, weight in weights.items()})
    verification = Verification(holding(now, born), ended_at=method.ended_at)
    return verification, travel_between(born, now, method.cuts) if verification else None


def _born_vectors(trainer: Trainer) -> dict[str, Tensor]:
    """The weight vectors of the initial values, on the CPU."""
    return trainer.method.vectors(trainer.initial_weights())


def _run(
    trainer: Trainer, folder: RunFolder, place: Place, callbacks: Sequence[Callback]
) -> RunResult:
    checkpointer = Checkpointer(folder, place.checkpoint_steps, place.keep_checkpoints)
    watches: list[Callback] = []
    if trainer.settings.watch_ranking_distance:
        every_layer = trainer.settings.watch_every_layer
        watches.append(RankingWatch(folder.ranking_file, trainer, every_layer))
    if place.tensorboard:
        watches.append(TensorBoardLog(folder.tensorboard_folder, trainer))
    with stop_on_signal() as stop_requested:
        finished = trainer.run(
            [Recorder(folder), *watches, checkpointer, *callbacks], stop_requested
        )
        if not finished or stop_requested():  # in the last step or evaluation: none comes after it
            saved = checkpointer.save(trainer)
            command = shlex.join(["permtrain", "resume", str(folder.path)])
            raise Interrupted(f"stopped; saved {saved}; go on with: {command}")
    result = _result(trainer, folder)
    weights = trainer.shown_weights()
    with written_whole(folder.weights_file) as file:
        file.write(safetensors_bytes(weights))
    try:
        pack(trainer.model, folder.packed_file, weights=weights)
    except PackedFileError as error:  # a state that no packed file holds, as complex numbers
        warnings.warn(f"{folder.path} gets no packed file: {error}", stacklevel=2)
    write_json(folder.result_file, result.to_dict())
    return result


def _result(trainer: Trainer, folder: RunFolder) -> RunResult:
    history = folder.metrics()
    last = history[-1]
    key = selection_key(last)
    best = max(history, key=lambda metrics: (metrics[key], -metrics["epoch"]))
    verified = verify_trainer(trainer)
    return RunResult(
        folder=folder.path,
        settings_hash=settings_hash(trainer.settings),
        epochs=last["epoch"],
        test_accuracy=last["test_accuracy"],
        best_test_accuracy=best["test_accuracy"],
        best_epoch=best["epoch"],
        selected_on=key.removesuffix("_accuracy"),
        verification=str(verified[0]) if verified else None,
        intact=bool(verified[0]) if verified else None,
        travel=verified[1] if verified else None,
        wall_s=round(sum(metrics["wall_s"] for metrics in history), 1),
        evaluations=trainer.evaluations,
        changes=mean_change(trainer.changes),
        validation_accuracy=last.get("validation_accuracy"),
    )


@contextmanager
def alone_in(folder: RunFolder) -> Iterator[None]:
    """Keeps a second process out of a run that is being trained."""
    try:
        with FileLock(folder.path / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunIsBusy(f"{folder.path} is being trained by another process") from None
