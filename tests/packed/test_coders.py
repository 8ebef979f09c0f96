"""Codes against counting by hand, the reference decoder and the information limit."""

import math
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from packed import reference
from permtrain.core.cut import Cut
from permtrain.errors import PackedFileError
from permtrain.packed.coders import (
    conditional_code,
    conditional_levels,
    finished,
    uniform_code,
    uniform_levels,
)
from permtrain.packed.conditional_kernels import MAX_DECISIONS, _fill_begins
from permtrain.packed.keys import bits_of_keys, sort_keys
from permtrain.packed.logarithms import LARGEST_LOG_ODDS, logarithms, probabilities, rates
from permtrain.packed.multiset import Levels, Multisets, levels_of, multisets_of


@st.composite
def keys_of_vectors(draw: st.DrawFn) -> np.ndarray:
    """(V, L) of few or many distinct keys, all widths."""
    kind = draw(st.sampled_from([np.uint16, np.uint32, np.uint64]))
    largest = draw(st.sampled_from([0, 1, 2, 5, int(np.iinfo(kind).max)]))
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    size = shape[0] * shape[1]
    numbers = draw(st.lists(st.integers(0, largest), min_size=size, max_size=size))
    return np.array(numbers, dtype=kind).reshape(shape)


def coded(keys: np.ndarray) -> tuple[Levels, Multisets]:
    profile = np.sort(keys, axis=1)
    levels = levels_of(keys, profile)
    assert levels is not None
    return levels, multisets_of(profile, len(keys))


@given(keys_of_vectors())
def test_round_trip(keys: np.ndarray) -> None:
    levels, multisets = coded(keys)
    code = uniform_code(levels, multisets)
    for decode in (uniform_levels, reference.uniform_levels):
        found = decode(code, multisets)
        assert np.array_equal(multisets.keys_of(found), keys)
    assert not code.endswith(b"\0")
    assert len(code) <= multisets.limit_bits() / 8 + 2


@given(keys_of_vectors(), st.binary(max_size=60))
def test_any_bytes_decode_alike_or_are_refused_by_both(keys: np.ndarray, code: bytes) -> None:
    _, multisets = coded(keys)
    outcomes = []
    for decode in (uniform_levels, reference.uniform_levels):
        try:
            found = decode(code, multisets)
            assert np.array_equal(np.sort(multisets.keys_of(found), axis=1), np.sort(keys, axis=1))
            outcomes.append(found.tolist())
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("length", [2, 4, 5, 40])
def test_the_largest_code_points_outside_all_symbols(length: int) -> None:
    """The interval is 2^64 - 1 wide, and the code is just that: a share too far."""
    code = b"\xff" * 8
    profile = np.arange(length, dtype=np.uint32)[None]
    multisets = multisets_of(profile, 1)
    for decode in (uniform_levels, reference.uniform_levels):
        with pytest.raises(PackedFileError, match="the code points outside all symbols"):
            decode(code, multisets)


@pytest.mark.parametrize("rest", [b"", b"\x01", b"\xff" * 32])
@pytest.mark.parametrize("levels", [[0, 0, 0], [0, 0, 1], [0, 1, 2], list(range(9))])
def test_so_it_does_to_the_conditional_coder(levels: list[int], rest: bytes) -> None:
    """Where decisions are all that is read, or nothing is, as where there is a symbol."""
    initial = np.array([levels], dtype=np.int32)
    multisets = multisets_of(initial.astype(np.uint32), 1)
    cut = Cut("neuron", shape=(1, len(levels)))
    for decode in (conditional_levels, reference.conditional_levels):
        with pytest.raises(PackedFileError, match="the code points outside all symbols"):
            decode(b"\xff" * 8 + rest, initial, multisets, cut)
        below = b"\xff" * 7 + b"\xfe"
        assert sorted(decode(below, initial, multisets, cut)[0].tolist()) == levels


