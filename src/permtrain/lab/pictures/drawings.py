"""From a request to a figure: reads the sources, chooses layer and vector, and draws."""

import numpy as np

from permtrain.errors import PermtrainError, PictureError
from permtrain.lab.data.load import load_images
from permtrain.lab.data.registry import DATASETS
from permtrain.lab.pictures.curves import draw_bytes, draw_panels
from permtrain.lab.pictures.error_width import draw_error_width
from permtrain.lab.pictures.graphs import draw_graph, draw_partition
from permtrain.lab.pictures.heat_maps import draw_connections, draw_matrix, draw_neurons
from permtrain.lab.pictures.histograms import draw_histograms
from permtrain.lab.pictures.images import draw_image_rows, draw_images
from permtrain.lab.pictures.numbers.arrays import Floats, row_of
from permtrain.lab.pictures.numbers.cycles import rank_cycles
from permtrain.lab.pictures.numbers.graphs import subset_graph, subset_of
from permtrain.lab.pictures.numbers.power_law import power_law
from permtrain.lab.pictures.numbers.profiles import profile_similarity
from permtrain.lab.pictures.permutations import draw_arrows, draw_cycles
from permtrain.lab.pictures.profiles import draw_profile_3d, draw_profile_sorting, draw_profiles
from permtrain.lab.pictures.ranking_distance import draw_ranking_distance
from permtrain.lab.pictures.records import (
    curves_of,
    errors_by_width,
    labels_of,
    ranking_history,
    recovered_images,
    sized_scores,
)
from permtrain.lab.pictures.registry import Drawing, Request
from permtrain.lab.pictures.runs import run_weights
from permtrain.lab.pictures.weights import Kernels, Layers, read_layers, read_units
from permtrain.lab.training.run_folder import RunFolder
from permtrain.text import alike

PARTITION_RATIO = 0.05
"""lambda at the beginning of SGPerm's published runs."""

AGGRESSIVENESS = 0.15
"""alpha, likewise."""

SIMILARITY = (
    "similarity of profiles: how alike a layer's sorted vectors are, from 0 to 1, where all hold "
    "the same values"
)

_NUM_IMAGES = 64
_MOST_LENGTHS = 20
_FEWEST_IN_SUBSET, _MOST_IN_SUBSET = 12, 280
"""So that a graph has something to show, and room for it."""


def profiles(request: Request) -> Drawing:
    layers, notes = _vectors(request)
    if request.layer is not None:
        name = _layer(layers, request)
        layers = {name: layers[name]}
    figure = (
        draw_profiles(layers) if request.layer is None else draw_profile_sorting(layers[name], name)
    )
    return figure, [*notes, SIMILARITY] + [
        f"  {name}: {profile_similarity(w_VL):.6f} ({w_VL.shape[0]} vectors of {w_VL.shape[1]})"
        if len(w_VL) > 1
        else f"  {name}: a single vector of {w_VL.shape[1]}"
        for name, w_VL in layers.items()
    ]


def profile_3d(request: Request) -> Drawing:
    layers, notes = _vectors(request)
    name, w_VL = _chosen(layers, request)
    return draw_profile_3d(w_VL, name), notes


def histogram(request: Request) -> Drawing:
    before, after, _, notes = _units(request)
    if request.layer is not None:
        name = _layer(after, request)
        after = {name: after[name]}
    if before is not None:
        before = {name: before[name] for name in after}
    return draw_histograms(after, before), notes


def neurons(request: Request) -> Drawing:
    before, after, kernels, notes = _units(request)
    name, after_VL = _chosen(after, request)
    before_VL = None if before is None else before[name]
    return draw_neurons(after_VL, name, before_VL, kernels[name]), notes


def heat_map(request: Request) -> Drawing:
    name, before_VL, after_VL, notes = _unit_pair(request)
    return draw_matrix(after_VL, name, before_VL), notes


def connections(request: Request) -> Drawing:
    name, before_VL, after_VL, notes = _unit_pair(request)
    figure = draw_connections(after_VL, name, before_VL)
    return figure, [*notes, f"{name}: {np.mean(after_VL != 0):.2%} of the weights are not zero"]


def cycles(request: Request) -> Drawing:
    title, before_L, after_L = _vector_pair(request)
    found = rank_cycles(before_L, after_L)
    figure = draw_cycles(found, title)
    lengths = [len(cycle) for cycle in found.cycles]
    longest = ", ".join(map(str, lengths[:_MOST_LENGTHS]))
    others = len(lengths) - _MOST_LENGTHS
    more = f" and {others} shorter" if others > 0 else ""
    return figure, [f"{title}: cycles of {longest}{more}"]


def arrows(request: Request) -> Drawing:
    title, before_L, after_L = _vector_pair(request)
    return draw_arrows(before_L, after_L, title), []


def graph(request: Request) -> Drawing:
    """What training did to each weight stands for its recommendation: first minus last value."""
    title, before_L, after_L = _vector_pair(request)
    ratio = partition_ratio(len(before_L))
    made = subset_graph(
        before_L,
        before_L - after_L,
        aggressiveness=AGGRESSIVENESS,
        partition_ratio=ratio,
        seed=request.seed,
    )
    note = (
        "recommendations: each weight's value before training minus after it; "
        f"alpha {AGGRESSIVENESS}, lambda {ratio:.3g}"
    )
    return draw_graph(made, title), [note]


