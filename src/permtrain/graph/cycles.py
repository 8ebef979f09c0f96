"""Disjoint cycles of the permissibility graph, exactly as the paper's search finds them.

The graph is never built. With a subset's weights in ascending order, the moves permitted from a
weight are a contiguous run on one side of it, so "the foremost unvisited vertex of its adjacency
list" is the nearest (or farthest) member of a bit set within that run.

What makes it fast without changing a result:

- *Stretches.* Where neighbours in the order are further apart than any move, no edge crosses. A
  cycle's lowest vertex wants to grow and its highest to shrink, so a stretch matters only from its
  first growing to its last shrinking vertex. Stretches are searched one by one.
- *ANY: nothing is visited twice.* A vertex left without a cycle leads to none, as in every
  depth-first search, now and after more vertices have gone; and starting anew after a cycle walks
  the same path up to the vertex before it. So the path is kept and exhausted vertices are dropped.
- *START: searches that must fail are not made.* Let s want to grow, and no remaining vertex that
  wants to shrink lie above s and within reach. A cycle through s comes down past s somewhere, from
  a vertex above s that wants to shrink and reaches to below s, hence to s, were it not closer to s
  than the lower bound allows. So it is enough to look at the nearest one: if there is none within
  the upper bound there is no cycle. Where weights tie, the lower bound is 0, and the vertex from
  which the walk first comes down to the value of s reaches s as well.
- *START with ties: equals fail together.* Tied vertices with the same wish have the same moves.
  When one of them is exhausted in a search, so are the others: they are struck out a word at a
  time, and a long run of zeros is not walked through again and again.
"""

import numpy as np
from numpy.typing import NDArray

from permtrain.graph.bits import (
    Words,
    contains,
    insert,
    mask_within,
    next_member,
    previous_member,
    remove,
)
from permtrain.graph.compiling import compiled, compiled_rows, inlined
from permtrain.graph.partition import Sizes, draw_subset_ids
from permtrain.graph.words import below, mix, row_key, upper_half, word_at

# When a search ends: at a cycle through its start, or at the first edge back to its path.
START, ANY = 0, 1
# In which order a vertex's moves are tried.
NEAREST, FARTHEST, RANDOM = 0, 1, 2
# Which moves are permitted.
PAPER, AUTHORS = 0, 1

_NONE, _ONE = np.uint64(0), np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ALL_BUT_SIGN = np.uint64(0x7FFFFFFFFFFFFFFF)
_FEW = 96  # up to here comparing all beats a radix sort, whose counters must be cleared

Ints = NDArray[np.int32]
Values = NDArray[np.float64]


@compiled_rows
def search_rows(
    values_VL: NDArray[np.floating],
    rank_to_slot_VL: Ints,
    recommendations_VL: NDArray[np.floating],
    sizes_P: Sizes,
    aggressiveness: float,
    reading: int,
    order: int,
    rule: int,
    seed: np.uint64,
    step: np.uint64,
    first_row: np.uint64,
    moved_V: Ints,
    begin: int,
    end: int,
) -> None:
    """Searches rows `begin` to `end` and permutes them: `graph.search.permute_ranks_`."""
    L = rank_to_slot_VL.shape[1]
    # Scratch is allocated once, not per row: a row may be short.
    ints = np.empty((10, L), dtype=np.int32)
    words = np.zeros((3, (L >> 6) + 1), dtype=np.uint64)
    v = np.empty(L, dtype=np.float64)
    rec = np.empty(L, dtype=np.float64)
    sizes = np.empty_like(rec)
    rec_bits = rec.view(np.uint64)
    keys = np.empty((2, L), dtype=np.uint64)
    counters = np.empty((8, 256), dtype=np.int32)
    ends = np.empty(sizes_P.shape[0], dtype=np.int32)
    for row in range(begin, end):
        profile_L = values_VL[row] if values_VL.shape[0] > 1 else values_VL[0]
        key = row_key(seed, step, first_row + np.uint64(row))
        ids_L = ints[0]
        draw_subset_ids(key, sizes_P, ids_L)
        _spread(
            profile_L,
            rank_to_slot_VL[row],
            recommendations_VL[row],
            ids_L,
            sizes_P,
            ends,
            rule == AUTHORS,
            v,
            ints[1],
            rec,
        )
        moved_V[row] = _search_row(
            np.float64(profile_L[L - 1]) - np.float64(profile_L[0]),
            rank_to_slot_VL[row],
            sizes_P,
            ends,
            aggressiveness,
            reading,
            order,
            rule,
            mix(key),
            v,
            rec,
            rec_bits,
            ints,
            words,
            keys,
            counters,
            sizes,
        )


