"""Every search against the paper read literally, and what each of them must keep."""

import random
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from graph import problems, reference
from permtrain.errors import ProfileError, SettingError
from permtrain.graph.pair import random_strides, swap_pairs_
from permtrain.graph.partition import (
    authors_subsets,
    equal_subsets,
    random_subset_ids,
    whole_vector,
)
from permtrain.graph.search import ORDERS, SEARCHES, lay_out_, permute_ranks_

EXACT = ["start", "any", "authors"]
SHORT = [2, 3, 4, 5, 6, 7, 8, 10, 13, 20, 40, 70]
SEED = 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_against_the_paper(
    rng: random.Random, length: int, step: int, searches: list[str], orders: list[str]
) -> None:
    dtype = rng.choice([torch.float32, torch.float64])
    values = torch.tensor([problems.profile(rng, rng.choice(problems.PROFILES), length)]).to(dtype)
    slots = torch.tensor([rng.sample(range(length), length)], dtype=torch.int32)
    recommendations = torch.tensor(
        [problems.wishes(rng, rng.choice(problems.WISHES), length)], dtype=dtype
    )
    aggressiveness = rng.choice([1.0, 0.5, 0.2, 0.07, 0.005])
    sizes = problems.partition(rng, length)
    key = reference.row_key(SEED, step, 0)
    ids = reference.subset_ids(sizes.tolist(), key)
    row = values[0].tolist(), slots[0].tolist(), recommendations[0].tolist()
    for search in searches:
        for order in orders if search != "bracket" else ["nearest"]:
            if search == "bracket":
                expected = reference.bracket_slots(*row, ids, aggressiveness)
            else:
                expected = reference.updated_slots(
                    *row,
                    ids,
                    aggressiveness=aggressiveness,
                    reading="any" if search == "any" else "start",
                    order=order,
                    authors=search == "authors",
                    skips=reference.random_skips(key),
                )
            result = slots.clone()
            moved = permute_ranks_(
                values,
                result,
                recommendations,
                aggressiveness=aggressiveness,
                search=search,
                order=order,
                sizes=sizes,
                seed=SEED,
                step=step,
            )
            told = (search, order, row, aggressiveness, sizes.tolist())
            assert result[0].tolist() == expected, told
            assert moved.tolist() == [int((result != slots).sum())], told


@pytest.mark.parametrize("search", [*EXACT, "bracket"])
@pytest.mark.parametrize("order", list(ORDERS))
def test_short_rows_are_permuted_as_the_paper_says(search: str, order: str) -> None:
    """Ties, zeros, equal recommendations, smallest gaps that recur: thousands of cases in all."""
    if search == "bracket" and order != "nearest":
        pytest.skip("bracket knows nearest only")
    rng = random.Random(f"{search} {order}")
    for step in range(600 if order == "nearest" else 200):
        check_against_the_paper(rng, rng.choice(SHORT), step, [search], [order])


@pytest.mark.parametrize("length", [100, 300, 784, 900])
def test_long_rows_are_permuted_as_the_paper_says(length: int) -> None:
    rng = random.Random(length)
    for step in range(3):
        check_against_the_paper(rng, length, step, [*EXACT, "bracket"], list(ORDERS))


def test_a_subset_worked_by_hand() -> None:
    """Weights a = 0, b = 1, c = 2.5, d = 4.5; a, b, c want to grow, d to shrink; a first, alpha 1.

    The smallest gap is that of a and b, so they may not be exchanged; u = 1 + 4.5. From a the
    nearest move is c, from c it is d, from d back to c. ANY stops there and swaps c and d; a then
    has no move left. START goes on from d to b, which has no unvisited move (c and d are visited),
    and then from d to a: a gets 2.5, c 4.5 and d 0.
    """
    values = torch.tensor([[0.0, 1.0, 2.5, 4.5]])
    recommendations = torch.tensor([[-3.0, -1.0, -2.0, 1.0]])
    expected = {"start": [2.5, 1.0, 4.5, 0.0], "any": [0.0, 1.0, 4.5, 2.5]}
    for search, weights in expected.items():
        slots = torch.tensor([[0, 1, 2, 3]], dtype=torch.int32)
        permute_ranks_(values, slots, recommendations, aggressiveness=1.0, search=search)
        assert lay_out_(torch.empty(1, 4), values, slots).tolist() == [weights]