@pytest.mark.parametrize("length", [40, 100])
def test_so_it_does_below_the_last_decision(length: int) -> None:
    profile = np.arange(length, dtype=np.int32)[None]
    multisets = multisets_of(profile.astype(np.uint32), 1)
    cut = Cut("neuron", shape=(1, length))
    for decode in (conditional_levels, reference.conditional_levels):
        with pytest.raises(PackedFileError, match="the code points outside all symbols"):
            decode(b"\xff" * 40, profile, multisets, cut)


@pytest.mark.parametrize(
    ("words", "low", "width", "code"),
    [
        ([0x7FFFFFFF, 0xFFFFFFFF], 2**64 - 5, 10, b"\x80"),
        ([0x7FFFFFFF, 0xFFFFFFFF], 2**64 - 5, 5, b"\x7f" + b"\xff" * 14 + b"\xfb"),
        ([0x12345678], 0, 2**32, b"\x12\x34\x56\x78"),
        ([0x12345678], 1, 2**33, b"\x12\x34\x56\x78\0\0\0\1"),
        ([0x12345678], 2**63 + 1, 2**62, b"\x12\x34\x56\x78\x81"),
        ([], 0, 2**64 - 1, b""),
        ([], 2**64 - 1, 1, b"\xff" * 8),
    ],
)
def test_the_fewest_bytes_in_the_interval(
    words: list[int], low: int, width: int, code: bytes
) -> None:
    """The last word written, 99, is beyond those that count."""
    assert finished(np.array([*words, 99], dtype=np.uint32), len(words), low, width) == code


@given(keys_of_vectors())
def test_the_limit_is_what_counting_says(keys: np.ndarray) -> None:
    limit = 0.0
    for row in keys.tolist():
        arrangements = math.factorial(len(row))
        for value in set(row):
            arrangements //= math.factorial(row.count(value))
        limit += math.log2(arrangements)
    assert coded(keys)[1].limit_bits() == pytest.approx(limit, abs=1e-9)


def test_pinned_bytes() -> None:
    """Of the 4! = 24 arrangements the eleventh, 1 2 3 0 -> shares [6/24, 7/24 ...]: by hand."""
    levels = np.array([[1, 2, 3, 0]], dtype=np.int32)
    multisets = multisets_of(np.arange(4, dtype=np.uint32)[None], 1)
    # 1 is the second of four, 2 the second of 0 2 3, 3 the second of 0 3: 6 + 2 + 1 = 9 of 24.
    code = uniform_code(levels, multisets)
    assert 9 / 24 <= int.from_bytes(code, "big") / 256 ** len(code) < 10 / 24
    assert code == b"\x60"
    ascending = np.array([[0, 1, 2, 3]], dtype=np.int32)
    assert uniform_code(ascending, multisets) == b""
    assert uniform_code(ascending[:, ::-1].copy(), multisets) == b"\xf6"


