"""A run from start to result, in its folder; interrupted and resumed at will."""

import math
import shlex
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from permtrain.core.profile import holding
from permtrain.errors import CheckpointError, DataError, PackedFileError
from permtrain.files import written_whole
from permtrain.lab.training.change import mean_change
from permtrain.lab.training.checkpoint import DamagedError, load_checkpoint, restore
from permtrain.lab.training.display import SILENT, Display
from permtrain.lab.training.engine import Session, compute
from permtrain.lab.training.folders import folder_of
from permtrain.lab.training.json_files import write_json, write_lines
from permtrain.lab.training.locks import locked
from permtrain.lab.training.origin import Origin, data_origin, network_origin, outline_of
from permtrain.lab.training.ranking_watch import RankingWatch, read_ranking
from permtrain.lab.training.record import epochs_since_best, read_record, selection_key
from permtrain.lab.training.result import RunResult
from permtrain.lab.training.run_folder import (
    Metrics,
    RunFolder,
    RunIsBegun,
    RunIsBusy,
    alone_in,
    new_run_folder,
)
from permtrain.lab.training.service import ServiceLog, require_service, service_of
from permtrain.lab.training.settings import (
    Place,
    Settings,
    first_training,
    run_name,
    settings_hash,
    stored_settings,
    to_dict,
)
from permtrain.lab.training.tensorboard import TensorBoardLog, forget_events
from permtrain.lab.training.trainer import Callback, Trainer, data_name, load_data
from permtrain.lab.training.travel import Travel, travel_between
from permtrain.lab.training.weights_file import read_weights, write_weights
from permtrain.packed.model import pack
from permtrain.text import printable
from permtrain.verification import Verification


def start_run(
    settings: Settings,
    place: Place,
    callbacks: Sequence[Callback] = (),
    *,
    display: Display = SILENT,
    only_once: bool = False,
) -> RunResult:
    """Trains a new run in a folder of its own under `place.runs_folder`.

    With rule shuffle a run comes first that trains what is shuffled, in a folder of its own beside
    it; if that is there already, it is taken, or gone on with, or, where another process trains it,
    waited for.

    Args:
        callbacks: what else watches the steps.
        display: where it shows how far it is.
        only_once: as in `new_run_folder`.

    Raises:
        RunIsBegun: as there.
        SettingError, DataError: before any folder is made, if the settings cannot be run.
        Interrupted: the user stopped it.
    """
    require_service(place.logger)
    trained = _trained_weights(settings, place, callbacks, display)
    trainer, origin = _prepared(settings, place, trained)
    folder = new_run_folder(
        place.runs_folder,
        run_name(settings),
        settings,
        place,
        trainer.device,
        origin=origin,
        only_once=only_once,
    )
    with alone_in(folder):
        _keep(trained, folder)
        with closing(ClassifierSession(trainer, folder, place, callbacks)) as session:
            compute(session, folder, place, display, resumed=False)
        return RunResult.read(folder)


def _prepared(
    settings: Settings,
    place: Place,
    trained: dict[str, Tensor] | None,
    import_from: Sequence[Path] = (),
    location: str | None = None,
) -> tuple[Trainer, Origin]:
    """A trainer at its beginning, and what it computes from."""
    data = load_data(settings, place, location)
    trainer = Trainer(settings, place, data, trained, import_from)
    network = network_origin(settings.model, trainer.model, import_from)
    return trainer, Origin(network, data_origin(data_name(settings, location), data))


def _trained_weights(
    settings: Settings, place: Place, callbacks: Sequence[Callback], display: Display
) -> dict[str, Tensor] | None:
    """The weights that rule shuffle takes, after the last epoch; None with other rules."""
    first = first_training(settings)
    if first is None:
        return None
    folder = RunFolder(folder_of(place.runs_folder, run_name(first), first))
    while not folder.is_complete:
        try:
            if folder.path.exists():
                resume_run(folder.path, place, callbacks, display=display)
            else:
                start_run(first, place, callbacks, display=display, only_once=True)
        except (RunIsBusy, RunIsBegun) as busy:
            warnings.warn(f"{printable(str(busy))}; its end is waited for", stacklevel=2)
            with locked(folder.path / ".lock", poll_interval=1):
                pass  # complete, or to be gone on with
    return read_weights(folder.weights_file)


def _keep(trained: dict[str, Tensor] | None, folder: RunFolder) -> None:
    if trained is not None and not folder.trained_file.is_file():
        write_weights(folder.trained_file, trained)


