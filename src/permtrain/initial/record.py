"""How a parameter was born, as plain data, and its values from that data alone.

A packed file stores the record instead of the values, so whoever reads one needs NumPy only.

Suffixes: V vectors, L weights in a vector.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from permtrain.core.cut import GRANULARITIES, Cut, Granularity
from permtrain.errors import SettingError
from permtrain.initial.checks import check, check_choice
from permtrain.initial.orthogonal import orthonormal_rows
from permtrain.initial.philox import MAX_SEED, centred, random_order, word_source
from permtrain.initial.rules import (
    DTYPES,
    RULES,
    is_distribution,
    largest_of,
    rounded,
    std_of,
    storage_of,
    unit_quantiles,
    values_at,
)
from permtrain.initial.structure import SPARSITY_BY

RECORD_VERSION = 1

_CHUNK = 1 << 16
_MAX_SIZE = 2**63 - 1

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """All that is needed to make a parameter's initial values again, bit for bit.

    Args:
        name: the parameter's name in its model; it chooses the stream of random words.
        shape: the parameter's shape, of one dimension or more.
        dtype: one of `rules.DTYPES`.
        rule: one of `rules.RULES`.
        seed: 0 to 2**64 - 1.
        fan_in, fan_out: counts behind the rule's scale, see `rules.fans`.
        value: the value of rule `"constant"`; None with any other rule.
        granularity: how the tensor is cut into vectors: `"kernel"`, `"neuron"` or `"layer"`.
        output_axis, num_kernel_axes, groups: as in `core.cut.Cut`.
        share, quantiles, pairwise, levels, sparsity, sparsity_by: as in `structure.Structure`.
        version: of the meaning of all this; a change to bytes changes it.

    Raises:
        SettingError: a field has a type or value that is not allowed, or two do not go together.

    Example:
        >>> record = TensorRecord(name="fc.weight", shape=(2, 3), dtype="float32",
        ...                       rule="kaiming_uniform", seed=0, fan_in=3, fan_out=2,
        ...                       granularity="neuron", levels=3)
        >>> initial_values(record)
        array([[-1.,  1.,  0.],
               [ 1., -1.,  0.]], dtype=float32)
        >>> TensorRecord.from_dict(record.to_dict()) == record
        True
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    seed: int
    fan_in: int
    fan_out: int
    granularity: Granularity
    output_axis: int = 0
    num_kernel_axes: int = 0
    groups: int = 1
    value: float | None = None
    share: bool = False
    quantiles: bool = False
    pairwise: bool = False
    levels: int | None = None
    sparsity: float = 0.0
    sparsity_by: str = "exact"
    version: int = RECORD_VERSION

    def __post_init__(self) -> None:
        self._check("name", isinstance(self.name, str), "a string")
        try:
            check_choice("rule", self.rule, tuple(RULES))
            self._check_fields()
            self._check_layout()
            self._check_together()
        except SettingError as error:
            raise SettingError(f"{self.name}: {error}") from None

    @property
    def regenerable(self) -> bool:
        """Whether the record alone gives the values: all rules but `"shuffle"`."""
        return self.rule != "shuffle"

    @property
    def cut(self) -> Cut:
        """How the tensor is cut into weight vectors."""
        return Cut(
            self.granularity, self.output_axis, self.num_kernel_axes, self.groups, self.shape
        )

    @property
    def num_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def vector_length(self) -> int:
        """Number of weights in one vector, L, of its cut."""
        return self.cut.vector_length

    @property
    def num_vectors(self) -> int:
        """Number of vectors, V."""
        return self.cut.num_vectors

    @property
    def num_zeros(self) -> int | None:
        """Zeros that `sparsity` makes in the whole tensor; None where chance decides."""
        if self.sparsity and self.sparsity_by == "bernoulli":
            return None
        if self.share:
            return self.num_vectors * round(self.sparsity * self.vector_length)
        return round(self.sparsity * self.num_weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; every field under its name."""
        return dataclasses.asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TensorRecord":
        """The record back from `to_dict`, through JSON or not.

        Raises:
            SettingError: a field is missing, unknown or out of range, or another version wrote it.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(data, dict):
            raise SettingError(f"record is {data!r}; allowed: a dictionary")
        if data.get("version", RECORD_VERSION) != RECORD_VERSION:
            raise SettingError(f"record version is {data['version']!r}; allowed: {RECORD_VERSION}")
        for what, wrong in (("misses", names - data.keys()), ("has unknown", data.keys() - names)):
            if wrong:
                raise SettingError(
                    f"record {data.get('name')!r} {what} {', '.join(sorted(map(str, wrong)))}; "
                    f"allowed: {', '.join(sorted(names))}"
                )
        shape = data["shape"]
        return cls(**(data | {"shape": tuple(shape) if isinstance(shape, list) else shape}))

    def _check_fields(self) -> None:
        shape_is_fine = (
            isinstance(self.shape, tuple)
            and len(self.shape) > 0
            and all(_is_int(size, 0, _MAX_SIZE) for size in self.shape)
        )
        self._check("shape", shape_is_fine, "one or more sizes, 0 or larger")
        check_choice("dtype", self.dtype, DTYPES)
        self._check("seed", _is_int(self.seed, 0, MAX_SEED), "0 to 2**64 - 1, an integer")
        smallest_fan = 1 if self.num_weights else 0
        for name in ("fan_in", "fan_out"):
            self._check(
                name,
                _is_int(getattr(self, name), smallest_fan, _MAX_SIZE),
                "1 or larger, an integer",
            )
        check_choice("granularity", self.granularity, GRANULARITIES)
        for name in ("share", "quantiles", "pairwise"):
            check_choice(name, getattr(self, name), (True, False))
        check_choice("sparsity_by", self.sparsity_by, SPARSITY_BY)
        sparsity_is_fine = isinstance(self.sparsity, float) and 0 <= self.sparsity < 1
        self._check("sparsity", sparsity_is_fine, "0 to 1, without 1")
        self._check(
            "version", _is_int(self.version, RECORD_VERSION, RECORD_VERSION), str(RECORD_VERSION)
        )

    def _check_layout(self) -> None:
        dims = len(self.shape)
        axes_are_fine = _is_int(self.output_axis, 0, dims - 1)
        self._check("output_axis", axes_are_fine, f"0 to {dims - 1} for shape {self.shape}")
        kernel_is_fine = _is_int(self.num_kernel_axes, 0, dims)
        self._check("num_kernel_axes", kernel_is_fine, f"0 to {dims} for shape {self.shape}")
        groups_are_fine = _is_int(self.groups, 1) and (
            self.groups == 1 or (self.output_axis >= 1 and self.shape[0] % self.groups == 0)
        )
        self._check(
            "groups", groups_are_fine, "1, or with output_axis 1 or more a divisor of size 0"
        )

    def _check_together(self) -> None:
        if self.rule == "constant":
            largest = largest_of(self.dtype)
            value_is_fine = isinstance(self.value, float) and abs(self.value) <= largest
            self._check("value", value_is_fine, f"with rule 'constant' a number in +-{largest:g}")
        else:
            self._check("value", self.value is None, "None, except with rule 'constant'")
        if not is_distribution(self.rule):
            why = f"with rule {self.rule!r}"
            self._check("quantiles", not self.quantiles, f"False {why}")
            self._check("pairwise", not self.pairwise, f"False {why}")
            self._check("levels", self.levels is None, f"None {why}")
        is_whole = self.rule in ("orthogonal", "shuffle")
        self._check("share", not (self.share and is_whole), f"False with rule {self.rule!r}")
        self._check(
            "sparsity_by",
            not (self.share and self.sparsity and self.sparsity_by == "bernoulli"),
            "exact, magnitude with share=True, whose vectors have equally many zeros",
        )
        if not self.num_weights:
            return
        length = self._num_drawn
        self._check(
            "sparsity",
            length > 0 and self.num_zeros != self.num_weights,
            f"less, so that not all {self.vector_length if self.share else self.num_weights} "
            f"weights of the {'vector' if self.share else 'tensor'} become zero",
        )
        if self.levels is not None:
            what = "the length of its weight vectors"
            if length < self.vector_length:
                what = "the weights of a vector that do not become zero"
            self._check("levels", _is_int(self.levels, 2, length), f"None, 2 to {length} ({what})")

    def _check(self, field: str, is_fine: bool, allowed: str) -> None:
        check(field, getattr(self, field), is_fine, allowed)

    @property
    def _num_drawn(self) -> int:
        """Values in a vector's profile beside zeros that the profile itself holds."""
        if self.share and self.sparsity_by == "exact":
            return self.vector_length - round(self.sparsity * self.vector_length)
        return self.vector_length


def initial_values(record: TensorRecord) -> Array:
    """The values a parameter was given, from its record alone.

    Without `share`, `quantiles`, `pairwise` and `levels` the tensor is drawn in its C order,
    whatever its vectors. With one of them each vector gets a profile of values (see `Structure`)
    laid out in a random order: `out[v, i] = profile[v, order[v, i]]`.

    Shapes: `record.shape`, C order. dtype: the record's; bfloat16 comes as float32 holding exactly
        bfloat16's values. No value is -0.0.
    Cost: 20 to 80 ns a weight on one core; at peak some 24 bytes a weight.
    Raises:
        SettingError: the rule is `"shuffle"`, whose values the record does not hold.

    Example: see `TensorRecord`.
    """
    if not record.regenerable:
        raise SettingError(
            f"{record.name}: rule is 'shuffle', whose values a record does not hold; "
            f"allowed: any other rule"
        )
    if not record.num_weights:
        return np.zeros(record.shape, dtype=storage_of(record.dtype))
    if record.rule == "orthogonal":
        return _with_zeros(record, _orthogonal(record))
    if not (record.share or record.quantiles or record.pairwise or record.levels):
        return _with_zeros(record, _drawn(record, record.num_weights).reshape(record.shape))
    profile_VL = _profile(record)
    order_VL = _positions(record)
    if profile_VL.shape[0] == 1:
        values_VL = profile_VL[0][order_VL]
    else:
        values_VL = np.take_along_axis(profile_VL, order_VL, axis=1)
    values = np.ascontiguousarray(record.cut.to_tensor(values_VL))
    return values if record.share else _with_zeros(record, values)


def shuffled_values(record: TensorRecord, values: Array) -> Array:
    """Values shuffled within each weight vector, then made sparse, as the record says.

    Args:
        values: finite values of `record.shape`; their bits are kept.

    Example:
        >>> record = TensorRecord(name="fc.weight", shape=(2, 3), dtype="float32", rule="shuffle",
        ...                       seed=0, fan_in=3, fan_out=2, granularity="neuron")
        >>> shuffled_values(record, np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
        array([[1., 3., 2.],
               [6., 4., 5.]], dtype=float32)
    """
    if not record.num_weights:
        return values
    values_VL = np.take_along_axis(record.cut.to_vectors(values), _positions(record), axis=1)
    return _with_zeros(record, np.ascontiguousarray(record.cut.to_tensor(values_VL)))


def level_of_places(num_levels: int, length: int) -> NDArray[np.int64]:
    """Which of K levels each place of a vector's ascending order takes; symmetric.

    Place i of the lower half takes level floor((i + 1/2) K / L), the level that holds its quantile.
    The upper half mirrors the lower; the middle place of an odd length takes level floor(K / 2).
    How often two levels occur differs by one at most.

    Args:
        num_levels: K, 1 to `length`.
        length: L.

    Example:
        >>> level_of_places(3, 8)
        array([0, 0, 0, 1, 1, 2, 2, 2])
    """
    half = length // 2
    lower = (2 * np.arange(half, dtype=np.int64) + 1) * num_levels // (2 * length)
    middle = np.full(length % 2, num_levels // 2, dtype=np.int64)
    return np.concatenate([lower, middle, num_levels - 1 - lower[::-1]])


def _drawn(record: TensorRecord, count: int) -> Array:
    """`count` values of the rule's distribution, or the constant."""
    if record.rule == "constant":
        assert record.value is not None
        return np.repeat(rounded(np.array([record.value]), record.dtype), count)
    source = word_source(record.seed, record.name, "values")
    out = np.empty(count, dtype=storage_of(record.dtype))
    for start in range(0, count, _CHUNK):
        part = out[start : start + _CHUNK]
        part[:] = _at(record, centred(source.random_raw(len(part))))
    return out


def _orthogonal(record: TensorRecord) -> Array:
    """Rows of the tensor as a matrix, (first axis, all others)."""
    words = word_source(record.seed, record.name, "values").random_raw
    rows = orthonormal_rows(record.shape[0], record.num_weights // record.shape[0], words)
    return rounded(rows, record.dtype).reshape(record.shape)


def _at(record: TensorRecord, q: NDArray[np.float64]) -> Array:
    values = values_at(record.rule, record.fan_in, record.fan_out, q)
    return rounded(values, record.dtype)


def _places(count: int) -> NDArray[np.float64]:
    """(i + 1/2) / count - 1/2 for every i, antisymmetric."""
    return (2 * np.arange(count, dtype=np.int64) + (1 - count)) / (2.0 * count)


def _profile(record: TensorRecord) -> Array:
    """The values of each vector, before they are laid out: (V, L), or (1, L) for all vectors."""
    length = record._num_drawn
    is_one = record.share or record.quantiles or record.levels is not None
    num_rows = 1 if is_one else record.num_vectors
    if record.levels is not None:
        profile = _level_values(record)[level_of_places(record.levels, length)][None]
        if record.pairwise and length % 2:
            profile[:, length // 2] = 0.0
    elif record.quantiles:
        profile = _at(record, _places(length))[None]
    elif record.pairwise:
        half = _drawn(record, num_rows * (length // 2)).reshape(num_rows, -1)
        middle = np.zeros((num_rows, length % 2), dtype=half.dtype)
        # 0.0 - v, not -v: a value that was rounded to zero has no negative twin.
        profile = np.concatenate([half, middle, 0.0 - half], axis=1)
    else:
        profile = _drawn(record, num_rows * length).reshape(num_rows, length)
    if not record.share:
        return profile
    num_zeros = round(record.sparsity * record.vector_length)
    if record.sparsity_by == "magnitude":
        profile[0, np.argsort(np.abs(profile[0]), kind="stable")[:num_zeros]] = 0.0
        return profile
    return np.concatenate([profile, np.zeros((1, num_zeros), dtype=profile.dtype)], axis=1)


def _level_values(record: TensorRecord) -> Array:
    assert record.levels is not None
    z = unit_quantiles(record.rule, _places(record.levels))
    # fsum rounds once, whatever the order; a NumPy sum's order depends on the processor.
    mean_square = math.fsum((z * z).tolist()) / record.levels
    std = std_of(record.rule, record.fan_in, record.fan_out)
    return rounded(z / math.sqrt(mean_square) * std, record.dtype)


def _positions(record: TensorRecord) -> NDArray[np.int64]:
    shape = record.num_vectors, record.vector_length
    return random_order(record.seed, record.name, "positions", shape)


def _with_zeros(record: TensorRecord, values: Array) -> Array:
    """Values with some replaced by 0.0, chosen over the whole tensor in C order."""
    if not record.sparsity:
        return values
    flat = values.reshape(-1)
    by: dict[str, Callable[[TensorRecord, Array], Array]] = {
        "exact": _zeros_by_count,
        "bernoulli": _zeros_by_chance,
        "magnitude": _zeros_by_magnitude,
    }
    flat[by[record.sparsity_by](record, flat)] = 0.0
    return flat.reshape(values.shape)


def _zeros_by_count(record: TensorRecord, flat: Array) -> Array:
    order = random_order(record.seed, record.name, "zeros", len(flat))
    return order[: round(record.sparsity * len(flat))]


def _zeros_by_chance(record: TensorRecord, flat: Array) -> Array:
    words = word_source(record.seed, record.name, "zeros").random_raw(len(flat))
    # Both sides are exact: 53 bits of the word, and a float64 times a power of two.
    return np.asarray((words >> np.uint64(11)).astype(np.float64) < record.sparsity * 2.0**53)


def _zeros_by_magnitude(record: TensorRecord, flat: Array) -> Array:
    """The smallest magnitudes; which of several equal ones go is left to chance.

    By position, a tensor of few levels would lose whole neurons.
    """
    num_zeros = round(record.sparsity * len(flat))
    if not num_zeros:
        return np.zeros(0, dtype=np.int64)
    sizes = np.abs(flat)
    largest = np.partition(sizes, num_zeros - 1)[num_zeros - 1]
    below = np.flatnonzero(sizes < largest)
    ties = np.flatnonzero(sizes == largest)
    order = random_order(record.seed, record.name, "zeros", len(ties))
    return np.concatenate([below, ties[order[: num_zeros - len(below)]]])


def _is_int(value: object, low: int, high: int | None = None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return low <= value and (high is None or value <= high)
