"""The Triton program: bit for bit what a stable sort and a scatter give.

On a GPU where there is one, else in Triton's interpreter. That has to be asked for before triton is
imported, which another test may have done: so a process of its own runs this file again.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from permtrain.core.arrangement import (
    arrange_by_sorting,
    arrange_on_device,
    arrange_vectors,
)
from permtrain.core.bits import bits_of
from permtrain.core.device_rows import DeviceRows

ROOT = Path(__file__).parents[2]
HAS_GPU = torch.cuda.is_available()
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cuda" if HAS_GPU and not IS_INTERPRETED else "cpu")

needs_triton = pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")
needs_gpu = pytest.mark.skipif(not HAS_GPU or IS_INTERPRETED, reason="no CUDA device")
runs_programs = pytest.mark.skipif(
    not find_spec("triton") or not (HAS_GPU or IS_INTERPRETED),
    reason="no triton, or no GPU and not in the interpreter's own process",
)

SINGLE_AND_HALF = [torch.float32, torch.float16, torch.bfloat16]
# Many rows in a program, the last ones of them missing; one padded, one full row; the longest.
SHAPES = [(0, 3), (2, 0), (1, 1), (3, 2), (70, 9), (33, 25), (2, 100), (3, 256), (2, 1152)]
LONGEST = (1, 1 << 14)

# What makes sorting hard, each (V, L) from a normal (V, L).
LIKES = {
    "normal": lambda w: w,
    "reversed": lambda w: w.sort(1, descending=True).values,
    "constant": lambda w: w[:, :1].expand_as(w),
    "zeros of both signs": lambda w: torch.where(w > 0, 0.0, -0.0),
    "zeros and ones of both signs": lambda w: torch.where(w.abs() > 0.5, w.sign(), w * 0.0),
    "rounded": lambda w: w.mul(4).round(),
    "subnormal in single precision": lambda w: w.mul(3).round() * 2.0**-149,
    "subnormal in half precision": lambda w: w.mul(3).round() * 2.0**-24,
    "huge": lambda w: w * 6e37,
    "from tiny to huge": lambda w: w.sign() * 10 ** (w * 7),
}


def like_of(kind: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Finite weights of a kind: those too large for the dtype lie at its ends."""
    limits = torch.finfo(dtype)
    like = LIKES[kind](torch.randn(shape)) if shape[0] and shape[1] else torch.empty(shape)
    return like.clamp(limits.min, limits.max).to(dtype).to(DEVICE)


def profiles_for(like: Tensor) -> dict[str, Tensor]:
    V, L = like.shape
    num_low = L // 3
    profiles = {
        "one each": torch.randn(V, L).sort(1).values,
        "shared, double precision": torch.randn(1, L, dtype=torch.float64).sort(1).values,
        "half precision": torch.randn(V, L).sort(1).values.bfloat16(),
        "zeros of both signs": torch.tensor([-0.0] * num_low + [0.0] * (L - num_low))[None],
        "three levels, one each": torch.randn(V, L).sort(1).values.mul(0.6).round(),
    }
    return {name: profile.to(DEVICE) for name, profile in profiles.items()}


def run(*rows: Any) -> None:
    """The programs on one tensor."""
    from permtrain.core.gpu_kernel import launch

    launch([DeviceRows(*rows)])


def arranged(profile: Tensor, like: Tensor) -> Tensor:
    out = torch.full(like.shape, torch.nan, dtype=profile.dtype, device=like.device)
    not_finite = torch.zeros((), dtype=torch.int32, device=like.device)
    run(profile, like, out, not_finite)
    assert not_finite.item() == 0
    return out


def assert_exact(profile: Tensor, like: Tensor) -> None:
    expected = arrange_by_sorting(profile, like)
    assert torch.equal(bits_of(arranged(profile, like)), bits_of(expected))


