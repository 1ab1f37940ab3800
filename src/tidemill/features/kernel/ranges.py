"""Questions about many ranges `[start, end)` of one array at once.

Each works by doubling: level l holds the answers for blocks (or stretches) of 2^l neighbours, built from level l - 1, and a
range is put together from at most two of each level. Only the levels the longest range needs are built: O(n + m log m) for m
values and n ranges. Sums never subtract one prefix from another, so a huge value leaves no trace in ranges without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tidemill.features.kernel.timeline import Ints

Floats: TypeAlias = NDArray[np.float64]
Number = TypeVar("Number", np.int64, np.float64)
Parts: TypeAlias = tuple[Floats, ...]

FEW = 64
"""So few ranges are quicker done one by one."""


def _fold(leaves: Parts, start: Ints, end: Ints, merge: Callable[[Parts, Parts], Parts]) -> Parts:
    """Merge the leaves of each range; a range of none stays 0 in every part."""
    total = tuple(np.zeros(len(start)) for _ in leaves)
    asked = np.flatnonzero(start < end)
    low, high = start[asked], end[asked]
    while len(asked):
        for take, block in (((low & 1) == 1, low), ((high & 1) == 1, high - 1)):
            rows, blocks = asked[take], block[take]
            merged = merge(tuple(part[rows] for part in total), tuple(leaf[blocks] for leaf in leaves))
            for part, value in zip(total, merged, strict=True):
                part[rows] = value
        low, high = (low + 1) >> 1, high >> 1
        left = low < high
        asked, low, high = asked[left], low[left], high[left]
        pairs = len(leaves[0]) // 2 * 2
        leaves = merge(tuple(leaf[0:pairs:2] for leaf in leaves), tuple(leaf[1:pairs:2] for leaf in leaves))
    return total


def range_sums(values: Floats, start: Ints, end: Ints) -> Floats:
    """Sums of ranges, carried at twice the precision of a float; 0 for a range of none.

    The extra precision makes a sum the same however the values are grouped, so that online and offline agree.

    Example:
        >>> range_sums(np.array([1e16, 1.0, 1.0, -1e16]), np.array([0, 1]), np.array([4, 3])).tolist()
        [2.0, 2.0]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        high, low = _fold((values, np.zeros(len(values))), start, end, _add)
        return high + low


def _add(a: Parts, b: Parts) -> Parts:
    """The sum of two numbers, each held as a float and the rest that did not fit into it."""
    total = a[0] + b[0]
    virtual = total - a[0]
    rest = (a[0] - (total - virtual)) + (b[0] - virtual) + (a[1] + b[1])
    high = total + rest
    low = rest - (high - total)
    finite = np.isfinite(total)
    return np.where(finite, high, total), np.where(finite, low, 0.0)


def range_spreads(values: Floats, start: Ints, end: Ints) -> tuple[Floats, Floats]:
    """Counts, and sums of squared deviations from the mean, of ranges.

    Merged pairwise (Chan, Golub and LeVeque), with means at twice the precision of a float: a mean far from zero keeps its
    digits, and a spread much smaller than the mean is right to the last few.
    """
    zeros = np.zeros(len(values))
    with np.errstate(over="ignore", invalid="ignore"):
        # x - x: zero, and NaN for what is not finite.
        count, _, _, squares = _fold((zeros + 1, values, zeros, values - values), start, end, _merge_spreads)
    return count, squares


def _merge_spreads(a: Parts, b: Parts) -> Parts:
    """Parts: count, mean and its rest, sum of squared deviations."""
    count = a[0] + b[0]
    share = b[0] / np.maximum(count, 1.0)
    delta = _add((b[1], b[2]), (-a[1], -a[2]))[0]
    mean, rest = _add((a[1], a[2]), (delta * share, np.zeros(len(delta))))
    squares = a[3] + b[3] + delta * delta * (a[0] * share)
    empty = a[0] == 0
    return count, np.where(empty, b[1], mean), np.where(empty, b[2], rest), np.where(empty, b[3], squares)


def range_decayed_means(values: Floats, event: Ints, half_life: float, start: Ints, end: Ints) -> Floats:
    """Means of ranges with weights that halve with every half-life of age, relative to the newest of the range.

    Args:
        values: The values.
        event: When each happened, microseconds.
        half_life: Microseconds.
        start: First positions.
        end: Positions after the last.

    Example:
        >>> values, event = np.array([4.0, 1.0]), np.array([0, 10])
        >>> range_decayed_means(values, event, 10, np.array([0]), np.array([2])).tolist()
        [2.0]
    """
    finite = np.isfinite(values)
    # Microseconds of three centuries are exact in a float, and so are their differences.
    leaves = (event.astype(np.float64), np.ones(len(values)), np.where(finite, values, 0.0))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if len(start) <= FEW:
            mean = _decayed_means(leaves[0], leaves[2], half_life, start, end)
        else:
            mean = _fold(leaves, start, end, partial(_merge_decayed, half_life))[2]
        # What is not finite spreads through its ranges, whatever little it weighs.
        return mean if finite.all() else mean + range_sums(np.where(finite, 0.0, values), start, end)


