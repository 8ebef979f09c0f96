"""Whatever can be stopped and resumed, from start to result, in its folder.

A `Session` says how to take a step and what its state is. `compute` does the rest, for all of them:
it finds the last checkpoint, loads it, takes the steps, shows how far they are, writes the record,
saves and prunes checkpoints, stops on a signal, and writes the result last.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from permtrain.errors import CheckpointError
from permtrain.lab.training.checkpoint import DamagedError, restore, save_checkpoint
from permtrain.lab.training.display import Display
from permtrain.lab.training.environment import environment_beside, note_resumed
from permtrain.lab.training.json_files import write_json, write_lines
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.settings import Place
from permtrain.lab.training.stopping import Interrupted, stop_on_signal


class Session(ABC):
    """A computation in memory that can stop between two steps and go on from there, bit for bit.

    Attributes:
        device: where it computes.
        history: the lines of its record up to here. `compute` adds to it; loading a state sets it.
    """

    device: torch.device
    history: list[Metrics]

    @property
    @abstractmethod
    def step(self) -> int:
        """How many steps are done, which names the checkpoint. Never falls."""

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """How many steps there are."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do but `finish`."""
        return self.step == self.num_steps

    @abstractmethod
    def advance(self) -> Metrics | None:
        """Compute up to the next point where it can stop; a line for the record if one is due."""

    @abstractmethod
    def finish(self, folder: RunFolder) -> dict[str, Any]:
        """Write the files that a complete run leaves, and return its result as plain data."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything to go on bit for bit, as plain data and tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            CheckpointError: it is of another computation.
        """

    def forget_later(self, folder: RunFolder, checkpoint: Path) -> None:  # noqa: B027 (nothing)
        """Remove from the folder what the session has made there beyond a checkpoint just loaded.

        Record, checkpoints by number and the files of the end are removed for it.
        """

    def is_best(self) -> bool:
        """Whether the last line of the history is the best so far; never where no best is kept."""
        return False

    def in_words(self, metrics: Metrics) -> str:
        """A line of the record, as a display says it."""
        return "  ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in metrics.items()
        )

    def how_to_resume(self, folder: RunFolder) -> str:
        """What a user who stopped it is told."""
        return "the same command goes on"


def compute(
    session: Session,
    folder: RunFolder,
    place: Place,
    display: Display,
    *,
    resumed: bool,
    checkpoint: Path | None = None,
    strict: bool = False,
) -> None:
    """Take a session from where its folder stands to its result.

    Whoever calls holds the folder against other processes. Files are written in an order that lets
    a run that is killed in between go on: the record, the best checkpoint, then the numbered one.

    Args:
        session: as it begins.
        resumed: the folder was begun before, which is noted there.
        checkpoint: where to go on from; None for the last checkpoint, or the beginning.
        strict: refuse to go on where sums would be rounded otherwise than at the beginning, as
            with another number of threads; else a line says so.

    Raises:
        SettingError: so it is; the folder stays as it was.
        CheckpointError: a checkpoint or the record is damaged, or of another computation; or the
            folder or its record was removed meanwhile.
        Interrupted: the user stopped it; all that was done is kept.
    """
    now: dict[str, Any] = {}
    if resumed:
        now = environment_beside(folder.environment_file, session.device, place, strict=strict)
    _take_up(session, folder, checkpoint)
    if resumed:
        note_resumed(folder.environment_file, now)
    if otherwise := now.get("rounds_otherwise"):
        display.note(f"goes on with {otherwise}: sums round otherwise, no longer bit for bit")
    begun = _stamp(folder)
    with stop_on_signal() as stop_requested:
        while not session.is_finished:
            before = session.step
            metrics = session.advance()
            display.show(session.step, session.num_steps)
            is_due = _is_due(place.checkpoint_steps, before, session.step)
            if metrics is not None or is_due or stop_requested():
                _require_unremoved(folder, begun)
            if metrics is not None:
                session.history.append(metrics)
                write_lines(folder.metrics_file, session.history)
                if session.is_best():
                    save_checkpoint(folder.best_checkpoint, session.state_dict())
            if metrics is not None or is_due:
                save(session, folder, place.keep_checkpoints)
            if metrics is not None:  # afterwards, as nobody may be there to read it
                display.say(session.in_words(metrics))
            if stop_requested():
                saved = save(session, folder, place.keep_checkpoints)
                how = session.how_to_resume(folder)
                raise Interrupted(f"stopped; saved {saved}; {how}")
    _keep_newest(folder, place.keep_checkpoints)  # one more where it was killed while it saved
    result = session.finish(folder)
    _require_unremoved(folder, begun)
    write_json(folder.result_file, result)


def _stamp(folder: RunFolder) -> bytes | None:
    """What tells a run's folder from one that takes its place: when and with what it was begun."""
    try:
        return folder.environment_file.read_bytes()
    except FileNotFoundError:
        return None


def _require_unremoved(folder: RunFolder, begun: bytes | None) -> None:
    """Refuse to write where a run was: half of one would be left, which says that it is whole."""
    if not folder.path.is_dir() or _stamp(folder) != begun:
        raise CheckpointError(
            f"{folder.path}: was removed or replaced while the run went on, which ends here"
        )
    if not folder.metrics_file.is_file():
        raise CheckpointError(
            f"{folder.metrics_file}: was removed while the run went on, which ends here; "
            f"{folder.path} lacks its record now, start the run anew"
        )


def save(session: Session, folder: RunFolder, keep: int) -> Path:
    """Write a checkpoint, and remove all but the newest few."""
    path = folder.checkpoint_after(session.step)
    save_checkpoint(path, session.state_dict())
    _keep_newest(folder, keep)
    return path


def _keep_newest(folder: RunFolder, keep: int) -> None:
    for old in folder.numbered_checkpoints()[:-keep]:
        old.unlink()


def _take_up(session: Session, folder: RunFolder, checkpoint: Path | None) -> None:
    """Put a session where a checkpoint is, and forget what the folder holds beyond it."""
    saved = folder.numbered_checkpoints()
    if checkpoint is not None or saved:
        checkpoint = checkpoint or saved[-1]
        try:
            restore(session.load_state_dict, checkpoint)
        except DamagedError as error:
            before = folder.checkpoint_before(checkpoint)
            if before is None:
                raise
            raise DamagedError(f"{error}; remove it to go on from {before}") from error
        session.forget_later(folder, checkpoint)
    for file in folder.files_of_end:
        file.unlink(missing_ok=True)
    for later in saved:
        if later.name > folder.checkpoint_after(session.step).name:
            later.unlink()
    write_lines(folder.metrics_file, session.history)


def _is_due(every: int | None, before: int, now: int) -> bool:
    """Whether a multiple of `every` lies among the steps just done.

    Example:
        >>> [_is_due(10, before, before + 4) for before in (0, 4, 8, 12)]
        [False, False, True, False]
    """
    return every is not None and before // every < now // every
