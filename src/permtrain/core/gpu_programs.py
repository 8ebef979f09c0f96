"""The Triton programs behind `gpu_kernel`: each puts some vectors of one tensor in order.

A program finds its tensor and its rows in a table, reads the rows once, packs each weight's order
and its position into one word, and finds out which word has which rank:

- by sorting the words and writing the value of rank r to the position in word r; or
- where the profile has few levels, by selecting the words at which a level begins. A weight then
  takes the value of its level, and nothing is moved.

Nothing else goes through global memory, and nothing waits for the device: rows that are not finite
are marked in a flag there.

- A weight's bits, as an integer, are turned into one that orders as the weight does; -0.0 and 0.0
  become the same one, and subnormal numbers stay what they are. Words are never equal, since
  positions are not, so that any exact sort is a stable one. Weights of 16 bits take words of 32.
- A row is padded to the next power of two with the largest word, which no weight has. Short rows
  share a program.
- All of a row is read before any of it is written, since what is written depends on all words: a
  row may be arranged in place.

With `TRITON_INTERPRET=1` in the environment before triton is imported, programs run on the CPU, on
CPU tensors; so they are tested without a GPU.

Shape suffixes: R rows of a program, N words of a padded row; T tensors of a table.
"""

import triton
import triton.language as tl

# What a line of the table says of a tensor, 64 bits each.
_FIRST_PROGRAM = tl.constexpr(0)
_NUM_ROWS = tl.constexpr(1)
_LENGTH = tl.constexpr(2)
_NOT_FINITE = tl.constexpr(3)  # an address
_LEVEL_STARTS = tl.constexpr(4)  # an address
_LEVEL_STARTS_STRIDE = tl.constexpr(5)  # from row to row
# Of each of these three: address, stride from row to row, stride within a row, in items.
_PROFILE = tl.constexpr(6)
_LIKE = tl.constexpr(9)
_OUT = tl.constexpr(12)
_LATENT = tl.constexpr(15)
NUM_FIELDS = 18
_NUM_FIELDS = tl.constexpr(NUM_FIELDS)


@triton.jit
def lay_out_rows(
    table_ptr,
    T,
    BITS: tl.constexpr,
    PROFILE_BITS: tl.constexpr,
    INFINITY: tl.constexpr,
    R: tl.constexpr,
    LOG_N: tl.constexpr,
    PADDED_T: tl.constexpr,
    IS_CONTIGUOUS: tl.constexpr,
    HAS_LATENT: tl.constexpr,
    NUM_STARTS: tl.constexpr,
):
    """Rows of `like` become `out`: the profile's values in their order.

    BITS: of a weight; PROFILE_BITS: of a value; INFINITY: the bits of a weight that is infinite.
    IS_CONTIGUOUS: weights of a row lie side by side in every tensor.
    HAS_LATENT: rows of `like` are copied to `latent`; one that is not finite takes what lies there.
    NUM_STARTS: levels of the profile less one, to select instead of sorting; 0 sorts.
    """
    N: tl.constexpr = 1 << LOG_N
    program = tl.program_id(0)
    line = table_ptr + _line_of(table_ptr, T, program, PADDED_T) * _NUM_FIELDS
    num_rows = tl.load(line + _NUM_ROWS)
    length = tl.load(line + _LENGTH)
    row_R1 = ((program - tl.load(line + _FIRST_PROGRAM)) * R + tl.arange(0, R))[:, None]
    place_1N = tl.arange(0, N)[None, :]
    there_RN = (row_R1 < num_rows) & (place_1N < length)

    like_RN = _items(line, _LIKE, row_R1, place_1N, BITS, IS_CONTIGUOUS)
    bits_RN = tl.load(like_RN, mask=there_RN, other=0)
    magnitude_RN = bits_RN.to(tl.int32) & ((1 << (BITS - 1)) - 1)
    is_finite_R1 = tl.max(magnitude_RN, 1, keep_dims=True) < INFINITY
    num_bad = tl.sum(tl.sum(1 - is_finite_R1.to(tl.int32), 1), 0)
    not_finite = tl.load(line + _NOT_FINITE).to(tl.pointer_type(tl.int32))
    tl.store(not_finite, 1, mask=num_bad > 0)
    may_write_RN = there_RN & is_finite_R1
    if HAS_LATENT:
        latent_RN = _items(line, _LATENT, row_R1, place_1N, BITS, IS_CONTIGUOUS)
        kept_RN = tl.load(latent_RN, mask=there_RN & ~is_finite_R1, other=0)
        tl.store(latent_RN, bits_RN, mask=may_write_RN)
        bits_RN = tl.where(is_finite_R1, bits_RN, kept_RN)
        may_write_RN = there_RN

    words_RN = _words(bits_RN.to(tl.int32), place_1N, there_RN, BITS)
    if NUM_STARTS > 0:
        rank_RN = _level_starts(words_RN, line, row_R1, num_rows, BITS, R, LOG_N, NUM_STARTS)
        position_RN = tl.broadcast_to(place_1N, (R, N))
    else:
        words_RN = _sorted(words_RN, R, LOG_N)
        rank_RN = tl.broadcast_to(place_1N, (R, N))
        position_RN = (words_RN & ((1 << BITS) - 1)).to(tl.int32)
    profile_RN = _items(line, _PROFILE, row_R1, rank_RN, PROFILE_BITS, IS_CONTIGUOUS)
    values_RN = tl.load(profile_RN, mask=may_write_RN, other=0)
    out_RN = _items(line, _OUT, row_R1, position_RN, PROFILE_BITS, IS_CONTIGUOUS)
    tl.store(out_RN, values_RN, mask=may_write_RN)


