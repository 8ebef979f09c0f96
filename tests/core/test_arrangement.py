"""Synchronization: exactly the profile's values, in the order of other weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import reference
from permtrain.core.arrange import arrange, straight_through
from permtrain.core.arrangement import (
    arrange_by_sorting,
    arrange_vectors,
)
from permtrain.core.cut import Cut
from permtrain.core.profile import profile_of
from permtrain.core.ranking import ranking
from permtrain.errors import GranularityError, NonFiniteError, ProfileError
from reference import exact
from strategies import DTYPES, matrices, values


@st.composite
def profiles_and_weights(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Weights of one dtype, ascending profiles of another: one each, (1, L) or (L,) for all."""
    like = draw(matrices())
    V, L = like.shape if like.numel() else (0, 0)
    dtype = draw(st.sampled_from(DTYPES))
    kind = draw(st.sampled_from(["one each", "shared row", "shared vector"]))
    num_rows = V if kind == "one each" else 1
    rows = [
        reference.profile(draw(st.lists(values(dtype), min_size=L, max_size=L)))
        for _ in range(num_rows)
    ]
    profile = torch.tensor(rows, dtype=dtype).reshape(num_rows, L)
    return (profile[0] if kind == "shared vector" else profile), like


def expected_arrangement(profile: Tensor, like: Tensor) -> list[list[float]]:
    rows = profile.expand(like.shape).tolist() if like.numel() else [[] for _ in like]
    return [reference.arrange(row, vector) for row, vector in zip(rows, like.tolist(), strict=True)]


@given(pair=profiles_and_weights())
def test_arranged_values_have_the_ranking_of_the_weights(
    pair: tuple[Tensor, Tensor], device: torch.device
) -> None:
    profile, like = pair
    out = arrange(profile.to(device), like.to(device))
    assert out.shape == like.shape
    assert out.dtype == profile.dtype
    assert exact(out.tolist()) == exact(expected_arrangement(profile, like))


@given(pair=profiles_and_weights())
def test_exactly_the_profiles_bits_come_back(pair: tuple[Tensor, Tensor]) -> None:
    profile, like = pair
    rows = profile.expand(like.shape).tolist() if like.numel() else [[] for _ in like]
    out = arrange(profile, like).tolist()
    assert [sorted(exact(row)) for row in out] == [sorted(exact(row)) for row in rows]


@given(pair=profiles_and_weights())
def test_arranging_twice_changes_no_value(pair: tuple[Tensor, Tensor]) -> None:
    profile, like = pair
    once = arrange(profile, like)
    assert arrange(profile, once).tolist() == once.tolist()


@given(w=matrices())
def test_arranging_by_the_initial_weights_gives_them_back_bit_for_bit(w: Tensor) -> None:
    assert exact(arrange(profile_of(w), w).tolist()) == exact(w.tolist())


@given(w=matrices())
def test_arranging_ranks_gives_the_ranking(w: Tensor) -> None:
    L = w.shape[1] if w.numel() else 0
    assert arrange(torch.arange(L), w).tolist() == ranking(w).tolist()


@pytest.mark.parametrize("length", [17, 1000, 5000])
def test_long_tied_vectors_take_ascending_values_by_position(
    length: int, device: torch.device
) -> None:
    profile = torch.arange(float(length))
    like = torch.tensor([0.0, -0.0, 1.0])[torch.randint(3, (2, length))]
    out = arrange(profile.to(device), like.to(device)).cpu()
    for values_of_row, weights in zip(out, like, strict=True):
        zeros, ones = values_of_row[weights == 0], values_of_row[weights == 1]
        assert zeros.tolist() == profile[: len(zeros)].tolist()
        assert ones.tolist() == profile[len(zeros) :].tolist()


def test_signs_of_zero_in_the_weights_do_not_count_those_of_the_profile_stay() -> None:
    profile, like = torch.tensor([-0.0, 0.0]), torch.tensor([[0.0, -0.0], [2.0, 1.0]])
    assert exact(arrange(profile, like).tolist()) == exact([[-0.0, 0.0], [0.0, -0.0]])


def test_arranged_values_share_no_memory_with_the_profile() -> None:
    profile = torch.tensor([[1.0, 2.0]])
    arrange(profile, torch.tensor([[3.0, 4.0], [4.0, 3.0]])).zero_()
    assert profile.tolist() == [[1.0, 2.0]]


def test_granularity_says_which_weights_exchange_values() -> None:
    like = torch.tensor([[4.0, 1.0], [2.0, 3.0]])
    assert arrange(torch.tensor([1.0, 2.0]), like).tolist() == [[2.0, 1.0], [1.0, 2.0]]
    whole = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert arrange(whole, like, "layer").tolist() == [[4.0, 1.0], [2.0, 3.0]]
    by_column = Cut("neuron", 1).of((2, 2))
    profile = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert arrange(profile, like, by_column).tolist() == [[2.0, 3.0], [1.0, 4.0]]


@pytest.mark.parametrize("shape", [(3, 2), (2, 2), (4,), (1, 1), (1, 2, 3), ()])
def test_a_profile_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProfileError) as caught:
        arrange(torch.zeros(shape), torch.zeros(2, 3))
    assert str(caught.value) == (f"profile has shape {shape}; allowed: (2, 3), (1, 3) or (3,)")


