"""A record of how the order of weights changes (Train by Reconnect, figure 3)."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from permtrain.core.plan import named_tensors
from permtrain.core.ranking import ranking
from permtrain.core.vectors import VectorView
from permtrain.errors import CheckpointError, SettingError, one_line
from permtrain.files import written_whole
from permtrain.optim.permuter import Permuter
from permtrain.optim.supermask import Supermask
from permtrain.training.trainer import Metrics, Trainer

PERCENTILES = (0.15, 0.5, 0.85)


class RankingWatch:
    """Watches the first weight matrix, whose vectors are the weights into each neuron.

    One line an epoch, and one for the beginning, epoch 0:

        epoch, layer      completed epochs, the parameter's name
        percentiles       15th, 50th, 85th of the values of each vector, three lists of V
        lowest, highest   of all its weights
        steps             the optimizer steps whose distances follow
        mean, deviation   of the ranking distance from the step before, over all weights, divided by
                          the vector's length

    Values are those that the inner optimizer trains: the weights themselves, latent weights, or
    the scores of a supermask; not the arranged ones. Of equal values the first ranks lower. A run
    that goes on from the middle of an epoch lacks the steps of that epoch that came before.

    Args:
        file: what stands in it up to the trainer's epoch stays.
        trainer: as it begins, or goes on.

    Raises:
        SettingError: the network has no weight of two or more dimensions.
        CheckpointError: the file is damaged.
    """

    def __init__(self, file: Path, trainer: Trainer) -> None:
        self.file = file
        weights = [tensor for tensor in named_tensors(trainer.model) if tensor.is_weight]
        if not weights:
            raise SettingError("the network has no weight matrix whose ranking could be watched")
        self.layer, self._parameter = weights[0].name, weights[0].parameter
        self._view = VectorView(tuple(self._parameter.shape), "neuron", weights[0].layout)
        self._trainer = trainer
        self._ranks = ranking(self._vectors)
        self._steps: list[int] = []
        self._distances: list[tuple[Tensor, Tensor]] = []
        epoch = trainer.position.epoch
        lines = read_ranking(file) if file.is_file() else []
        self._lines = [line for line in lines if line["epoch"] <= epoch]
        if not self._lines:
            self._add_line(epoch)

    @property
    def _vectors(self) -> Tensor:
        return self._view.to_vectors(self._weight)

    @property
    def _weight(self) -> Tensor:
        """What the inner optimizer trains: the latent weights or the scores, where it has some."""
        attached = self._trainer.attached
        if isinstance(attached, Permuter):
            for tensor in attached.tensors:
                if tensor.parameter is self._parameter:
                    return tensor.scores.detach()
        if isinstance(attached, Supermask):
            for weight, scores in zip(attached.weights, attached.scores, strict=True):
                if weight is self._parameter:
                    return scores
        return self._parameter.detach()

    def after_step(self, trainer: Trainer) -> None:
        ranks = ranking(self._vectors)
        length = ranks[0].numel()
        distance = (ranks - self._ranks).abs().double() / length
        self._distances.append((distance.mean(), distance.std(correction=0)))
        self._steps.append(trainer.position.step)
        self._ranks = ranks

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        self._add_line(metrics["epoch"])

    def _add_line(self, epoch: int) -> None:
        values_VL = self._vectors.double()
        marks = torch.tensor(PERCENTILES, dtype=torch.float64, device=values_VL.device)
        self._lines.append(
            {
                "epoch": epoch,
                "layer": self.layer,
                "percentiles": torch.quantile(values_VL, marks, dim=1).tolist(),
                "lowest": float(values_VL.min()),
                "highest": float(values_VL.max()),
                "steps": self._steps,
                "mean": [float(mean) for mean, _ in self._distances],
                "deviation": [float(deviation) for _, deviation in self._distances],
            }
        )
        self._steps, self._distances = [], []
        with written_whole(self.file) as file:
            file.write("".join(json.dumps(line) + "\n" for line in self._lines).encode())


def read_ranking(file: Path) -> list[dict[str, Any]]:
    """The lines of a record.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not readable as JSON lines ({one_line(error)})") from None
