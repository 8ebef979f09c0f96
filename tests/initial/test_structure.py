"""What a structure refuses by itself; what it does to values is in test_record.py."""

import numpy as np
import pytest

from permtrain.errors import SettingError
from permtrain.initial.structure import Structure

LEVELS = "None, 2 or larger, an integer"
FRACTION = "0 to 1, without 1"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"granularity": "neurons"},
            "granularity is 'neurons'; allowed: kernel, neuron, layer; did you mean 'neuron'?",
        ),
        ({"granularity": None}, "granularity is None; allowed: kernel, neuron, layer"),
        (
            {"granularity": {"0.*": "layer", "*": "row"}},
            "granularity is 'row'; allowed: kernel, neuron, layer",
        ),
        ({"share": 1}, "share is 1; allowed: True, False"),
        ({"quantiles": {"*": True}}, "quantiles is {'*': True}; allowed: True, False"),
        ({"pairwise": None}, "pairwise is None; allowed: True, False"),
        ({"levels": 1}, f"levels is 1; allowed: {LEVELS}"),
        ({"levels": 2.0}, f"levels is 2.0; allowed: {LEVELS}"),
        ({"levels": True}, f"levels is True; allowed: {LEVELS}"),
        ({"sparsity": 1}, f"sparsity is 1.0; allowed: {FRACTION}"),
        ({"sparsity": -0.1}, f"sparsity is -0.1; allowed: {FRACTION}"),
        ({"sparsity": float("nan")}, f"sparsity is nan; allowed: {FRACTION}"),
        ({"sparsity": True}, f"sparsity is True; allowed: {FRACTION}"),
        ({"sparsity": {"0.*": 0.5, "*": "x"}}, f"sparsity is 'x'; allowed: {FRACTION}"),
        ({"sparsity_by": "size"}, "sparsity_by is 'size'; allowed: exact, bernoulli, magnitude"),
        ({"first_layer_sparsity_cap": 2}, "first_layer_sparsity_cap is 2; allowed: 0 to 1"),
        ({"first_layer_sparsity_cap": "x"}, "first_layer_sparsity_cap is 'x'; allowed: 0 to 1"),
    ],
)
def test_refusals(options, text):
    with pytest.raises(SettingError) as error:
        Structure(**options)
    assert str(error.value) == text


def test_the_ends_of_each_range_and_numbers_of_numpy_are_allowed():
    Structure(levels=np.int64(2), sparsity=0, first_layer_sparsity_cap=1)
    Structure(sparsity={"*": np.float32(0.5)}, first_layer_sparsity_cap=np.float64(0))