def resume_run(
    path: Path,
    place: Place,
    callbacks: Sequence[Callback] = (),
    checkpoint: Path | None = None,
    *,
    display: Display = SILENT,
    accept_changes: bool = False,
    strict: bool = False,
) -> RunResult:
    """Goes on with a run from its last checkpoint, or from another one; bit for bit.

    A complete run is left as it is, unless a checkpoint is given.

    Args:
        accept_changes: go on with other data than the run was begun with, or a network of the
            user's own whose code has changed. The record then tells of what goes on.
        strict: as in `engine.compute`.

    Raises:
        SettingError: as there.
        CheckpointError: no run folder, no readable checkpoint of it, or changed data or code.
        RunIsBusy: another process trains it.
        Interrupted: the user stopped it.
    """
    folder = RunFolder(path, trust_model=True)  # training runs the user's own code
    place = folder.place(place)
    require_service(place.logger)
    settings = folder.settings()
    if folder.trained_file.is_file():
        trained = folder.trained()
    else:  # it was killed before it kept them
        beside = replace(place, runs_folder=path.parent)
        trained = _trained_weights(settings, beside, callbacks, display)
    before = folder.origin()
    trainer, now = _prepared(
        settings, place, trained, folder.import_from(), before.location if before else None
    )
    with alone_in(folder):
        if checkpoint is None and folder.is_complete:  # by another process, just now
            return RunResult.read(folder)
        if before is not None and not accept_changes and (changes := before.changes(now)):
            raise CheckpointError(
                f"{folder.path}: {'; '.join(changes)}; allowed: what it was begun with, or other "
                "things with --accept-changes"
            )
        if now != before:
            write_json(folder.origin_file, now.to_dict())
        _keep(trained, folder)
        with closing(ClassifierSession(trainer, folder, place, callbacks)) as session:
            compute(
                session,
                folder,
                place,
                display,
                resumed=True,
                checkpoint=checkpoint,
                strict=strict,
            )
        return RunResult.read(folder)


def load_run(
    path: Path,
    place: Place,
    checkpoint: str = "last",
    *,
    images: bool = True,
    trust_model: bool = False,
    accept_changes: bool = False,
    say: Callable[[str], None] = warnings.warn,
) -> Trainer:
    """The trainer of a run as it stood at a checkpoint: `last`, `best`, or a file.

    Args:
        images: load the images. Without them the weights can be looked at, and nothing evaluated.
        trust_model: build a network that is code of somebody's, which runs it, even if the run was
            not begun by this user on this machine.
        accept_changes: take data with other classes, whose labels mean something else.
        say: is told what has changed since the run was begun, its images or its network's code.

    Raises:
        SettingError: the network is code that was not trained here, and is not trusted.
        DataError: the images are not there, or of other classes than the run's.
        CheckpointError: no run folder, or no readable checkpoint of it.
    """
    folder = RunFolder(path, trust_model)
    settings, before, place = folder.settings(), folder.origin(), folder.place(place)
    import_from, location = folder.import_from(), before.location if before else None
    if images:
        trainer, now = _prepared(settings, place, folder.trained(), import_from, location)
    else:
        outline = outline_of(settings, before) or load_data(settings, place, location)
        trainer = Trainer(settings, place, outline, folder.trained(), import_from)
        now = Origin(network_origin(settings.model, trainer.model, import_from))
    if before is not None:
        changes = before.changes(now)
        if (classes := before.other_classes(now)) is not None and not accept_changes:
            raise DataError(
                f"{path}: {classes}; allowed: those of the run, or others with --accept-changes"
            )
        for change in changes:
            say(printable(f"{path}: {change}"))
    file = folder.checkpoint(checkpoint)
    try:
        load_into(trainer, file)
    except DamagedError as error:
        earlier = folder.checkpoint_before(file)
        if earlier is None:
            raise
        raise DamagedError(f"{error}; earlier: --checkpoint {earlier}") from error
    return trainer


def load_into(trainer: Trainer, path: Path) -> None:
    """Put a trainer of the same settings where a checkpoint is.

    Raises:
        CheckpointError: the file is missing, damaged, or of other settings.
    """
    restore(partial(_load_trainer, trainer), path)


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


