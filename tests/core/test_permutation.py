"""Permutations as data: found, applied, undone, taken apart."""

import pytest
import torch
from hypothesis import given
from torch import Tensor

import reference
from permtrain.core.bits import bits_of
from permtrain.core.cut import Cut
from permtrain.core.permutation import Permutation, permutation_between, ranking_distance
from permtrain.errors import GranularityError, NonFiniteError, ProfileError
from reference import exact
from strategies import DTYPES, matrices, permutations, shuffled_matrices


def identity(perm: Tensor) -> Tensor:
    return torch.arange(perm.shape[1]).expand_as(perm)


# --- permutation_between ------------------------------------------------------------------------


@given(pair=shuffled_matrices())
def test_the_permutation_found_turns_before_into_after_bit_for_bit(
    pair: tuple[Tensor, Tensor], device: torch.device
) -> None:
    before, after = (w.to(device) for w in pair)
    cut = Cut("neuron").of(tuple(before.shape))
    found = permutation_between(before, after)
    moved = cut.to_tensor(found.apply(cut.to_vectors(before)))
    assert torch.equal(bits_of(moved), bits_of(after))


@given(pair=shuffled_matrices())
def test_every_position_that_kept_its_bits_is_a_fixed_point(pair: tuple[Tensor, Tensor]) -> None:
    """No more can be fixed, so the number of fixed points is the largest possible."""
    before, after = pair
    cut = Cut("neuron").of(tuple(before.shape))
    found = permutation_between(before, after)
    changed = bits_of(cut.to_vectors(before)) != bits_of(cut.to_vectors(after))
    assert torch.equal(found.moved, changed)


@given(pair=shuffled_matrices())
def test_other_equal_values_are_matched_by_position(pair: tuple[Tensor, Tensor]) -> None:
    before, after = (exact([row for row in w.tolist() if row]) for w in pair)
    expected = [reference.permutation_between(b, a) for b, a in zip(before, after, strict=True)]
    assert permutation_between(*pair).perm.tolist() == expected


def test_zeros_of_different_sign_are_different_values() -> None:
    before, after = torch.tensor([[0.0, -0.0, 0.0]]), torch.tensor([[-0.0, 0.0, 0.0]])
    assert permutation_between(before, after).perm.tolist() == [[1, 0, 2]]
    with pytest.raises(ProfileError, match="not a permutation of before"):
        permutation_between(before, torch.zeros(1, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_tied_vectors_keep_their_fixed_points(
    dtype: torch.dtype, device: torch.device
) -> None:
    values = torch.tensor([-1.0, -0.0, 0.0, 1.0], dtype=dtype)
    before = values[torch.randint(4, (3, 2000))].to(device)
    after = before.gather(1, torch.rand(3, 2000).argsort(dim=1).to(device))
    found = permutation_between(before, after)
    assert torch.equal(bits_of(found.apply(before)), bits_of(after))
    assert torch.equal(found.moved, bits_of(before) != bits_of(after))


def test_values_that_cannot_be_ranked_can_be_followed() -> None:
    before = torch.tensor([[float("nan"), float("inf"), 1.0]])
    assert permutation_between(before, before.roll(1, dims=1)).perm.tolist() == [[2, 0, 1]]


def test_the_permutation_of_a_view_has_its_vectors_as_rows() -> None:
    before = torch.tensor([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])
    after = torch.tensor([[2.0, 4.0], [1.0, 6.0], [3.0, 5.0]])
    found = permutation_between(before, after, Cut("neuron", 1).of((3, 2)))
    assert found.perm.tolist() == [[1, 0, 2], [0, 2, 1]]
    with pytest.raises(ProfileError):
        permutation_between(before, after, "neuron")
    assert permutation_between(before, after, "layer").cycles() == [[(0, 2), (3, 5)]]


def test_weights_that_require_gradients_can_be_compared() -> None:
    w = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert permutation_between(w, w.flip(1)).perm.tolist() == [[1, 0]]


def test_other_values_are_refused_naming_how_many_vectors_and_the_first() -> None:
    before = torch.arange(12.0).reshape(4, 3)
    after = before.clone()
    after[1, 2] = after[3, 0] = 0.5
    with pytest.raises(ProfileError) as caught:
        permutation_between(before, after)
    assert str(caught.value) == (
        "after is not a permutation of before: 2 of 4 vectors hold other values, "
        "the first is vector 1"
    )


def test_the_same_values_in_other_numbers_are_refused() -> None:
    with pytest.raises(ProfileError, match="1 of 1 vectors hold other values"):
        permutation_between(torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[1.0, 2.0, 2.0]]))


def test_another_shape_or_dtype_is_refused() -> None:
    w = torch.zeros(2, 3)
    with pytest.raises(
        ProfileError, match=r"before is torch\.float32 \(2, 3\), after is torch\.fl"
    ):
        permutation_between(w, torch.zeros(3, 2))
    with pytest.raises(ProfileError, match=r"float64 \(2, 3\); allowed: the same dtype and shape"):
        permutation_between(w, w.double())
    with pytest.raises(GranularityError, match=r"cut of shape \(3, 2\)"):
        permutation_between(w, w, Cut("neuron").of((3, 2)))


# --- Permutation --------------------------------------------------------------------------------


@given(perms=permutations())
def test_a_permutation_gathers(perms: list[Tensor]) -> None:
    (perm,) = perms
    src = torch.randn(perm.shape)
    rows = zip(perm.tolist(), src.tolist(), strict=True)
    assert Permutation(perm).apply(src).tolist() == [reference.apply(p, row) for p, row in rows]


