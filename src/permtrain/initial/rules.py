"""The rules that weights are drawn by: distribution and scale. Only NumPy is needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from permtrain.initial.checks import as_integer, as_number, check, check_choice
from permtrain.initial.quantiles import (
    normal_quantile,
    truncated_normal_quantile,
    uniform_quantile,
)

DTYPES: tuple[str, ...] = ("float64", "float32", "float16", "bfloat16")
_LARGEST = {
    "float64": float(np.finfo(np.float64).max),
    "float32": float(np.finfo(np.float32).max),
    "float16": float(np.finfo(np.float16).max),
    "bfloat16": 3.3895313892515355e38,
}


_FAN_OF_UNIT_BOUND = 6  # sqrt(6 / fan), the bound of a uniform rule, is 1 then


@dataclass(frozen=True)
class _Definition:
    """What a rule's name stands for."""

    description: str
    distribution: Literal["uniform", "normal", "truncated normal"] | None = None
    fans: Literal["in", "both", "none"] = "in"


_RULES = {
    "kaiming_uniform": _Definition(
        "uniform in +-sqrt(6 / fan_in), ReLU gain; Keras: he_uniform", "uniform"
    ),
    "kaiming_normal": _Definition(
        "normal of standard deviation sqrt(2 / fan_in), ReLU gain, not truncated", "normal"
    ),
    "xavier_uniform": _Definition(
        "uniform in +-sqrt(6 / (fan_in + fan_out)); Keras: glorot_uniform", "uniform", "both"
    ),
    "xavier_normal": _Definition(
        "normal of standard deviation sqrt(2 / (fan_in + fan_out)), not truncated", "normal", "both"
    ),
    "kaiming_trunc_normal": _Definition(
        "Keras' he_normal: normal cut at two standard deviations, rescaled to sqrt(2 / fan_in)",
        "truncated normal",
    ),
    "xavier_trunc_normal": _Definition(
        "Keras' glorot_normal: cut likewise, rescaled to sqrt(2 / (fan_in + fan_out))",
        "truncated normal",
        "both",
    ),
    "unit_uniform": _Definition("uniform in +-1, whatever the fans", "uniform", "none"),
    "orthogonal": _Definition(
        "orthonormal rows, in blocks of as many rows as columns (each gate of a recurrent layer)"
    ),
    "constant": _Definition("one shared value (give `value`)"),
    "shuffle": _Definition("values of the model as it is, shuffled within each weight vector"),
}

RULES: dict[str, str] = {name: rule.description for name, rule in _RULES.items()}
"""Every rule's name with a one-line description."""

_QUANTILES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "uniform": uniform_quantile,
    "normal": normal_quantile,
    "truncated normal": truncated_normal_quantile,
}


@dataclass(frozen=True)
class Rule:
    """What initial weights are drawn by, whatever their place in a weight vector.

    Args:
        name: one of `rules.RULES`. `"shuffle"` moves the values that are there within each weight
            vector.
        value: the value of rule `"constant"`, a finite number that the weights' dtype can hold;
            None with any other rule.
        sparse_fans: fans count the part 1 - sparsity only, at least 1: the scale of a dense layer
            with as many inputs as are left.
        num_branches: fans count the inputs of so many equal layers whose outputs are added up, so
            that weights are smaller by the root of it. 2 x blocks for the residual outputs of a
            transformer (GPT-2, 2019, section 2.3). At least 1.

    Raises:
        SettingError: there is no such rule, or the value does not go with it.

    Example:
        >>> Rule("constant", 0.05)
        Rule(name='constant', value=0.05, sparse_fans=False, num_branches=1)
        >>> Rule("constant")
        Traceback (most recent call last):
        ...
        permtrain.errors.SettingError: value is None; allowed: a finite number, with rule 'constant'
    """

    name: str = "kaiming_uniform"
    value: float | None = None
    sparse_fans: bool = False
    num_branches: int = 1

    def __post_init__(self) -> None:
        check_choice("rule", self.name, tuple(RULES))
        if self.name == "constant":
            value = as_number(self.value)
            is_finite = isinstance(value, float) and math.isfinite(value)
            check("value", self.value, is_finite, "a finite number, with rule 'constant'")
        else:
            check("value", self.value, self.value is None, "None, except with rule 'constant'")
        check_choice("sparse_fans", self.sparse_fans, (True, False))
        num_branches = as_integer(self.num_branches)
        is_count = type(num_branches) is int and num_branches >= 1
        check("num_branches", self.num_branches, is_count, "a whole number of at least 1")


