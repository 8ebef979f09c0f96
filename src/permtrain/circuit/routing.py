"""From which place each connection of a layer gets its fixed value.

Suffixes: V vectors, L weights in a vector, U units, I inputs of a unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from permtrain.circuit.benes import benes_switches, waksman_switches
from permtrain.circuit.check import layer_output
from permtrain.core.cut import Cut
from permtrain.errors import NonFiniteError
from permtrain.initial.philox import random_words
from permtrain.packed.entries import TensorEntry
from permtrain.packed.keys import Bits, sort_keys, values_of_bits
from permtrain.packed.multiset import levels_of
from permtrain.packed.reader import PackedFile

Array = NDArray[np.generic]

_LARGEST_WEIGHT = 1e280
"""So that sums of products with the probe are finite, however many weights a unit has."""


@dataclass(frozen=True, eq=False)
class LayerCircuit:
    """One layer's fixed values and the way from these to its connections.

    Attributes:
        name: of the tensor.
        cut: its shape and weight vectors; each has a network of its own.
        fixed_UI: the fixed values, in the order of units and inputs.
        routing_UI: int64; connection (u, i) gets `fixed_UI.ravel()[routing_UI[u, i]]`.
        probe_I, output_U: an input of the layer, and its output with the trained weights, float64.
    """

    name: str
    cut: Cut
    fixed_UI: Array
    routing_UI: NDArray[np.int64]
    probe_I: NDArray[np.float64]
    output_U: NDArray[np.float64]

    @property
    def num_moved(self) -> int:
        """Connections that get their value from another place than their own."""
        places = np.arange(self.routing_UI.size).reshape(self.routing_UI.shape)
        return int((self.routing_UI != places).sum())

    @property
    def benes_switches(self) -> int:
        """Switches of all its vectors' Benes networks."""
        return self.cut.num_vectors * benes_switches(self.cut.vector_length)

    @property
    def waksman_switches(self) -> int:
        """Switches of all its vectors' Waksman networks."""
        return self.cut.num_vectors * waksman_switches(self.cut.vector_length)


def circuit_of(file: PackedFile, name: str) -> LayerCircuit:
    """The circuit of an arranged tensor.

    Fixed values are the initial ones at their places; where a file stores sorted values instead,
    these.

    Raises:
        PackedFileError: the tensor is damaged.
        NonFiniteError: it holds NaN, infinity, or numbers so large that no output can be told.
    """
    entry = file.entry(name)
    cut = entry.cut
    assert cut is not None
    bits, fixed_bits = file.bits(name), file.fixed_bits(name)
    keys_VL, fixed_VL = (cut.to_vectors(sort_keys(each)) for each in (bits, fixed_bits))
    sources_VL = sources_of(fixed_VL, keys_VL)
    units = unit_rows(entry)
    # Number the places as the units have them, and carry the numbers as the values are carried.
    place = units.to_tensor(np.arange(cut.num_weights).reshape(units.num_vectors, -1))
    place_VL = np.take_along_axis(cut.to_vectors(place), sources_VL, axis=1)
    fixed_UI = units.to_vectors(values_of_bits(fixed_bits, entry.dtype))
    weights_UI = units.to_vectors(values_of_bits(bits, entry.dtype))
    probe_I = probe(units.vector_length)
    # A sum of such terms is no number, or the same whatever else stands in it.
    num_bad = int((~(np.abs(weights_UI.astype(np.float64)) < _LARGEST_WEIGHT)).sum())
    if num_bad:
        raise NonFiniteError(
            f"{entry.name}: {num_bad} of {cut.num_weights} weights are NaN, infinite, or "
            f"{_LARGEST_WEIGHT:g} or larger; allowed: finite weights, below that"
        )
    own_places_UI = np.arange(cut.num_weights).reshape(fixed_UI.shape)
    return LayerCircuit(
        name=entry.name,
        cut=cut,
        fixed_UI=fixed_UI,
        routing_UI=units.to_vectors(cut.to_tensor(place_VL)),
        probe_I=probe_I,
        output_U=layer_output(weights_UI, own_places_UI, probe_I),
    )


def sources_of(fixed_VL: Bits, keys_VL: Bits) -> NDArray[np.int64]:
    """For each position the one in its vector that its value comes from; int64 (V, L).

    Of equal values those that stand still come from their own position, the others in the order of
    their positions, as `permutation_between` has it.

    Example:
        >>> sources_of(np.array([[1, 1, 2]]), np.array([[2, 1, 1]]))
        array([[2, 1, 0]])
    """
    profile_VL = np.sort(fixed_VL, axis=1)
    is_still_VL = fixed_VL == keys_VL
    orders = []
    for values_VL in (fixed_VL, keys_VL):
        levels_VL = levels_of(values_VL, profile_VL)
        assert levels_VL is not None  # the file holds arrangements only
        orders.append(np.argsort(2 * levels_VL.astype(np.int64) + ~is_still_VL, kind="stable"))
    from_VL, to_VL = orders
    sources_VL = np.empty(from_VL.shape, dtype=np.int64)
    np.put_along_axis(sources_VL, to_VL, from_VL, axis=1)
    return sources_VL


def unit_rows(entry: TensorEntry) -> Cut:
    """How an arranged tensor is cut into the inputs of its output units, whatever its vectors."""
    cut = entry.cut
    assert cut is not None
    return Cut("neuron", cut.output_axis, 0, cut.groups, entry.shape)


def probe(num_inputs: int) -> NDArray[np.float64]:
    """An input for a layer: odd integers of 25 bits; products with 32-bit weights are exact.

    They are drawn at random, the same for all layers, so that hardly any wrong routing gives the
    right sums: none that exchanges two different values, for two equal integers are unlikely.

    Example:
        >>> probe(3)
        array([ 3701921.,  9467553., -4519545.])
    """
    words = random_words(0, "probe", "values", num_inputs)
    return ((words >> np.uint64(40)).astype(np.int64) * 2 + 1 - (1 << 24)).astype(np.float64)