@pytest.mark.parametrize(
    "profile",
    [
        [2.0, 1.0, 3.0],
        [1.0, 3.0, 2.0],
        [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]],
        [1.0, float("nan"), 3.0],
    ],
)
def test_a_profile_that_does_not_ascend_is_refused(profile: list[float]) -> None:
    with pytest.raises(ProfileError, match="does not ascend; allowed: values sorted along the"):
        arrange(torch.tensor(profile), torch.zeros(2, 3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("function", [arrange, straight_through])
def test_nan_and_infinity_do_not_enter_an_order(function: object, bad: float) -> None:
    assert callable(function)
    for position in range(3):
        like = torch.zeros(2, 3)
        like[1, position] = bad
        with pytest.raises(NonFiniteError, match="allowed: finite values"):
            function(torch.zeros(3), like)


def test_weights_that_do_not_fit_the_view_are_refused() -> None:
    with pytest.raises(GranularityError, match=r"shape \(2, 3\) was given to a cut of shape"):
        arrange(torch.zeros(2), torch.zeros(2, 3), Cut("neuron").of((3, 2)))


def test_gradients_reach_the_profile_through_arrange_but_never_the_weights() -> None:
    profile = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    like = torch.tensor([[0.5, -7.0, 0.1]], requires_grad=True)
    (arrange(profile, like) * torch.tensor([10.0, 20.0, 30.0])).sum().backward()
    assert profile.grad is not None
    assert profile.grad.tolist() == [20.0, 30.0, 10.0]
    assert like.grad is None


def test_rows_are_arranged_without_a_view() -> None:
    out = arrange_vectors(torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 4.0], [4.0, 5.0]]))
    assert out.tolist() == [[2.0, 1.0], [1.0, 2.0]]


# --- straight_through ---------------------------------------------------------------------------


@given(pair=profiles_and_weights())
def test_straight_through_computes_what_arrange_computes(
    pair: tuple[Tensor, Tensor], device: torch.device
) -> None:
    profile, like = (t.to(device) for t in pair)
    out = straight_through(profile, like)
    assert exact(out.tolist()) == exact(arrange(profile, like).tolist())


@given(w=matrices())
def test_the_gradient_passes_straight_through_to_the_scores(
    w: Tensor, device: torch.device
) -> None:
    scores = w.to(device).requires_grad_()
    profile = profile_of(w).to(device).requires_grad_()
    out = straight_through(profile, scores)
    upstream = torch.arange(1.0, 1.0 + out.numel()).reshape(out.shape).to(out)
    out.backward(upstream)
    assert scores.grad is not None
    assert scores.grad.dtype == scores.dtype
    assert torch.equal(scores.grad, upstream)
    assert profile.grad is None


def test_straight_through_stands_in_a_graph_as_the_identity() -> None:
    """d loss / d latent is what it would be with `scores` in place of the arranged values."""
    latent = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 6, dtype=torch.float64)
    profile = torch.randn(6, dtype=torch.float64).sort().values

    weights = straight_through(profile, latent.tanh())
    (x @ weights.t()).square().sum().backward()

    free = weights.detach().requires_grad_()
    (grad_of_weights,) = torch.autograd.grad((x @ free.t()).square().sum(), free)
    (expected,) = torch.autograd.grad(latent.tanh(), latent, grad_of_weights)
    assert latent.grad is not None
    assert torch.equal(latent.grad, expected)


def test_straight_through_can_be_differentiated_twice() -> None:
    scores = torch.tensor([[2.0, 1.0]], requires_grad=True)
    out = straight_through(torch.tensor([3.0, 5.0]), scores)
    (first,) = torch.autograd.grad((out**3).sum(), scores, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), scores)
    assert first.tolist() == [[75.0, 27.0]]
    assert second.tolist() == [[30.0, 18.0]]


def test_the_default_device_does_not_matter() -> None:
    """As where a script says `torch.set_default_device("cuda")` and keeps a model on the CPU."""
    profile, scores = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0.5, -7.0, 0.1]])
    with torch.device("meta"):
        assert arrange(profile, scores).tolist() == [[3.0, 1.0, 2.0]]


def test_straight_through_is_differentiated_by_functional_transforms() -> None:
    profile, scores = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0.5, -7.0, 0.1]])
    factors = torch.tensor([10.0, 20.0, 30.0])

    def loss(scores: Tensor) -> Tensor:
        return (straight_through(profile, scores) * factors).sum()

    gradient, value = torch.func.grad_and_value(loss)(scores)
    assert gradient.tolist() == [[10.0, 20.0, 30.0]]
    assert value == 3 * 10 + 1 * 20 + 2 * 30


def test_gradients_of_scores_take_their_dtype_where_the_profile_has_another() -> None:
    scores = torch.tensor([[2.0, 1.0]], requires_grad=True)
    out = straight_through(torch.tensor([3.0, 5.0], dtype=torch.float64), scores)
    assert out.dtype == torch.float64
    out.sum().backward()
    assert scores.grad is not None
    assert scores.grad.dtype == torch.float32


def test_scores_under_other_strides_and_axes_get_the_gradient_at_their_positions() -> None:
    scores = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]]).t().requires_grad_()
    cut = Cut("neuron", 1).of((3, 2))
    out = straight_through(torch.tensor([1.0, 2.0, 3.0]), scores, cut)
    assert out.tolist() == [[1.0, 2.0], [3.0, 1.0], [2.0, 3.0]]
    (grad,) = torch.autograd.grad(out, scores, torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert grad.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@given(data=st.data())
def test_the_compiled_kernel_and_sorting_arrange_alike(data: st.DataObject) -> None:
    num_vectors, length = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 200))
    few = data.draw(st.sampled_from([3, 1000]))  # many ties, or hardly any
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    like = torch.randint(-few, few, (num_vectors, length), generator=generator) / 7
    profile = torch.randn(num_vectors, length, generator=generator).sort(dim=1).values
    assert torch.equal(arrange_vectors(profile, like), arrange_by_sorting(profile, like))