def is_distribution(rule: str) -> bool:
    """Whether the rule draws from a distribution (all but `"constant"` and `"shuffle"`)."""
    return _RULES[rule].distribution is not None


def fans(shape: tuple[int, ...], *, transposed: bool = False, groups: int = 1) -> tuple[int, int]:
    """Fan-in and fan-out of a weight tensor or a bias.

    As `torch.nn.init` counts them: fan_in = size(1) x receptive field and fan_out = size(0) x
    receptive field (in a grouped convolution fan_out counts all groups). Two differences:

    - A transposed convolution's weight is (in, out / groups, *kernel). `torch.nn.init` takes out /
      groups for its fan_in; here fan_in is in / groups x receptive field, the weights that enter
      one output unit, and fan_out is out x receptive field.
    - A bias, one-dimensional, has its own length for both, the convention of Keras behind the
      papers' networks. `torch.nn.init` refuses it.

    An embedding (number, dimension) keeps torch's count: fan_in is the dimension.

    Args:
        shape: the tensor's shape, of one dimension or more.
        transposed: whether it is the weight of a transposed convolution.
        groups: groups of the transposed convolution.

    Example:
        >>> fans((8, 3, 5, 5)), fans((8, 3, 5, 5), transposed=True, groups=2), fans((10,))
        ((75, 200), (100, 150), (10, 10))
    """
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[2:])
    if transposed:
        return shape[0] // groups * field, shape[1] * groups * field
    return shape[1] * field, shape[0] * field


def std_of(rule: str, fan_in: int, fan_out: int) -> float:
    """Standard deviation of a rule's distribution.

    sqrt(2 / fan_in) for Kaiming, sqrt(2 / (fan_in + fan_out)) for Xavier, sqrt(1 / 3) for
    unit_uniform.

    Example:
        >>> std_of("kaiming_uniform", 8, 100), std_of("xavier_normal", 4, 4)
        (0.5, 0.5)
    """
    return math.sqrt(2.0 / _fan(rule, fan_in, fan_out))


def values_at(rule: str, fan_in: int, fan_out: int, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rule's quantiles at p = q + 1/2, an odd function of q, in float64.

    Args:
        rule: one that draws from a distribution.
        fan_in, fan_out: positive counts, see `fans`.
        q: inside (-1/2, 1/2).

    Example:
        >>> values_at("kaiming_uniform", 6, 1, np.array([-0.25, 0.25]))
        array([-0.5,  0.5])
    """
    distribution = _RULES[rule].distribution
    assert distribution is not None
    if distribution == "uniform":
        scale = math.sqrt(6.0 / _fan(rule, fan_in, fan_out))
    else:
        scale = std_of(rule, fan_in, fan_out)
    return _QUANTILES[distribution](q) * scale


def unit_quantiles(rule: str, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the rule's distribution up to its scale."""
    distribution = _RULES[rule].distribution
    assert distribution is not None
    return _QUANTILES[distribution](q)


def _fan(rule: str, fan_in: int, fan_out: int) -> int:
    counted = _RULES[rule].fans
    if counted == "none":
        return _FAN_OF_UNIT_BOUND
    return fan_in if counted == "in" else fan_in + fan_out


def largest_of(dtype: str) -> float:
    """The largest finite number of a dtype in `DTYPES`."""
    return _LARGEST[dtype]


def storage_of(dtype: str) -> np.dtype[np.floating]:
    """NumPy's dtype for values of a dtype in `DTYPES`: float32 stands in for bfloat16."""
    return np.dtype("float32" if dtype == "bfloat16" else dtype)


def rounded(values: NDArray[np.float64], dtype: str) -> NDArray[np.floating]:
    """Values rounded to a dtype, ties to even, without negative zeros.

    float32 is rounded once from float64; float16 and bfloat16 go through float32. NumPy has no
    bfloat16: its values come as float32 numbers whose lower 16 bits are zero.

    Args:
        values: at most `largest_of(dtype)` in magnitude.
        dtype: one of `DTYPES`.

    Example:
        >>> rounded(np.array([1 / 3, -1e-60]), "bfloat16")
        array([0.33398438, 0.        ], dtype=float32)
    """
    if dtype == "float64":
        return values + 0.0
    singles = values.astype(np.float32)
    if dtype == "bfloat16":
        bits = singles.view(np.uint32)
        bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        bits &= np.uint32(0xFFFF0000)
    elif dtype == "float16":
        return singles.astype(np.float16) + np.float16(0.0)
    singles += np.float32(0.0)
    return singles