@given(perms=permutations())
def test_the_inverse_undoes(perms: list[Tensor]) -> None:
    (perm,) = perms
    p, src = Permutation(perm), torch.randn(perm.shape)
    assert torch.equal(p.inverse().apply(p.apply(src)), src)
    assert torch.equal(p.then(p.inverse()).perm, identity(perm))
    assert torch.equal(p.inverse().then(p).perm, identity(perm))
    assert torch.equal(p.inverse().inverse().perm, perm)


@given(perms=permutations(num_copies=3))
def test_then_applies_one_after_the_other(perms: list[Tensor]) -> None:
    p, q, r = map(Permutation, perms)
    src = torch.randn(perms[0].shape)
    assert torch.equal(p.then(q).apply(src), q.apply(p.apply(src)))
    assert torch.equal(p.then(q).then(r).perm, p.then(q.then(r)).perm)
    assert torch.equal(p.then(q).inverse().perm, q.inverse().then(p.inverse()).perm)


@given(perms=permutations())
def test_moved_tells_positions_whose_value_came_from_elsewhere(perms: list[Tensor]) -> None:
    (perm,) = perms
    expected = [[source != i for i, source in enumerate(row)] for row in perm.tolist()]
    assert Permutation(perm).moved.tolist() == expected


@given(perms=permutations())
def test_cycles_follow_each_value_until_it_comes_back(perms: list[Tensor]) -> None:
    (perm,) = perms
    cycles = Permutation(perm).cycles()
    assert cycles == [reference.cycles(row) for row in perm.tolist()]
    assert Permutation(perm).num_cycles == sum(map(len, cycles))
    for row, moved in zip(cycles, Permutation(perm).moved, strict=True):
        assert sorted(i for cycle in row for i in cycle) == moved.nonzero().flatten().tolist()


def test_a_cycle_reads_each_position_holds_what_the_next_held() -> None:
    p = Permutation(torch.tensor([[1, 2, 0, 4, 3, 5]]))
    assert p.cycles() == [[(0, 1, 2), (3, 4)]]
    assert p.apply(torch.tensor([[0, 10, 20, 30, 40, 50]])).tolist() == [[10, 20, 0, 40, 30, 50]]


@pytest.mark.parametrize(
    ("rows", "wrong_row"),
    [([[0, 1, 1]], 0), ([[0, 1, 2], [0, 1, 3]], 1), ([[0, 1, 2], [-1, 1, 2], [0, 0, 0]], 1)],
)
def test_rows_that_are_no_permutation_are_refused(rows: list[list[int]], wrong_row: int) -> None:
    text = f"row {wrong_row} of perm does not hold each of 0 to 2 once"
    with pytest.raises(ProfileError, match=text):
        Permutation(torch.tensor(rows))


@pytest.mark.parametrize(
    ("perm", "text"),
    [
        (torch.tensor([1, 0]), r"perm is torch\.int64 of shape \(2,\); allowed: int64 \(V, L\)"),
        (torch.tensor([[1.0, 0.0]]), r"perm is torch\.float32 of shape \(1, 2\); allowed"),
        (torch.tensor([[1, 0]], dtype=torch.int32), r"perm is torch\.int32"),
    ],
)
def test_indices_of_another_kind_are_refused(perm: Tensor, text: str) -> None:
    with pytest.raises(ProfileError, match=text):
        Permutation(perm)


@pytest.mark.parametrize("shape", [(3, 2), (1, 2), (2, 3), (2, 2, 1)])
def test_what_has_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    p = Permutation(torch.tensor([[1, 0], [0, 1]]))
    with pytest.raises(ProfileError, match=r"src has shape \(.*\); allowed: \(2, 2\)"):
        p.apply(torch.zeros(shape))
    if len(shape) == 2:
        with pytest.raises(ProfileError, match=r"later has shape \(.*\); allowed: \(2, 2\)"):
            p.then(Permutation(torch.arange(shape[1]).expand(shape)))


# --- ranking_distance ---------------------------------------------------------------------------


@given(before=matrices())
def test_ranking_distance_is_how_many_places_each_rank_changed(
    before: Tensor, device: torch.device
) -> None:
    after = before.flip(0, 1) if before.numel() else before
    distance = ranking_distance(before.to(device), after.to(device))
    assert distance.dtype == torch.int64
    assert distance.tolist() == [
        reference.ranking_distance(b, a)
        for b, a in zip(before.tolist(), after.tolist(), strict=True)
    ]


def test_ranking_distance_looks_at_the_order_only() -> None:
    w = torch.tensor([[0.3, -1.0, 0.2], [5.0, 4.0, 3.0]])
    assert ranking_distance(w, 2 * w + 1).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert ranking_distance(w, -w).tolist() == [[2, 2, 0], [2, 0, 2]]
    assert ranking_distance(w, -w, "layer").tolist() == [[1, 5, 3], [5, 3, 1]]


def test_ranking_distance_compares_tensors_of_one_shape() -> None:
    with pytest.raises(ProfileError, match=r"before has shape \(1, 3\), after \(4, 3\); allowed"):
        ranking_distance(torch.zeros(1, 3), torch.zeros(4, 3))


def test_ranking_distance_refuses_nan() -> None:
    w = torch.zeros(2, 3)
    with pytest.raises(NonFiniteError):
        ranking_distance(w, torch.full((2, 3), float("nan")))


def test_permutations_can_be_compared() -> None:
    p, q = Permutation(torch.tensor([[1, 0, 2]])), Permutation(torch.tensor([[0, 1, 2]]))
    assert p == p.inverse()
    assert p != q
