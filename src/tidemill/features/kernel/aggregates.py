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
from tidemill.core.specs.aggregates import Aggregate, Window
from tidemill.features.kernel import ranges
from tidemill.features.kernel.timeline import Ints, KeyIndex
from tidemill.features.kernel.windows import Bounds

_ARITHMETIC = ("sum", "mean", "stddev_samp", "stddev_pop", "var_samp", "var_pop")
_ANYTHING = ("count", "first", "last")


def evaluate(
    aggregates: Sequence[Aggregate], columns: Mapping[str, pl.Series], bounds: Mapping[Window, Bounds]
) -> dict[str, pl.Series]:
    """The value of every feature of some aggregates, for each range of rows.

    How the ranges were found does not matter: they are positions in the columns, which hold the rows of one or many keys in
    the order (key, event time, known time, sequence).

    Args:
        aggregates: What to compute.
        columns: The input columns by name.
        bounds: The ranges of each window wanted, all of the same number; features of other windows are left out.

    Returns:
        Feature name (without the view's prefix) -> one value per range, in the order of the aggregates.

    Raises:
        InvalidArgument: An operation does not fit the type of its column.
        InvalidData: A sum of integers does not fit into 64 bits.

    Example:
        >>> from tidemill.core.specs.aggregates import mean
        >>> total, rows = mean("x"), pl.Series([1.0, None, 2.0])
        >>> at = Bounds(np.array([0, 1]), np.array([3, 2]))
        >>> evaluate([total], {"x": rows}, {total.windows[0]: at})["x_mean_lifetime"].to_list()
        [1.5, None]
    """
    inputs: dict[str, Values] = {}
    results: dict[str, pl.Series] = {}
    for aggregate in aggregates:
        result_type(aggregate, columns[aggregate.column].dtype)
        if aggregate.column not in inputs:
            inputs[aggregate.column] = Values(columns[aggregate.column])
        values = inputs[aggregate.column]
        for feature, window in aggregate.features():
            if window not in bounds:
                continue
            results[feature] = _OPERATIONS[aggregate.operation](values.within(bounds[window]), aggregate).alias(feature)
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
    if operation in ("count", "unique_count"):
        return pl.Int64()
    if operation in ("first_k", "last_k"):
        return pl.List(plain)
    if operation in ("mean", "stddev_samp", "stddev_pop", "var_samp", "var_pop"):
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

    def __init__(self, column: pl.Series) -> None:
        self._before: Ints | None = None
        if column.null_count():
            counts = np.cumsum(column.is_not_null().to_numpy(), dtype=np.int64)
            self._before = np.concatenate([np.zeros(1, np.int64), counts])
        self.series = column.drop_nulls().cast(_plain_type(column.dtype))

    def within(self, bounds: Bounds) -> Ranges:
        """The ranges of non-null values in some ranges of rows."""
        if self._before is None:
            return Ranges(self, *bounds)
        return Ranges(self, self._before[bounds.start], self._before[bounds.end])

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
        """Equal codes for equal values."""
        return KeyIndex(self.series.to_frame("v"), ["v"]).ids(self.series.to_frame("v"))

    @cached_property
    def ranked(self) -> tuple[NDArray[Any], pl.Series]:
        """Each value's place among the different values, and these in ascending order."""
        distinct = self.series.unique().sort()
        places = KeyIndex(distinct.to_frame("v"), ["v"]).ids(self.series.to_frame("v"))
        return places, distinct


class Ranges:
    """Ranges of the non-null values of a column."""

    def __init__(self, values: Values, start: Ints, end: Ints) -> None:
        self.values = values
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
    if r.values.numbers.dtype == np.float64:
        sums = ranges.range_sums(r.values.floats, r.start, r.end)
    else:
        exact, wrapped = ranges.range_int_sums(r.values.numbers, r.start, r.end)
        sums = exact.astype(np.float64)
        if wrapped.any():
            sums = ranges.range_sums(r.values.floats, r.start, r.end)
    return _nullable(sums / np.maximum(r.count, 1), r.count > 0)


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
}
