"""The data behind each picture, against values worked by hand and slow references."""

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import reference
from permtrain.errors import PictureError, ProfileError
from permtrain.lab.pictures import numbers
from permtrain.lab.pictures.numbers.arrays import (
    as_grid,
    block_means,
    connections,
    drawable,
    evenly,
    row_of,
    three_digits,
)
from permtrain.lab.pictures.numbers.bands import Band, band_of
from permtrain.lab.pictures.numbers.cycles import on_circle, rank_cycles
from permtrain.lab.pictures.numbers.graphs import permitted_moves, subset_graph, subset_of
from permtrain.lab.pictures.numbers.histograms import histogram_of
from permtrain.lab.pictures.numbers.images import image_grid, rows_of_images
from permtrain.lab.pictures.numbers.profiles import profile_similarity, sorted_vectors
from permtrain.lab.pictures.numbers.scores import SizedArm, SizedScore, sized_arms

FINITE = st.floats(-100, 100, width=32).map(lambda x: x + 0.0)  # -0.0 is another value than 0.0
MATRICES = st.tuples(st.integers(2, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=FINITE)
)
VECTORS = st.integers(1, 40).flatmap(lambda n: arrays(np.float64, n, elements=FINITE))
BAD = [
    (np.zeros((0, 3)), r"shape \(0, 3\), nothing to draw"),
    (np.zeros(3), r"shape \(3,\); allowed: 2 dimensions"),
    (np.array([[1.0, np.nan, np.inf]]), "2 of 3 values are NaN or infinite; allowed: finite"),
]


def test_numbers_need_nothing_that_draws() -> None:
    for file in Path(numbers.__file__).parent.glob("*.py"):
        assert not re.search("(matplotlib|plotly|pictures.style)", file.read_text()), file.name


@pytest.mark.parametrize(("weights", "message"), BAD)
def test_what_cannot_be_drawn_is_refused(weights: NDArray[np.float64], message: str) -> None:
    with pytest.raises(PictureError, match=f"^w: .*{message}"):
        drawable(weights, "w")


def test_half_precision_is_widened() -> None:
    assert drawable(np.ones((1, 1), dtype=np.float16), "w").dtype == np.float32


@given(MATRICES)
def test_profiles_are_the_reference_profiles(w_VL: NDArray[np.float64]) -> None:
    assert sorted_vectors(w_VL).tolist() == [reference.profile(row) for row in w_VL.tolist()]


@given(MATRICES, st.randoms(use_true_random=False))
def test_similarity_sees_only_the_sorted_values(w_VL, random) -> None:
    mixed = [random.sample(row, len(row)) for row in w_VL.tolist()]
    assert profile_similarity(mixed) == profile_similarity(w_VL)
    assert 0 <= profile_similarity(w_VL) <= 1


def test_similarity_by_hand() -> None:
    # Sorted rows (0, 2, 4), (2, 4, 6): mean profile (1, 3, 5), off by 1 in each of 6 places.
    # Around the grand mean 3: 9 + 1 + 1, 1 + 1 + 9.
    assert profile_similarity([[4.0, 0.0, 2.0], [2.0, 6.0, 4.0]]) == pytest.approx(1 - 6 / 22)


def test_similarity_of_many_rows_is_that_of_one_sum() -> None:
    w_VL = np.random.default_rng(0).normal(size=(700, 9)).astype(np.float32)
    s_VL = np.sort(w_VL.astype(np.float64), axis=1)
    within = ((s_VL - s_VL.mean(axis=0)) ** 2).sum()
    total = ((s_VL - s_VL.mean()) ** 2).sum()
    assert profile_similarity(w_VL) == pytest.approx(1 - within / total, rel=1e-12)


def test_one_shared_value_is_alike_and_one_vector_is_refused() -> None:
    assert profile_similarity(np.full((3, 4), 0.08)) == 1.0
    assert profile_similarity(np.full((3, 6), 0.1)) == 1.0  # whose mean is not 0.1
    assert profile_similarity([[1e-200, 2e-200], [1e-200, 3e-200]]) == 1.0  # squares are 0
    with pytest.raises(PictureError, match="one weight vector has nothing to be like"):
        profile_similarity([[1.0, 2.0]])


def test_histogram_shares_its_bins_and_counts_zeros_apart() -> None:
    made = histogram_of({"before": [[-1.0, 0.0], [0.0, 3.0]], "after": [2.0, 0.0, 1.0]}, num_bins=4)
    assert made.edges.tolist() == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert {name: counts.tolist() for name, counts in made.counts.items()} == {
        "before": [1, 0, 0, 1],
        "after": [0, 0, 1, 1],
    }
    assert made.num_zeros == {"before": 2, "after": 1}
    assert made.num_weights == {"before": 4, "after": 3}