@compiled
def _spread(
    profile_L: NDArray[np.floating],
    slots_L: Ints,
    recommendations_L: NDArray[np.floating],
    ids_L: Ints,
    sizes_P: Sizes,
    ends_P: Ints,
    drop_zeros: bool,
    v: Values,
    rank: Ints,
    rec: Values,
) -> None:
    """Lays the row out subset by subset, each ascending because ranks are dealt out in order."""
    place = 0
    for p in range(sizes_P.shape[0]):
        ends_P[p] = place
        place += sizes_P[p]
    for k in range(ids_L.shape[0]):
        r = recommendations_L[slots_L[k]]
        if drop_zeros and r == 0:
            continue
        p = ids_L[k]
        i = ends_P[p]
        ends_P[p] = i + 1
        v[i] = profile_L[k]
        rank[i] = k
        rec[i] = r


@compiled
def _search_row(
    value_range: float,
    slots_L: Ints,
    sizes_P: Sizes,
    ends_P: Ints,
    aggressiveness: float,
    reading: int,
    order: int,
    rule: int,
    order_key: np.uint64,
    v: Values,
    rec: Values,
    rec_bits: Words,
    ints: Ints,
    words: Words,
    keys: Words,
    counters: Ints,
    sizes: Values,
) -> int:
    rank, up_from, down_from = ints[1], ints[2], ints[3]
    starts, other, path, spare = ints[4], ints[5], ints[6], ints[7]
    stamps = ints[8:10]
    remaining, unvisited, growing = words[0], words[1], words[2]
    stamps[:] = 0
    moved = 0
    num_searches = 0
    begin = 0
    next_begin = 0
    for p in range(sizes_P.shape[0]):
        begin = next_begin
        next_begin = begin + sizes_P[p]
        end = ends_P[p]
        if end - begin < 2:
            continue
        if rule == AUTHORS:
            lower = -1.0
            reach_up = value_range * (aggressiveness + 1.0 / (end - begin))
            reach_down = np.nextafter(reach_up, np.inf)  # at most the bound, not below it
        else:
            lower = np.inf
            for i in range(begin + 1, end):
                lower = min(lower, v[i] - v[i - 1])
            reach_up = lower + aggressiveness * value_range
            reach_down = reach_up
        i = begin
        while i < end:
            # One stretch: from i to j - 1, its first growing vertex, its last shrinking one.
            # Signs are random, so a branch on one is mispredicted half the time: none is made.
            first, last = end, -1
            j = i
            while True:
                first = min(first, j if rec[j] < 0 else end)
                last = j if rec[j] > 0 else last
                j += 1
                if j >= end or not v[j] - v[j - 1] < reach_down:
                    break
            stretch, stretch_end = i, j
            i = j
            if last < first:
                continue
            if last == first + 1:
                gap = v[last] - v[first]
                if gap > lower and gap < reach_up:
                    a, b = rank[first], rank[last]
                    slots_L[a], slots_L[b] = slots_L[b], slots_L[a]
                    moved += 2
                continue
            # Moves of x begin at up_from[x] and go up, or at down_from[x] and go down.
            if lower == 0.0:
                _tie_bounds(v, stretch, stretch_end, up_from, down_from)
            else:
                for x in range(first, last + 1):
                    up_from[x] = x + 1
                    down_from[x] = x - 1
                for x in range(first, last):
                    if v[x + 1] - v[x] <= lower:  # no more than one: two gaps exceed the smallest
                        up_from[x] = x + 2
                        down_from[x + 1] = x - 1
                if last + 1 < end and v[last + 1] - v[last] <= lower:
                    up_from[last] = last + 2
                if first > begin and v[first] - v[first - 1] <= lower:
                    down_from[first] = first - 2
            num_starts = 0
            for x in range(first, last + 1):
                r = rec[x]
                bit = np.uint64(x & 63)
                remaining[x >> 6] |= np.uint64(r != 0) << bit
                growing[x >> 6] |= np.uint64(r < 0) << bit
                starts[num_starts] = x
                num_starts += int(r != 0)
            largest_first(starts, num_starts, rec, rec_bits, other, keys, counters, sizes)
            if reading == ANY:
                moved += _search_any(
                    starts, num_starts, slots_L, v, rank, up_from, down_from, begin, end, first,
                    last + 1, reach_up, reach_down, order, order_key, remaining, growing, path,
                    spare,
                )  # fmt: skip
            else:
                for w in range(first >> 6, (last >> 6) + 1):
                    unvisited[w] = remaining[w]
                moved += _search_start(
                    starts, num_starts, slots_L, v, rank, up_from, down_from, begin, end, first,
                    last + 1, reach_up, reach_down, order, order_key, remaining, growing, path,
                    spare, unvisited, other, stamps, num_searches, lower == 0.0,
                )  # fmt: skip
                num_searches += num_starts
            for w in range(first >> 6, (last >> 6) + 1):
                remaining[w] = _NONE
                unvisited[w] = _NONE
                growing[w] = _NONE
    return moved


