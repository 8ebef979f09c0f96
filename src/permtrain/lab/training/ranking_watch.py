"""A record of how the order of weights changes (Train by Reconnect, figure 3)."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_type_hints

import torch
from annotated_types import Interval
from torch import Tensor

from permtrain.core.arrangement import arrange_vectors
from permtrain.core.cut import Cut
from permtrain.core.granularity import NamedTensor, named_tensors
from permtrain.errors import CheckpointError, SettingError
from permtrain.files import written_whole
from permtrain.lab.training.json_files import json_text, read_lines, require_values, with_nan
from permtrain.lab.training.run_folder import Metrics
from permtrain.lab.training.trainer import Trainer

PERCENTILES = (0.15, 0.5, 0.85)


class _Line(TypedDict):
    """A line of the record; its lists are looked at apart."""

    epoch: Annotated[int, Interval(ge=0)]
    layer: str
    percentiles: list[list[float]]
    lowest: float
    highest: float
    steps: list[int]
    mean: list[float]
    deviation: list[float]


@dataclass
class _Watched:
    """A layer cut into its neurons' weights, their ranks, and the distances since the last line.

    A distance is a mean and a standard deviation, tensors or, where the run was begun before,
    numbers.
    """

    name: str
    parameter: Tensor
    cut: Cut
    ranks_VL: Tensor
    distances: list[tuple[Tensor | float, Tensor | float]] = field(default_factory=list)


class RankingWatch:
    """Watches weight matrices, whose vectors are the weights into each neuron.

    One line for each layer and epoch, and one for the beginning, epoch 0:

        epoch, layer      completed epochs, the parameter's name
        percentiles       15th, 50th, 85th of the values of each vector, three lists of V
        lowest, highest   of all its weights
        steps             the optimizer steps whose distances follow
        mean, deviation   of the ranking distance from the step before, over all weights, divided by
                          the vector's length

    Values are those that the inner optimizer trains, not the arranged ones. Checkpoints in the
    middle of an epoch keep the distances since its beginning.

    Args:
        file: what stands in it up to the trainer's epoch stays.
        trainer: as it begins, or goes on.
        every_layer: watch all layers, not the first one alone.

    Cost: one sort of each watched layer a step (0.7 ms for 100 vectors of 784, one core).
    Raises:
        SettingError: the network has no weight of two or more dimensions.
        CheckpointError: the file is damaged.
    """

    def __init__(self, file: Path, trainer: Trainer, every_layer: bool = False) -> None:
        self.file = file
        weights = [tensor for tensor in named_tensors(trainer.model) if tensor.is_weight]
        if not weights:
            raise SettingError("the network has no weight matrix whose ranking could be watched")
        self._trainer = trainer
        self._layers = [
            self._watched(tensor) for tensor in (weights if every_layer else weights[:1])
        ]
        self._steps: list[int] = []
        trainer.gather["ranking"] = self._gathered
        self._take_up(trainer.gathered.get("ranking"))
        epoch = trainer.position.epoch
        lines = read_ranking(file) if file.is_file() else []
        self._lines = [line for line in lines if line["epoch"] <= epoch]
        if not self._lines:
            self._add_lines(epoch)

    def _gathered(self) -> dict[str, Any]:
        """The distances since the last line, as plain data."""
        distances = {layer.name: _numbers(layer.distances) for layer in self._layers}
        return {"steps": list(self._steps), "distances": distances}

    def _take_up(self, gathered: dict[str, Any] | None) -> None:
        if gathered is None:
            return
        self._steps = list(gathered["steps"])
        for layer in self._layers:
            layer.distances = list(gathered["distances"][layer.name])

    def _watched(self, tensor: NamedTensor) -> _Watched:
        parameter = tensor.parameter
        cut = tensor.cut.at("neuron")
        trained_VL = cut.to_vectors(self._trained(tensor.name, parameter))
        return _Watched(tensor.name, parameter, cut, _ranks(trained_VL))

    def _trained(self, name: str, parameter: Tensor) -> Tensor:
        """What the inner optimizer trains: the latent weights or the scores, where it has some."""
        return self._trainer.method.scores.get(name, parameter).detach()

    def after_step(self, trainer: Trainer) -> None:
        for layer in self._layers:
            ranks_VL = _ranks(layer.cut.to_vectors(self._trained(layer.name, layer.parameter)))
            distance = (ranks_VL - layer.ranks_VL).abs_().double() / ranks_VL.shape[1]
            layer.distances.append((distance.mean(), distance.std(correction=0)))
            layer.ranks_VL = ranks_VL
        self._steps.append(trainer.position.step)

    def after_epoch(self, trainer: Trainer, metrics: Metrics) -> None:
        if not self.file.is_file():
            raise CheckpointError(
                f"{self.file}: was removed while the run went on, which ends here"
            )
        self._add_lines(metrics["epoch"])

    def _add_lines(self, epoch: int) -> None:
        for layer in self._layers:
            values_VL = layer.cut.to_vectors(self._trained(layer.name, layer.parameter)).double()
            marks = torch.tensor(PERCENTILES, dtype=torch.float64, device=values_VL.device)
            self._lines.append(
                {
                    "epoch": epoch,
                    "layer": layer.name,
                    "percentiles": torch.quantile(values_VL, marks, dim=1).tolist(),
                    "lowest": float(values_VL.min()),
                    "highest": float(values_VL.max()),
                    "steps": self._steps,
                    "mean": [mean for mean, _ in _numbers(layer.distances)],
                    "deviation": [deviation for _, deviation in _numbers(layer.distances)],
                }
            )
            layer.distances = []
        self._steps = []
        with written_whole(self.file) as file:
            file.write("".join(json_text(line) + "\n" for line in self._lines).encode())


def _numbers(pairs: list[tuple[Tensor | float, Tensor | float]]) -> list[tuple[float, float]]:
    return [(float(mean), float(deviation)) for mean, deviation in pairs]


def _ranks(w_VL: Tensor) -> Tensor:
    """Each weight's rank in its vector, (V, L), whole numbers in floating point.

    Ranks are what 0 to L - 1 becomes when it is laid out in the order of the weights, and that is
    compiled: 30 times as fast as `ranking`.
    """
    if w_VL.element_size() < 4:  # 16 bits hold no ranks; the order stays
        w_VL = w_VL.float()
    places_1L = torch.arange(w_VL.shape[1], dtype=w_VL.dtype, device=w_VL.device)[None]
    return arrange_vectors(places_1L, w_VL)


def ranking_summary(file: Path) -> dict[str, Any]:
    """A record of one layer in a few columns of results.

    Returns:
        ranking_distance, ranking_deviation: means over all steps.
        ranking_distance_at: mean over the steps of each epoch, as "1=0.002 2=0.001".
        weight_percentiles_first, weight_percentiles_last: 15th, 50th, 85th percentile of the values
            of a vector before and after training, means over the vectors.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    lines = read_ranking(file)
    lines = [line for line in lines if line["layer"] == lines[0]["layer"]]
    watched = [line for line in lines if line["mean"]]

    def of_all_steps(key: str) -> float:
        return float(f"{statistics.fmean(x for line in watched for x in line[key]):.6g}")

    def percentiles(line: dict[str, Any]) -> str:
        return " ".join(f"{statistics.fmean(each):.4f}" for each in line["percentiles"])

    return {
        "ranking_distance": of_all_steps("mean"),
        "ranking_deviation": of_all_steps("deviation"),
        "ranking_distance_at": " ".join(
            f"{line['epoch']}={statistics.fmean(line['mean']):.4g}" for line in watched
        ),
        "weight_percentiles_first": percentiles(lines[0]),
        "weight_percentiles_last": percentiles(lines[-1]),
    }


def read_ranking(file: Path) -> list[dict[str, Any]]:
    """The lines of a record.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    lines = list(map(with_nan, read_lines(file)))
    if not lines:
        raise CheckpointError(f"{file}: holds no line")
    for number, line in enumerate(lines, 1):
        where = f"{file}: line {number}"
        require_values(line, _Line, where, get_type_hints(_Line))
        lists = [line["steps"], line["mean"], line["deviation"], *line["percentiles"]]
        if len(line["percentiles"]) != len(PERCENTILES) or not all(map(_are_numbers, lists)):
            raise CheckpointError(f"{where}: holds lists of something else; allowed: of numbers")
        if not len(line["steps"]) == len(line["mean"]) == len(line["deviation"]):
            raise CheckpointError(f"{where}: holds steps, mean and deviation of unequal length")
    return lines


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(each) in (int, float) for each in values)
