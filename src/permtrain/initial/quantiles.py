"""Quantiles of the uniform, normal and truncated normal distribution, the same bits everywhere.

Only + - x / and sqrt of float64 are used, each rounded by itself: IEEE 754 fixes their results,
while log, exp and erfinv differ between libraries in the last bits. Only NumPy is needed.

A probability p is given *centred*, as q = p - 1/2 in (-1/2, 1/2). All quantiles are odd functions
of q, bit for bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of the standard normal distribution cut at 2, where Keras cuts it."""

_TRUNCATED_MASS = 0.9544997361036416
"""Probability of the standard normal distribution between -2 and 2."""

# ln 2 in two parts; the upper one has so few digits that its multiples by an exponent are exact.
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
_SQRT_HALF = 0.7071067811865476
_NUM_LOG_TERMS = 12

_CHUNK = 1 << 14

# Wichura (1988), algorithm AS 241, routine PPND16: coefficients by ascending power.
_CENTRE_TOP = (
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_CENTRE_BOTTOM = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_MIDDLE_TOP = (
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_MIDDLE_BOTTOM = (
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
_TAIL_TOP = (
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
)
_TAIL_BOTTOM = (
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
)


def uniform_quantile(q: Floats) -> Floats:
    """Quantiles of the uniform distribution on (-1, 1): 2q, exact.

    Example:
        >>> uniform_quantile(np.array([-0.25, 0.0, 0.25]))
        array([-0.5,  0. ,  0.5])
    """
    return 2.0 * q


def normal_quantile(q: Floats) -> Floats:
    """Quantiles of the standard normal distribution.

    Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
    Statistics 37 (1988), routine PPND16; relative error about 1e-16 in exact arithmetic. The
    logarithm of its tails is our own, see `_log`.

    Args:
        q: p - 1/2, inside (-1/2, 1/2).

    Example:
        >>> normal_quantile(np.array([-0.475, 0.0, 0.475])).round(6)
        array([-1.959964,  0.      ,  1.959964])
    """
    flat = np.ascontiguousarray(q, dtype=np.float64).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, len(flat), _CHUNK):
        part = slice(start, start + _CHUNK)
        out[part] = _normal_quantile_of_chunk(flat[part])
    return out.reshape(np.shape(q))


def truncated_normal_quantile(q: Floats) -> Floats:
    """Quantiles of the normal distribution cut at two standard deviations, rescaled to std 1.

    Source: Keras, `VarianceScaling` with "truncated_normal", behind `he_normal` and
    `glorot_normal`: the standard deviation is divided by `TRUNCATED_STD` before the cut, so that
    the variance is the stated one. The largest magnitude is 2 / `TRUNCATED_STD`, about 2.27.

    Args:
        q: p - 1/2, inside (-1/2, 1/2).

    Example:
        >>> truncated_normal_quantile(np.array([-0.475, 0.0, 0.475])).round(6)
        array([-1.90834,  0.     ,  1.90834])
    """
    return normal_quantile(q * _TRUNCATED_MASS) / TRUNCATED_STD


def _normal_quantile_of_chunk(q: Floats) -> Floats:
    # Outside the centre the bottom polynomial may vanish; those places are overwritten below.
    r = np.maximum(0.180625 - q * q, 0.0)
    z: Floats = q * _polynomial(_CENTRE_TOP, r) / _polynomial(_CENTRE_BOTTOM, r)
    outside = np.flatnonzero(np.abs(q) > 0.425)
    q = q[outside]
    r = np.sqrt(-_log(0.5 - np.abs(q)))
    middle = r - 1.6
    size = _polynomial(_MIDDLE_TOP, middle) / _polynomial(_MIDDLE_BOTTOM, middle)
    far = np.flatnonzero(r > 5.0)
    tail = r[far] - 5.0
    size[far] = _polynomial(_TAIL_TOP, tail) / _polynomial(_TAIL_BOTTOM, tail)
    z[outside] = np.copysign(size, q)
    return z


def _polynomial(coefficients: Sequence[float], x: Floats) -> Floats:
    """Horner's rule, a rounded product and a rounded sum at a time (never fused)."""
    out = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        out *= x
        out += coefficient
    return out


def _log(x: Floats) -> Floats:
    """Natural logarithm of positive normal numbers from + - x / only, to about 1e-16 of log(x).

    x = m 2**e with m in [sqrt(1/2), sqrt(2)), and log m = 2 atanh(s) by its series, where
    s = (m - 1) / (m + 1), below .172 in magnitude.

    Example:
        >>> bool(abs(_log(np.array([1e-9])) - np.log(1e-9)) < 1e-14)
        True
    """
    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, 2.0 * m, m)
    exponent = (e - small).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    series = _polynomial([1.0 / (2 * i + 1) for i in range(_NUM_LOG_TERMS)], s * s)
    out: Floats = exponent * _LN2_HIGH + (exponent * _LN2_LOW + 2.0 * s * series)
    return out
