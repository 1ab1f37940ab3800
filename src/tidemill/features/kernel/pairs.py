"""What has to look at every value of every range: the most frequent value, and HyperLogLog."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.features.kernel.ranges import Floats
from tidemill.features.kernel.timeline import Ints

PAIRS_AT_ONCE = 4_000_000
Hashes = NDArray[np.uint64]


class Pairs(NamedTuple):
    """Some ranges, and each of their positions with the range it is in."""

    ranges: slice
    owner: Ints
    """For each position the range's place among these."""
    position: Ints


def pair_batches(start: Ints, end: Ints, at_once: int = PAIRS_AT_ONCE) -> Iterator[Pairs]:
    """All pairs of a range and a position in it, in batches of about so many, ascending."""
    lengths = end - start
    batch = np.cumsum(lengths) // at_once
    edges = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(start)]
    for low, high in pairwise(edges):
        inside = lengths[low:high]
        owner = np.repeat(np.arange(high - low), inside)
        first = np.cumsum(inside) - inside
        yield Pairs(slice(low, high), owner, np.arange(len(owner)) + np.repeat(start[low:high] - first, inside))


def range_modes(codes: Ints, start: Ints, end: Ints) -> Ints:
    """The last position of the most frequent code of each range; of several, the one that came last. -1 for a range of none.

    Example:
        >>> range_modes(np.array([7, 8, 8, 7]), np.array([0, 0]), np.array([3, 4])).tolist()
        [2, 3]
    """
    found = np.full(len(start), -1, np.int64)
    different = int(codes.max(initial=0)) + 1
    for pairs in pair_batches(start, end):
        if not len(pairs.owner):
            continue
        key = pairs.owner * different + codes[pairs.position]
        order = np.argsort(key, kind="stable")
        last = np.append(np.flatnonzero(np.diff(key[order])), len(order) - 1)
        count = np.diff(last, prepend=-1)
        owner, position = pairs.owner[order[last]], pairs.position[order[last]]
        best = np.lexsort((position, count, owner))
        winner = best[np.append(np.flatnonzero(np.diff(owner[best])), len(best) - 1)]
        found[pairs.ranges][owner[winner]] = position[winner]
    return found


# -- HyperLogLog -------------------------------------------------------------------------------------------------------


def hashed(values: pl.Series) -> Hashes:
    """64 well mixed bits for each value, the same in every process: equal for equal values."""
    if values.dtype in (pl.String, pl.Binary):
        different = values.unique()
        raw = different.cast(pl.Binary).to_list()
        words = [int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little") for value in raw]
        mapped = values.replace_strict(different, pl.Series(words, dtype=pl.UInt64), return_dtype=pl.UInt64)
        return mapped.to_numpy()
    if values.dtype.is_float():
        plain = np.where(np.isnan(values.to_numpy()), math.nan, values.to_numpy() + 0.0)  # one NaN, no -0.0
        return _mixed(plain.view(np.uint64))
    numbers = values.to_physical() if values.dtype.is_temporal() else values
    return _mixed(numbers.cast(pl.Int64).to_numpy().view(np.uint64))


def _mixed(words: Hashes) -> Hashes:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def range_estimates(hashes: Hashes, start: Ints, end: Ints, precision: int) -> Ints:
    """About how many different hashes each range holds.

    Only the registers that are not zero are ever held. They are maxima, so parts of a range can be merged and the order
    does not matter.

    Args:
        hashes: The hashes.
        start: First positions.
        end: Positions after the last.
        precision: The binary logarithm of the number of registers.
    """
    found = np.zeros(len(start), np.int64)
    register, rank = registers(hashes, precision)
    levels = 64 - precision + 2
    for pairs in pair_batches(start, end):
        at = ((pairs.owner << precision) + register[pairs.position] << 7) + rank[pairs.position]
        at.sort()
        greatest = at[np.append(np.diff(at >> 7) > 0, True)] if len(at) else at
        ranges = pairs.ranges.stop - pairs.ranges.start
        counts = np.bincount((greatest >> precision + 7) * levels + (greatest & 127), minlength=ranges * levels)
        table = counts.reshape(ranges, levels).astype(np.float64)
        table[:, 0] = (1 << precision) - table.sum(axis=1)
        found[pairs.ranges] = np.rint(_estimates(table, precision))
    return found


def registers(hashes: Hashes, precision: int) -> tuple[Ints, Ints]:
    """Which register each hash goes to, and the rank it brings: the place of the first one among the other bits."""
    register = (hashes >> np.uint64(64 - precision)).astype(np.int64)
    rest = hashes << np.uint64(precision)
    high, low = (rest >> np.uint64(32)).astype(np.float64), (rest & np.uint64(0xFFFFFFFF)).astype(np.float64)
    length = np.where(high > 0, np.frexp(high)[1] + 32, np.frexp(low)[1])
    rank = np.where(rest == 0, 64 - precision + 1, 65 - length)
    return register, rank.astype(np.int64)


def _estimates(counts: Floats, precision: int) -> Floats:
    """Ertl's improved raw estimator (arXiv:1702.01284, algorithm 6): counts of registers by rank -> cardinalities."""
    size = float(1 << precision)
    total = size * _tau(1 - counts[:, -1] / size)
    for level in range(counts.shape[1] - 2, 0, -1):
        total = (total + counts[:, level]) / 2
    with np.errstate(divide="ignore"):
        return size * size / (2 * math.log(2)) / (total + size * _sigma(counts[:, 0] / size))


def _sigma(x: Floats) -> Floats:
    total, weight = x.copy(), 1.0
    power = np.where(x < 1, x, 0.0)
    while True:
        power = power * power
        grown = total + power * weight
        if (grown == total).all():
            return np.where(x < 1, total, math.inf)
        total, weight = grown, weight * 2


def _tau(x: Floats) -> Floats:
    total, weight = 1 - x, 1.0
    root = np.where((x > 0) & (x < 1), x, 1.0)
    while True:
        root, weight = np.sqrt(root), weight / 2
        shrunk = total - (1 - root) ** 2 * weight
        if (shrunk == total).all():
            return np.where((x > 0) & (x < 1), total / 3, 0.0)
        total = shrunk
