"""Orthogonal initial weights."""

import numpy as np
import pytest
from torch import nn

from permtrain import Rule, Structure, initialize_
from permtrain.errors import SettingError
from permtrain.initial.orthogonal import num_sweeps, orthonormal_rows
from permtrain.initial.philox import word_source


def drawn(num_rows: int, num_columns: int, seed: int = 0) -> np.ndarray:
    words = word_source(seed, "w", "values").random_raw
    return orthonormal_rows(num_rows, num_columns, words)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 64, 100])
@pytest.mark.parametrize("part", [0.5, 1, 2.5])
def test_blocks_have_orthonormal_rows(columns: int, part: float) -> None:
    rows = max(1, int(part * columns))
    matrix = drawn(rows, columns)
    assert matrix.shape == (rows, columns)
    for begin in range(0, rows, columns):
        block = matrix[begin : begin + columns]
        assert np.abs(block @ block.T - np.eye(len(block))).max() < 1e-14


def test_a_wider_matrix_begins_with_the_same_rows_and_blocks_differ() -> None:
    assert np.array_equal(drawn(20, 8)[:5], drawn(5, 8))
    assert not np.array_equal(drawn(16, 8)[:8], drawn(16, 8)[8:])
    assert not np.array_equal(drawn(8, 8), drawn(8, 8, seed=1))


def test_every_weight_is_made_of_all_and_as_large_as_the_others() -> None:
    matrix = np.concatenate([drawn(64, 64, seed) for seed in range(60)])
    assert (matrix != 0).all()
    assert (np.square(matrix).reshape(60, 64, 64).mean(axis=0) * 64).max() < 2.5
    fourth = np.mean(matrix**4) / np.mean(matrix**2) ** 2
    assert 2.7 < fourth < 3.3  # of a normal distribution 3, of a random orthogonal matrix 3 x 64/66


def test_each_gate_of_a_recurrent_layer_is_orthogonal() -> None:
    layer = nn.LSTM(5, 6)
    initialize_(layer, {"weight_hh*": "orthogonal"}, seed=3, bias_values="rule")
    for gate in np.split(layer.weight_hh_l0.detach().numpy(), 4):
        assert np.abs(gate @ gate.T - np.eye(6)).max() < 1e-6
    assert not layer.bias_hh_l0.any()  # the rule says nothing of a vector
    assert layer.bias_ih_l0.any()


@pytest.mark.parametrize(
    "structure", [Structure(share=True), Structure(levels=2), Structure(quantiles=True)]
)
def test_a_structure_of_vectors_is_refused(structure: Structure) -> None:
    with pytest.raises(SettingError, match="with rule 'orthogonal'"):
        initialize_(nn.Linear(4, 4), Rule("orthogonal"), structure)


def test_sweeps_double_what_a_row_is_made_of() -> None:
    assert all(2 ** (num_sweeps(width) // 4) >= width for width in range(1, 70))
