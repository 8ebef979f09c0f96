"""How drawn values lie in weight vectors, whatever rule draws them. Needs no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from permtrain.core.cut import GRANULARITIES, Granularity
from permtrain.initial.checks import as_integer, as_number, check, check_choice

SparsityBy: TypeAlias = Literal["exact", "bernoulli", "magnitude"]
SPARSITY_BY: tuple[SparsityBy, ...] = get_args(SparsityBy)


@dataclass(frozen=True)
class Structure:
    """How the values that `initialize_` draws lie in weight vectors, and which of them are zero.

    L is the number of weights in a vector. The default draws every weight by itself.

    Args:
        granularity: `"kernel"`, `"neuron"` or `"layer"`: what a weight vector is, for `share`,
            `quantiles`, `pairwise`, `levels` and rule `"shuffle"`; without them it changes no
            value. Where a vector would be a single weight, the next coarser one is taken and
            recorded.
        share: all vectors of a tensor hold the same values, each in a random order of its own.
        quantiles: a vector's values are the distribution's quantiles at (i + 1/2) / L, i from 0 to
            L - 1, in a random order.
        pairwise: a vector holds +v and -v for each of its values, and one 0 if L is odd, in a
            random order. Quantiles and levels are in pairs already, except for a middle place.
            Source: Cai, Chen, Qiao, arXiv 2407.01033, random and equidistant pairs (`quantiles` of
            a uniform rule are equidistant).
        levels: K, 2 to L: a vector's values are K equally frequent ones (`record.level_of_places`),
            the quantiles at (j + 1/2) / K scaled to the distribution's standard deviation (root
            mean square of the K), in a random order; `quantiles` adds nothing to them.
        sparsity: fraction of each weight tensor that becomes 0.0, in [0, 1).
        sparsity_by: which weights become zero. `"exact"`: round(sparsity x n) of the tensor's n, at
            random positions. `"bernoulli"`: each with this probability (the code of Train by
            Reconnect's authors). `"magnitude"`: the round(sparsity x n) smallest magnitudes, by
            chance among equal ones (index optimizer, section 5.1). Zeros may break pairs and make
            vectors differ, except with `share`: then round(sparsity x L) zeros are part of the one
            profile, and pairs, quantiles and levels are those of the other L - round(sparsity x L)
            values (`"magnitude"`: of all L); `"bernoulli"` is refused.
        first_layer_sparsity_cap: the first weight tensor, in the model's order, gets at most this
            sparsity, in [0, 1] (Train by Reconnect, section 5.4: 0.2).

    `granularity` and `sparsity` also take a mapping from name patterns (see `initialize_`).

    Raises:
        SettingError: a value is out of range. What depends on the tensor or the rule, as `levels`
            above L, is refused when weights are drawn.

    Example:
        >>> Structure(levels=3, sparsity={"fc*": 0.9}).sparsity_by
        'exact'
        >>> Structure(levels=1)
        Traceback (most recent call last):
        ...
        permtrain.errors.SettingError: levels is 1; allowed: None, 2 or larger, an integer
    """

    granularity: Granularity | Mapping[str, Granularity] = "neuron"
    share: bool = False
    quantiles: bool = False
    pairwise: bool = False
    levels: int | None = None
    sparsity: float | Mapping[str, float] = 0.0
    sparsity_by: SparsityBy = "exact"
    first_layer_sparsity_cap: float | None = None

    def __post_init__(self) -> None:
        for granularity in _values(self.granularity):
            check_choice("granularity", granularity, GRANULARITIES)
        for name in ("share", "quantiles", "pairwise"):
            check_choice(name, getattr(self, name), (True, False))
        levels = as_integer(self.levels)
        is_count = isinstance(levels, int) and levels >= 2
        check("levels", self.levels, levels is None or is_count, "None, 2 or larger, an integer")
        for sparsity in map(as_number, _values(self.sparsity)):
            is_fraction = isinstance(sparsity, float) and 0 <= sparsity < 1
            check("sparsity", sparsity, is_fraction, "0 to 1, without 1")
        check_choice("sparsity_by", self.sparsity_by, SPARSITY_BY)
        cap = as_number(self.first_layer_sparsity_cap)
        is_cap = cap is None or (isinstance(cap, float) and 0 <= cap <= 1)
        check("first_layer_sparsity_cap", self.first_layer_sparsity_cap, is_cap, "0 to 1")


def _values(given: Any) -> Collection[Any]:
    """The values of a mapping from name patterns, or the one value."""
    return given.values() if isinstance(given, Mapping) else (given,)
