"""The conditional coder's loops, compiled: the uniform coder's tree with learnt corrections.

A level is found by going down the tree of remaining counts. At each node the uniform coder takes
the half with the odds of the weights that remain in it. Here each of the first few decisions has
these odds corrected: log-odds are added that contexts have learnt from the decisions so far. With
all corrections 0 the codes are as long as the uniform coder's.

One function runs both ways, so that encoder and decoder cannot learn differently; `kernels.py` says
what its state is. All arithmetic is on integers. docs/format.md and `tests/packed/reference.py` say
the same in other words.

Suffixes: V vectors, L weights in a vector, K levels, R rows of counts: V, or 1 for all vectors.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.packed.kernels import (
    Words,
    advance,
    begin,
    code_symbol,
    compiled,
    fill_tree,
    inlined,
    refill,
)
from permtrain.packed.logarithms import LARGEST_LOG_ODDS

MAX_DECISIONS = 5
FEW_LEVELS = 8
NUM_CONTEXTS = 6
SIZES_WITH_FEW = (6**3, 6**4, 32, 32, 32 * 32, 9 * 9)
"""Corrections of each context with few levels, for each node and initial level."""
MAX_LEARNT = 1023 << 16

_LARGEST = np.int64(LARGEST_LOG_ODDS)
_SIXTEEN = np.uint64(16)


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
def _class_of(average):  # type: ignore[no-untyped-def]
    """Twice the bits behind the highest, one more if the next one is set: 0 to 29; 31 for none."""
    if average < 0:
        return 31
    bits = 0
    while average >> bits > 1:
        bits += 1
    return 2 * bits + ((average >> (bits - 1)) & 1 if bits else 0)


@inlined
def _lean_class(average):  # type: ignore[no-untyped-def]
    """An average of leans from 0 to 32768, in eighths; 8 for none."""
    return 8 if average < 0 else min(average >> 12, 7)


@inlined
def _fifth(level, num_levels):  # type: ignore[no-untyped-def]
    return np.int64(level) * 5 // num_levels


@inlined
def _averaged(average, value, number):  # type: ignore[no-untyped-def]
    """The running average with one more; `number` were there before, the last 256 or so count."""
    if average < 0:
        return value
    shift = 1
    while shift < 8 and number >> shift > 0:
        shift += 1
    return average + ((value - average) >> shift)


@inlined
def _clipped(number, low, high):  # type: ignore[no-untyped-def]
    return min(max(number, low), high)


@inlined
def _fill_begins(begins, num_decisions, num_levels):  # type: ignore[no-untyped-def]
    """Fills in where each context's corrections begin, and where all end.

    No more than there can be: a file may have thousands of small tensors, and each begins with
    corrections of 0.
    """
    num_nodes = 1 << num_decisions
    if num_levels <= FEW_LEVELS:
        for c, size in enumerate(SIZES_WITH_FEW):
            begins[c + 1] = begins[c] + size * (num_nodes - 1) * num_levels
    else:
        num_places = 48 * num_decisions
        begins[1] = num_places
        begins[2] = begins[1] + 32 * num_places
        begins[3] = begins[2] + 16 * num_places
        begins[4] = begins[3] + 8 * num_nodes
        begins[5:] = begins[4] + 6**3 * num_nodes


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

    Returns: words written or used, and the interval (low, width) left; -1 words if no encoder
        writes such a code.
    """
    num_vectors, length = levels_VL.shape
    num_rows, num_levels = counts_RK.shape
    size = 1 << depth
    num_decisions = min(depth, MAX_DECISIONS)
    has_few = num_levels <= FEW_LEVELS
    num_contexts = 6 if has_few else 5
    commonest = 0  # not by np.argmax, with which numba imports scipy
    for each in range(1, num_levels):
        if counts_RK[0, each] > counts_RK[0, commonest]:
            commonest = each
    sums = np.zeros(2 * size, np.int32)
    fresh = np.zeros(size, np.int32)
    left = np.zeros(size, np.int32)
    remaining = np.zeros(num_levels, np.int32)
    begins = np.zeros(NUM_CONTEXTS + 1, np.int64)
    _fill_begins(begins, num_decisions, num_levels)
    learnt = np.zeros((begins[-1], 2), np.int32)  # corrections; how much they saw
    levels = levels_VL.reshape(-1)
    initials = initial_VL.reshape(-1)
    # Averages of what was seen of a column and of the present row. Activity is how far weights
    # moved; with few levels, whether they have another than the commonest one, and lean is on which
    # side of it they are.
    activity_by_column = np.full(row_length, -1, np.int32)
    lean_by_column = np.full(row_length, -1, np.int32)
    context = np.zeros(NUM_CONTEXTS, np.int64)
    activity_of_row = np.int64(-1)
    lean_of_row = np.int64(-1)
    num_words, point, width = begin(decoding, words)
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
                near_fifth = _fifth(levels[here - 1], num_levels)
            if column >= stride:
                far = np.int64(levels[here - stride]) - np.int64(initials[here - stride])
                far_fifth = _fifth(levels[here - stride], num_levels)
            if here >= row_length:
                before_fifth = _fifth(levels[here - row_length], num_levels)
            neighbours = (near_fifth * 6 + far_fifth) * 6 + before_fifth
            if column == 0:
                activity_of_row, lean_of_row = np.int64(-1), np.int64(-1)
            activity = _class_of(activity_by_column[column])
            row_activity, drift, leans, around = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            if has_few:
                row_activity = np.int64(_class_of(activity_of_row))
                leans = _lean_class(lean_by_column[column]) * 9 + _lean_class(lean_of_row)
                left_fifth, right_fifth = np.int64(5), np.int64(5)
                if column > stride:
                    left_fifth = _fifth(levels[here - stride - 1], num_levels)
                if column >= stride and stride > 1:
                    right_fifth = _fifth(levels[here - stride + 1], num_levels)
                around = ((near_fifth * 6 + far_fifth) * 6 + left_fifth) * 6 + right_fifth
            else:
                drift = _clipped((near + far) * 16 // num_levels, -7, 7) + 7
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
                    if has_few:
                        state = (node - 1) * num_levels + initial
                        context[0] = state * 216 + neighbours
                        context[1] = begins[1] + state * 1296 + around
                        context[2] = begins[2] + state * 32 + activity
                        context[3] = begins[3] + state * 32 + row_activity
                        context[4] = begins[4] + (state * 32 + activity) * 32 + row_activity
                        context[5] = begins[5] + state * 81 + leans
                    else:
                        half = 1 << half_depth
                        middle = (node << (half_depth + 1)) - size + half
                        offset = ((2 * (initial - middle) + 1) * 8) >> (half_depth + 1)
                        offset = _clipped(offset, -24, 23) + 24
                        place = decision * 48 + offset
                        coarse = _clipped(offset - 16, 0, 15) >> 1
                        context[0] = place
                        context[1] = begins[1] + place * 32 + activity
                        context[2] = begins[2] + place * 16 + drift
                        context[3] = begins[3] + node * 8 + coarse
                        context[4] = begins[4] + node * 216 + neighbours
                    odds = _log_of(in_left, logarithms) - _log_of(total - in_left, logarithms)
                    odds <<= 8
                    for c in range(num_contexts):
                        odds += learnt[context[c], 0]
                    odds = _clipped(odds >> 8, -_LARGEST, _LARGEST)
                    likely = np.int64(probabilities[odds + _LARGEST])
                    bound = (width >> _SIXTEEN) * np.uint64(likely)
                    bit = int((level >> half_depth) & 1)
                    if decoding:
                        bit = 1 if point >= bound else 0
                    if bit:
                        point = advance(decoding, words, num_words, point, bound)
                        width -= bound
                    else:
                        width = bound
                    num_words, point, width = refill(decoding, words, num_words, point, width)
                    error = (0 if bit else 65536) - likely
                    seen = (likely * (65536 - likely)) >> 14
                    for c in range(num_contexts):
                        so_far = learnt[context[c], 1]
                        learnt[context[c], 0] += (error * rates[so_far >> 16]) >> 12
                        learnt[context[c], 1] = min(so_far + seen, MAX_LEARNT)
                left[node] = in_left - 1 + bit
                total = total - in_left if bit else in_left
                node = 2 * node + bit
            if depth > num_decisions:
                # The rest as the uniform coder has it, among the weights that remain in the node.
                node, num_words, point, width = code_symbol(
                    decoding,
                    words,
                    num_words,
                    point,
                    width,
                    level,
                    node,
                    depth - num_decisions,
                    total,
                    left,
                    remaining,
                )
                if num_words < 0:
                    return -1, point, width
            found = node - size
            levels[here] = found
            if has_few:
                moved = np.int64(0 if found == commonest else 16384)
                lean = (_clipped(found - commonest, -1, 1) + 1) * 16384
                lean_by_column[column] = _averaged(lean_by_column[column], lean, here // row_length)
                lean_of_row = _averaged(lean_of_row, lean, column)
            else:
                moved = abs(found - initial) * 16384 // num_levels
            activity_by_column[column] = _averaged(
                activity_by_column[column], moved, here // row_length
            )
            activity_of_row = _averaged(activity_of_row, moved, column)
    return num_words, point, width