@pytest.mark.parametrize(("value", "zeros"), [(0.08, 0), (0.0, 5)])
def test_histogram_of_one_value(value: float, zeros: int) -> None:
    made = histogram_of({"w": np.full(5, value)})
    assert made.counts["w"].sum() == 5 - zeros
    assert made.num_zeros["w"] == zeros
    assert (np.diff(made.edges) > 0).all()


@given(VECTORS, st.randoms(use_true_random=False))
def test_rank_cycles_rebuild_the_vector(before_L: NDArray[np.float64], random) -> None:
    after = random.sample(before_L.tolist(), len(before_L))
    found = rank_cycles(before_L, after)
    order = np.argsort(before_L, kind="stable")
    rebuilt = before_L.copy()
    for cycle in found.cycles:
        for holder, held in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            rebuilt[order[holder]] = before_L[order[held]]
    assert rebuilt.tolist() == after
    lengths = [len(cycle) for cycle in found.cycles]
    assert lengths == sorted(lengths, reverse=True)
    assert found.num_moved == int((before_L != after).sum())


def test_rank_cycles_refuse_other_values() -> None:
    with pytest.raises(ProfileError, match="after is not a permutation of before"):
        rank_cycles([1.0, 2.0], [1.0, 3.0])
    with pytest.raises(PictureError, match=r"shape \(1, 2\) before and \(1, 3\) after"):
        rank_cycles([1.0, 2.0], [1.0, 2.0, 3.0])


def test_circle_begins_on_the_right_and_goes_counterclockwise() -> None:
    x, y = on_circle(100).T
    assert x.argmax() in (0, 99)
    assert y[0] > 0 > y[-1]
    assert y.argmax() in (24, 25)


@given(VECTORS, st.data())
def test_cycles_of_the_graph_are_disjoint_and_permitted(vector_L, data) -> None:
    wishes = data.draw(arrays(np.float64, len(vector_L), elements=st.sampled_from([-2, -1, 0, 1])))
    ratio = data.draw(st.sampled_from([0.2, 0.5, 1.0]))
    made = subset_graph(vector_L, wishes, aggressiveness=0.4, partition_ratio=ratio)
    edges = {tuple(edge) for edge in made.moves.tolist()}
    used = [vertex for cycle in made.cycles for vertex in cycle]
    assert len(used) == len(set(used))
    for cycle in made.cycles:
        assert set(zip(cycle, [*cycle[1:], cycle[0]], strict=True)) <= edges
    ranks = subset_of(len(vector_L), ratio)
    assert made.values.tolist() == np.sort(vector_L)[ranks].tolist()


@given(VECTORS, st.data())
def test_permitted_moves_are_the_papers(values_M, data) -> None:
    values = np.sort(values_M)
    wishes = data.draw(arrays(np.float64, len(values), elements=st.sampled_from([-1, 0, 1])))
    gaps = [b - a for a, b in zip(values.tolist(), values.tolist()[1:], strict=False)]
    lower = min(gaps, default=0.0)
    expected = [
        [x, y]
        for x in range(len(values))
        for y in range(len(values))
        if (wishes[x] < 0 and values[x] < values[y]) or (wishes[x] > 0 and values[x] > values[y])
        if lower < abs(values[x] - values[y]) < lower + 0.3 * 50
    ]
    moves = permitted_moves(values, wishes, aggressiveness=0.3, value_range=50)
    assert moves.tolist() == expected


