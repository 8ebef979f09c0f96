"""How layers moved, and what storing them takes, worked by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from permtrain.core.cut import Cut
from permtrain.lab.pictures.numbers.arrays import evenly, three_digits
from permtrain.lab.pictures.numbers.movement import (
    MOST_LAYERS,
    MOST_PICTURES,
    most_states,
    movement,
)
from permtrain.lab.pictures.numbers.sizes import Size, sizes_of
from permtrain.packed.report import FileReport, TensorReport

BORN = {"w": torch.tensor([[0.4, 0.1], [0.3, 0.2]]), "b": torch.tensor([2.0, 1.0])}
LATER = {"w": torch.tensor([[0.1, 0.4], [0.3, 0.2]]), "b": torch.tensor([2.0, 1.0])}


def test_movement_of_two_layers() -> None:
    cuts = {"w": Cut("neuron").of((2, 2)), "b": Cut("layer").of((2,))}
    w, b = movement([(0, BORN), (7, LATER)], cuts)
    assert (w.name, w.shape, w.granularity, w.rows, w.columns) == (
        "w", (2, 2), "neuron", [0, 1], [0, 1],
    )  # fmt: skip
    first, last = w.states
    assert (first.step, first.moved_fraction, first.ranking_distance) == (0, 0.0, 0.0)
    assert first.heat == [[0.4, 0.1], [0.3, 0.2]]
    assert first.dots == [0.1, 0.2, 0.3, 0.4]
    # Places in the order of their first values: (0,1), (1,1), (1,0), (0,0).
    assert (last.step, last.dots, last.heat) == (7, [0.4, 0.2, 0.3, 0.1], [[0.1, 0.4], [0.3, 0.2]])
    # Two of four places changed; two ranks of four by one, of vectors of two.
    assert (last.moved_fraction, last.ranking_distance) == (0.5, 0.25)
    assert (b.rows, b.columns, b.states[0].heat, b.states[0].dots) == (
        [0], [0, 1], [[2.0, 1.0]], [1.0, 2.0],
    )  # fmt: skip


def test_movement_of_a_large_layer_is_thinned() -> None:
    weights = torch.arange(64 * 2 * 5 * 5, dtype=torch.float32).reshape(64, 2, 5, 5)
    (layer,) = movement([(0, {"w": weights})], {"w": Cut("neuron").of((64, 2, 5, 5))})
    (state,) = layer.states
    assert (layer.rows, layer.columns) == (evenly(64, 32), evenly(50, 48))
    assert state.heat == [
        [three_digits(50.0 * row + column) for column in layer.columns] for row in layer.rows
    ]
    assert state.dots == [three_digits(float(place)) for place in evenly(3200, 400)]


@given(st.integers(1, 200))
def test_pictures_stay_few(num_layers: int) -> None:
    assert most_states(num_layers) * min(num_layers, MOST_LAYERS) <= MOST_PICTURES


def test_many_layers_are_thinned() -> None:
    names = [f"layer{n}" for n in range(47)]
    cut = Cut("layer").of((2,))
    layers = movement([(0, {name: torch.zeros(2) for name in names})], dict.fromkeys(names, cut))
    assert [layer.name for layer in layers] == [names[2 * n] for n in range(24)]


def test_sizes_against_the_packed_file() -> None:
    arranged = TensorReport("w", "F32", "uniform", "drawn", "neuron", 800, 300, 0, 2000.0)
    assert sizes_of(FileReport((arranged,), 100, 400)) == [
        Size("packed file", 400.0, 4.0, 1.0, is_file=True),
        Size("information limit", 250.0, 2.5, 0.625),
        Size("1-bit mask", 100.0, 1.0, 0.25),
        Size("bfloat16", 1600.0, 16.0, 4.0),
        Size("float32", 3200.0, 32.0, 8.0),
    ]
    stored = TensorReport("w", "F32", "plain", None, None, 10, 0, 40, None)
    assert [size.name for size in sizes_of(FileReport((stored,), 60, 100))] == [
        "packed file", "1-bit mask", "bfloat16", "float32",
    ]  # fmt: skip
