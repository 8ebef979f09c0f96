"""The kinds of picture that `permtrain plot` draws. It imports cheaply."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from permtrain.packed.ceilings import DEFAULT_CEILINGS, Ceilings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing: TypeAlias = "tuple[Figure, list[str]]"
"""A figure, and what is to be said beside it."""


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        sources: files and folders, one or more.
        layer: its name in the checkpoint; None takes all, or the largest where one is drawn.
        vector: number of a weight vector in that layer.
        seed: of whatever is drawn by chance.
        trust_model: as in `load_run`.
        ceilings: what a checkpoint may claim.
    """

    sources: tuple[Path, ...]
    layer: str | None = None
    vector: int = 0
    seed: int = 0
    trust_model: bool = False
    ceilings: Ceilings = DEFAULT_CEILINGS

    @property
    def source(self) -> Path:
        return self.sources[0]


@dataclass(frozen=True)
class PictureKind:
    """One kind of picture.

    Attributes:
        function: its name in `permtrain.lab.pictures.drawings`, from a `Request` to a `Drawing`.
        source: what it is drawn from.
        description: one line.
        takes_many: several sources make one picture.
    """

    function: str
    source: str
    description: str
    takes_many: bool = False


_CHECKPOINT, _RUN = "a checkpoint", "a run folder"

KINDS: dict[str, PictureKind] = {
    "profiles": PictureKind(
        "profiles",
        _CHECKPOINT,
        "sorted weight vectors of every layer laid over each other; with --layer, unsorted too",
    ),
    "profile-3d": PictureKind(
        "profile_3d", _CHECKPOINT, "one layer's vectors in 3-D, unsorted and sorted"
    ),
    "histogram": PictureKind(
        "histogram", _CHECKPOINT, "weights of the whole network and per layer; of a run, before too"
    ),
    "neurons": PictureKind(
        "neurons",
        _CHECKPOINT,
        "the weights into each neuron as a heat map, kernels as tiles; of a run, before too",
    ),
    "heat-map": PictureKind(
        "heat_map", _CHECKPOINT, "a layer's whole matrix; of a run, before too"
    ),
    "connections": PictureKind(
        "connections",
        _CHECKPOINT,
        "which weights of a sparse layer are not zero, with a zoom; of a run, before too",
    ),
    "cycles": PictureKind("cycles", _RUN, "one vector's permutation as cycles on a circle"),
    "arrows": PictureKind("arrows", _RUN, "one vector before and after, joined by arrows"),
    "graph": PictureKind(
        "graph", _RUN, "which moves SGPerm would permit among some weights, and the cycles it finds"
    ),
    "partition": PictureKind(
        "partition",
        _CHECKPOINT,
        "some weights drawn at random, as SGPerm draws them, on heat map and profile",
    ),
    "ranking-distance": PictureKind(
        "ranking_distance",
        "run folders trained with --watch-ranking-distance",
        "how far weights change rank at each step, beside their values and the loss",
        takes_many=True,
    ),
    "curves": PictureKind(
        "curves",
        "run folders, or CSV results",
        "learning curves, a panel for each data set, bands over seeds",
        takes_many=True,
    ),
    "bytes": PictureKind(
        "bytes_", "CSV results", "test accuracy against bytes of the file", takes_many=True
    ),
    "error-width": PictureKind(
        "error_width",
        "CSV results of regression",
        "error against width, with slopes",
        takes_many=True,
    ),
    "image-grid": PictureKind(
        "image_rows",
        "a complete run that permutes pixels",
        "original, shuffled, recovered images and the order of the label's mean image",
    ),
    "images": PictureKind("images", "a data set's name or folder", "a grid of test images"),
}
