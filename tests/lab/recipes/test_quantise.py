"""Rivals of the packed file: what they make of weights, and bytes, worked by hand."""

import math

import pytest
import torch

from permtrain.lab.recipes.experiments.quantise import QUANTISERS, int8, supermask_bytes, ternary


def test_eight_bits_are_whole_steps_of_the_rows_largest() -> None:
    weights = {"w": torch.tensor([[2.54, -0.051, 0.012], [0.0, 0.0, 0.0]])}
    rebuilt, _ = int8(weights)
    assert rebuilt["w"][0].tolist() == pytest.approx([2.54, -0.06, 0.02], abs=1e-6)
    assert rebuilt["w"][1].tolist() == [0.0, 0.0, 0.0]


def test_ternary_rows_have_their_own_threshold_and_size() -> None:
    weights = {"w": torch.tensor([[4.0, -2.0, 1.1, 0.1], [0.0, 0.0, 0.0, 8.0]])}
    rebuilt, size = ternary(weights)
    # Means 1.8 and 2: thresholds 1.26 and 1.4.
    assert rebuilt["w"].tolist() == [[3.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 8.0]]
    # One -, five 0, two +: 8! / 5! / 2! = 168 arrangements, 7.4 bits; two scales.
    assert size == 1 + 8


def test_what_has_no_rows_stays_as_it_is() -> None:
    weights = {"bias": torch.tensor([0.3, 0.7])}
    for quantise in (int8, ternary):
        rebuilt, size = quantise(weights)
        assert torch.equal(rebuilt["bias"], weights["bias"])
        assert size == 8


def test_a_mask_costs_the_number_of_its_arrangements() -> None:
    weights = {"w": torch.tensor([[1.0, 0.0, -1.0, 0.0]] * 25), "b": torch.zeros(3)}
    assert supermask_bytes(weights) == 8 + 12 + math.ceil(math.log2(math.comb(100, 50)) / 8)


@pytest.mark.parametrize("name", QUANTISERS)
def test_shapes_and_dtypes_stay(name: str) -> None:
    weights = {"w": torch.randn(4, 3, 5, 5), "b": torch.randn(4)}
    rebuilt, size = QUANTISERS[name](weights)
    assert size > 0
    for key, tensor in weights.items():
        assert rebuilt[key].shape == tensor.shape
        assert rebuilt[key].dtype == tensor.dtype


def test_sizes_shrink_from_way_to_way() -> None:
    weights = {"w": torch.randn(50, 400)}
    sizes = [quantise(weights)[1] for quantise in QUANTISERS.values()]
    assert sizes[:2] == [80_000, 40_000]
    assert sizes == sorted(sizes, reverse=True)
