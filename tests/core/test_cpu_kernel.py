"""The compiled synchronisation on the CPU: bit for bit what a stable sort and a scatter give."""

import os
import threading
import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from permtrain.core import cpu_kernel
from permtrain.core.bits import bits_of
from permtrain.core.cpu_kernel import arrange_on_cpu, supports
from permtrain.core.ranking import sorting_order
from reference import exact
from strategies import DTYPES, LAYOUTS, laid_out, values

HALF_AND_SINGLE = [torch.float32, torch.float16, torch.bfloat16]
LENGTHS = [1, 2, 9, 25, 64, 65, 100, 800, 5000]


def arranged(profile: Tensor, like: Tensor) -> Tensor:
    out = torch.full(like.shape, torch.nan, dtype=profile.dtype)
    assert arrange_on_cpu(profile, like, out) is None
    return out


def plainly_arranged(profile: Tensor, like: Tensor) -> Tensor:
    order = sorting_order(like)
    rows = profile.expand_as(order)
    return torch.empty_like(rows).scatter_(1, order, rows)


def assert_exact(profile: Tensor, like: Tensor) -> None:
    out = arranged(profile, like)
    assert torch.equal(bits_of(out), bits_of(plainly_arranged(profile, like)))


@pytest.fixture
def _long_rows_from_100(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are cut into parts from 100 weights on, so that short ones show what long ones do."""
    monkeypatch.setattr(cpu_kernel, "MAX_CACHED", 100)
    monkeypatch.setattr(cpu_kernel, "_PART_SIZE", 32)


@pytest.fixture
def _everything_in_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cpu_kernel, "_MIN_WEIGHTS_PER_THREAD", 1)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(num_threads)


# --- inputs --------------------------------------------------------------------------------------

# What makes sorting hard, each (V, L) from a normal (V, L).
LIKES = {
    "normal": lambda w: w,
    "uniform": lambda w: w.erf(),
    "ascending": lambda w: w.sort(1).values,
    "reversed": lambda w: w.sort(1, descending=True).values,
    "constant": lambda w: w[:, :1].expand_as(w),
    "zeros of both signs": lambda w: torch.where(w > 0, 0.0, -0.0),
    "all ties but one": lambda w: torch.where(w == w[:, -1:], w, -0.0),
    "three values": lambda w: w.sign() * (w.abs() > 0.5),
    "sawtooth": lambda w: torch.arange(w.shape[1]).remainder(17).expand_as(w).to(w),
    "rising sawtooth": lambda w: torch.arange(w.shape[1]).remainder(17) + w * 1e-3,
    "half zeros": lambda w: w.relu(),
    "rounded": lambda w: w.mul(8).round(),
    "heavy tails": lambda w: w**9,
    "one outlier": lambda w: torch.cat([w[:, :1] * 1e6, w[:, 1:]], 1),
    "a cluster and outliers": lambda w: torch.where(w > 1.5, w, 1 + w * 1e-6),
    "two clusters": lambda w: w * 1e-4 + (w > 0),
    "subnormal": lambda w: w * 1e-41,
    "smallest subnormals": lambda w: w.mul(3).round() * 2.0**-149,
    "huge": lambda w: w * 6e37,
    "from tiny to huge": lambda w: w.sign() * 10 ** (w * 7),
}


def like_of(kind: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Finite weights of a kind: those too large for the dtype lie at its ends."""
    limits = torch.finfo(dtype)
    like = LIKES[kind](torch.randn(shape))
    return like.clamp(limits.min, limits.max).to(dtype)


def profiles_for(like: Tensor) -> dict[str, Tensor]:
    V, L = like.shape
    num_low = L // 3
    return {
        "one each": torch.randn(V, L).sort(1).values,
        "shared": torch.randn(1, L).sort(1).values,
        "half precision": torch.randn(V, L).sort(1).values.bfloat16(),
        "double precision": torch.randn(1, L, dtype=torch.float64).sort(1).values,
        "two levels": torch.tensor([-1.0] * num_low + [1.0] * (L - num_low))[None],
        "one level": torch.ones(1, L),
        "three levels, one each": torch.randn(V, L).sort(1).values.mul(0.6).round(),
        "zeros of both signs": torch.tensor([-0.0] * num_low + [0.0] * (L - num_low))[None],
    }


# --- exactness -----------------------------------------------------------------------------------


@st.composite
def profiles_and_likes(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Weights that the kernel takes, profiles of any dtype."""
    dtype, profile_dtype = draw(st.sampled_from(HALF_AND_SINGLE)), draw(st.sampled_from(DTYPES))
    V, L = draw(st.integers(0, 4)), draw(st.sampled_from([0, 1, 2, 3, 9, 25]))
    num_profiles = draw(st.sampled_from([1, V]))
    numbers = draw(st.lists(values(dtype), min_size=V * L, max_size=V * L))
    like = torch.tensor(numbers, dtype=dtype).reshape(V, L)
    rows = [
        reference.profile(draw(st.lists(values(profile_dtype), min_size=L, max_size=L)))
        for _ in range(num_profiles)
    ]
    profile = torch.tensor(rows, dtype=profile_dtype).reshape(num_profiles, L)
    layouts = st.sampled_from(LAYOUTS)
    return laid_out(profile, draw(layouts)), laid_out(like, draw(layouts))


@given(pair=profiles_and_likes())
def test_arranges_as_the_papers_do(pair: tuple[Tensor, Tensor]) -> None:
    profile, like = pair
    assert supports(profile, like)
    out = arranged(profile, like)
    rows = profile.expand(like.shape).tolist() if like.numel() else [[] for _ in like]
    expected = [reference.arrange(row, w) for row, w in zip(rows, like.tolist(), strict=True)]
    assert exact(out.tolist()) == exact(expected)


@given(data=st.data())
def test_longer_rows_of_few_or_many_values(data: st.DataObject) -> None:
    """Values drawn one by one, each row a random repetition of them: ties in every number."""
    dtype = data.draw(st.sampled_from(HALF_AND_SINGLE))
    some = torch.tensor(data.draw(st.lists(values(dtype), min_size=1, max_size=40)), dtype=dtype)
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    like = some[torch.randint(len(some), (3, data.draw(st.sampled_from(LENGTHS))))]
    for profile in profiles_for(like).values():
        assert_exact(profile, like)


@pytest.mark.parametrize("dtype", HALF_AND_SINGLE)
@pytest.mark.parametrize("kind", LIKES)
def test_hard_inputs_are_exact(kind: str, dtype: torch.dtype) -> None:
    for length in LENGTHS:
        like = like_of(kind, (3, length), dtype)
        for profile in profiles_for(like).values():
            assert_exact(profile, like)


@pytest.mark.parametrize("kind", LIKES)
@pytest.mark.usefixtures("_long_rows_from_100")
def test_long_rows_are_exact(kind: str) -> None:
    for dtype in HALF_AND_SINGLE:
        for length in (101, 800, 5000):
            like = like_of(kind, (2, length), dtype)
            for profile in profiles_for(like).values():
                assert_exact(profile, like)


@pytest.mark.parametrize("kind", ["normal", "constant", "half zeros", "one outlier"])
def test_a_row_above_the_cached_length_is_exact(kind: str) -> None:
    like = like_of(kind, (2, cpu_kernel.MAX_CACHED + 1), torch.float32)
    for profile in profiles_for(like).values():
        assert_exact(profile, like)


@pytest.mark.parametrize("num_rows", [1, 63, 64, 65, 200])
def test_short_rows_are_exact_however_many(num_rows: int) -> None:
    for length in (1, 9, 25):
        like = like_of("rounded", (num_rows, length), torch.float32)
        for profile in profiles_for(like).values():
            assert_exact(profile, like)


def test_every_step_of_a_training_is_exact() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 800) * 0.05)
    profile = weight.detach().sort(1).values
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    for _ in range(30):
        weight.grad = torch.randn(weight.shape)
        optimizer.step()
        assert_exact(profile, weight)


def test_flushed_subnormals_keep_their_order() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("not on this processor")
    try:
        for length in LENGTHS:
            like = torch.randperm(length).add(1).int().view(torch.float32)[None]
            out = arranged(torch.arange(1.0, length + 1)[None], like)
            assert out.tolist() == like.view(torch.int32).float().tolist()
    finally:
        torch.set_flush_denormal(False)


# --- NaN and infinity ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", HALF_AND_SINGLE)
@pytest.mark.parametrize("length", [1, 2, 9, 25, 65, 800])
def test_nan_and_infinity_are_found_anywhere(length: int, dtype: torch.dtype, bad: float) -> None:
    for position in {0, 1, 7, length // 2, length - 1} & set(range(length)):
        like = torch.randn(3, length).to(dtype)
        like[1, position] = bad
        for profile in (torch.zeros(1, length), torch.randn(3, length).sort(1).values):
            assert arrange_on_cpu(profile, like, torch.empty_like(profile.expand(3, -1))) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.usefixtures("_long_rows_from_100")
def test_nan_and_infinity_are_found_in_long_rows(bad: float) -> None:
    for position in (0, 1, 450, 799):
        like = torch.randn(2, 800)
        like[1, position] = bad
        assert arrange_on_cpu(torch.randn(1, 800).sort(1).values, like, like.clone()) == 1


@pytest.mark.parametrize("length", [9, 65, 101])
@pytest.mark.usefixtures("_everything_in_threads", "_long_rows_from_100")
def test_the_first_bad_row_is_named_whatever_the_threads_do(length: int) -> None:
    for dtype in HALF_AND_SINGLE:
        like = torch.randn(500, length).to(dtype)
        like[[123, 124, 300, 499], -1] = torch.nan
        out = torch.empty(500, length)
        assert arrange_on_cpu(torch.zeros(1, length), like, out) == 123


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_everything_in_threads")
def test_several_threads_give_what_one_gives() -> None:
    for length in LENGTHS:
        like = like_of("rounded", (131, length), torch.float32)
        for profile in profiles_for(like).values():
            assert_exact(profile, like)


@pytest.mark.parametrize("kind", LIKES)
@pytest.mark.usefixtures("_everything_in_threads", "_long_rows_from_100")
def test_several_threads_share_a_long_row(kind: str) -> None:
    like = like_of(kind, (2, 5000), torch.float32)
    for profile in profiles_for(like).values():
        assert_exact(profile, like)


@pytest.mark.usefixtures("_everything_in_threads")
def test_callers_may_be_threads_themselves() -> None:
    like, wrong = torch.randn(40, 300), []
    profile = like.sort(1).values
    expected = plainly_arranged(profile, like)

    def arrange_often() -> None:
        wrong.extend(1 for _ in range(50) if not torch.equal(arranged(profile, like), expected))

    callers = [threading.Thread(target=arrange_often) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.usefixtures("_everything_in_threads")
def test_a_forked_process_has_threads_of_its_own() -> None:
    like = torch.randn(40, 300)
    arranged(like, like)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads run
        child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(arranged(like.sort(1).values, like), like) else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- what it takes -------------------------------------------------------------------------------


def test_takes_plain_cpu_tensors_of_at_most_32_bits() -> None:
    w = torch.zeros(1, 2)
    assert supports(w, torch.nn.Parameter(w))
    assert supports(w.double(), w.half())
    assert not supports(w, w.double())
    assert not supports(w, w.int())
    assert not supports(w.int(), w)
    assert not supports(w, w.to("meta"))
    assert not supports(w, w.to_sparse())


def test_weights_and_profile_stay_as_they_are() -> None:
    for length in LENGTHS:
        like, profile = torch.randn(2, length), torch.randn(1, length).sort(1).values
        before = like.clone(), profile.clone()
        arranged(profile, like)
        assert torch.equal(like, before[0])
        assert torch.equal(profile, before[1])


@settings(max_examples=20)
@given(num_items=st.integers(1, 1000), multiple=st.sampled_from([1, 64]))
def test_pieces_cover_everything_once(num_items: int, multiple: int) -> None:
    pieces = cpu_kernel._cut(num_items, 10**9, pieces_per_thread=4, multiple=multiple)
    assert [i for begin, end in pieces for i in range(begin, end)] == list(range(num_items))