@compiled
def _tie_bounds(v: Values, begin: int, end: int, up_from: Ints, down_from: Ints) -> None:
    """Equal weights cannot be exchanged: moves begin beyond the run of equals."""
    i = begin
    while i < end:
        j = i + 1
        while j < end and v[j] == v[i]:
            j += 1
        for x in range(i, j):
            up_from[x] = j
            down_from[x] = i - 1
        i = j


@inlined
def largest_first(
    places: Ints,
    count: int,
    rec: Values,
    rec_bits: Words,
    other: Ints,
    keys: Words,
    counters: Ints,
    sizes: Values,
) -> None:
    """Sorts `places[:count]` by |recommendation|, largest first; ties stay in their order."""
    if count > _FEW:
        _largest_first_of_many(places, count, rec_bits, other, keys, counters)
    else:
        # Each is put behind all that go before it: more comparisons than other ways to sort, but
        # no branch depends on one, and several are made at once.
        for t in range(count):
            other[t] = places[t]
            sizes[t] = abs(rec[places[t]])
        for t in range(count):
            size = sizes[t]
            place = 0
            for j in range(count):
                place += int(sizes[j] > size)
            for j in range(t):
                place += int(sizes[j] == size)
            places[np.uint64(place)] = other[t]


@compiled
def _largest_first_of_many(
    places: Ints,
    count: int,
    rec_bits: Words,
    other: Ints,
    keys: Words,
    counters: Ints,
) -> None:
    """Radix sort by bytes: without its sign, a float's bits ascend with it."""
    counters[:] = 0
    for t in range(count):
        key = rec_bits[places[t]] & _ALL_BUT_SIGN
        keys[0, t] = key
        for digit in range(8):
            counters[digit, _byte(key, digit)] += 1
    source = 0
    for digit in range(8):
        if counters[digit, _byte(keys[source, 0], digit)] == count:
            continue  # all share this byte, as the lowest ones that came from float32
        place = 0
        for byte in range(255, -1, -1):
            size_of_byte = counters[digit, byte]
            counters[digit, byte] = place
            place += size_of_byte
        source_places, target_places = (places, other) if source == 0 else (other, places)
        for t in range(count):
            key = keys[source, t]
            bucket = _byte(key, digit)
            place = counters[digit, bucket]
            counters[digit, bucket] = place + 1
            keys[1 - source, place] = key
            target_places[place] = source_places[t]
        source = 1 - source
    if source == 1:
        for t in range(count):
            places[t] = other[t]


