"""Words and orders: against Philox written out in plain Python, and against pinned bytes."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from permtrain.initial.philox import (
    MAX_SEED,
    centred,
    random_order,
    random_words,
    stable_order,
    stream_of,
    word_source,
)


def philox_block(counter: int, key: tuple[int, int]) -> list[int]:
    """Philox4x64-10, from Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011)."""
    mask = 2**64 - 1
    x = [counter >> (64 * i) & mask for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
        x = [p1 >> 64 ^ x[1] ^ k0, p1 & mask, p0 >> 64 ^ x[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return x


@pytest.mark.parametrize("seed", [0, 1, 12345, MAX_SEED])
def test_words_are_philox4x64_10_from_counter_1(seed):
    key = seed, stream_of("conv1.weight", "values")
    expected = [word for counter in range(1, 6) for word in philox_block(counter, key)]
    assert random_words(seed, "conv1.weight", "values", 20).tolist() == expected


def test_stream_is_the_beginning_of_a_sha256():
    digest = hashlib.sha256(b"fc1.weight\x00positions").digest()
    assert stream_of("fc1.weight", "positions") == int.from_bytes(digest[:8], "little")


def test_words_are_pinned():
    words = random_words(7, "fc1.weight", "zeros", 1000)
    assert [hex(word) for word in words[:3].tolist()] == GOLDEN_WORDS
    assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest() == GOLDEN_DIGEST


def test_order_is_pinned():
    assert random_order(7, "fc1.weight", "positions", 12).tolist() == GOLDEN_ORDER


@pytest.mark.parametrize("chunks", [[10], [1, 9], [3, 3, 4], [7, 2, 1]])
def test_chunks_continue_the_stream(chunks):
    source = word_source(3, "w", "values")
    drawn = np.concatenate([source.random_raw(size) for size in chunks])
    assert np.array_equal(drawn, random_words(3, "w", "values", 10))


def test_seed_name_and_purpose_choose_the_stream():
    keys = [(0, "a", "values"), (1, "a", "values"), (0, "b", "values"), (0, "a", "zeros")]
    firsts = {random_words(*key, 1)[0] for key in keys}
    assert len(firsts) == len(keys)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_centred_is_exact_and_symmetric(words):
    words = np.array(words, dtype=np.uint64)
    q = centred(words)
    assert np.all(np.abs(q) < 0.5)
    assert np.all(q != 0)
    assert np.array_equal(centred(~words), -q)
    for word, each in zip(words.tolist(), q.tolist(), strict=True):
        assert each * 2**54 == 2 * (word >> 11) + 1 - 2**53
        assert (0.5 - abs(each)) * 2**54 == 2**53 - abs(2 * (word >> 11) + 1 - 2**53)


@given(
    st.integers(1, 4),
    st.integers(0, 40),
    st.sampled_from([0, 1, 3, 2**20, 2**64 - 1]),
    st.integers(0, 2**32),
)
def test_stable_order_is_the_stable_argsort(rows, length, largest, seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, largest, (rows, length), dtype=np.uint64, endpoint=True)
    expected = np.argsort(words, axis=1, kind="stable")
    assert np.array_equal(stable_order(words), expected)
    assert np.array_equal(stable_order(words[0]), expected[0])


def test_stable_order_of_long_rows_with_ties_in_the_upper_bits():
    words = random_words(0, "w", "positions", 300_000).reshape(2, -1)
    words[1] >>= np.uint64(30)
    assert np.array_equal(stable_order(words), np.argsort(words, axis=1, kind="stable"))


def test_rows_are_permutations_and_differ():
    order = random_order(0, "w", "positions", (50, 20))
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(20), (50, 1)))
    assert len(np.unique(order, axis=0)) == 50


def test_every_order_is_equally_likely():
    order = random_order(1, "w", "positions", (6000, 3))
    counts = np.unique(order, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert np.all(np.abs(counts - 1000) < 4 * np.sqrt(1000 * 5 / 6))


GOLDEN_WORDS = ["0x70c4281a0d67f431", "0x28aebb4e18d09cbb", "0x3ea0f3a4c278db"]
GOLDEN_DIGEST = "0df683b6c1ac38d2b0afe505849aa9bfa8854a0093669a394377ba26abe102f7"
GOLDEN_ORDER = [4, 3, 11, 5, 6, 2, 9, 10, 8, 1, 0, 7]
