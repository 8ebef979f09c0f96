"""Quantiles: against SciPy and mpmath-grade references, odd symmetry, pinned bits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from permtrain.initial import quantiles
from permtrain.initial.philox import centred, random_words
from permtrain.initial.quantiles import (
    TRUNCATED_STD,
    normal_quantile,
    truncated_normal_quantile,
    uniform_quantile,
)

inner = st.floats(-0.5, 0.5, exclude_min=True, exclude_max=True, allow_subnormal=False)
TINIEST = 2.0**-54


def reference(q):
    """SciPy's quantile, taken in the lower half, where its argument is exact."""
    return np.copysign(ndtri(0.5 - np.abs(q)), q)


def test_normal_quantile_equals_scipy():
    q = centred(random_words(0, "q", "values", 200_000))
    edges = 0.5 - 2.0 ** -np.arange(2.0, 55.0)
    branches = np.nextafter(0.425, [0.0, 1.0])
    far = 0.5 - np.exp(-25.0) * np.array([0.999, 1.0, 1.001])
    for each in (q, edges, -edges, branches, far, np.array([0.425])):
        assert np.allclose(normal_quantile(each), reference(each), rtol=1e-13, atol=0)


def test_normal_quantile_of_a_half_is_zero():
    assert normal_quantile(np.zeros(1))[0] == 0


def test_largest_normal_value_is_finite():
    assert normal_quantile(np.array([0.5 - TINIEST]))[0] == pytest.approx(8.29236, abs=1e-5)


@pytest.mark.parametrize("quantile", [uniform_quantile, normal_quantile, truncated_normal_quantile])
@given(q=st.lists(inner, min_size=1))
def test_quantiles_are_odd_and_ascend(quantile, q):
    q = np.unique(np.array(q))
    values = quantile(q)
    assert np.array_equal(quantile(-q), -values)
    assert np.all(np.diff(values) >= -1e-15 * np.abs(values[1:]))


def test_chunks_change_nothing(monkeypatch):
    q = centred(random_words(0, "q", "values", 1000)).reshape(20, 50)
    whole = normal_quantile(q)
    monkeypatch.setattr(quantiles, "_CHUNK", 7)
    assert np.array_equal(normal_quantile(q), whole)
    assert whole.shape == (20, 50)


def test_log_is_within_two_units_in_the_last_place():
    x = np.concatenate([centred(random_words(0, "x", "values", 100_000)) + 0.5, [TINIEST, 1e-300]])
    error = np.abs(quantiles._log(x) - np.log(x)) / np.spacing(np.abs(np.log(x)))
    # Only the tails p < .075 are ever asked for; near 1 the sum cancels.
    assert error[x < 0.075].max() <= 2


def test_log_of_powers_of_two():
    powers = np.arange(-54, 0)
    logs = quantiles._log(2.0**powers)
    assert np.allclose(logs, powers * math.log(2), rtol=3e-16, atol=0)


def test_truncated_constants():
    mass = ndtr(2) - ndtr(-2)
    density = math.exp(-(2**2) / 2) / math.sqrt(2 * math.pi)
    assert abs(quantiles._TRUNCATED_MASS - mass) < 1e-15
    assert math.sqrt(1 - 2 * 2 * density / mass) == pytest.approx(TRUNCATED_STD, rel=1e-14)


def test_truncated_normal_has_variance_one_and_ends_at_two():
    q = (np.arange(200_000) + 0.5) / 200_000 - 0.5
    values = truncated_normal_quantile(q)
    assert np.mean(values**2) == pytest.approx(1, rel=1e-4)
    edge = truncated_normal_quantile(np.array([0.5 - TINIEST]))[0]
    assert edge == pytest.approx(2 / TRUNCATED_STD, rel=1e-14)


def test_bits_are_pinned():
    q = np.array([1e-3, 0.1, 0.3, 0.425, 0.4251, 0.49, 0.499999, 0.5 - TINIEST])
    assert [value.hex() for value in normal_quantile(q).tolist()] == GOLDEN_NORMAL
    assert [value.hex() for value in truncated_normal_quantile(q).tolist()] == GOLDEN_TRUNCATED


def test_bits_of_the_far_tail_are_pinned():
    """Beyond r = 5, where one word in 10^11 lies: another branch would hardly be noticed."""
    q = 0.5 - 2.0 ** -np.array([37.0, 40.0, 43.0])
    assert [value.hex() for value in normal_quantile(q).tolist()] == [
        "0x1.b025b0b56a3a8p+2",
        "0x1.c30d8560989abp+2",
        "0x1.d539643d1479bp+2",
    ]


GOLDEN_NORMAL = [
    "0x1.488c93793e58ap-9",
    "0x1.036d6c4a04b5cp-2",
    "0x1.aee8fa73a1333p-1",
    "0x1.7085226d3e523p+0",
    "0x1.70b374817af50p+0",
    "0x1.29c5c4630ff0ep+1",
    "0x1.30381a979b747p+2",
    "0x1.095b059d67c4cp+3",
]
GOLDEN_TRUNCATED = [
    "0x1.6483ec05915efp-9",
    "0x1.193d40b59f0cfp-2",
    "0x1.ce0e37367c283p-1",
    "0x1.7e90acd094f8ep+0",
    "0x1.7ebafbbd21eb3p+0",
    "0x1.0ced3249b99e6p+1",
    "0x1.2307c30445ff9p+1",
    "0x1.23086b9c083aap+1",
]
