"""Aggregates of many ranges of sorted rows at once (rules R6 and R7).

Nulls are taken out of a column first; what remains keeps its order, so every operation sees values only. NaN is a value: it
spreads through sums, means, deviations, minima and maxima of the ranges it is in, and counts as one different value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.windows import AnyWindow
from tidemill.features.kernel import pairs, ranges, ranks
from tidemill.features.kernel.timeline import Ints, KeyIndex
from tidemill.features.kernel.windows import Bounds, Moments

_FRACTIONS = (
    "mean",
    "stddev_samp",
    "stddev_pop",
    "var_samp",
    "var_pop",
    "sum_rate",
    "ewma",
    "median",
    "approx_quantile",
)
_ARITHMETIC = ("sum", *_FRACTIONS)
_ANYTHING = ("count", "first", "last", "rate")

_FEW = 20_000
"""So few numbers are quicker sorted than hashed."""


def evaluate(
    aggregates: Sequence[Aggregate],
    columns: Mapping[str, pl.Series],
    bounds: Mapping[AnyWindow, Bounds],
    moments: Moments,
) -> dict[str, pl.Series]:
    """The value of every feature of some aggregates, for each range of rows.

    How the ranges were found does not matter: they are positions in the columns, which hold the rows of one or many keys in
    the order (key, event time, known time, sequence).

    Args:
        aggregates: What to compute.
        columns: The inputs of the aggregates by name.
        bounds: The ranges of each window wanted, all of the same number; features of other windows are left out.
        moments: The event times of the rows, and the lengths of the windows of rates.

    Returns:
        Feature name (without the view's prefix) -> one value per range, in the order of the aggregates.

    Raises:
        InvalidArgument: An operation does not fit the type of its column.
        InvalidData: A sum of integers does not fit into 64 bits.

    Example:
        >>> from tidemill.core.specs.aggregates import mean
        >>> total, rows = mean("x"), pl.Series([1.0, None, 2.0])
        >>> at = Bounds(np.array([0, 1]), np.array([3, 2]))
        >>> times = Moments(np.array([10, 20, 30]), {})
        >>> evaluate([total], {"x": rows}, {total.windows[0]: at}, times)["x_mean_lifetime"].to_list()
        [1.5, None]
    """
    inputs: dict[str, Values] = {}
    results: dict[str, pl.Series] = {}
    for aggregate in aggregates:
        result_type(aggregate, columns[aggregate.input].dtype)
        if aggregate.input not in inputs:
            inputs[aggregate.input] = Values(columns[aggregate.input], moments.event)
        values = inputs[aggregate.input]
        for feature, window in aggregate.features():
            if window not in bounds:
                continue
            within = values.within(bounds[window], moments.length.get(window))
            results[feature] = _OPERATIONS[aggregate.operation](within, aggregate).alias(feature)
    return results


def result_type(aggregate: Aggregate, dtype: pl.DataType) -> pl.DataType:
    """The type of an aggregate's features.

    Raises:
        InvalidArgument: The operation does not fit the type of its input.
    """
    operation = aggregate.operation
    number = dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.Null)
    if not (number if operation in _ARITHMETIC else operation in _ANYTHING or not dtype.is_nested()):
        raise InvalidArgument(
            f"{operation}({aggregate.column!r}) is over a column of type {dtype}",
            expected="a number or a boolean" if operation in _ARITHMETIC else "a column of plain values",
            hint="Cast it in the view's transform, or use count, first or last",
        )
    plain = _plain_type(dtype)
    if operation in ("count", "unique_count", "approx_unique_count"):
        return pl.Int64()
    if operation in ("first_k", "last_k"):
        return pl.List(plain)
    if operation == "rate" or operation in _FRACTIONS:
        return pl.Float64()
    return pl.Int64() if operation == "sum" and dtype == pl.Boolean else plain


def _plain_type(dtype: pl.DataType) -> pl.DataType:
    if dtype.is_integer() or dtype == pl.Null:
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    return pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype


class Values:
    """A column without its nulls."""

    def __init__(self, column: pl.Series, event: Ints) -> None:
        self._before: Ints | None = None
        self._present: NDArray[np.bool_] | None = None
        if column.null_count():
            self._present = column.is_not_null().to_numpy()
            self._before = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._present, dtype=np.int64)])
        self._event = event
        self.series = column.drop_nulls().cast(_plain_type(column.dtype))

    def within(self, bounds: Bounds, length: Ints | None) -> Ranges:
        """The ranges of non-null values in some ranges of rows, with the lengths of their windows if these are needed."""
        if self._before is None:
            return Ranges(self, bounds.start, bounds.end, length)
        return Ranges(self, self._before[bounds.start], self._before[bounds.end], length)

    @cached_property
    def event(self) -> Ints:
        """The event time of each value."""
        return self._event if self._present is None else self._event[self._present]

    @cached_property
    def padded(self) -> pl.Series:
        """The values and one null, which "no value" points to."""
        return self.series.extend_constant(None, 1)

    @cached_property
    def numbers(self) -> NDArray[Any]:
        """The values as int64 or float64; booleans as 0 and 1."""
        return (self.series.cast(pl.Int64) if self.series.dtype == pl.Boolean else self.series).to_numpy()

    @cached_property
    def floats(self) -> ranges.Floats:
        return self.numbers.astype(np.float64, copy=False)

    @cached_property
    def codes(self) -> Ints:
        """Equal codes for equal values; NaN is equal to NaN."""
        if len(self.series) <= _FEW and (self.series.dtype.is_numeric() or self.series.dtype == pl.Boolean):
            return np.unique(self.numbers, return_inverse=True)[1]
        return KeyIndex(self.series.to_frame("v"), ["v"]).ids(self.series.to_frame("v"))

    @cached_property
    def ordered(self) -> ranks.Ordered:
        return ranks.Ordered(self.floats)

    @cached_property
    def hashes(self) -> pairs.Hashes:
        return pairs.hashed(self.series)

    @cached_property
    def ranked(self) -> tuple[NDArray[Any], pl.Series]:
        """Each value's place among the different values, and these in ascending order."""
        distinct = self.series.unique().sort()
        places = KeyIndex(distinct.to_frame("v"), ["v"]).ids(self.series.to_frame("v"))
        return places, distinct


class Ranges:
    """Ranges of the non-null values of a column."""

    def __init__(self, values: Values, start: Ints, end: Ints, length: Ints | None) -> None:
        self.values = values
        self.length = length
        self.start = start
        self.end = end
        self.count: Ints = end - start

    def pick(self, positions: Ints, valid: NDArray[np.bool_]) -> pl.Series:
        """The values at some positions; null where they are not valid."""
        padded = self.values.padded
        return padded.gather(np.where(valid, positions, len(padded) - 1))


def _count(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return pl.Series(r.count, dtype=pl.Int64)


def _unique_count(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return pl.Series(ranges.range_distinct(r.values.codes, r.start, r.end), dtype=pl.Int64)


def _sum(r: Ranges, aggregate: Aggregate) -> pl.Series:
    if r.values.numbers.dtype == np.float64:
        return _nullable(ranges.range_sums(r.values.floats, r.start, r.end), r.count > 0)
    sums, wrapped = ranges.range_int_sums(r.values.numbers, r.start, r.end)
    if wrapped.any():
        raise InvalidData(
            f"a sum of {aggregate.column!r} does not fit into 64 bits",
            hint=f"Make it a float in the view's transform: pl.col({aggregate.column!r}).cast(pl.Float64)",
        )
    return _nullable(sums, r.count > 0)


def _mean(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return _nullable(_float_sums(r) / np.maximum(r.count, 1), r.count > 0)


def _float_sums(r: Ranges) -> ranges.Floats:
    if r.values.numbers.dtype != np.float64:
        exact, wrapped = ranges.range_int_sums(r.values.numbers, r.start, r.end)
        if not wrapped.any():
            return exact.astype(np.float64)
    return ranges.range_sums(r.values.floats, r.start, r.end)


def _rate(r: Ranges, aggregate: Aggregate) -> pl.Series:
    assert r.length is not None  # a rate's windows have lengths
    total = r.count.astype(np.float64) if aggregate.operation == "rate" else _float_sums(r)
    valid = (r.length > 0) & ((r.count > 0) | (aggregate.operation == "rate"))
    return _nullable(total / (np.maximum(r.length, 1) / aggregate.arguments[0]), valid)


def _ewma(r: Ranges, aggregate: Aggregate) -> pl.Series:
    half_life = aggregate.arguments[0]
    means = ranges.range_decayed_means(r.values.floats, r.values.event, half_life, r.start, r.end)
    return _nullable(means, r.count > 0)


def _median(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return _nullable(ranks.range_medians(r.values.ordered, r.start, r.end), r.count > 0)


def _quantile(r: Ranges, aggregate: Aggregate) -> pl.Series:
    q, relative_error, exact_up_to = aggregate.arguments
    found = ranks.range_quantiles(r.values.ordered, r.start, r.end, q, relative_error, int(exact_up_to))
    return _nullable(found, r.count > 0)


def _mode(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return r.pick(pairs.range_modes(r.values.codes, r.start, r.end), r.count > 0)


def _approx_unique_count(r: Ranges, aggregate: Aggregate) -> pl.Series:
    precision = int(aggregate.arguments[0])
    return pl.Series(pairs.range_estimates(r.values.hashes, r.start, r.end, precision), dtype=pl.Int64)


def _extreme(r: Ranges, aggregate: Aggregate) -> pl.Series:
    largest = aggregate.operation == "max"
    if r.values.series.dtype in (pl.Int64, pl.Float64):
        found = ranges.range_extremes(r.values.numbers, r.start, r.end, largest=largest)
        return _nullable(found, r.count > 0)
    places, distinct = r.values.ranked
    place = ranges.range_extremes(places, r.start, r.end, largest=largest).astype(np.int64)
    return distinct.extend_constant(None, 1).gather(np.where(r.count > 0, place, len(distinct)))


def _end(r: Ranges, aggregate: Aggregate) -> pl.Series:
    return r.pick(r.start if aggregate.operation == "first" else r.end - 1, r.count > 0)


def _ends(r: Ranges, aggregate: Aggregate) -> pl.Series:
    k = int(min(aggregate.k, max(1, r.count.max(initial=0))))
    oldest_first = aggregate.operation == "first_k"
    places = [r.start + i if oldest_first else r.end - 1 - i for i in range(k)]
    columns = [r.pick(place, r.count > i).alias(str(i)) for i, place in enumerate(places)]
    # Values are never null, so what is dropped are the places beyond the end of a short range.
    return pl.DataFrame(columns).select(pl.concat_list(pl.all()).list.drop_nulls()).to_series()


def _spread(r: Ranges, aggregate: Aggregate) -> pl.Series:
    form, _, kind = aggregate.operation.partition("_")
    count, squares = ranges.range_spreads(r.values.floats, r.start, r.end)
    divisor = count - 1 if kind == "samp" else count
    variance = squares / np.maximum(divisor, 1)
    return _nullable(np.sqrt(variance) if form == "stddev" else variance, divisor > 0)


def _nullable(values: NDArray[Any], valid: NDArray[np.bool_]) -> pl.Series:
    series = pl.Series(values)
    return series if valid.all() else series.scatter(np.flatnonzero(~valid), None)


_OPERATIONS: dict[str, Callable[[Ranges, Aggregate], pl.Series]] = {
    "count": _count,
    "unique_count": _unique_count,
    "sum": _sum,
    "mean": _mean,
    "min": _extreme,
    "max": _extreme,
    "first": _end,
    "last": _end,
    "first_k": _ends,
    "last_k": _ends,
    "stddev_samp": _spread,
    "stddev_pop": _spread,
    "var_samp": _spread,
    "var_pop": _spread,
    "rate": _rate,
    "sum_rate": _rate,
    "ewma": _ewma,
    "median": _median,
    "mode": _mode,
    "approx_quantile": _quantile,
    "approx_unique_count": _approx_unique_count,
}
