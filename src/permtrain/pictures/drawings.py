"""From a request to a figure: reads the sources, chooses layer and vector, and draws."""

from pathlib import Path

import numpy as np

from permtrain.data.load import load_images
from permtrain.data.registry import DATASETS
from permtrain.errors import PictureError
from permtrain.pictures.arrays import Floats, row_of
from permtrain.pictures.curves import draw_bytes, draw_curves
from permtrain.pictures.error_width import draw_error_width, power_law
from permtrain.pictures.graphs import draw_graph, draw_partition, subset_graph, subset_of
from permtrain.pictures.heat_maps import draw_connections, draw_matrix, draw_neurons
from permtrain.pictures.histograms import draw_histograms
from permtrain.pictures.images import draw_images
from permtrain.pictures.permutations import draw_arrows, draw_cycles, rank_cycles
from permtrain.pictures.profiles import (
    draw_profile_3d,
    draw_profile_sorting,
    draw_profiles,
    profile_similarity,
)
from permtrain.pictures.ranking_distance import draw_ranking_distance
from permtrain.pictures.records import (
    curves_of,
    errors_by_width,
    labels_of,
    ranking_history,
    sized_scores,
)
from permtrain.pictures.registry import Drawing, Request
from permtrain.pictures.weights import Layers, initial_layers, read_layers
from permtrain.training.record import RunFolder

PARTITION_RATIO = 0.05
"""lambda at the beginning of SGPerm's published runs."""

AGGRESSIVENESS = 0.15
"""alpha, likewise."""

_NUM_IMAGES = 64


def profiles(request: Request) -> Drawing:
    layers = read_layers(request.source)
    if request.layer is not None:
        layers = {request.layer: _layer(layers, request)}
    figure = (
        draw_profiles(layers)
        if request.layer is None
        else draw_profile_sorting(layers[request.layer], request.layer)
    )
    return figure, ["similarity of profiles (1: all vectors hold the same values)"] + [
        f"  {name}: {profile_similarity(w_VL):.6f} ({w_VL.shape[0]} vectors of {w_VL.shape[1]})"
        if len(w_VL) > 1
        else f"  {name}: a single vector"
        for name, w_VL in layers.items()
    ]


def profile_3d(request: Request) -> Drawing:
    name, w_VL = _chosen(request)
    return draw_profile_3d(w_VL, name), []


def histogram(request: Request) -> Drawing:
    layers = read_layers(request.source)
    if request.layer is not None:
        layers = {request.layer: _layer(layers, request)}
    before = _before(request.source)
    if before is not None:
        before = {name: before[name] for name in layers}
    return draw_histograms(layers, before), []


def neurons(request: Request) -> Drawing:
    name, after_VL = _chosen(request)
    return draw_neurons(after_VL, name, _layer_before(request.source, name)), []


def heat_map(request: Request) -> Drawing:
    name, after_VL = _chosen(request)
    return draw_matrix(after_VL, name, _layer_before(request.source, name)), []


def connections(request: Request) -> Drawing:
    name, after_VL = _chosen(request)
    figure = draw_connections(after_VL, name, _layer_before(request.source, name))
    return figure, [f"{name}: {np.mean(after_VL != 0):.2%} of the weights are not zero"]


def cycles(request: Request) -> Drawing:
    title, before_L, after_L = _vector_pair(request)
    figure = draw_cycles(before_L, after_L, title)
    lengths = [len(cycle) for cycle in rank_cycles(before_L, after_L).cycles]
    return figure, [f"{title}: cycles of {', '.join(map(str, lengths))}"]


def arrows(request: Request) -> Drawing:
    title, before_L, after_L = _vector_pair(request)
    return draw_arrows(before_L, after_L, title), []


def graph(request: Request) -> Drawing:
    """What training did to each weight stands for its recommendation: first minus last value."""
    title, before_L, after_L = _vector_pair(request)
    made = subset_graph(
        before_L,
        before_L - after_L,
        aggressiveness=AGGRESSIVENESS,
        partition_ratio=PARTITION_RATIO,
        seed=request.seed,
    )
    note = (
        "recommendations: each weight's value before training minus after it; "
        f"alpha {AGGRESSIVENESS}, lambda {PARTITION_RATIO}"
    )
    return draw_graph(made, title), [note]


def partition(request: Request) -> Drawing:
    name, w_VL = _chosen(request)
    vector = row_of(w_VL, request.vector, name)
    ranks = subset_of(len(vector), PARTITION_RATIO, seed=request.seed)
    return draw_partition(vector, ranks, f"{name}, vector {request.vector}"), []


def ranking_distance(request: Request) -> Drawing:
    histories = [ranking_history(source) for source in request.sources]
    settings = [RunFolder(source).settings() for source in request.sources]
    titles: dict[str, int] = {}
    for i, label in enumerate(labels_of(settings)):
        if label in titles:
            raise PictureError(f"{request.sources[i]}: a second run of {label}; allowed: one seed")
        titles[label] = i
    return draw_ranking_distance({label: histories[i] for label, i in titles.items()}), []


def curves(request: Request) -> Drawing:
    groups, unit = curves_of(request.sources)
    return draw_curves(groups, xlabel=unit, ylabel="test accuracy, %"), []


def bytes_(request: Request) -> Drawing:
    return draw_bytes(sized_scores(request.sources)), []


def error_width(request: Request) -> Drawing:
    groups = errors_by_width(request.sources)
    slopes = [f"  {label}: {power_law(errors)}" for label, errors in groups.items()]
    return draw_error_width(groups), ["slopes, least squares over all networks", *slopes]


def images(request: Request) -> Drawing:
    name = str(request.source)
    data = load_images(name if name in DATASETS else request.source)
    return draw_images(data.test.images[:_NUM_IMAGES].numpy(), f"{name}: test images"), []


def _chosen(request: Request) -> tuple[str, Floats]:
    """The layer asked for, else the one with most weights."""
    layers = read_layers(request.source)
    if request.layer is not None:
        return request.layer, _layer(layers, request)
    largest = max(layers, key=lambda name: layers[name].size)
    return largest, layers[largest]


def _layer(layers: Layers, request: Request) -> Floats:
    if request.layer not in layers:
        raise PictureError(f"layer is {request.layer!r}; allowed: {', '.join(layers)}")
    return layers[request.layer]


def _before(source: Path) -> Layers | None:
    return initial_layers(source) if source.is_dir() else None


def _layer_before(source: Path, name: str) -> Floats | None:
    before = _before(source)
    return None if before is None else before[name]


def _vector_pair(request: Request) -> tuple[str, Floats, Floats]:
    """One vector of a run, before and after."""
    before = initial_layers(request.source)
    name, after_VL = _chosen(request)
    after_L = row_of(after_VL, request.vector, name)
    return f"{name}, vector {request.vector}", before[name][request.vector], after_L