def partition(request: Request) -> Drawing:
    layers, notes = _vectors(request)
    name, w_VL = _chosen(layers, request)
    vector = row_of(w_VL, request.vector, name)
    ratio = partition_ratio(len(vector))
    ranks = subset_of(len(vector), ratio, seed=request.seed)
    figure = draw_partition(vector, ranks, f"{name}, vector {request.vector}")
    return figure, [*notes, f"lambda {ratio:.3g}"]


def partition_ratio(length: int) -> float:
    """SGPerm's first lambda, made larger or smaller where a subset would have few or many weights.

    Example:
        >>> partition_ratio(784), partition_ratio(9), partition_ratio(28_000)
        (0.05, 1.0, 0.01)
    """
    return min(max(PARTITION_RATIO, _FEWEST_IN_SUBSET / length), _MOST_IN_SUBSET / length, 1.0)


def ranking_distance(request: Request) -> Drawing:
    histories = [ranking_history(source, request.layer) for source in request.sources]
    settings = [RunFolder(source).settings() for source in request.sources]
    titles: dict[str, int] = {}
    for i, label in enumerate(labels_of(settings)):
        if label in titles:
            raise PictureError(f"{request.sources[i]}: a second run of {label}; allowed: one seed")
        titles[label] = i
    return draw_ranking_distance({label: histories[i] for label, i in titles.items()}), []


def curves(request: Request) -> Drawing:
    panels, unit = curves_of(request.sources)
    return draw_panels(panels, xlabel=unit, ylabel="test accuracy, %"), []


def bytes_(request: Request) -> Drawing:
    return draw_bytes(sized_scores(request.sources)), []


def error_width(request: Request) -> Drawing:
    groups = errors_by_width(request.sources)
    slopes = [f"  {label}: {power_law(errors)}" for label, errors in groups.items()]
    return draw_error_width(groups), ["slopes, least squares over all networks", *slopes]


def images(request: Request) -> Drawing:
    name = str(request.source)
    data = load_images(name if name in DATASETS else request.source)
    shown = data.test.images[:_NUM_IMAGES].numpy()
    names = [data.class_names[label] for label in data.test.labels[:_NUM_IMAGES].tolist()]
    return draw_images(shown, names, f"{name}: test images"), []


def image_rows(request: Request) -> Drawing:
    rows = {name.replace("_", " "): each for name, each in recovered_images(request.source).items()}
    return draw_image_rows(rows), []


def _chosen(layers: Layers, request: Request) -> tuple[str, Floats]:
    """The layer asked for, else the one with most weights."""
    if request.layer is not None:
        name = _layer(layers, request)
        return name, layers[name]
    largest = max(layers, key=lambda name: layers[name].size)
    return largest, layers[largest]


def _layer(layers: Layers, request: Request) -> str:
    """The name of the layer that is asked for."""
    name = alike(str(request.layer), layers)
    if name is None:
        raise PictureError(f"layer is {request.layer!r}; allowed: {', '.join(layers)}")
    return name


def _units(request: Request) -> tuple[Layers | None, Layers, Kernels, list[str]]:
    """Every layer by output unit, before where that is known, and what is to be said of it.

    Also the sides of its kernels.
    """
    source = request.source
    if not source.is_dir():
        return None, *read_units(source, request.ceilings), []
    after, kernels = read_units(source)  # refuses what is no complete run
    try:
        weights = run_weights(source, trust_model=request.trust_model)
    except PermtrainError as error:
        return None, after, kernels, [f"weights before training are not known: {error}"]
    return *weights.by_unit(), weights.kernels(), []


def _unit_pair(request: Request) -> tuple[str, Floats | None, Floats, list[str]]:
    """One layer by output unit, likewise."""
    before, after, _, notes = _units(request)
    name, after_VL = _chosen(after, request)
    return name, None if before is None else before[name], after_VL, notes


def _vectors(request: Request) -> tuple[Layers, list[str]]:
    """Every layer by weight vector: a run's own; of other checkpoints, those of output units."""
    source = request.source
    if not source.is_dir():
        return read_layers(source, request.ceilings), []
    units = read_layers(source)
    try:
        weights = run_weights(source, trust_model=request.trust_model)
    except PermtrainError as error:
        return units, [f"vectors are taken to be those of output units: {error}"]
    return weights.by_vector()[1], []


def _vector_pair(request: Request) -> tuple[str, Floats, Floats]:
    """One vector that a run permutes, before and after."""
    weights = run_weights(request.source, trust_model=request.trust_model)
    if not weights.permuting.cuts:
        raise PictureError(
            f"{request.source}: was trained by {weights.method}, which permutes nothing; allowed: "
            "a run of laperm, index or sgperm"
        )
    before, after = weights.by_vector()
    name, after_VL = _chosen(
        {name: w_VL for name, w_VL in after.items() if name in weights.permuting.cuts}, request
    )
    if weights.permuting.cuts[name].is_across:
        raise PictureError(
            f"{name}: its weights exchange values with other layers, so that it has no permutation "
            "of its own; allowed: a layer that is permuted within itself"
        )
    after_L = row_of(after_VL, request.vector, name)
    before_L = before[name][request.vector]
    if (before_L == after_L).all():
        moved = np.flatnonzero((before[name] != after_VL).any(axis=1))
        others = f"a vector that moved, as --vector {moved[0]}" if len(moved) else "another layer"
        raise PictureError(
            f"{name}, vector {request.vector}: no weight moved, so there is nothing to draw; "
            f"allowed: {others}"
        )
    return f"{name}, vector {request.vector}", before_L, after_L
