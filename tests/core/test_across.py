"""Weights of several tensors as one vector, in units."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from permtrain.core.across import check_exact, from_units, origins, to_units
from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut
from permtrain.core.granularity import decide, named_tensors
from permtrain.core.vectors import vectors_of
from permtrain.errors import GranularityError, ProfileError


@given(fan_in=st.integers(1, 10**9))
def test_the_unit_is_the_power_of_two_nearest_to_he(fan_in: int) -> None:
    exponent = Cut("across").of((4, fan_in)).exponent
    assert abs(math.log2(math.sqrt(2 / fan_in)) - exponent) <= 0.5 + 1e-9


def test_fan_in_is_counted_by_the_modules_layout() -> None:
    net = nn.Sequential(
        nn.Linear(32, 5), nn.Conv2d(8, 3, 4), nn.ConvTranspose2d(8, 6, 4, groups=2), nn.Linear(2, 9)
    )
    exponents = {tensor.name: tensor.cut.at("across").exponent for tensor in named_tensors(net)}
    # fan-ins 32, 8 * 16, 8 / 2 * 16, 2; a bias's is its length: 5, 3, 6, 9.
    assert exponents == {
        "0.weight": -2, "0.bias": -1, "1.weight": -3, "1.bias": 0, "2.weight": -2, "2.bias": -1,
        "3.weight": 0, "3.bias": -1,
    }  # fmt: skip


@given(
    weights=hnp.arrays("float32", (3, 40), elements=st.floats(-100, 100, width=32)).filter(
        lambda a: not ((abs(a) < 1e-30) & (a != 0)).any()
    )
)
def test_there_and_back_keeps_every_bit(weights) -> None:
    weights = torch.from_numpy(weights)
    cut = Cut("across").of((3, 40))
    units = to_units(weights, cut)
    assert units.shape == (1, 120)
    assert torch.equal(bits_of(from_units(units, cut)), bits_of(weights))


@pytest.mark.parametrize("value", [1e-45, 3e38])
def test_values_that_a_layer_cannot_hold_are_refused(value: float) -> None:
    cuts = {"wide": Cut("across").of((1, 800)), "narrow": Cut("across").of((3, 1, 1))}
    cuts["wide"], cuts["large"] = cuts["wide"], Cut("across").of((2, 2))
    units = torch.tensor([[1.0, value]])
    if value > 1:
        cuts = {"one": Cut("across").of((4, 1))}  # unit 2: 6e38 is infinite
        assert cuts["one"].exponent == 1
    with pytest.raises(ProfileError, match=r"^(wide|one): in its units of 2\*\*(-4|1) the value"):
        check_exact(units, cuts)
    check_exact(torch.tensor([[1.0, -0.0, 1e-30]]), cuts)


def test_vectors_across_are_one_and_come_last() -> None:
    weights = {"a": torch.ones(1, 8), "b": torch.zeros(2, 2), "c": torch.full((1, 32), 2.0)}
    cuts = {
        "a": Cut("across").of((1, 8)),
        "b": Cut("neuron").of((2, 2)),
        "c": Cut("across").of((1, 32)),
    }
    vectors = vectors_of(weights, cuts)
    assert list(vectors) == ["b", "a, c"]
    assert vectors["a, c"].tolist() == [[2.0] * 8 + [8.0] * 32]
    assert vectors["b"].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_origins_by_hand() -> None:
    cuts = [Cut("across").of((1, 3)), Cut("across").of((1, 2))]
    assert origins(torch.arange(5), cuts) == [[3, 0], [0, 2]]
    assert origins(torch.tensor([3, 4, 0, 1, 2]), cuts) == [[1, 2], [2, 0]]


def test_origins_tell_where_to_from_where_from() -> None:
    """Three tensors of one weight each, around: of two the table would be the same both ways."""
    cuts = [Cut("across").of((1, 1))] * 3
    assert origins(torch.tensor([1, 2, 0]), cuts) == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_callers_that_know_of_no_joint_vectors_are_refused() -> None:
    [weight, _] = named_tensors(nn.Linear(3, 2))
    with pytest.raises(GranularityError, match=r"^weight: granularity is 'across'; allowed h"):
        decide(weight, "across")
    cut = decide(weight, ("across", "layer"), may_go_across=True).cut
    assert cut is not None
    assert cut.is_across
