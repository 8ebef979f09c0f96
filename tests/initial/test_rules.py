"""Fans, scales, rounding, the registry."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out as torch_fans

from permtrain.errors import SettingError
from permtrain.initial.rules import (
    DTYPES,
    RULES,
    Rule,
    fans,
    is_distribution,
    largest_of,
    rounded,
    std_of,
    values_at,
)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(7, 3),
        nn.Conv1d(4, 6, 5),
        nn.Conv2d(4, 6, (3, 5)),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv3d(4, 6, 2),
        nn.Embedding(11, 4),
        nn.Bilinear(3, 4, 5),
    ],
    ids=lambda module: type(module).__name__,
)
def test_fans_are_torchs(module):
    assert fans(tuple(module.weight.shape)) == torch_fans(module.weight)


def test_fans_of_a_transposed_convolution_count_the_weights_into_one_output_unit():
    forward = nn.Conv2d(4, 6, 3, groups=2)
    transposed = nn.ConvTranspose2d(4, 6, 3, groups=2)
    assert fans(tuple(transposed.weight.shape), transposed=True, groups=2) == (2 * 9, 6 * 9)
    assert fans(tuple(forward.weight.shape)) == (2 * 9, 6 * 9)


def test_fans_of_a_bias_are_its_length():
    assert fans((10,)) == (10, 10)


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if is_distribution(rule) and rule != "unit_uniform"]
)
def test_scale_is_torchs(rule):
    weight = torch.empty(64, 32, 3, 3)
    fan_in, fan_out = fans(tuple(weight.shape))
    generator = torch.Generator().manual_seed(0)
    kind = "uniform" if "uniform" in rule else "normal"
    if "kaiming" in rule:
        getattr(nn.init, f"kaiming_{kind}_")(weight, nonlinearity="relu", generator=generator)
    else:
        getattr(nn.init, f"xavier_{kind}_")(weight, generator=generator)
    q = (np.arange(100_000) + 0.5) / 100_000 - 0.5
    ours = values_at(rule, fan_in, fan_out, q)
    assert ours.std() == pytest.approx(weight.std().item(), rel=0.03)
    assert ours.std() == pytest.approx(std_of(rule, fan_in, fan_out), rel=1e-3)
    if "uniform" in rule:
        assert ours.max() == pytest.approx(weight.max().item(), rel=1e-3)
        assert ours.max() == pytest.approx(math.sqrt(3) * std_of(rule, fan_in, fan_out), rel=1e-4)


@pytest.mark.parametrize("fan", [1, 6, 1000])
def test_unit_uniform_looks_at_no_fans(fan):
    q = np.array([-0.375, 0.0, 0.125])
    assert values_at("unit_uniform", fan, fan, q).tolist() == [-0.75, 0.0, 0.25]
    assert std_of("unit_uniform", fan, fan) == pytest.approx(1 / math.sqrt(3), rel=1e-15)


def test_registry_names_keras_rules():
    assert "he_normal" in RULES["kaiming_trunc_normal"]
    assert "glorot_normal" in RULES["xavier_trunc_normal"]
    assert all("\n" not in text and len(text) < 100 for text in RULES.values())


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("kaiming", "; did you mean 'kaiming_normal'?"),
        ("xavier_uniform_", "; did you mean 'xavier_uniform'?"),
        ("he", ""),
        (None, ""),
        (["constant"], ""),
    ],
)
def test_unknown_rule(rule, hint):
    with pytest.raises(SettingError) as error:
        Rule(rule)
    assert str(error.value) == f"rule is {rule!r}; allowed: {', '.join(RULES)}{hint}"


NUMBER = "a finite number, with rule 'constant'"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("constant",), f"value is None; allowed: {NUMBER}"),
        (("constant", "1"), f"value is '1'; allowed: {NUMBER}"),
        (("constant", True), f"value is True; allowed: {NUMBER}"),
        (("constant", math.inf), f"value is inf; allowed: {NUMBER}"),
        (("shuffle", 0.1), "value is 0.1; allowed: None, except with rule 'constant'"),
        (("kaiming_normal", None, 1), "sparse_fans is 1; allowed: True, False"),
    ],
)
def test_what_does_not_go_with_a_rule(fields, text):
    with pytest.raises(SettingError) as error:
        Rule(*fields)
    assert str(error.value) == text


def test_a_constant_of_any_finite_value_is_allowed():
    assert Rule("constant", np.float32(0.5)) == Rule("constant", 0.5)
    assert Rule("constant", -1) == Rule("constant", -1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@given(values=hnp.arrays(np.float64, 20, elements=st.floats(-60000, 60000)))
def test_rounding_is_torchs_through_float32(dtype, values):
    target = getattr(torch, dtype)
    expected = torch.from_numpy(values)
    expected = (expected if dtype == "float64" else expected.float()).to(target)
    ours = torch.from_numpy(rounded(values, dtype))
    assert torch.equal(ours.to(target), expected)
    assert torch.equal(ours.to(target).to(ours.dtype), ours)
    assert not np.signbit(ours.numpy()[ours.numpy() == 0]).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_largest_number_stays_finite(dtype):
    largest = largest_of(dtype)
    assert largest == torch.finfo(getattr(torch, dtype)).max
    assert rounded(np.array([largest, -largest]), dtype).tolist() == [largest, -largest]
