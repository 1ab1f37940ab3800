"""The k-th smallest value of many ranges at once, exactly or to a relative error."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from tidemill.features.kernel.ranges import FEW, Floats
from tidemill.features.kernel.timeline import Ints

_SLACK = 1e-9
"""0.29 * 100 is a little less than 29 in floats, and means 29."""

_NAN = np.iinfo(np.int64).max
"""The bucket of NaN."""


def range_kth(places: Ints, start: Ints, end: Ints, kth: Ints) -> Ints:
    """The k-th smallest (from 0) of each range, none of them empty.

    A wavelet matrix: the values are divided by their highest bit, zeros first, each half keeping its order, then by the next
    bit. How many zeros a range has says which half its k-th lies in, and where the range is there. O((n + m) bits).

    Args:
        places: Small integers, not negative.
        start: First positions.
        end: Positions after the last.
        kth: Which value, less than the length of its range.

    Example:
        >>> range_kth(np.array([5, 1, 4, 1]), np.array([0, 0]), np.array([3, 4]), np.array([1, 1])).tolist()
        [4, 1]
    """
    low, high, left = start, end, kth
    found = np.zeros(len(start), np.int64)
    for bit in reversed(range(int(places.max(initial=0)).bit_length())):
        ones = (places >> bit) & 1
        zeros_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(1 - ones)])
        low_zeros, high_zeros, all_zeros = zeros_before[low], zeros_before[high], zeros_before[-1]
        zeros = high_zeros - low_zeros
        upper = left >= zeros
        low = np.where(upper, all_zeros + low - low_zeros, low_zeros)
        high = np.where(upper, all_zeros + high - high_zeros, high_zeros)
        left = left - np.where(upper, zeros, 0)
        found |= upper.astype(np.int64) << bit
        places = np.concatenate([places[ones == 0], places[ones == 1]])
    return found


class Ordered:
    """Values, asked for by their place in ascending order."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @cached_property
    def _missing(self) -> Ints:
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.isnan(self.values))])

    @cached_property
    def _places(self) -> tuple[Floats, Ints]:
        """The different values, ascending, and each value's place among them."""
        different, places = np.unique(self.values, return_inverse=True)
        return different, places

    def kth(self, start: Ints, end: Ints, kth: Ints) -> Floats:
        """The k-th smallest (from 0) of ranges; NaN if one is in the range or it is empty."""
        found = np.full(len(start), math.nan)
        asked = np.flatnonzero((start < end) & (self._missing[end] == self._missing[start]))
        low, high, rank = start[asked], end[asked], kth[asked]
        if 0 < len(asked) <= FEW:
            each = zip(low.tolist(), high.tolist(), rank.tolist(), strict=True)
            found[asked] = [np.partition(self.values[a:b], k)[k] for a, b, k in each]
        elif len(asked):
            different, places = self._places
            found[asked] = different[range_kth(places, low, high, rank)]
        return found


def range_medians(ordered: Ordered, start: Ints, end: Ints) -> Floats:
    """Medians of ranges: the middle value, or the mean of the two in the middle; NaN if one is in the range or it is empty."""
    count = end - start
    lower = ordered.kth(start, end, (count - 1) // 2)
    upper = ordered.kth(start, end, count // 2)
    with np.errstate(over="ignore", invalid="ignore"):
        total = lower + upper
        return np.where(np.isfinite(total), total / 2, lower / 2 + upper / 2)


def range_quantiles(
    ordered: Ordered, start: Ints, end: Ints, q: float, relative_error: float, exact_up_to: int
) -> Floats:  # fmt: skip
    """The values of rank `floor(q * (n - 1))` of ranges; NaN if one is in the range or it is empty.

    Args:
        ordered: The values.
        start: First positions.
        end: Positions after the last.
        q: The quantile.
        relative_error: That of the ranges with more values than `exact_up_to`.
        exact_up_to: Up to how many values of a range there is no error.
    """
    count = end - start
    rank = np.floor(q * (count - 1) + _SLACK).astype(np.int64)
    small = count <= exact_up_to
    found = np.empty(len(start))
    found[small] = ordered.kth(start[small], end[small], rank[small])
    if not small.all():
        # A value's bucket grows with the value, so the bucket of that rank is the bucket of the value of that rank.
        rounded = Ordered(bucket_values(buckets(ordered.values, relative_error), relative_error))
        found[~small] = rounded.kth(start[~small], end[~small], rank[~small])
    return found


# -- buckets -----------------------------------------------------------------------------------------------------------


def buckets(values: Floats, relative_error: float) -> Ints:
    """The number of each value's bucket; the order of buckets is that of values.

    Bucket i holds the absolute values above `g^(i-1)` and up to `g^i`, with `g = (1 + error) / (1 - error)`; negative values
    have negative numbers, zero has its own bucket. (Masson, Rim and Lee: DDSketch, VLDB 2019.)
    """
    width = _width(relative_error)
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        number = np.ceil(np.log(np.where(size > 0, size, 1.0)) / width)
    shifted = np.where(np.isinf(size), 2 * _shift(width), number + _shift(width))
    signed = np.where(size > 0, np.copysign(shifted, values), 0.0)  # NaN > 0 is false
    return np.where(np.isnan(values), _NAN, signed.astype(np.int64))


def bucket_values(numbers: Ints, relative_error: float) -> Floats:
    """The value that stands for each bucket: at most the relative error away from every value in it."""
    width = _width(relative_error)
    size = np.abs(numbers.astype(np.float64))
    with np.errstate(over="ignore"):
        inside = np.exp((size - _shift(width)) * width + math.log1p(-relative_error))
    inside = np.minimum(inside, np.finfo(np.float64).max)
    value = np.copysign(np.where(size >= 2 * _shift(width), math.inf, inside), numbers)
    return np.where(numbers == 0, 0.0, np.where(numbers == _NAN, math.nan, value))


def _width(relative_error: float) -> float:
    return math.log1p(relative_error) - math.log1p(-relative_error)


def _shift(width: float) -> float:
    """Makes all bucket numbers positive: the logarithm of the smallest float is -744.4, of the largest 709.8."""
    return float(math.ceil(746 / width))
