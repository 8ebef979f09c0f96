"""A run's checkpoints looked at: the invariant checked anew, and each layer on its way."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.core.granularity import decide, named_tensors
from permtrain.errors import CheckpointError, DataError, PermtrainError
from permtrain.lab.data.images import Split
from permtrain.lab.pictures.numbers.arrays import evenly
from permtrain.lab.pictures.numbers.movement import LayerMovement, most_states, movement
from permtrain.lab.training.confusion import MOST_CLASSES, Mistaken, by_class
from permtrain.lab.training.run import (
    load_into,
    load_run,
    verify_trainer,
    verify_weights_file,
)
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place
from permtrain.lab.training.trainer import Trainer
from permtrain.lab.training.travel import Travel
from permtrain.verification import Verification


@dataclass(frozen=True)
class Inspection:
    """What a run's checkpoints show.

    Attributes:
        layers: how each moved; empty where nothing could be looked at.
        step: of the checkpoint that was verified.
        verification: of the last checkpoint's weights; None where the method permutes nothing.
        verified: what was verified, in words.
        file_verification: of weights.safetensors; None where there is none, too.
        travel: None where the weights are not those of the beginning, too.
        classes: of a complete run, whose test images are in memory, what each class of them is
            taken for; empty of others.
        matrix: the confusion matrix, where it can be read: a row for each class, a column for each
            that images are taken for.
        hindrance: why nothing could be looked at, in words.
    """

    layers: list[LayerMovement] = field(default_factory=list)
    step: int | None = None
    verification: Verification | None = None
    verified: str | None = None
    file_verification: Verification | None = None
    travel: Travel | None = None
    classes: list[Mistaken] = field(default_factory=list)
    matrix: list[list[int]] = field(default_factory=list)
    hindrance: str | None = None

    @property
    def intact(self) -> bool | None:
        """Whether all that was verified holds its initial values; None if nothing was."""
        found = [each for each in (self.verification, self.file_verification) if each is not None]
        return all(map(bool, found)) if found else None


class Inspector:
    """Looks at one run, again and again while it goes on.

    What an earlier look saw stays, so that a live view keeps checkpoints that the run has removed.

    Attributes:
        notes: what has changed since the run was begun.
    """

    def __init__(self, folder: RunFolder, place: Place) -> None:
        self.folder = folder
        self.place = place
        self.notes: list[str] = []
        self._trainer: Trainer | None = None
        self._was_complete = False
        self._seen: dict[Path, tuple[int, dict[str, Tensor]]] = {}

    def look(self) -> Inspection:
        """The run as it stands. What a user can get wrong becomes `Inspection.hindrance`."""
        try:
            return self._look()
        except (PermtrainError, OSError) as error:
            return Inspection(hindrance=str(error))

    def _look(self) -> Inspection:
        if self._trainer is None or self.folder.is_complete != self._was_complete:
            self._was_complete = self.folder.is_complete
            self._trainer = self._loaded()
        trainer = self._trainer
        shown = trainer.method.cuts or _weight_cuts(trainer)
        saved = self.folder.numbered_checkpoints()
        most = most_states(len(shown))
        for path in (saved[place] for place in evenly(len(saved), most)):
            if path not in self._seen:
                self._see(path, shown)
        load_into(trainer, self.folder.last_checkpoint())
        born = trainer.initial_weights()
        later = sorted(self._seen.values(), key=lambda state: state[0])
        states = [(0, born), *(later[place] for place in evenly(len(later), most))]
        verified = verify_trainer(trainer)
        in_file = None
        if verified is not None and self.folder.is_complete and self.folder.weights_file.is_file():
            in_file = verify_weights_file(trainer, self.folder.weights_file)
        classes, matrix = self._classes(trainer)
        return Inspection(
            layers=movement(states, shown),
            classes=classes,
            matrix=matrix,
            step=trainer.position.step,
            verification=None if verified is None else verified[0],
            verified=None if verified is None else str(verified[0]),
            file_verification=in_file,
            travel=None if verified is None else verified[1],
        )

    def _loaded(self) -> Trainer:
        """With its images if the run is complete and they are there, so that classes are told."""
        self.notes.clear()
        load = partial(
            load_run,
            self.folder.path,
            self.place,
            trust_model=self.folder.trust_model,
            say=self.notes.append,
        )
        if self._was_complete:
            with suppress(DataError):
                return load()
        return load(images=False)

    def _classes(self, trainer: Trainer) -> tuple[list[Mistaken], list[list[int]]]:
        """Evaluates once more, which a run that goes on, or one of many images, is spared."""
        split = trainer.test_split
        if not self.folder.is_complete or not isinstance(split, Split):
            return [], []
        _, counts_CC = trainer.confusion(split)
        is_readable = len(counts_CC) <= MOST_CLASSES
        return by_class(counts_CC, trainer.class_names), counts_CC.tolist() if is_readable else []

    def _see(self, path: Path, cuts: dict[str, Cut]) -> None:
        assert self._trainer is not None
        try:
            load_into(self._trainer, path)
        except CheckpointError:
            if not path.is_file():  # the run has removed it meanwhile
                return
            raise
        weights = self._trainer.shown_weights()
        self._seen[path] = (self._trainer.position.step, {name: weights[name] for name in cuts})


def _weight_cuts(trainer: Trainer) -> dict[str, Cut]:
    """The weights of a method that permutes nothing, cut as the papers do.

    Neurons with a single input have no vectors: of them the layer is one.
    """
    tensors = named_tensors(trainer.model)
    cuts = {tensor.name: decide(tensor, ("neuron", "layer", None)).cut for tensor in tensors}
    return {name: cut for name, cut in cuts.items() if cut is not None}
