"""Profiles: the initial values, ascending, to the bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import reference
from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut
from permtrain.core.profile import holds_profile, profile_of
from permtrain.errors import NonFiniteError
from reference import exact
from strategies import DTYPES, matrices, shuffled_matrices


@given(w=matrices())
def test_profile_holds_each_vectors_values_ascending(w: Tensor, device: torch.device) -> None:
    profile = profile_of(w.to(device))
    assert profile.dtype == w.dtype
    expected = [reference.profile(vector) for vector in w.tolist() if vector]
    if len(expected) > 1 and all(exact(row) == exact(expected[0]) for row in expected):
        expected = expected[:1]
    assert exact(profile.tolist()) == exact(expected)


@given(w=matrices())
def test_profile_keeps_every_bit_pattern(w: Tensor) -> None:
    profile = profile_of(w).expand(len(w) if w.numel() else 0, -1)
    before = [sorted(exact(vector)) for vector in w.tolist() if vector]
    assert [sorted(exact(vector)) for vector in profile.tolist()] == before


def test_zeros_in_a_profile_keep_their_sign_and_their_positions_order() -> None:
    w = torch.tensor([[0.0, -1.0, -0.0, 0.0]])
    assert exact(profile_of(w).tolist()) == exact([[-1.0, 0.0, -0.0, 0.0]])


def test_vectors_of_the_same_values_share_one_profile() -> None:
    w = torch.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.0]])
    assert profile_of(w).tolist() == [[1.0, 2.0, 3.0]]
    w[2, 0] = 2.5
    assert profile_of(w).shape == (3, 3)


def test_vectors_that_differ_in_the_sign_of_a_zero_do_not_share_a_profile() -> None:
    profile = profile_of(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert exact(profile.tolist()) == exact([[0.0, 1.0], [-0.0, 1.0]])


@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2, 1, 3)])
def test_a_profile_shares_no_memory_with_the_weights(shape: tuple[int, ...]) -> None:
    w = torch.zeros(shape, requires_grad=True)
    profile = profile_of(w)
    with torch.no_grad():
        w.fill_(7.0)
    assert not profile.any()
    assert not profile.requires_grad


def test_a_shared_profile_takes_the_memory_of_one_vector() -> None:
    assert profile_of(torch.zeros(100, 3)).untyped_storage().nbytes() == 3 * 4


def test_granularity_says_whose_values_a_profile_holds() -> None:
    w = torch.tensor([4.0, 3.0, 2.0, 1.0]).reshape(1, 2, 2)
    assert profile_of(w, "kernel").tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert profile_of(w, "layer").tolist() == [[1.0, 2.0, 3.0, 4.0]]
    by_column = Cut("neuron", 1).of((2, 2))
    assert profile_of(w[0], by_column).tolist() == [[2.0, 4.0], [1.0, 3.0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_do_not_enter_a_profile(bad: float) -> None:
    for position in range(3):
        w = torch.zeros(2, 3)
        w[1, position] = bad
        with pytest.raises(NonFiniteError, match="allowed: finite values"):
            profile_of(w)


@given(pair=shuffled_matrices())
def test_shuffled_vectors_hold_their_profile(
    pair: tuple[Tensor, Tensor], device: torch.device
) -> None:
    before, after = (w.to(device) for w in pair)
    cut = Cut("neuron").of(tuple(before.shape))
    held = holds_profile(cut.to_vectors(after), profile_of(before))
    assert held.tolist() == [True] * cut.num_vectors


@given(w=matrices(), data=st.data())
def test_one_changed_bit_is_told_in_its_own_vector_only(w: Tensor, data: st.DataObject) -> None:
    if not w.numel():
        return
    row, column = (data.draw(st.integers(0, size - 1)) for size in w.shape)
    profile = profile_of(w).expand(w.shape)
    changed = w.clone().contiguous()
    bits_of(changed)[row, column] ^= 1 << data.draw(st.integers(0, w.element_size() * 8 - 2))
    assert holds_profile(changed, profile).tolist() == [v != row for v in range(len(w))]


def test_a_changed_sign_of_zero_is_told() -> None:
    profile = torch.tensor([[0.0, 0.0]])
    assert holds_profile(torch.tensor([[0.0, 0.0], [0.0, -0.0]]), profile).tolist() == [True, False]


def test_how_often_a_value_occurs_counts() -> None:
    profile = torch.tensor([[1.0, 1.0, 2.0]])
    assert holds_profile(torch.tensor([[2.0, 1.0, 2.0]]), profile).tolist() == [False]


def test_zeros_tied_in_a_profile_may_stand_in_either_order() -> None:
    profile = torch.tensor([[-0.0, 0.0]])
    assert holds_profile(torch.tensor([[0.0, -0.0]]), profile).tolist() == [True]


def test_nothing_holds_a_profile_of_another_dtype_or_length() -> None:
    w = torch.zeros(2, 3)
    assert holds_profile(w, torch.zeros(1, 3, dtype=torch.float64)).tolist() == [False, False]
    assert holds_profile(w, torch.zeros(1, 4)).tolist() == [False, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_integers_of_the_same_width(dtype: torch.dtype) -> None:
    bits = bits_of(torch.tensor([0.0, -0.0], dtype=dtype, requires_grad=True))
    width = 8 * dtype.itemsize
    assert bits.tolist() == [0, -(2 ** (width - 1))]