@inlined
def _byte(word: np.uint64, digit: int) -> np.int64:
    return np.int64((word >> np.uint64(8 * digit)) & np.uint64(255))


@compiled
def _other_move(
    members: Words,
    x: int,
    grows: bool,
    v: Values,
    rank: Ints,
    up_from: Ints,
    down_from: Ints,
    begin: int,
    end: int,
    reach_up: float,
    reach_down: float,
    order: int,
    order_key: np.uint64,
) -> int:
    """The foremost member among the moves of x, farthest or random first, or -1."""
    low, high = up_from[x], down_from[x]
    if grows:
        high = end  # the first place out of reach, by bisection
        bottom = low
        while bottom < high:
            middle = (bottom + high) >> 1
            if v[middle] - v[x] < reach_up:
                bottom = middle + 1
            else:
                high = middle
        high -= 1
    else:
        low = begin
        top = high + 1
        while low < top:
            middle = (low + top) >> 1
            if v[x] - v[middle] < reach_down:
                top = middle
            else:
                low = middle + 1
    size = high - low + 1
    if size < 1:
        return -1
    skipped = np.int64(0)
    if order == RANDOM:
        skipped = below(upper_half(word_at(order_key, np.uint64(rank[x]))), np.uint64(size))
    # No value is out of reach here, hence the infinite bound.
    if order == FARTHEST:
        if grows:
            return previous_member(members, members, _NONE, high, low, v, v[x], np.inf)
        return next_member(members, members, _NONE, low, high + 1, v, v[x], np.inf)
    if grows:
        y = next_member(members, members, _NONE, low + skipped, high + 1, v, v[x], np.inf)
        if y < 0:
            y = next_member(members, members, _NONE, low, low + skipped, v, v[x], np.inf)
        return y
    y = previous_member(members, members, _NONE, high - skipped, low, v, v[x], np.inf)
    if y < 0:
        y = previous_member(members, members, _NONE, high, high - skipped + 1, v, v[x], np.inf)
    return y


@inlined
def _rotate(slots_L: Ints, rank: Ints, path: Ints, first: int, end: int) -> None:
    """Carries out the cycle path[first] -> ... -> path[end - 1] -> path[first].

    x -> y gives the weight at y to the slot of x: rank y now belongs to the slot of x.
    """
    last_slot = slots_L[rank[path[end - 1]]]
    for i in range(end - 1, first, -1):
        slots_L[rank[path[i]]] = slots_L[rank[path[i - 1]]]
    slots_L[rank[path[first]]] = last_slot


@inlined
def _search_any(
    starts: Ints,
    num_starts: int,
    slots_L: Ints,
    v: Values,
    rank: Ints,
    up_from: Ints,
    down_from: Ints,
    begin: int,
    end: int,
    first: int,
    last_end: int,
    reach_up: float,
    reach_down: float,
    order: int,
    order_key: np.uint64,
    remaining: Words,
    growing: Words,
    path: Ints,
    place_on_path: Ints,
) -> int:
    for x in range(first, last_end):
        place_on_path[x] = -1
    moved = 0
    for t in range(num_starts):
        if not contains(remaining, starts[t]):
            continue
        path[0] = starts[t]
        place_on_path[starts[t]] = 0
        depth = 1
        while depth > 0:
            x = path[depth - 1]
            grows = contains(growing, x)
            if order != NEAREST:
                y = _other_move(
                    remaining, x, grows, v, rank, up_from, down_from, begin, end, reach_up,
                    reach_down, order, order_key,
                )  # fmt: skip
            elif grows:
                y = next_member(
                    remaining, remaining, _NONE, up_from[x], last_end, v, v[x], reach_up
                )
            else:
                y = previous_member(
                    remaining, remaining, _NONE, down_from[x], first, v, v[x], reach_down
                )
            if y < 0:
                remove(remaining, x)
                depth -= 1
            elif place_on_path[y] < 0:
                path[depth] = y
                place_on_path[y] = depth
                depth += 1
            else:
                begun = place_on_path[y]
                _rotate(slots_L, rank, path, begun, depth)
                moved += depth - begun
                while depth > begun:
                    depth -= 1
                    remove(remaining, path[depth])
    return moved