def test_zero_recommendations_stay_where_they_are() -> None:
    values, slots, recommendations = problems.rows(20, 100)
    recommendations[torch.rand(20, 100) < 0.5] = 0.0
    for search in SEARCHES:
        result = slots.clone()
        permute_ranks_(values, result, recommendations, aggressiveness=0.5, search=search)
        still = recommendations.gather(1, slots.long()) == 0
        assert (result == slots)[still].all()
        assert (result != slots).any()


@pytest.mark.parametrize("search", list(SEARCHES))
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_every_row_keeps_its_values_and_moves_as_recommended(
    search: str, sparsity: float, device: torch.device
) -> None:
    if SEARCHES[search].is_compiled and device.type != "cpu":
        pytest.skip("compiled loops run on the CPU")
    values, slots, recommendations = (
        tensor.to(device) for tensor in problems.rows(30, 300, sparsity=sparsity)
    )
    before = lay_out_(torch.empty_like(values), values, slots)
    moved_in_all = 0
    for step in range(5):
        moved = permute_ranks_(
            values,
            slots,
            recommendations,
            aggressiveness=0.1,
            search=search,
            sizes=equal_subsets(300, 0.1),
            step=step,
        )
        assert (slots.sort(dim=1).values == torch.arange(300, device=device)).all()
        after = lay_out_(torch.empty_like(values), values, slots)
        assert torch.equal(after.sort(dim=1).values, before.sort(dim=1).values)
        assert (recommendations * (before - after) >= 0).all()  # section 2.1.2
        assert int(moved.sum()) >= int((before != after).sum())
        moved_in_all += int(moved.sum())
        before = after
    assert moved_in_all > 0


def test_a_shared_profile_is_the_same_as_a_copy_for_each_row() -> None:
    values, _, recommendations = problems.rows(6, 50)
    slots = torch.stack([torch.randperm(50) for _ in range(6)]).int()
    for search in SEARCHES:
        results = []
        for profile in (values[:1], values[:1].expand(6, 50).contiguous()):
            result = slots.clone()
            permute_ranks_(profile, result, recommendations, aggressiveness=0.3, search=search)
            results.append((result, lay_out_(torch.empty(6, 50), profile, result)))
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("search", list(SEARCHES))
def test_neither_threads_nor_the_way_rows_are_cut_change_the_result(
    search: str, one_thread: None
) -> None:
    values, slots, recommendations = problems.rows(37, 200)
    sizes = equal_subsets(200, 0.1)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        result = slots.clone()
        permute_ranks_(
            values, result, recommendations, aggressiveness=0.1, search=search, sizes=sizes, seed=5
        )
        results.append(result)
    halves = []
    for first, last in ((0, 10), (10, 37)):
        half = slots[first:last].clone()
        permute_ranks_(
            values[first:last].clone(),
            half,
            recommendations[first:last],
            aggressiveness=0.1,
            search=search,
            sizes=sizes,
            seed=5,
            first_row=first,
        )
        halves.append(half)
    results.append(torch.cat(halves))
    assert all(torch.equal(result, results[0]) for result in results)


def test_bracket_agrees_with_any_on_nearly_all_slots() -> None:
    for aggressiveness, ratio in ((0.07, 0.05), (0.02, 0.1), (0.005, 0.1)):
        for length in (784, 500, 300):
            rows = problems.rows(100, length)
            share = problems.agreement(
                "bracket",
                "any",
                *rows,
                aggressiveness=aggressiveness,
                sizes=equal_subsets(length, ratio),
            )
            assert share >= 0.985, (aggressiveness, ratio, length)