def test_graph_refuses_what_does_not_fit() -> None:
    with pytest.raises(PictureError, match="3 recommendations for 2 weights; allowed: as many"):
        subset_graph([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(PictureError, match="subset is 20; allowed: 0 to 19"):
        subset_of(784, 0.05, subset=20)


@given(MATRICES, st.integers(1, 4))
def test_block_means_are_means_of_blocks(w_VL: NDArray[np.float64], most: int) -> None:
    means, (height, width) = block_means(w_VL, most)
    assert height == width
    assert max(means.shape) <= most
    expected = [
        [w_VL[i : i + height, j : j + width].mean() for j in range(0, w_VL.shape[1], width)]
        for i in range(0, w_VL.shape[0], height)
    ]
    np.testing.assert_allclose(means, expected, rtol=1e-12, atol=1e-12)


def test_connections_are_shares_of_blocks() -> None:
    w_VL = np.zeros((4, 4))
    w_VL[:2, :2] = 1
    w_VL[3, 3] = -1
    share, block = connections(w_VL, most=2)
    assert share.tolist() == [[1.0, 0.0], [0.0, 0.25]]
    assert block == (2, 2)


@given(st.integers(0, 3000), st.integers(2, 500))
def test_evenly_chosen_indices(count: int, most: int) -> None:
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most)
    assert chosen[:1] == ([0] if count else [])
    assert chosen[-1:] == ([count - 1] if count else [])
    steps = {later - earlier for earlier, later in pairwise(chosen)}
    assert not steps or (min(steps) >= 1 and max(steps) - min(steps) <= 1)


def test_vectors_as_grids() -> None:
    assert as_grid(np.arange(784.0)).shape == (28, 28)
    assert np.isnan(as_grid(np.arange(5.0))).sum() == 1
    with pytest.raises(PictureError, match="w: vector is 3; allowed: 0 to 2"):
        row_of(np.zeros((3, 2)), 3, "w")


def test_a_band_counts_the_curves_at_each_place() -> None:
    band = band_of([[(1, 1.0), (2, 3.0)], [(2, 5.0), (3, 9.0)], []])
    assert band == Band([1, 2, 3], [1.0, 4.0, 9.0], [1.0, 3.0, 9.0], [1.0, 5.0, 9.0], [1, 2, 1])
    assert band.thinned(2) == Band([1, 3], [1.0, 9.0], [1.0, 9.0], [1.0, 9.0], [1, 1])
    assert band_of([]) == Band([], [], [], [], [])


def test_a_value_that_is_not_finite_leaves_its_place_without_a_band() -> None:
    band = band_of([[(1, math.nan), (2, math.inf), (3, 1.0)], [(1, 1.0), (2, 1.0), (3, 2.0)]])
    assert band.mean == [None, None, 1.5]
    assert (band.low, band.high, band.num_curves) == ([None, None, 1.0], [None, None, 2.0], [2] * 3)


def test_arms_are_sorted_by_size() -> None:
    scores = [
        SizedScore("b", 50, 0.75, "permutation"),
        SizedScore("a", 20, 0.7),
        SizedScore("b", 70, 0.25, "permutation"),
    ]
    assert sized_arms(scores) == [
        SizedArm("a", "", 1, 20, 0.7, 0.7, 0.7),
        SizedArm("b", "permutation", 2, 60, 0.5, 0.25, 0.75),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0.0), (123456.0, 123000.0), (-1.2345e-9, -1.23e-9), (math.inf, None), (math.nan, None)],
)
def test_three_digits(value: float, expected: float | None) -> None:
    assert three_digits(value) == expected


def test_sets_of_images_stand_one_above_the_other() -> None:
    before = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    grid = 255 * rows_of_images({"before": before, "after": before + 100}, num_columns=2)[..., 0]
    white = np.full((2, 2), 255.0)
    columns = [np.hstack([rows[0], white, rows[1]]) for rows in (before, before + 100)]
    gap = np.full((2, 6), 255.0)
    last = [np.hstack([rows[2], white, white]) for rows in (before, before + 100)]
    expected = [columns[0], gap, columns[1], gap, gap, last[0], gap, last[1]]
    np.testing.assert_allclose(grid, np.vstack(expected), atol=1e-9)
    with pytest.raises(PictureError, match="allowed: one shape for all"):
        rows_of_images({"before": before, "after": before[:2]})
    with pytest.raises(PictureError, match="allowed: one shape for all"):
        rows_of_images({})


def test_image_grid_places_images_in_rows() -> None:
    images = np.zeros((3, 3, 2, 2), dtype=np.uint8)
    images[1, 0] = 255  # a red one
    grid = image_grid(images, num_columns=2)
    assert grid.shape == (6, 6, 3)
    assert grid[0, 4].tolist() == [1.0, 0.0, 0.0]
    assert grid[4, 0].tolist() == [0.0, 0.0, 0.0]
    assert grid[2, 0].tolist() == grid[5, 5].tolist() == [1.0, 1.0, 1.0]  # gap, empty place


def test_images_of_floats_are_cut_off() -> None:
    assert image_grid(np.array([[[-1.0, 0.5, 2.0]]]))[0, :, 0].tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(PictureError, match=r"images have shape \(2, 5, 3, 3\); allowed: "):
        image_grid(np.zeros((2, 5, 3, 3)))
