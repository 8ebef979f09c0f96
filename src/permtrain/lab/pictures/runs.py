"""A run's weights before its first step and after its last, cut as the run cuts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from permtrain.core.cut import Cut
from permtrain.core.granularity import named_tensors
from permtrain.errors import PictureError
from permtrain.lab.pictures.weights import (
    Kernels,
    Layers,
    as_numpy,
    kernels_of,
    read_state,
    rows_by_unit,
)
from permtrain.lab.training.birth import newborn_network
from permtrain.lab.training.optimizers import attach, make_optimizer
from permtrain.lab.training.origin import outline_of
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.settings import Place, Settings
from permtrain.lab.training.trainer import load_data
from permtrain.optim.method import Method


@dataclass(frozen=True, eq=False)
class RunWeights:
    """All tensors of a run's model, twice, and how they are cut.

    Attributes:
        method: of the run.
        before, after: tensors by name; before is drawn anew from the settings.
        units: every weight of two or more dimensions, cut into the inputs of its output units.
        permuting: the run's method, which knows the vectors that it permutes.
    """

    method: str
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    units: dict[str, Cut]
    permuting: Method

    def by_unit(self) -> tuple[Layers, Layers]:
        """Every weight as (output units, inputs), before and after."""
        return self._by_unit(self.before), self._by_unit(self.after)

    def kernels(self) -> Kernels:
        """The sides of the kernels of every weight."""
        return kernels_of(self.units)

    def by_vector(self) -> tuple[Layers, Layers]:
        """Every weight as (V, L) of its weight vectors, before and after.

        Those that the run does not permute are cut into the inputs of their output units.
        """
        return self._by_vector(self.before), self._by_vector(self.after)

    def _by_unit(self, state: Mapping[str, Tensor]) -> Layers:
        return {name: rows.to_vectors(as_numpy(state[name])) for name, rows in self.units.items()}

    def _by_vector(self, state: Mapping[str, Tensor]) -> Layers:
        vectors = self.permuting.vectors(state)
        return self._by_unit(state) | {
            name: as_numpy(each) for name, each in vectors.items() if name in self.units
        }


def run_weights(path: Path, *, trust_model: bool = False) -> RunWeights:
    """The weights of a complete run.

    Its network is built anew. For data of one's own, which say how large images are, and for a
    network of one's own, these have to be where they were.

    Args:
        trust_model: as in `load_run`.

    Randomness: torch's global generator stays as it is.
    Raises:
        PictureError: no folder, or a run that is not complete.
        CheckpointError, SettingError, DataError: settings that cannot be read, or no longer fit.
    """
    if not path.is_dir():
        raise PictureError(f"{path}: only the folder of a run tells the weights before training")
    after = read_state(path)
    folder = RunFolder(path, trust_model)
    settings = folder.settings()
    import_from = folder.import_from()
    image_shape, num_classes = _images_of(folder, settings)
    with torch.random.fork_rng(devices=[]):
        model = newborn_network(settings, image_shape, num_classes, folder.trained(), import_from)
        optimizer = make_optimizer(settings, model)
        method = attach(settings.permutation, optimizer, model, settings.seed)
    units = {
        tensor.name: rows_by_unit(tuple(tensor.parameter.shape), tensor.cut)
        for tensor in named_tensors(model)
        if tensor.parameter.dim() >= 2 and tensor.parameter.numel()
    }
    return RunWeights(
        settings.permutation.method,
        dict(model.state_dict()),
        after,
        units,
        method,
    )


def _images_of(folder: RunFolder, settings: Settings) -> tuple[tuple[int, int, int], int]:
    """The shape of the run's images, and how many classes they have."""
    data = outline_of(settings, folder.origin()) or load_data(settings, folder.place(Place()))
    return data.image_shape, data.num_classes