def test_pairs_are_swapped_as_said() -> None:
    rng = random.Random(0)
    for step in range(200):
        length = rng.choice(SHORT)
        values = torch.tensor([problems.profile(rng, rng.choice(problems.PROFILES), length)])
        slots = torch.tensor([rng.sample(range(length), length)], dtype=torch.int32)
        recommendations = torch.tensor([problems.wishes(rng, "zeros", length)])
        stride, phase = random_strides(1, max(1, length // 2), seed=SEED, step=step)
        expected = reference.pair_slots(
            values[0].tolist(),
            slots[0].tolist(),
            recommendations[0].tolist(),
            0.5,
            int(stride),
            int(phase),
        )
        permute_ranks_(
            values, slots, recommendations, aggressiveness=0.5, search="pair", seed=SEED, step=step
        )
        assert slots[0].tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_shared", [True, False])
def test_pairs_are_the_same_by_tensor_operations(dtype: torch.dtype, is_shared: bool) -> None:
    for step, length in enumerate((2, 3, 9, 500, 784)):
        values = torch.randn(1 if is_shared else 40, length, dtype=dtype).sort(dim=1).values
        values = values.mul(50).round().div(50)  # ties
        slots = torch.rand(40, length).argsort(dim=1).int()
        recommendations = torch.randn(40, length, dtype=dtype).relu() - 0.3
        strides, phases = random_strides(40, max(1, int(0.3 * length)), seed=SEED, step=step)
        expected = slots.clone()
        moved = swap_pairs_(values, expected, recommendations, 0.3, strides, phases)
        found = permute_ranks_(
            values, slots, recommendations, aggressiveness=0.3, search="pair", seed=SEED, step=step
        )
        assert torch.equal(slots, expected)
        assert torch.equal(moved, found)
        assert length < 9 or moved.sum() > 0


@pytest.mark.parametrize(("alpha", "slots"), [(2 / 3, [2, 0, 1]), (0.66, [0, 2, 1])])
def test_the_authors_bound_is_reached_downwards_and_not_upwards(alpha, slots) -> None:
    """A (alpha + 1/m) is 3 (2/3 + 1/3): the third shrinks to the first, but not the other way."""
    rank_to_slot = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    permute_ranks_(
        torch.tensor([[0.0, 1.5, 3.0]], dtype=torch.float64),
        rank_to_slot,
        torch.tensor([[-3.0, -2.0, 1.0]], dtype=torch.float64),
        aggressiveness=alpha,
        search="authors",
    )
    assert rank_to_slot.tolist() == [slots]
    rank_to_slot = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    permute_ranks_(
        torch.tensor([[0.0, 1.5, 3.0]], dtype=torch.float64),
        rank_to_slot,
        torch.tensor([[-3.0, 2.0, 1.0]], dtype=torch.float64),
        aggressiveness=alpha,
        search="authors",
        order="farthest",
    )
    assert rank_to_slot.tolist() == [[1, 0, 2]]  # the second, for the third is too far away


# --- partitions ---------------------------------------------------------------------------------


def test_partitions_are_those_of_the_literal_shuffle() -> None:
    for sizes in (equal_subsets(23, 0.2), authors_subsets(784, 0.05), whole_vector(9)):
        drawn = random_subset_ids(3, sizes, seed=7, step=2**40, first_row=11)
        for row in range(3):
            key = reference.row_key(7, 2**40, 11 + row)
            assert drawn[row].tolist() == reference.subset_ids(sizes.tolist(), key)


def test_every_weight_is_as_likely_to_be_in_every_subset() -> None:
    drawn = random_subset_ids(20_000, np.array([1, 2, 3], dtype=np.int32), seed=0, step=0)
    shares = np.stack([(drawn == p).mean(axis=0) for p in range(3)])
    assert np.abs(shares - np.array([[1], [2], [3]]) / 6).max() < 0.015


def test_sizes_of_subsets() -> None:
    for length in (2, 3, 10, 19, 27, 300, 784):
        for ratio in (0.001, 0.05, 0.07, 0.1, 0.5, 1.0):
            equal = equal_subsets(length, ratio)
            assert equal.sum() == length
            assert equal.max() - equal.min() <= 1
            assert len(equal) == max(1, min(int(1 / ratio + 1e-9), length // 2))
            authors = authors_subsets(length, ratio)
            assert authors.sum() == length
            assert set(authors[:-1].tolist()) <= {max(10, int(ratio * length + 1e-9))}


def test_a_ratio_of_one_nth_makes_n_subsets() -> None:
    """Also where 1 / (1 / n) comes out just below n, as at 93."""
    assert [len(equal_subsets(1_000, 1 / n)) for n in range(1, 400)] == list(range(1, 400))


def test_a_ratio_of_whole_weights_makes_subsets_of_as_many() -> None:
    """Also where lambda n comes out just below a whole number, as .29 times 100."""
    assert authors_subsets(100, 0.29).tolist() == [29, 29, 29, 13]
    sizes = [int(authors_subsets(1_000, n / 1_000)[0]) for n in range(10, 1_000)]
    assert sizes == list(range(10, 1_000))


# --- edges and errors ---------------------------------------------------------------------------


def test_rows_too_short_to_move_stay() -> None:
    for shape in ((0, 5), (3, 1), (0, 0)):
        slots = torch.zeros(shape, dtype=torch.int32)
        for search in SEARCHES:
            moved = permute_ranks_(
                torch.zeros(shape),
                slots,
                torch.zeros(shape),
                aggressiveness=0.5,
                search=search,
                sizes=np.array([shape[1]] if shape[1] else [], dtype=np.int32),
            )
            assert moved.tolist() == [0] * shape[0]


def test_unusable_settings_are_refused_by_name() -> None:
    values, slots, recommendations = problems.rows(2, 6)

    def run(**changed: object) -> None:
        given = {"aggressiveness": 0.5, **changed}
        permute_ranks_(values, slots, recommendations, **given)  # type: ignore[arg-type]

    with pytest.raises(SettingError, match=r"search is 'strat' \(did you mean 'start'\?\)"):
        run(search="strat")
    with pytest.raises(SettingError, match=r"order is 'near'.*allowed: nearest, farthest, random"):
        run(order="near")
    with pytest.raises(SettingError, match="order is 'random'; allowed with search 'pair'"):
        run(search="pair", order="random")
    for wrong in (0.0, 1.5, float("nan")):
        with pytest.raises(SettingError, match=f"aggressiveness is {wrong}; allowed"):
            run(aggressiveness=wrong)
    with pytest.raises(SettingError, match="seed is -1; allowed"):
        run(seed=-1)
    with pytest.raises(ProfileError, match=r"sizes are \[5\].*length 6"):
        run(sizes=whole_vector(5))
    with pytest.raises(SettingError, match="partition_ratio is 0; allowed"):
        equal_subsets(6, 0)
    for setting in ("seed", "step", "first_row"):
        for wrong in (-1, 2**63):
            with pytest.raises(SettingError, match=f"{setting} is {wrong}; allowed: 0 to 2"):
                random_subset_ids(1, whole_vector(5), **{"seed": 0, "step": 0, setting: wrong})


def test_tensors_that_do_not_fit_are_refused() -> None:
    values, slots, recommendations = problems.rows(2, 6)

    def run(values=values, slots=slots, recommendations=recommendations):  # type: ignore[no-untyped-def]
        permute_ranks_(values, slots, recommendations, aggressiveness=0.5)

    with pytest.raises(ProfileError, match=r"rank_to_slot is torch.int64"):
        run(slots=slots.long())
    with pytest.raises(ProfileError, match=r"values have shape \(2, 5\)"):
        run(values=values[:, :5])
    with pytest.raises(ProfileError, match=r"torch.float64 \(2, 6\); allowed: torch.float32"):
        run(recommendations=recommendations.double())
    with pytest.raises(ProfileError, match=r"values are torch.float16"):
        run(values=values.half(), recommendations=recommendations.half())
    with pytest.raises(ProfileError, match="not contiguous"):
        run(slots=slots.t().contiguous().t())
    run(recommendations=recommendations.t().contiguous().t())


def test_compiling_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for search in SEARCHES:
            values, slots, recommendations = problems.rows(3, 30, dtype=torch.float64)
            permute_ranks_(values, slots, recommendations, aggressiveness=0.5, search=search)