@inlined
def _search_start(
    starts: Ints,
    num_starts: int,
    slots_L: Ints,
    v: Values,
    rank: Ints,
    up_from: Ints,
    down_from: Ints,
    begin: int,
    end: int,
    first: int,
    last_end: int,
    reach_up: float,
    reach_down: float,
    order: int,
    order_key: np.uint64,
    remaining: Words,
    growing: Words,
    path: Ints,
    visited: Ints,
    unvisited: Words,
    struck: Ints,
    stamps_2L: Ints,
    num_searches: int,
    has_ties: bool,
) -> int:
    """`unvisited` equals `remaining` between searches; the start stays in it, to be found again."""
    moved = 0
    for t in range(num_starts):
        s = starts[t]
        if not contains(remaining, s):
            continue
        if contains(growing, s):
            # A neighbour too close to be exchanged counts: see the head of this file.
            near = up_from[s] if has_ties else s + 1
            back = next_member(remaining, growing, _ALL, near, last_end, v, v[s], reach_down)
        else:
            near = down_from[s] if has_ties else s - 1
            back = previous_member(remaining, growing, _NONE, near, first, v, v[s], reach_up)
        remove(remaining, s)
        if back < 0:
            remove(unvisited, s)
            continue
        stamp = num_searches + t + 1
        num_visited, num_struck = 0, 0
        path[0] = s
        depth = 1
        y = -1
        while depth > 0:
            x = path[depth - 1]
            grows = contains(growing, x)
            if order != NEAREST:
                y = _other_move(
                    unvisited, x, grows, v, rank, up_from, down_from, begin, end, reach_up,
                    reach_down, order, order_key,
                )  # fmt: skip
            elif grows:
                y = next_member(
                    unvisited, unvisited, _NONE, up_from[x], last_end, v, v[x], reach_up
                )
            else:
                y = previous_member(
                    unvisited, unvisited, _NONE, down_from[x], first, v, v[x], reach_down
                )
            if y == s:
                break
            if y >= 0:
                remove(unvisited, y)
                visited[num_visited] = y
                num_visited += 1
                path[depth] = y
                depth += 1
                continue
            depth -= 1
            if has_ties and depth > 0 and up_from[x] - down_from[x] > 2:
                # The equals of x with the same wish are exhausted too.
                equal, equal_end = max(down_from[x] + 1, first), min(up_from[x], last_end)
                kind = 1 if grows else 0
                if stamps_2L[kind, equal] != stamp:
                    stamps_2L[kind, equal] = stamp
                    struck[num_struck] = x
                    num_struck += 1
                    flip = _NONE if grows else _ALL
                    for w in range(equal >> 6, ((equal_end - 1) >> 6) + 1):
                        mask = mask_within(w, equal, equal_end - 1)
                        unvisited[w] &= ~(mask & (growing[w] ^ flip))
                    if equal <= s < equal_end:
                        insert(unvisited, s)
        if depth > 0:
            _rotate(slots_L, rank, path, 0, depth)
            moved += depth
            for i in range(1, depth):
                remove(remaining, path[i])
        unvisited[s >> 6] = remaining[s >> 6]
        for i in range(num_visited):
            unvisited[visited[i] >> 6] = remaining[visited[i] >> 6]
        for i in range(num_struck):
            x = struck[i]
            for w in range((down_from[x] + 1) >> 6, ((up_from[x] - 1) >> 6) + 1):
                unvisited[w] = remaining[w]
    return moved
