import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from permtrain.errors import SettingError
from permtrain.lab.data.order import batch_indices, permutation

COUNTERS = st.integers(0, 2**64 - 1)


@given(st.integers(0, 300), st.integers(1, 400), COUNTERS, COUNTERS)
def test_every_index_stands_in_exactly_one_batch(
    num_images: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = batch_indices(num_images, batch_size, seed=seed, epoch=epoch)
    assert sorted(int(index) for batch in batches for index in batch) == list(range(num_images))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(0 < len(batch) <= batch_size and batch.dtype == torch.int64 for batch in batches)


@given(st.integers(1, 100), COUNTERS, COUNTERS, st.integers(1, 9), st.integers(1, 9))
def test_batch_size_only_cuts(num: int, seed: int, epoch: int, one: int, other: int) -> None:
    assert torch.equal(
        torch.cat(batch_indices(num, one, seed=seed, epoch=epoch)),
        torch.cat(batch_indices(num, other, seed=seed, epoch=epoch)),
    )


def test_order_is_pinned() -> None:
    """A change here changes every run: it belongs in the changelog."""
    assert permutation(8, seed=1, stream=2).tolist() == [4, 2, 0, 6, 1, 5, 7, 3]
    large = permutation(60_000, seed=3, stream=4)
    assert large[:4].tolist() == [38744, 53894, 30091, 23274]


def test_seed_and_epoch_both_matter_and_do_not_mix() -> None:
    orders = {
        (seed, epoch): tuple(permutation(50, seed, epoch).tolist())
        for seed in range(6)
        for epoch in range(6)
    }
    assert len(set(orders.values())) == 36


def test_global_generators_are_neither_used_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = batch_indices(30, 7, seed=5, epoch=6)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    again = batch_indices(30, 7, seed=5, epoch=6)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_places_are_uniform() -> None:
    counts = np.zeros((5, 5))
    for epoch in range(4000):
        counts[np.arange(5), permutation(5, 0, epoch)] += 1
    assert abs(counts / 4000 - 0.2).max() < 0.03


def test_a_batch_above_the_data_is_one_batch() -> None:
    assert [len(batch) for batch in batch_indices(3, 100, seed=0, epoch=0)] == [3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch size is 0; allowed: at least 1"),
        ({"batch_size": -5}, "batch size is -5; allowed: at least 1"),
        ({"num_images": -1}, "number of images is -1; allowed: at least 0"),
        ({"seed": -1}, r"seed is -1; allowed: 0 to 2\*\*64 - 1"),
        ({"epoch": 2**64}, r"epoch is 18446744073709551616; allowed: 0 to 2\*\*64 - 1"),
    ],
)
def test_bad_settings(arguments: dict[str, int], message: str) -> None:
    settings = {"num_images": 10, "batch_size": 2, "seed": 0, "epoch": 0, **arguments}
    with pytest.raises(SettingError, match=f"^{message}$"):
        batch_indices(settings.pop("num_images"), settings.pop("batch_size"), **settings)