@triton.jit
def _line_of(table_ptr, T, program, PADDED_T: tl.constexpr):
    """The last tensor that begins at this program or before it."""
    line_T = tl.arange(0, PADDED_T)
    first_T = tl.load(table_ptr + line_T * _NUM_FIELDS, mask=line_T < T, other=0x7FFFFFFF)
    return tl.sum((first_T <= program).to(tl.int64), 0) - 1


@triton.jit
def _items(
    line, FIELD: tl.constexpr, row_R1, place_RN, BITS: tl.constexpr, IS_CONTIGUOUS: tl.constexpr
):
    """Addresses of a tensor's items, as integers: bits are moved, never rounded or flushed."""
    address = tl.load(line + FIELD)
    if BITS == 8:
        items = address.to(tl.pointer_type(tl.int8))
    elif BITS == 16:
        items = address.to(tl.pointer_type(tl.int16))
    elif BITS == 32:
        items = address.to(tl.pointer_type(tl.int32))
    else:
        items = address.to(tl.pointer_type(tl.int64))
    rows_R1 = items + row_R1 * tl.load(line + FIELD + 1)
    if IS_CONTIGUOUS:
        return rows_R1 + place_RN
    return rows_R1 + place_RN.to(tl.int64) * tl.load(line + FIELD + 2)


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
def _level_starts(
    words_RN,
    line,
    row_R1,
    num_rows,
    BITS: tl.constexpr,
    R: tl.constexpr,
    LOG_N: tl.constexpr,
    NUM_STARTS: tl.constexpr,
):
    """For each word, the rank at which the level of its own rank begins."""
    starts = tl.load(line + _LEVEL_STARTS).to(tl.pointer_type(tl.int32))
    starts_R1 = starts + row_R1 * tl.load(line + _LEVEL_STARTS_STRIDE)
    rank_RN = tl.zeros((R, 1 << LOG_N), tl.int32)
    for level in tl.static_range(NUM_STARTS):
        start_R1 = tl.load(starts_R1 + level, mask=row_R1 < num_rows, other=0)
        first_R1 = _word_of_rank(words_RN, start_R1, BITS, LOG_N)
        rank_RN = tl.where(words_RN >= first_R1, start_R1, rank_RN)
    return rank_RN


@triton.jit
def _word_of_rank(words_RN, rank_R1, BITS: tl.constexpr, LOG_N: tl.constexpr):
    """The word of each row with so many smaller ones; past the last, one that is larger than all.

    Found bit by bit from the highest, which is the sign: a bit is set if with it there are no more
    smaller words than that. Between the bits of the order and those of the position all are 0.
    """
    smallest = tl.full((1, 1), 1, words_RN.dtype) << (2 * BITS - 1)
    word_R1 = tl.zeros_like(rank_R1).to(words_RN.dtype) + smallest
    for place in tl.static_range(BITS):
        word_R1 = _with_bit(word_R1, 2 * BITS - 1 - place, words_RN, rank_R1)
    for place in tl.static_range(LOG_N):
        word_R1 = _with_bit(word_R1, LOG_N - 1 - place, words_RN, rank_R1)
    return word_R1


@triton.jit
def _with_bit(word_R1, SHIFT: tl.constexpr, words_RN, rank_R1):
    """With the bit turned (the sign, which was set, cleared; another set) where ranks allow."""
    turned_R1 = word_R1 ^ (tl.full((1, 1), 1, words_RN.dtype) << SHIFT)
    num_smaller_R1 = tl.sum((words_RN < turned_R1).to(tl.int32), 1, keep_dims=True)
    return tl.where(num_smaller_R1 <= rank_R1, turned_R1, word_R1)


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
