"""Hugging Face's Trainer: a callback that attaches a permuter and keeps its checkpoints whole."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from permtrain.core.names import unwrapped
from permtrain.errors import ChangedWeightsError, CheckpointError
from permtrain.files import written_whole
from permtrain.integrations.showing import Attach, Showing, go_on_from
from permtrain.optim.permuter import Permuter

FILE = "permuter.pt"
"""The permuter's file in a checkpoint's folder."""


class PermuterCallback(TrainerCallback):
    """Attaches a permuter when training begins, and shows arranged weights where they are used.

    Evaluation, checkpoints, `load_best_model_at_end` and the model after training get arranged
    weights. A checkpoint holds the permuter's state and the training weights beside them, in
    `permuter.pt`, so that `train(resume_from_checkpoint=...)` goes on bit for bit.

    Args:
        attach: makes the permuter from an optimizer and a model.
        resume_from: the checkpoint's folder, where neither the Trainer's arguments name it nor it
            is the one of its step in `output_dir`.

    Attributes:
        permuter: the permuter, from the beginning of training on.

    Put it last among callbacks that decide when to evaluate and save. `trainer.evaluate()` called
    in mid-training by a callback of yours belongs inside `with callback.permuter.arranged():`.

    Raises:
        CheckpointError: training is resumed from a checkpoint without the permuter's file.
        ChangedWeightsError: the best model was not saved with this callback, and is no permutation.

    Example:
        >>> from functools import partial
        >>> from permtrain import LaPerm
        >>> callback = PermuterCallback(partial(LaPerm, sync_period=20))
        >>> # Trainer(model, arguments, train_dataset=..., callbacks=[callback]).train()
    """

    def __init__(self, attach: Attach, *, resume_from: Path | str | None = None) -> None:
        self.attach = attach
        self.resume_from = resume_from
        self.permuter: Permuter | None = None
        self._showing: Showing | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Attaches, and goes on from the checkpoint if there is one."""
        if self._showing is not None:  # a training before, which was broken off
            self._showing.abandon()
            self._showing.permuter.detach()
        self.permuter = self.attach(given["optimizer"], model=unwrapped(given["model"]))
        self._showing = Showing(self.permuter)
        if state.global_step:
            go_on_from(self.permuter, self._saved(args, state))

    def on_step_begin(self, *args: Any, **given: Any) -> None:
        """Back to the training weights."""
        if self._showing is not None:
            self._showing.end()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Arranged weights, if an evaluation or a checkpoint follows."""
        if self._showing is not None and (control.should_evaluate or control.should_save):
            self._showing.begin()

    on_epoch_end = on_step_end

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Writes the training state beside the model."""
        if self._showing is None or not state.is_world_process_zero or args.save_only_model:
            return
        self._showing.begin()
        if not state.is_hyper_param_search:  # which is not resumed
            with written_whole(_folder(args, state) / FILE) as file:
                torch.save(self._showing.state, file)
        self._showing.end()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Leaves the model arranged: the best one, or the last."""
        if self._showing is None or self.permuter is None:
            return
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._showing.abandon()
            held = self.permuter.intact(self.permuter.parameters)
            if changed := [name for name, vectors in held.items() if not bool(vectors.all())]:
                raise ChangedWeightsError(
                    f"{changed[0]}: the best model, {state.best_model_checkpoint}, holds no "
                    "permutation of the initial values; allowed: a checkpoint made with this "
                    "callback"
                )
        else:
            self._showing.end()
            self.permuter.synchronize()
        self.permuter.detach()
        self._showing = None

    def _saved(self, args: TrainingArguments, state: TrainerState) -> dict[str, Any]:
        given = [self.resume_from, args.resume_from_checkpoint, _folder(args, state)]
        folders = [Path(each) for each in given if isinstance(each, Path | str)]
        for folder in folders:
            if (folder / FILE).is_file():
                saved: dict[str, Any] = torch.load(folder / FILE, map_location="cpu")
                return saved
        raise CheckpointError(
            f"training goes on at step {state.global_step}, and there is no {FILE} in "
            f"{', '.join(map(str, folders))}; allowed: a checkpoint made with this callback, its "
            "folder given as resume_from if it was moved"
        )


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
