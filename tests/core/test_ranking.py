"""Rankings: the paper's definition, ties by position, NaN kept out."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import reference
from permtrain.core.arrange import arrange
from permtrain.core.cut import Cut, Granularity
from permtrain.core.profile import profile_of
from permtrain.core.ranking import ranking, ranks_of, sorting_order
from permtrain.errors import GranularityError, NonFiniteError
from strategies import DTYPES, matrices


@given(w=matrices())
def test_ranking_counts_the_smaller_weights_of_a_vector(w: Tensor, device: torch.device) -> None:
    ranks = ranking(w.to(device))
    assert ranks.dtype == torch.int64
    assert ranks.shape == w.shape
    assert ranks.tolist() == [reference.ranking(vector) for vector in w.tolist()]


@given(w=matrices())
def test_larger_weights_have_larger_ranks(w: Tensor) -> None:
    """The definition itself: w[p] > w[q] implies R[p] > R[q], ranks distinct in [0, #w)."""
    for vector, ranks in zip(w.tolist(), ranking(w).tolist(), strict=True):
        assert sorted(ranks) == list(range(len(vector)))
        for p, q in [(p, q) for p in range(len(vector)) for q in range(len(vector))]:
            if vector[p] > vector[q]:
                assert ranks[p] > ranks[q]


@given(w=matrices())
def test_sorting_order_is_the_inverse_of_the_ranks(w: Tensor, device: torch.device) -> None:
    order = sorting_order(w.to(device))
    for vector, positions in zip(w.tolist(), order.tolist(), strict=True):
        assert positions == sorted(range(len(vector)), key=vector.__getitem__)
    assert torch.equal(ranks_of(ranks_of(order)), order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [15, 17, 1000, 5000])
def test_ties_keep_their_positions_order_in_long_vectors(
    dtype: torch.dtype, length: int, device: torch.device
) -> None:
    """Sorting routines change with the length; every one of them must be stable."""
    values = torch.tensor([-1.0, -0.0, 0.0, 1.0], dtype=dtype)
    w = values[torch.randint(4, (3, length))]
    expected = [sorted(range(length), key=vector.__getitem__) for vector in w.tolist()]
    assert sorting_order(w.to(device)).tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_zeros_tie(dtype: torch.dtype, device: torch.device) -> None:
    w = torch.tensor([[0.0, -0.0], [-0.0, 0.0]], dtype=dtype, device=device)
    assert ranking(w).tolist() == [[0, 1], [0, 1]]


def test_subnormal_weights_do_not_tie_with_zero(device: torch.device) -> None:
    w = torch.tensor([[1e-45, 0.0, -1e-45]], device=device)
    assert ranking(w).tolist() == [[2, 1, 0]]


def test_equal_weights_rank_by_position(device: torch.device) -> None:
    assert ranking(torch.full((2, 5), 0.08, device=device)).tolist() == [[0, 1, 2, 3, 4]] * 2


def test_granularity_says_among_which_weights_a_rank_counts() -> None:
    w = torch.tensor([3.0, 2.0, 1.0, 0.0, 7.0, 6.0, 5.0, 4.0]).reshape(1, 2, 2, 2)
    assert ranking(w, "kernel").flatten().tolist() == [3, 2, 1, 0, 3, 2, 1, 0]
    assert ranking(w, "neuron").flatten().tolist() == [3, 2, 1, 0, 7, 6, 5, 4]
    assert ranking(w.reshape(2, 4), "neuron").flatten().tolist() == [3, 2, 1, 0, 3, 2, 1, 0]
    assert ranking(w.reshape(2, 4), "layer").flatten().tolist() == [3, 2, 1, 0, 7, 6, 5, 4]


def test_a_view_in_place_of_a_name_ranks_along_its_axis() -> None:
    w = torch.tensor([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    assert ranking(w, Cut("neuron", 1).of((3, 2))).tolist() == [[2, 0], [1, 1], [0, 2]]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (0, 3), (3, 0)])
def test_tiny_tensors_have_a_ranking_of_their_shape(shape: tuple[int, ...]) -> None:
    ranks = ranking(torch.zeros(shape))
    assert ranks.shape == shape
    assert ranks.flatten().tolist() == [0] * ranks.numel()


@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_nan_and_infinity_are_refused_in_every_position(
    data: st.DataObject, dtype: torch.dtype, bad: float, device: torch.device
) -> None:
    length = data.draw(st.integers(2, 6) | st.just(100))
    w = torch.zeros(3, length, dtype=dtype, device=device)
    w[data.draw(st.integers(0, 2)), data.draw(st.integers(0, length - 1))] = bad
    with pytest.raises(NonFiniteError, match="hold NaN or infinity; allowed: finite values"):
        ranking(w)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_in_vectors_of_one(bad: float) -> None:
    for shape in [(), (1,), (1, 1)]:
        with pytest.raises(NonFiniteError):
            ranking(torch.full(shape, bad))
    with pytest.raises(NonFiniteError):
        sorting_order(torch.tensor([[0.0], [bad]]))


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128]
)
def test_weights_that_are_not_floating_point_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=rf"^w is {dtype}; allowed: floating point, of 16 bits"):
        ranking(torch.zeros(2, 3, dtype=dtype))


def test_a_tensor_without_vectors_is_refused() -> None:
    with pytest.raises(GranularityError, match="is a single weight, nothing to permute"):
        ranking(torch.zeros(3), "neuron")


def test_weights_are_left_as_they_are_and_carry_no_gradient() -> None:
    w = torch.tensor([[2.0, -0.0, 0.0, 1.0]], requires_grad=True)
    assert not ranking(w).requires_grad
    assert reference.exact(w.tolist()) == reference.exact([[2.0, -0.0, 0.0, 1.0]])


@pytest.fixture
def denormals_flushed() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("the processor does not flush")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("denormals_flushed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("granularity", ["neuron", "layer"])
def test_denormals_are_ranked_where_the_processor_takes_them_for_zero(
    dtype: torch.dtype, granularity: Granularity
) -> None:
    info = torch.finfo(dtype)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[info.bits // 8]
    small = torch.arange(1, 60, dtype=bits)  # the smallest numbers there are
    lowest = torch.iinfo(bits).min
    ordered = torch.cat([small.flip(0) + lowest, torch.zeros(1, dtype=bits), small])
    places = torch.randperm(len(ordered), generator=torch.Generator().manual_seed(0))
    w = ordered[places].view(dtype)[None]
    assert torch.equal(ranking(w, granularity)[0], places)
    profile = ordered.view(dtype)
    assert torch.equal(arrange(profile, w, granularity).view(bits), ordered[places][None])
    assert torch.equal(profile_of(w, granularity).view(bits)[0], ordered)
    zeros = torch.tensor([[0.0, -0.0, 1.0, -0.0]], dtype=dtype)
    assert ranking(zeros, granularity).tolist() == [[0, 1, 3, 2]]
    with pytest.raises(NonFiniteError):
        ranking(torch.tensor([[0.0, float("nan"), 1.0]], dtype=dtype), granularity)
    with pytest.raises(NonFiniteError):
        ranking(torch.tensor([[0.0, -float("inf"), 1.0]], dtype=dtype), granularity)