def _decayed_means(event: Floats, values: Floats, half_life: float, start: Ints, end: Ints) -> Floats:
    means = np.zeros(len(start))
    for place, (low, high) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if low < high:
            weights = np.exp2((event[low:high] - event[high - 1]) / half_life)
            # Differences from what weighs most: the mean of a constant is that constant, and an old huge value fades.
            newest = values[high - 1]
            means[place] = newest + ((values[low:high] - newest) * weights).sum() / weights.sum()
    return means


def _merge_decayed(half_life: float, a: Parts, b: Parts) -> Parts:
    """Parts: newest time, sum of weights relative to it, mean."""
    newest = np.where(a[1] == 0, b[0], np.maximum(a[0], b[0]))
    mine = np.where(a[1] == 0, 0.0, a[1] * np.exp2((a[0] - newest) / half_life))
    theirs = b[1] * np.exp2((b[0] - newest) / half_life)
    weight = mine + theirs
    heavy, light = np.where(mine > theirs, a[2], b[2]), np.where(mine > theirs, b[2], a[2])
    return newest, weight, heavy + (light - heavy) * (np.minimum(mine, theirs) / weight)


def range_int_sums(values: Ints, start: Ints, end: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Exact sums of integers, and where they do not fit into 64 bits.

    Integer arithmetic is exact modulo 2^64, so the difference of two prefix sums is the sum wherever that fits.
    """
    prefix = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
    sums = prefix[end] - prefix[start]
    largest = float(np.abs(values.astype(np.float64)).max(initial=0.0))
    longest = int((end - start).max(initial=0))
    if largest * longest < 2**62:
        return sums, np.zeros(len(sums), np.bool_)
    # A wrapped sum is off by a multiple of 2^64; floats are off by far less than that.
    return sums, np.abs(range_sums(values.astype(np.float64), start, end) - sums.astype(np.float64)) > 2.0**62


def range_extremes(values: NDArray[Number], start: Ints, end: Ints, *, largest: bool) -> NDArray[Number]:
    """Minima or maxima of ranges; NaN if one is in the range. A range of none gives some value: mask it."""
    choose = np.maximum if largest else np.minimum
    result = np.zeros(len(start), values.dtype)
    level = np.frexp((end - start).astype(np.float64))[1] - 1
    table = values
    for step in range(int(level.max(initial=-1)) + 1):
        rows = np.flatnonzero(level == step)
        result[rows] = choose(table[start[rows]], table[end[rows] - (1 << step)])
        table = choose(table[: -(1 << step)], table[1 << step :])
    return result


def range_distinct(codes: Ints, start: Ints, end: Ints) -> Ints:
    """How many different codes each range holds: those places whose previous same code lies before the range."""
    previous = _previous_same(codes) + 1
    size = len(codes) + 1
    found = np.zeros(len(start), np.int64)
    asked = np.flatnonzero(start < end)
    low, high, width = start[asked], end[asked], 1
    while len(asked):
        blocks = len(previous) // width
        ordered = np.sort(previous[: blocks * width].reshape(blocks, width), axis=1, kind="stable").ravel()
        # One sorted array for all blocks: block b's values are raised by b * size.
        raised = ordered + np.repeat(np.arange(blocks) * size, width)
        for take, block in (((low & 1) == 1, low), ((high & 1) == 1, high - 1)):
            rows, b = asked[take], block[take]
            found[rows] += np.searchsorted(raised, start[rows] + 1 + b * size, side="left") - b * width
        low, high, width, previous = (low + 1) >> 1, high >> 1, width * 2, ordered
        left = low < high
        asked, low, high = asked[left], low[left], high[left]
    return found


def _previous_same(codes: Ints) -> Ints:
    order = np.argsort(codes, kind="stable")
    previous = np.full(len(codes), -1, np.int64)
    same = codes[order[1:]] == codes[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous


def rightmost_at_most(values: Ints, start: Ints, end: Ints, bound: Ints) -> Ints:
    """The last position of each range whose value is at most the bound; -1 if there is none.

    Walks left from the end over blocks whose smallest value is too large, in growing steps, then down into the first
    block that has one small enough.
    """
    levels = [values]
    while len(levels[-1]) > 1:
        pairs = len(levels[-1]) // 2 * 2
        levels.append(np.minimum(levels[-1][0:pairs:2], levels[-1][1:pairs:2]))
    block, depth = _block_with(levels, start, end, bound)
    for level in range(len(levels) - 1, 0, -1):
        rows = np.flatnonzero((depth == level) & (block >= 0))
        right = 2 * block[rows] + 1
        block[rows] = np.where(levels[level - 1][right] <= bound[rows], right, right - 1)
        depth[rows] = level - 1
    return np.where(block >= start, block, -1)


def _block_with(levels: list[Ints], start: Ints, end: Ints, bound: Ints) -> tuple[Ints, Ints]:
    """The rightmost aligned block left of the end that has a small enough value, and its level; -1 for none."""
    block, depth, stop = np.full(len(start), -1, np.int64), np.zeros(len(start), np.int64), end.copy()
    asked = np.flatnonzero(start < end)
    for level, table in enumerate(levels):
        asked = asked[stop[asked] > start[asked]]
        rows = asked[(stop[asked] >> level) & 1 == 1]
        candidate = (stop[rows] >> level) - 1
        hit = table[candidate] <= bound[rows]
        block[rows[hit]], depth[rows[hit]] = candidate[hit], level
        stop[rows] = np.where(hit, start[rows], candidate << level)
    return block, depth