@pytest.mark.parametrize(("num_weights", "excess"), [(500_000, 0.0005), (60_000, 0.01)])
@pytest.mark.parametrize("kind", ["distinct", "sparse", "three levels"])
def test_how_far_above_the_limit(num_weights: int, excess: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    keys = rng.permuted(np.tile(np.arange(500, dtype=np.uint32), (num_weights // 500, 1)), axis=1)
    if kind == "sparse":
        keys[keys < 350] = 0
    if kind == "three levels":
        keys = np.digitize(keys, [25, 475]).astype(np.uint32)
    levels, multisets = coded(keys)
    assert len(uniform_code(levels, multisets)) * 8 <= multisets.limit_bits() * (1 + excess)


def test_a_vector_of_many_weights() -> None:
    """Descending order keeps the interval's upper end."""
    keys = np.arange(70_000, dtype=np.uint32)[None, ::-1].copy()
    levels, multisets = coded(keys)
    code = uniform_code(levels, multisets)
    found = uniform_levels(code, multisets)
    assert np.array_equal(multisets.keys_of(found), keys)


@pytest.mark.parametrize("num_levels", [3, 300])
@pytest.mark.parametrize("num_words", [2, 3, 4])
def test_carries_run_through_words(num_words: int, num_levels: int) -> None:
    """Just above a half, the interval's lower end stays below it while whole words are written.

    These are 7FFFFFFF FFFFFFFF ...; the symbol that passes the half turns all of them over.
    """
    code = b"\x80" + bytes(4 * num_words - 1) + b"\x12\x34\x56\x78\x9a"
    profile = (np.arange(300, dtype=np.uint32) * num_levels // 300)[None]
    multisets = multisets_of(profile, 1)
    cut = Cut("neuron", shape=(1, 300))
    initial = np.random.default_rng(0).permutation(profile[0]).astype(np.int32)[None]

    levels = reference.uniform_levels(code, multisets)
    again = uniform_code(levels, multisets)
    assert again[: 4 * num_words] == code[: 4 * num_words]
    assert np.array_equal(reference.uniform_levels(again, multisets), levels)

    levels = reference.conditional_levels(code, initial, multisets, cut)
    again = conditional_code(levels, initial, multisets, cut)
    assert again[: 4 * num_words] == code[: 4 * num_words]
    assert np.array_equal(reference.conditional_levels(again, initial, multisets, cut), levels)


ZEROS = np.array([[0, 1 << 31, 1, (1 << 31) + 1, (1 << 32) - 1]], dtype=np.uint32)
"""0.0, -0.0, the numbers next to them, and all bits set."""


@given(keys_of_vectors())
@example(ZEROS)
@example(np.array([[0, 1 << 15]], dtype=np.uint16))
def test_sort_keys_are_one_to_one(bits: np.ndarray) -> None:
    assert np.array_equal(bits_of_keys(sort_keys(bits)), bits)
    if bits.itemsize > 2:
        numbers = bits.view(f"f{bits.itemsize}").ravel()
        numbers = numbers[~np.isnan(numbers)]
        keys = sort_keys(numbers.view(bits.dtype))
        assert (np.diff(numbers[np.argsort(keys)]) >= 0).all()


def test_other_values_are_no_arrangement() -> None:
    keys = np.array([[1, 2, 3]], dtype=np.uint32)
    assert levels_of(keys, np.array([[1, 2, 4]], dtype=np.uint32)) is None


@st.composite
def initial_and_moved(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Cut]:
    """Keys before and after some moves, and how their tensor is cut; 40 levels too."""
    num_levels = draw(st.sampled_from([1, 2, 3, 8, 9, 40]))
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 4)), 3, 3)
    cut = Cut(draw(st.sampled_from(["kernel", "neuron", "layer"])), 0, 2, shape=shape)
    size = cut.num_weights
    before = np.array(
        draw(st.lists(st.integers(0, num_levels - 1), min_size=size, max_size=size)),
        dtype=np.uint32,
    ).reshape(cut.num_vectors, cut.vector_length)
    after = before.copy()
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for _ in range(draw(st.sampled_from([0, 3, 200]))):
        v, i, j = rng.integers((cut.num_vectors, cut.vector_length, cut.vector_length))
        after[v, [i, j]] = after[v, [j, i]]
    return before, after, cut


@given(initial_and_moved())
def test_conditional_round_trip(moved: tuple[np.ndarray, np.ndarray, Cut]) -> None:
    before, after, cut = moved
    initial, multisets = coded(before)
    levels, _ = coded(after)
    code = conditional_code(levels, initial, multisets, cut)
    for decode in (conditional_levels, reference.conditional_levels):
        found = decode(code, initial, multisets, cut)
        assert np.array_equal(multisets.keys_of(found), after)


@pytest.mark.parametrize("num_levels", [1, 2, 3, 8, 9, 32, 1000])
def test_small_tensors_clear_few_corrections(num_levels: int) -> None:
    """A file may have 25,000 of them. The last correction of each context has its own place."""
    depth = (num_levels - 1).bit_length()
    decisions = min(depth, MAX_DECISIONS)
    begins = np.zeros(7, np.int64)
    _fill_begins(begins, decisions, num_levels)
    nodes = 2**decisions
    if num_levels <= 8:
        states = (nodes - 1) * num_levels
        last = states * np.array([6**3, 6**4, 32, 32, 32 * 32, 81])
    else:
        places = decisions * 48
        last = np.array([places, places * 32, places * 16, nodes * 8, nodes * 6**3, 0])
    assert np.diff(begins).tolist() == last.tolist()
    assert begins[-1] * 8 <= 1_201_088  # bytes, of 7 nodes and 8 levels


@given(initial_and_moved(), st.binary(max_size=80))
def test_any_bytes_decode_alike_by_both_conditional_decoders(
    moved: tuple[np.ndarray, np.ndarray, Cut], code: bytes
) -> None:
    before, _, cut = moved
    initial, multisets = coded(before)
    outcomes = []
    for decode in (conditional_levels, reference.conditional_levels):
        try:
            found = decode(code, initial, multisets, cut)
            assert np.array_equal(
                np.sort(multisets.keys_of(found), axis=1), np.sort(before, axis=1)
            )
            outcomes.append(found.tolist())
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("num_levels", [3, 784])
def test_what_hardly_moved_is_coded_in_little(num_levels: int) -> None:
    rng = np.random.default_rng(0)
    cut = Cut("neuron", shape=(60, 784))
    before = rng.permuted(np.tile(np.arange(784), (60, 1)), axis=1) * num_levels // 784
    after = before.copy()
    for v in range(60):
        i, j = rng.integers(784, size=(2, 20))
        after[v, i], after[v, j] = before[v, j], before[v, i]
        after[v] = before[v] if len({*i, *j}) < 40 else after[v]
    initial, multisets = coded(before.astype(np.uint32))
    levels, _ = coded(after.astype(np.uint32))
    code = conditional_code(levels, initial, multisets, cut)
    assert len(code) < 0.55 * len(uniform_code(levels, multisets))


@pytest.mark.parametrize("num_levels", [2, 3, 8])
def test_few_levels_that_gather_in_rows_and_columns(num_levels: int) -> None:
    """Of 300 units with 5 x 5 inputs a third, and of the inputs the middle, hold what is rare."""
    rng = np.random.default_rng(num_levels)
    cut = Cut("layer", shape=(300, 25))
    rare = rng.random(cut.shape) < 0.02
    rare[:100, 6:19] |= rng.random((100, 13)) < 0.5
    after = np.where(rare, rng.integers(num_levels, size=cut.shape), num_levels // 2)
    after = after.reshape(1, -1).astype(np.uint32)
    before = rng.permuted(after, axis=1)
    initial, multisets = coded(before)
    levels, _ = coded(after)
    code = conditional_code(levels, initial, multisets, cut)
    assert len(code) < 0.87 * len(uniform_code(levels, multisets))
    for decode in (conditional_levels, reference.conditional_levels):
        found = decode(code, initial, multisets, cut)
        assert np.array_equal(found, levels)


def test_tables_are_what_they_say() -> None:
    odds = 2.0 ** (np.arange(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS + 1) / 256)
    expected = 65536 * odds / (1 + odds)
    assert np.abs(probabilities() - expected).max() < 1.01
    assert np.array_equal(probabilities() + probabilities()[::-1], np.full(6143, 65536))
    assert np.array_equal(logarithms(), np.floor(256 * np.log2(1 + np.arange(1024) / 1024)))
    assert rates()[[0, 1, 400, 1023]].tolist() == [1024, 963, 40, 40]
    assert len(rates()) == 1024
    assert zlib.crc32(probabilities().astype("<i4").tobytes()) == 414336265