@needs_triton
@pytest.mark.skipif(HAS_GPU or IS_INTERPRETED, reason="the tests below run here")
def test_all_of_this_holds_in_tritons_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.filterwarnings("ignore:AnnAssign:DeprecationWarning")  # Triton's, on Python 3.13
@pytest.mark.skipif(IS_INTERPRETED, reason="compiled by the calling process")
@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("num_starts", [0, 2])
@pytest.mark.parametrize("has_latent", [False, True])
def test_the_program_compiles_where_there_is_no_gpu_too(
    bits: int, num_starts: int, has_latent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter takes some programs that the compiler refuses."""
    import triton
    from triton.backends.compiler import GPUTarget

    from permtrain.core.gpu_programs import lay_out_rows

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {
        "BITS": bits,
        "PROFILE_BITS": bits,
        "INFINITY": 0x7C00,
        "R": 4,
        "LOG_N": 3,
        "PADDED_T": 2,
        "IS_CONTIGUOUS": has_latent,
        "HAS_LATENT": has_latent,
        "NUM_STARTS": num_starts,
    }
    source = triton.compiler.ASTSource(
        fn=lay_out_rows,
        signature={"table_ptr": "*i64", "T": "i32"} | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
    )
    program = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert ".target sm_80" in program.asm["ptx"]


# --- exactness -----------------------------------------------------------------------------------


@runs_programs
@pytest.mark.parametrize("dtype", SINGLE_AND_HALF)
@pytest.mark.parametrize("kind", LIKES)
def test_hard_inputs_are_exact(kind: str, dtype: torch.dtype) -> None:
    for shape in ((70, 9), (2, 100)):
        like = like_of(kind, shape, dtype)
        assert_exact(torch.arange(float(shape[1]), device=DEVICE)[None], like)


@runs_programs
@pytest.mark.parametrize("shape", SHAPES)
def test_profiles_of_every_kind_are_laid_out_exactly(shape: tuple[int, int]) -> None:
    like = like_of("rounded", shape, torch.float32)
    for profile in profiles_for(like).values():
        assert_exact(profile, like)


@runs_programs
@pytest.mark.parametrize("dtype", SINGLE_AND_HALF)
def test_the_longest_row_is_exact(dtype: torch.dtype) -> None:
    like = like_of("rounded", LONGEST, dtype)
    assert_exact(torch.randn(LONGEST).sort(1).values.to(DEVICE), like)


@runs_programs
@pytest.mark.parametrize("dtype", SINGLE_AND_HALF)
def test_every_finite_number_is_ordered(dtype: torch.dtype) -> None:
    """All of 16 bits, in four rows each; of 32 bits those around each power of two."""
    if dtype == torch.float32:
        powers = torch.arange(0, 0x7F8).mul(1 << 20)
        bits = torch.cat([powers, powers[1:] - 1])
        numbers = torch.cat([bits, bits - (1 << 31)]).int().view(dtype)[None]
    else:
        numbers = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
        numbers = numbers[numbers.isfinite()].reshape(8, -1)
    shuffled = numbers[:, torch.randperm(numbers.shape[1])].to(DEVICE)
    ranks = torch.arange(float(numbers.shape[1]), device=DEVICE)[None]
    assert_exact(ranks, shuffled)


@runs_programs
def test_ties_go_by_position() -> None:
    like = torch.tensor([[0.0, 1.0, -0.0, 1.0, -1.0]], device=DEVICE)
    profile = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], device=DEVICE)
    assert arranged(profile, like).tolist() == [[2.0, 4.0, 3.0, 5.0, 1.0]]


@runs_programs
def test_any_strides_are_read_and_written() -> None:
    like = torch.randn(25, 7, device=DEVICE).t()
    profile = torch.randn(25, 14, device=DEVICE).sort(0).values.t()[::2]
    expected = arrange_by_sorting(profile, like)
    assert_exact(profile, like)
    out = torch.zeros(25, 14, device=DEVICE).t()
    run(profile, like, out[::2], torch.zeros((), dtype=torch.int32, device=DEVICE))
    assert torch.equal(out[::2], expected)
    assert not out[1::2].any()


@runs_programs
def test_rows_may_be_arranged_in_place() -> None:
    for shape in ((70, 9), (2, 1152)):
        like = like_of("rounded", shape, torch.float32)
        profile = torch.randn(shape).sort(1).values.to(DEVICE)
        expected = arrange_by_sorting(profile, like)
        run(profile, like, like, torch.zeros((), dtype=torch.int32, device=DEVICE))
        assert torch.equal(like, expected)


# --- few levels, which are selected --------------------------------------------------------------

LEVELS = {
    "two": [[-1.0, 1.0, 1.0, 1.0, 1.0]],
    "three": [[-1.0, 0.0, 0.0, 0.0, 1.0]],
    "zeros of both signs": [[-0.0, -0.0, 0.0, 0.0, 1.0]],
    "first and last alone": [[-2.0, 0.5, 0.5, 0.5, 3.0]],
    "fewer in some rows": [[-1.0, -1.0, 0.0, 0.0, 1.0], [-1.0, -1.0, -1.0, 2.0, 2.0], [3.0] * 5],
}


@runs_programs
@pytest.mark.parametrize("dtype", SINGLE_AND_HALF)
@pytest.mark.parametrize("kind", LEVELS)
def test_few_levels_are_selected_exactly(kind: str, dtype: torch.dtype) -> None:
    from permtrain.core.gpu_kernel import level_starts

    short = torch.tensor(LEVELS[kind], device=DEVICE)
    for repeats in (1, 13, 16):  # 80: in the padding of 128 words
        profile = short.repeat_interleave(repeats, dim=1)
        assert level_starts(profile) is not None
        likes = [like_of(like, (3, profile.shape[1]), dtype) for like in LIKES]
        of_each_row = profile.expand(3, -1).repeat(len(likes), 1)
        assert_exact(of_each_row if len(profile) > 1 else profile, torch.cat(likes))


@runs_programs
def test_all_that_a_row_holds_may_be_levels() -> None:
    """A row as long as its padding: the rank past the last has no word."""
    profile = torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0]], device=DEVICE)
    assert_exact(profile, like_of("normal", (2, 4), torch.float32))


@needs_triton
def test_levels_are_counted_and_more_than_three_are_sorted(device: torch.device) -> None:
    from permtrain.core.gpu_kernel import level_starts

    four = torch.tensor([[0.0, 1.0, 2.0, 3.0, 3.0]], device=device)
    assert level_starts(four) is None
    assert level_starts(four[:, 3:]) is None  # a single one
    assert level_starts(four[:, :1]) is None
    assert level_starts(four[:, 1:]).tolist() == [[1, 2]]


@needs_triton
def test_levels_are_counted_anew_if_the_profile_is_written(device: torch.device) -> None:
    from permtrain.core.gpu_kernel import level_starts

    profile = torch.tensor([[0.0, 1.0, 1.0]], device=device)
    assert level_starts(profile).tolist() == [[1]]
    profile[0, 1] = 0.0
    assert level_starts(profile).tolist() == [[2]]


# --- several tensors -----------------------------------------------------------------------------


def batch_of(shapes: list[tuple[int, int]], latent: bool) -> list[DeviceRows]:
    return [
        DeviceRows(
            torch.randn(shape, device=DEVICE).sort(1).values,
            like := torch.randn(shape, device=DEVICE).mul(3).round(),
            like,
            torch.zeros((), dtype=torch.int32, device=DEVICE),
            torch.randn(shape, device=DEVICE) if latent else None,
        )
        for shape in shapes
    ]


@runs_programs
@pytest.mark.parametrize("latent", [False, True])
def test_all_tensors_of_a_step_are_arranged_together(latent: bool) -> None:
    from permtrain.core.gpu_kernel import in_launches, launch

    shapes = [(70, 9), (1, 16), (0, 9), (3, 13), (40, 100), (5, 101), (200, 10)]
    batch = batch_of(shapes, latent)
    expected = [arrange_by_sorting(rows.profile_VL, rows.like_VL) for rows in batch]
    moved = [rows.like_VL.clone() for rows in batch]
    launches = in_launches(batch)
    assert [len(alike) for alike in launches.values()] == [4, 2]  # 16 and 128 words
    launch(batch)
    for rows, arranged_VL, moved_VL in zip(batch, expected, moved, strict=True):
        assert torch.equal(rows.out_VL, arranged_VL)
        assert rows.latent_VL is None or torch.equal(rows.latent_VL, moved_VL)
        assert rows.not_finite.item() == 0


@needs_triton
def test_what_a_program_is_compiled_for_is_not_shared(device: torch.device) -> None:
    from permtrain.core.gpu_kernel import in_launches

    profile, weights = torch.arange(8.0).view(1, 8).to(device), torch.randn(2, 8, device=device)
    flag = torch.zeros((), dtype=torch.int32, device=device)
    batch = [
        DeviceRows(profile, weights, weights, flag),
        DeviceRows(profile, weights, weights, flag, weights.clone()),
        DeviceRows(profile.div(4).round(), weights, weights, flag),
        DeviceRows(profile.double(), weights, weights.double(), flag),
        DeviceRows(profile, weights.half(), weights, flag),
        DeviceRows(profile, weights.t().contiguous().t(), weights, flag),
        DeviceRows(profile[:, :4], weights[:, :4], weights[:, :4], flag),
        DeviceRows(profile[:, :7], weights[:, :7], weights[:, :7], flag),
    ]
    assert sorted(len(alike) for alike in in_launches(batch).values()) == [1, 1, 1, 1, 1, 1, 2]


@runs_programs
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_row_that_is_not_finite_takes_its_latent_weights(bad: float) -> None:
    (rows,) = batch_of([(4, 9)], latent=True)
    rows.like_VL[1, 3] = bad
    scores = rows.like_VL.clone()
    scores[1] = rows.latent_VL[1]
    expected = arrange_by_sorting(rows.profile_VL, scores)
    copies = DeviceRows(
        rows.profile_VL,
        *(like := rows.like_VL.clone(), like),
        rows.not_finite.clone(),
        rows.latent_VL.clone(),
    )
    from permtrain.core.gpu_kernel import launch

    launch([rows])
    arrange_on_device([copies])  # by torch's sort where there is no GPU
    for done in (rows, copies):
        assert torch.equal(done.out_VL, expected)
        assert torch.equal(done.latent_VL, scores)
        assert done.not_finite.item() == 1


# --- NaN and infinity ----------------------------------------------------------------------------


def assert_bad_rows_stay(like: Tensor, bad_rows: list[int]) -> None:
    profile = torch.randn(like.shape).sort(1).values.to(like.device)
    before = torch.randn(like.shape, device=like.device)
    out, not_finite = before.clone(), torch.zeros((), dtype=torch.int32, device=like.device)
    run(profile, like, out, not_finite)
    expected = arrange_by_sorting(profile, like.nan_to_num())
    expected[bad_rows] = before[bad_rows]
    assert torch.equal(out, expected)
    assert not_finite.item() == bool(bad_rows)


@runs_programs
def test_what_was_found_is_not_forgotten() -> None:
    profile, not_finite = torch.zeros(1, 2, device=DEVICE), torch.zeros(1, device=DEVICE).int()
    for like, found in (([0.0, 1.0], 0), ([0.0, torch.nan], 1), ([0.0, 1.0], 1)):
        run(profile, torch.tensor([like], device=DEVICE), profile.clone(), not_finite)
        assert not_finite.item() == found


@runs_programs
@pytest.mark.parametrize("bad", [torch.nan, -torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", SINGLE_AND_HALF)
def test_rows_that_are_not_finite_stay_as_they_are(dtype: torch.dtype, bad: float) -> None:
    for shape in ((20, 1), (3, 50)):
        like = torch.randn(shape).to(dtype)
        like[0, 0] = like[-1, -1] = bad
        assert_bad_rows_stay(like.to(DEVICE), [0, shape[0] - 1])


@runs_programs
def test_the_largest_finite_weights_are_no_bad_rows() -> None:
    for dtype in SINGLE_AND_HALF:
        largest = torch.finfo(dtype).max
        assert_bad_rows_stay(torch.tensor([[largest, -largest]] * 2, device=DEVICE).to(dtype), [])


@pytest.mark.parametrize("bad", [torch.nan, -torch.nan, torch.inf, -torch.inf])
def test_rows_too_long_for_a_program_keep_to_this_too(device: torch.device, bad: float) -> None:
    for dtype in (torch.float32, torch.float64):
        like = torch.randn(4, (1 << 14) + 1).to(dtype)
        like[1, 0] = like[3, -1] = bad
        profile = torch.randn(like.shape).sort(1).values.to(device)
        before = torch.randn(like.shape, device=device)
        out, not_finite = before.clone(), torch.zeros((), dtype=torch.int32, device=device)
        arrange_on_device([DeviceRows(profile, like.to(device), out, not_finite)])
        expected = arrange_by_sorting(profile, like.nan_to_num().to(device))
        expected[[1, 3]] = before[[1, 3]]
        assert torch.equal(out, expected)
        assert not_finite.item() == 1


# --- where it is chosen --------------------------------------------------------------------------


@runs_programs
def test_takes_plain_tensors_of_at_most_32_bits_in_rows_it_can_hold() -> None:
    from permtrain.core.gpu_kernel import MAX_LENGTH, fits, supports

    w, kib = torch.zeros(1, 2), 1 << 10
    assert not supports(w, w)
    assert fits(w, torch.nn.Parameter(w), 16)
    assert not fits(w, w, 15)
    assert fits(w.double(), w.half(), 8)
    longest = torch.zeros(1, MAX_LENGTH)
    assert fits(longest, longest, 128 * kib)
    assert not fits(longest, longest, 99 * kib)
    assert fits(longest, longest[:, 1 << 13 :], 99 * kib)
    assert fits(longest, longest.half(), 99 * kib)
    too_long = torch.zeros(1, MAX_LENGTH + 1)
    assert not fits(too_long, too_long.half(), 1 << 30)
    assert not fits(w, w.double(), kib)
    assert not fits(w.int(), w, kib)
    assert not fits(w, w.to_sparse(), kib)


@needs_gpu
@needs_triton
@pytest.mark.parametrize("length", [9, 1152, (1 << 14) + 1])
def test_cuda_tensors_are_arranged_as_on_the_cpu(length: int) -> None:
    like = torch.randn(3, length).mul(4).round()
    profile = torch.randn(1, length).sort(1).values
    out = arrange_vectors(profile.cuda(), like.cuda())
    assert torch.equal(out.cpu(), arrange_vectors(profile, like))


@needs_gpu
@needs_triton
def test_a_program_can_be_captured_in_a_cuda_graph() -> None:
    profile = torch.randn(1, 1152, device=DEVICE).sort(1).values
    like, not_finite = torch.randn(8, 1152, device=DEVICE), torch.zeros(1, device=DEVICE).int()
    out = torch.empty_like(like)
    arrange_on_device([DeviceRows(profile, like, out, not_finite)])  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        arrange_on_device([DeviceRows(profile, like, out, not_finite)])
    like.copy_(torch.randn(8, 1152))
    graph.replay()
    assert torch.equal(out, arrange_by_sorting(profile, like))


@needs_triton
def test_level_starts_of_inference_tensors_are_looked_at_each_time() -> None:
    from permtrain.core.gpu_kernel import level_starts

    with torch.inference_mode():
        profile = torch.tensor([[-1.0, -1.0, 1.0]])
        assert level_starts(profile).tolist() == [[2]]
        profile[0, 1] = 1.0
        assert level_starts(profile).tolist() == [[1]]
