"""The conditional coder's loops, compiled: the uniform coder's tree with learnt corrections.

A level is found by going down the tree of remaining counts. At each node the uniform coder takes
the half with the odds of the weights that remain in it. Here each of the first few decisions has
these odds corrected: log-odds are added that contexts have learnt from the decisions so far. With
all corrections 0 the codes are as long as the uniform coder's.

One function runs both ways, so that encoder and decoder cannot learn differently. All arithmetic is
on integers. `plain.py` and docs/format.md say the same in other words.

Suffixes: V vectors, L weights in a vector, K levels, R rows of counts: V, or 1 for all vectors.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.packed.kernels import Words, add_carry, compiled, fill_tree, inlined
from permtrain.packed.logarithms import LARGEST_LOG_ODDS

MAX_DECISIONS = 5
NUM_CONTEXTS = 5
CONTEXT_SIZE = 64 * 32 * 32

_LARGEST = np.int64(LARGEST_LOG_ODDS)
_HALF = np.uint64(32)
_SIXTEEN = np.uint64(16)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SMALLEST_RANGE = np.uint64(1 << 32)


@inlined
def _log_of(number, logarithms):  # type: ignore[no-untyped-def]
    """256 log2 of a positive number, by its eleven highest bits."""
    shift = 0
    top = number
    while top >= 1 << 19:
        top >>= 8
        shift += 8
    while top >= 1 << 11:
        top >>= 1
        shift += 1
    while top < 1 << 10:
        top <<= 1
        shift -= 1
    return (shift + 10) * 256 + logarithms[top - 1024]


@inlined
def _unrest_class(moved):  # type: ignore[no-untyped-def]
    """Twice the bits behind the highest, one more if the next one is set: 0 to 29; 31 for none."""
    if moved < 0:
        return 31
    bits = 0
    while moved >> bits > 1:
        bits += 1
    return 2 * bits + ((moved >> (bits - 1)) & 1 if bits else 0)


@inlined
def _averaged(average, moved, number):  # type: ignore[no-untyped-def]
    """The running average with one more; `number` were there before, the last 64 or so count."""
    if average < 0:
        return moved
    shift = 1
    while shift < 6 and number >> shift > 0:
        shift += 1
    return average + ((moved - average) >> shift)


@inlined
def _clipped(number, low, high):  # type: ignore[no-untyped-def]
    return min(max(number, low), high)


@compiled
def code_conditional(
    decoding: bool,
    words: Words,
    levels_VL: NDArray[np.int32],
    initial_VL: NDArray[np.int32],
    counts_RK: NDArray[np.int32],
    depth: int,
    row_length: int,
    stride: int,
    logarithms: NDArray[np.int32],
    probabilities: NDArray[np.int32],
    rates: NDArray[np.int32],
) -> tuple[int, np.uint64, np.uint64]:
    """Codes `levels_VL` into `words`, or fills it from them.

    Args:
        decoding: which of the two.
        words: room for 4 V L words, or the code, two words or more. A decision costs 12 bits at
            most, a symbol of the rest 32.
        levels_VL, initial_VL: levels of the weights, and of the initial values at their places.
        counts_RK: how often each level occurs.
        depth: of the tree, the smallest with 2**depth levels or more.
        stride: how far back in its vector a weight's second neighbour is.
        logarithms, probabilities, rates: the tables.

    Returns: words written or used, and the interval (low, range) left; -1 words if no encoder
        writes such a code.
    """
    num_vectors, length = levels_VL.shape
    num_rows, num_levels = counts_RK.shape
    size = 1 << depth
    num_decisions = min(depth, MAX_DECISIONS)
    sums = np.zeros(2 * size, np.int32)
    fresh = np.zeros(size, np.int32)
    left = np.zeros(size, np.int32)
    remaining = np.zeros(num_levels, np.int32)
    learnt = np.zeros((NUM_CONTEXTS * CONTEXT_SIZE, 2), np.int32)  # corrections and their number
    levels = levels_VL.reshape(-1)
    initials = initial_VL.reshape(-1)
    unrest_by_column = np.full(row_length, -1, np.int32)
    context = np.zeros(NUM_CONTEXTS, np.int64)
    low = np.uint64(0)
    width = _ALL
    above = np.uint64(0)
    num_words = 0
    unrest_of_row = np.int64(-1)
    if decoding:
        above = (np.uint64(words[0]) << _HALF) | np.uint64(words[1])
        num_words = 2
    for v in range(num_vectors):
        row = v if num_rows > 1 else 0
        if v == 0 or num_rows > 1:
            fill_tree(counts_RK[row], depth, sums, fresh)
        left[:] = fresh
        remaining[:] = counts_RK[row]
        for i in range(length):
            here = v * length + i
            column = here % row_length
            initial = np.int64(initials[here])
            near, far = np.int64(0), np.int64(0)
            near_fifth, far_fifth, before_fifth = np.int64(5), np.int64(5), np.int64(5)
            if column >= 1:
                near = np.int64(levels[here - 1]) - np.int64(initials[here - 1])
                near_fifth = np.int64(levels[here - 1]) * 5 // num_levels
            if column >= stride:
                far = np.int64(levels[here - stride]) - np.int64(initials[here - stride])
                far_fifth = np.int64(levels[here - stride]) * 5 // num_levels
            if here >= row_length:
                before_fifth = np.int64(levels[here - row_length]) * 5 // num_levels
            if num_levels <= 8:
                drift = (_clipped(near, -1, 1) + 1) * 3 + _clipped(far, -1, 1) + 1
            else:
                drift = _clipped((near + far) * 16 // num_levels, -7, 7) + 7
            if column == 0:
                unrest_of_row = np.int64(-1)
            row_unrest = _unrest_class(unrest_of_row)
            unrest = _unrest_class(unrest_by_column[column])
            neighbours = (near_fifth * 6 + far_fifth) * 6 + before_fifth
            level = np.int64(levels[here])
            total = np.int64(length - i)
            node = 1
            for decision in range(num_decisions):
                half_depth = depth - 1 - decision
                in_left = np.int64(left[node])
                if in_left == total:
                    bit = 0
                elif in_left == 0:
                    bit = 1
                else:
                    half = 1 << half_depth
                    middle = (node << (half_depth + 1)) - size + half
                    offset = ((2 * (initial - middle) + 1) * 8) >> (half_depth + 1)
                    offset = _clipped(offset, -24, 23) + 24
                    place = decision * 48 + offset
                    context[0] = place
                    context[1] = CONTEXT_SIZE + place * 32 + unrest
                    context[2] = 2 * CONTEXT_SIZE + place * 16 + drift
                    if num_levels <= 8:
                        state = node * 8 + initial
                        context[3] = 3 * CONTEXT_SIZE + (state * 32 + unrest) * 32 + row_unrest
                        context[4] = 4 * CONTEXT_SIZE + state * 216 + neighbours
                    else:
                        coarse = _clipped(offset - 16, 0, 15) >> 1
                        context[3] = 3 * CONTEXT_SIZE + node * 8 + coarse
                        context[4] = 4 * CONTEXT_SIZE + node * 216 + neighbours
                    odds = _log_of(in_left, logarithms) - _log_of(total - in_left, logarithms)
                    odds <<= 8
                    for c in range(NUM_CONTEXTS):
                        odds += learnt[context[c], 0]
                    odds = _clipped(odds >> 8, -_LARGEST, _LARGEST)
                    likely = np.int64(probabilities[odds + _LARGEST])
                    bound = (width >> _SIXTEEN) * np.uint64(likely)
                    bit = int((level >> half_depth) & 1)
                    if decoding:
                        bit = 1 if above >= bound else 0
                    if bit == 0:
                        width = bound
                    else:
                        width -= bound
                        if decoding:
                            above -= bound
                        else:
                            low += bound
                            if low < bound:
                                add_carry(words, num_words)
                    if width < _SMALLEST_RANGE:
                        width <<= _HALF
                        if decoding:
                            above <<= _HALF
                            if num_words < len(words):
                                above |= np.uint64(words[num_words])
                        else:
                            words[num_words] = np.uint32(low >> _HALF)
                            low <<= _HALF
                        num_words += 1
                    error = (0 if bit else 65536) - likely
                    for c in range(NUM_CONTEXTS):
                        times = learnt[context[c], 1]
                        learnt[context[c], 0] += (error * rates[times]) >> 12
                        learnt[context[c], 1] = min(times + 1, 1023)
                left[node] = in_left - 1 + bit
                total = total - in_left if bit else in_left
                node = 2 * node + bit
            if depth > num_decisions:
                # The rest as the uniform coder has it, among the weights that remain in the node.
                share = width // np.uint64(total)
                below = np.int64(0)
                rest = np.int64(0)
                if decoding:
                    place_64 = above // share
                    if place_64 >= np.uint64(total):
                        return -1, low, width
                    rest = np.int64(place_64)
                for half_depth in range(depth - num_decisions - 1, -1, -1):
                    in_left = np.int64(left[node])
                    if decoding:
                        bit = 1 if rest >= in_left else 0
                        rest -= in_left * bit
                    else:
                        bit = int((level >> half_depth) & 1)
                    below += in_left * bit
                    left[node] = in_left - 1 + bit
                    node = 2 * node + bit
                count = np.int64(remaining[node - size])
                if count != total:
                    start = share * np.uint64(below)
                    width = share * np.uint64(count)
                    if decoding:
                        above -= start
                    else:
                        low += start
                        if low < start:
                            add_carry(words, num_words)
                    if width < _SMALLEST_RANGE:
                        width <<= _HALF
                        if decoding:
                            above <<= _HALF
                            if num_words < len(words):
                                above |= np.uint64(words[num_words])
                        else:
                            words[num_words] = np.uint32(low >> _HALF)
                            low <<= _HALF
                        num_words += 1
            found = node - size
            remaining[found] -= 1
            levels[here] = found
            moved = abs(found - initial) * 16384 // num_levels
            unrest_by_column[column] = _averaged(
                unrest_by_column[column], moved, here // row_length
            )
            unrest_of_row = _averaged(unrest_of_row, moved, column)
    return num_words, low, width
