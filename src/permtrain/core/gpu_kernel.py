"""Synchronisation on CUDA in one Triton program per vector: what `arrange_vectors` gives.

A program reads its row once, packs each weight's order and its position into one word, sorts the
words and writes the value of rank r to the position in word r. Nothing else goes through global
memory, and nothing waits for the device: rows that are not finite are marked in a flag there.

- A weight's bits, as an integer, are turned into one that orders as the weight does; -0.0 and 0.0
  become the same one, and subnormal numbers stay what they are. Words are never equal, since
  positions are not, so that any exact sort is a stable one. Weights of 16 bits take words of 32.
- A row is padded to the next power of two with the largest word, which no weight has. Short rows
  share a program.
- All of a row is read before any of it is written, since what is written depends on all words: a
  row may be arranged in place.

Importing this module imports triton. It compiles a program for each padded length when that is
first used, which takes 2 to 25 seconds and a C compiler, and keeps it on disk. With
`TRITON_INTERPRET=1` in the environment before the import, programs run on the CPU, on CPU tensors;
so they are tested without a GPU.

Shape suffixes: V vectors, L weights in a vector; R rows of a program, N words of a padded row.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_LENGTH = 1 << 14

# Not tuned, for want of a GPU: words that a program sorts at least, and words of a warp.
_MIN_WORDS = 1 << 10
_WORDS_PER_WARP = 1 << 9
_MAX_WARPS = 32
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# The bits of infinity: those of a finite weight, without its sign, are less.
_INFINITY_BITS = {torch.float32: 0x7F800000, torch.float16: 0x7C00, torch.bfloat16: 0x7F80}


def supports(profile_VL: Tensor, like_VL: Tensor) -> bool:
    """Whether `arrange_on_gpu` takes these: plain CUDA tensors in rows that the device can hold.

    Rows have at most `MAX_LENGTH` weights; half as many of 32 bits, or less, where a block has less
    than 128 KiB of shared memory, by which words pass between warps.
    """
    if not like_VL.is_cuda or profile_VL.device != like_VL.device:
        return False
    return fits(profile_VL, like_VL, _shared_memory(like_VL.device.index))


def fits(profile_VL: Tensor, like_VL: Tensor, shared_memory: int) -> bool:
    """`supports` on a device with so many bytes of shared memory for a block."""
    word_size = 2 * like_VL.element_size()
    return (
        all(type(t) in (Tensor, torch.nn.Parameter) for t in (profile_VL, like_VL))
        and like_VL.dtype in _INFINITY_BITS
        and profile_VL.dtype.is_floating_point
        and profile_VL.layout == like_VL.layout == torch.strided
        and like_VL.shape[1] <= MAX_LENGTH
        and triton.next_power_of_2(like_VL.shape[1]) * word_size <= shared_memory
    )


@cache
def _shared_memory(device_index: int) -> int:
    driver = triton.runtime.driver.active.utils
    return int(driver.get_device_properties(device_index)["max_shared_mem"])


def arrange_on_gpu(profile_VL: Tensor, like_VL: Tensor, out_VL: Tensor, not_finite: Tensor) -> None:
    """`arrange_vectors` into `out_VL`, without a host synchronisation.

    Args:
        profile_VL: (V, L) or (1, L), ascending, of any floating dtype.
        like_VL: (V, L), float32, float16 or bfloat16, L at most `MAX_LENGTH`.
        out_VL: (V, L), of the profile's dtype; `like_VL` itself, or shares no memory with the
            others. A row of `like_VL` with NaN or infinity leaves its row here as it is.
        not_finite: a single int32 on the same device; becomes 1 if there is such a row, else stays.

    Ties: by position, the first one smallest; -0.0 and 0.0 tie.
    """
    V, L = like_VL.shape
    if not V or not L:
        return
    words = max(triton.next_power_of_2(L), 2)
    rows = max(min(_MIN_WORDS // words, triton.next_power_of_2(V)), 1)
    warps = min(max(rows * words // _WORDS_PER_WARP, 1), _MAX_WARPS)
    profile, like, out = _bits(profile_VL), _bits(like_VL), _bits(out_VL)
    with torch.cuda.device_of(like_VL):  # Triton starts programs on the current device
        _arrange_rows[(triton.cdiv(V, rows),)](
            profile,
            like,
            out,
            not_finite,
            V,
            L,
            0 if profile.shape[0] == 1 else profile.stride(0),
            profile.stride(1),
            like.stride(0),
            like.stride(1),
            out.stride(0),
            out.stride(1),
            BITS=8 * like.element_size(),
            INFINITY=_INFINITY_BITS[like_VL.dtype],
            R=rows,
            LOG_N=words.bit_length() - 1,
            num_warps=warps,
        )


def _bits(values_VL: Tensor) -> Tensor:
    """The same memory as integers: bits are moved and compared, never rounded or flushed."""
    return values_VL.detach().view(_INTEGERS[values_VL.element_size()])


# V alone would be compiled for anew where it is 1, or a multiple of 16.
@triton.jit(do_not_specialize=["V"])
def _arrange_rows(
    profile_ptr,
    like_ptr,
    out_ptr,
    not_finite_ptr,
    V,
    L,
    profile_stride_V,
    profile_stride_L,
    like_stride_V,
    like_stride_L,
    out_stride_V,
    out_stride_L,
    BITS: tl.constexpr,
    INFINITY: tl.constexpr,
    R: tl.constexpr,
    LOG_N: tl.constexpr,
):
    N: tl.constexpr = 1 << LOG_N
    row_R1 = (tl.program_id(0).to(tl.int64) * R + tl.arange(0, R))[:, None]
    place_1N = tl.arange(0, N)[None, :]
    there_RN = (row_R1 < V) & (place_1N < L)

    far_1N = place_1N.to(tl.int64)  # strides may be large
    like_RN = like_ptr + row_R1 * like_stride_V + far_1N * like_stride_L
    bits_RN = tl.load(like_RN, mask=there_RN, other=0).to(tl.int32)
    magnitude_RN = bits_RN & ((1 << (BITS - 1)) - 1)
    is_finite_R1 = tl.max(magnitude_RN, 1, keep_dims=True) < INFINITY
    num_bad = tl.sum(tl.sum(1 - is_finite_R1.to(tl.int32), 1), 0)
    tl.store(not_finite_ptr, 1, mask=num_bad > 0)

    words_RN = _sorted(_words(bits_RN, place_1N, there_RN, BITS), R, LOG_N)
    position_RN = words_RN & ((1 << BITS) - 1)

    profile_RN = profile_ptr + row_R1 * profile_stride_V + far_1N * profile_stride_L
    values_RN = tl.load(profile_RN, mask=there_RN, other=0)
    out_RN = out_ptr + row_R1 * out_stride_V + position_RN.to(tl.int64) * out_stride_L
    tl.store(out_RN, values_RN, mask=there_RN & is_finite_R1)


@triton.jit
def _words(bits_RN, place_1N, there_RN, BITS: tl.constexpr):
    """(order << BITS) | position; of 2 x BITS bits, and the largest there is for the padding.

    Negative floats order by their magnitude the other way round: its negative orders as they do.
    """
    magnitude_RN = bits_RN & ((1 << (BITS - 1)) - 1)
    key_RN = tl.where(bits_RN < 0, -magnitude_RN, magnitude_RN)
    if BITS == 32:
        words_RN = (key_RN.to(tl.int64) << 32) | place_1N.to(tl.int64)
        largest = 0x7FFFFFFFFFFFFFFF
    else:
        words_RN = (key_RN << 16) | place_1N
        largest = 0x7FFFFFFF
    return tl.where(there_RN, words_RN, largest)


@triton.jit
def _sorted(words_RN, R: tl.constexpr, LOG_N: tl.constexpr):
    """Rows in ascending order: Batcher's bitonic network.

    `tl.sort` is one too, but takes minutes in the interpreter. Runs of 2 ** `log_run` are merged,
    every other one downwards; the last run upwards.
    """
    for log_run in tl.static_range(1, LOG_N + 1):
        for step in tl.static_range(0, log_run):
            words_RN = _exchanged(words_RN, R, LOG_N, log_run, step)
    return words_RN


@triton.jit
def _exchanged(
    words_RN, R: tl.constexpr, LOG_N: tl.constexpr, LOG_RUN: tl.constexpr, STEP: tl.constexpr
):
    """One step of a merge: words half a run, a quarter, an eighth ... apart are put in order."""
    NUM_PAIRS: tl.constexpr = R << (LOG_N - LOG_RUN + STEP)
    pairs = tl.reshape(words_RN, (NUM_PAIRS, 2, 1 << (LOG_RUN - 1 - STEP)))
    partners = tl.sum(pairs, 1, keep_dims=True) - pairs  # overflow wraps, here and back
    is_right = tl.arange(0, 2)[None, :, None]
    is_downwards = 0
    if LOG_RUN < LOG_N:
        is_downwards = (tl.arange(0, NUM_PAIRS)[:, None, None] >> STEP) & 1
    smaller, larger = tl.minimum(pairs, partners), tl.maximum(pairs, partners)
    return tl.reshape(tl.where(is_right == is_downwards, smaller, larger), (R, 1 << LOG_N))