class TrainerSession(Session):
    """What trains by a `Trainer`."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.device = trainer.device
        self.history: list[Metrics] = []

    @property
    def step(self) -> int:
        return self.trainer.position.step

    @property
    def num_steps(self) -> int:
        return self.trainer.num_steps

    @property
    def is_finished(self) -> bool:
        return self.trainer.is_finished

    def in_words(self, metrics: Metrics) -> str:
        bits = f"{metrics['test_bits']:.4f} bits  " if "test_bits" in metrics else ""
        return (
            f"epoch {metrics['epoch']}/{self.trainer.settings.epochs}  "
            f"test {metrics['test_accuracy']:.2%}  {bits}loss {metrics['train_loss']:.4f}  "
            f"{metrics['wall_s']:.1f} s"
        )


class ClassifierSession(TrainerSession):
    """A classifier's run: the trainer, the record, and what watches the steps.

    No checkpoint holds the record: it is the folder's `metrics.jsonl` up to the checkpoint's epoch.
    The best epoch is the one of highest validation accuracy; where no validation images were set
    aside it is that of highest *test* accuracy, and results say so.
    """

    def __init__(
        self, trainer: Trainer, folder: RunFolder, place: Place, callbacks: Sequence[Callback]
    ) -> None:
        super().__init__(trainer)
        self.folder = folder
        self.place = place
        self._callbacks = callbacks
        self._service: ServiceLog | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch is over, or those before it were no better for too long."""
        patience = self.trainer.settings.patience
        return self.trainer.is_finished or (
            patience is not None
            and self.trainer.position.batch == 0
            and epochs_since_best(self.history) >= patience
        )

    def advance(self) -> Metrics | None:
        """Take a step; with the last one of an epoch, evaluate."""
        return self.trainer.advance(self._watching)

    @cached_property
    def _watching(self) -> Sequence[Callback]:
        """All callbacks; those that settings ask for are made where the run begins or goes on."""
        settings, watches = self.trainer.settings, list[Callback]()
        if settings.watch_ranking_distance:
            file = self.folder.ranking_file
            watches.append(RankingWatch(file, self.trainer, settings.watch_every_layer))
        if self.place.tensorboard:
            watches.append(TensorBoardLog(self.folder.tensorboard_folder, self.trainer))
        if self.place.logger is not None:
            library = service_of(self.place.logger)
            self._service = ServiceLog(library, self.folder.path.name, self.trainer)
            watches.append(self._service)
        return [*watches, *self._callbacks]

    def close(self) -> None:
        """Tell who keeps the run's numbers elsewhere that no more come."""
        if self._service is not None:
            self._service.close()

    def is_best(self) -> bool:
        *earlier, last = self.history
        key = selection_key(last)
        return all(last[key] > metrics[key] for metrics in earlier)

    def how_to_resume(self, folder: RunFolder) -> str:
        return f"go on with: {shlex.join(['permtrain', 'resume', str(folder.path)])}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "settings": to_dict(self.trainer.settings),
            "trainer": self.trainer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, with the folder's record up to there.

        Raises:
            CheckpointError: it is of another run, or the record lacks an epoch before it.
        """
        _load_trainer(self.trainer, state)
        epoch = self.trainer.position.epoch
        self.history = [each for each in read_record(self.folder) if each["epoch"] <= epoch]
        epochs = [metrics["epoch"] for metrics in self.history]
        if epochs != list(range(1, epoch + 1)):
            raise CheckpointError(
                f"{self.folder.metrics_file}: holds epochs {epochs}; allowed: 1 to {epoch}, as the "
                "checkpoint; start the run anew"
            )

    def forget_later(self, folder: RunFolder, checkpoint: Path) -> None:
        """Also forget what watched the steps, and the best epoch if that came later.

        Where the checkpoint is of the best epoch up to then, it becomes the best again.
        """
        epoch = self.trainer.position.epoch
        if folder.metrics() == self.history:
            return
        if folder.best_checkpoint.is_file() and _epoch_of(folder.best_checkpoint) > epoch:
            if self.trainer.position.batch == 0 and self.history and self.is_best():
                with written_whole(folder.best_checkpoint) as file:
                    file.write(checkpoint.read_bytes())
            else:
                folder.best_checkpoint.unlink()
        if folder.ranking_file.is_file():
            lines = read_ranking(folder.ranking_file)
            write_lines(folder.ranking_file, [each for each in lines if each["epoch"] <= epoch])
        forget_events(folder.tensorboard_folder, epoch)

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        result = _result(self.trainer, self.history, folder)
        weights = self.trainer.shown_weights()
        write_weights(folder.weights_file, weights)
        try:
            pack(self.trainer.model, folder.packed_file, weights=weights)
        except PackedFileError as error:  # a state that no packed file holds, as complex numbers
            warnings.warn(printable(f"{folder.path} gets no packed file: {error}"), stacklevel=2)
        return result.to_dict()


def _epoch_of(checkpoint: Path) -> float:
    """The epoch of a run's checkpoint; infinity for one that cannot be read."""
    try:
        return int(load_checkpoint(checkpoint)["trainer"]["position"]["epoch"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return math.inf


def _load_trainer(trainer: Trainer, state: dict[str, Any]) -> None:
    if set(state) != {"format", "settings", "trainer"} or state["format"] != 1:
        raise CheckpointError("no checkpoint of a permtrain run, format 1")
    saved, here = stored_settings(state["settings"]), trainer.settings
    if saved != here:
        raise CheckpointError(
            f"is of settings {settings_hash(saved)}; allowed: {settings_hash(here)}"
        )
    trainer.load_state_dict(state["trainer"])


def _result(trainer: Trainer, history: Sequence[Metrics], folder: RunFolder) -> RunResult:
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
        test_bits=last.get("test_bits"),
        validation_bits=last.get("validation_bits"),
    )
