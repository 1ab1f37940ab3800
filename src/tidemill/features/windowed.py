"""Windowed aggregates for the few rows of a request: the kernel's rules with far fewer steps.

Counts, sums, means, extremes, first and last values of numbers are reduced range by range in one NumPy call for all rows and
windows. Everything else, and a sum that needs more care (cancellation, 64 bits), goes to the kernel itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidData
from tidemill.core.specs.aggregates import Aggregate
from tidemill.core.specs.windows import AnyWindow, Window
from tidemill.features.encoding import FixedCodec, VariableCodec, column_of
from tidemill.features.kernel import ranges
from tidemill.features.kernel.aggregates import evaluate
from tidemill.features.kernel.timeline import Ints, shifted
from tidemill.features.kernel.windows import Bounds, Moments, window_times
from tidemill.features.quick import CANCELLED, Quick
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import Block

Mask = NDArray[np.bool_]

FAST = ("count", "sum", "mean", "min", "max", "first", "last")
_SAFE = 2**61
"""Times (and sums) up to here leave room to add and subtract."""
_FEW = 8
"""More ranges are reduced from left to right: what lies between one and the next is reduced as well."""


class Column(NamedTuple):
    """Values of a feature: an array, and where it is valid (None: everywhere)."""

    values: NDArray[Any]
    valid: Mask | None

    def series(self, name: str, dtype: pl.DataType) -> pl.Series:
        """As a Polars column."""
        series = pl.Series(name, self.values)
        if series.dtype != dtype:
            series = series.cast(dtype)
        return series if self.valid is None else series.scatter(np.flatnonzero(~self.valid), None)


class WindowTimes:
    """The times of a view's windows.

    Args:
        windows: The windows.
        delay: How long after its event a row becomes available, microseconds.
    """

    def __init__(self, windows: Sequence[AnyWindow], delay: int) -> None:
        self._windows, self._delay = windows, delay
        plain = [(window.offset, window.size or 0) for window in windows if _is_plain(window)]
        self._plain = not delay and len(plain) == len(windows)
        self._offsets, self._sizes = np.array(plain if self._plain else [], np.int64).reshape(-1, 2, 1).swapaxes(0, 1)
        self._each = [(offset + size, offset) for offset, size in plain]
        self._first, self._last = max(self._each, default=(0, 0))[0], min((one for _, one in self._each), default=0)

    def one(self, t: int) -> tuple[list[tuple[int, int]], int, int] | None:
        """Start and end of each window for one moment, then of all of them; None when these are not plain windows."""
        if self._plain and -_SAFE < t < _SAFE:
            return [(t - start, t - end) for start, end in self._each], t - self._first, t - self._last
        return None

    def __call__(self, t: Ints) -> tuple[Ints, Ints]:
        """Start and end of each window (rows) for each moment (columns), event times only that were available then."""
        if self._plain and t.min() > -_SAFE and t.max() < _SAFE:
            ends = t - self._offsets
            return ends - self._sizes, ends
        return _careful_times(self._windows, t, self._delay)


def _is_plain(window: AnyWindow) -> TypeGuard[Window]:
    if not isinstance(window, Window) or window.size is None:
        return False
    return window.mode == "exact" and window.size < _SAFE and window.offset < _SAFE


def _careful_times(windows: Sequence[AnyWindow], t: Ints, delay: int) -> tuple[Ints, Ints]:
    starts, ends = np.empty((2, len(windows), len(t)), np.int64)
    for place, window in enumerate(windows):
        starts[place], ends[place] = window_times(window, t)
    if delay:
        np.minimum(ends, shifted(t, 1 - delay), out=ends)
    return starts, ends


class Rows(NamedTuple):
    """Rows of some keys one after the other, and the positions of every window of every question in them."""

    block: Block
    starts: Ints
    ends: Ints


def place(blocks: Sequence[Block], answers: Ints, starts: Ints, ends: Ints) -> Rows:
    """Find the windows in the rows.

    Args:
        blocks: The rows of a key, in order, several times.
        answers: For each question, which block answers it.
        starts: Shape (windows, questions): times.
        ends: Likewise.
    """
    if len(blocks) == 1:
        (block,) = blocks
        event = np.ascontiguousarray(block.words[:, 0])
        low, high = event.searchsorted(starts), event.searchsorted(ends)
        return Rows(block, low, np.maximum(low, high))
    joined = chunks.joined(blocks)
    event = np.ascontiguousarray(joined.block.words[:, 0])
    first, last = joined.starts[answers], joined.starts[answers + 1]
    low, high = chunks.search(event, first, last, starts), chunks.search(event, first, last, ends)
    return Rows(joined.block, low, np.maximum(low, high))


class Evaluator:
    """Computes a view's aggregates.

    Args:
        aggregates: The aggregates.
        codec: What the payloads hold.
    """

    def __init__(self, aggregates: Sequence[Aggregate], codec: FixedCodec | VariableCodec) -> None:
        self.windows = list(dict.fromkeys(window for aggregate in aggregates for window in aggregate.windows))
        self._codec = codec
        self._places = {name: index for index, name in enumerate(codec.schema)}
        fast = [aggregate for aggregate in aggregates if self._is_fast(aggregate)]
        self._slow = [aggregate for aggregate in aggregates if aggregate not in fast]
        self._steps: dict[str, list[tuple[str, list[tuple[str, int]]]]] = {}
        for aggregate in fast:
            features = [(feature, self.windows.index(window)) for feature, window in aggregate.features()]
            self._steps.setdefault(aggregate.input, []).append((aggregate.operation, features))

        self.quick = None if self._slow or not isinstance(codec, FixedCodec) else Quick(codec, self._steps)
        """The quicker way for one question; None when there is none."""

    def _is_fast(self, aggregate: Aggregate) -> bool:
        dtype = self._codec.schema[aggregate.input]
        number = dtype.is_float() or dtype == pl.Boolean or (dtype.is_integer() and dtype != pl.UInt64)
        return isinstance(self._codec, FixedCodec) and number and aggregate.operation in FAST

    def __call__(self, rows: Rows, t: Ints) -> dict[str, Column | pl.Series]:
        """The features, in no particular order.

        Args:
            rows: The rows.
            t: The moment of each question.
        """
        results: dict[str, Column | pl.Series] = {}
        for name, operations in self._steps.items():
            values = Numbers.of(self._codec, rows, self._places[name])  # type: ignore[arg-type]
            for operation, features in operations:
                found = values.reduce(operation)
                for feature, window in features:
                    results[feature] = found.at(window)
        if self._slow:
            results |= self._kernel(rows, t)
        return results

    def one(self, rows: Rows, t: Ints) -> dict[str, Any]:
        """The features of rows that answer one question, as plain values."""
        results: dict[str, Any] = {}
        for name, operations in self._steps.items():
            values = Numbers.of(self._codec, rows, self._places[name])  # type: ignore[arg-type]
            for operation, features in operations:
                found = values.reduce(operation).plain()
                for feature, window in features:
                    results[feature] = found[window]
        if self._slow:
            for feature, series in self._kernel(rows, t).items():
                results[feature] = series[0].to_list() if isinstance(series[0], pl.Series) else series[0]
        return results

    def _kernel(self, rows: Rows, t: Ints) -> dict[str, pl.Series]:
        columns = {name: self._series(rows.block, name) for name in dict.fromkeys(a.input for a in self._slow)}
        bounds = {w: Bounds(rows.starts[i], rows.ends[i]) for i, w in enumerate(self.windows)}
        return evaluate(self._slow, columns, bounds, Moments.of(self._slow, rows.block.words[:, 0], t))

    def _series(self, block: Block, name: str) -> pl.Series:
        dtype, index = self._codec.schema[name], self._places[name]
        if isinstance(self._codec, FixedCodec):
            return self._codec.series(block.words[:, 3:], index, dtype).alias(name)
        return column_of([self._codec.record(payload, 0)[index] for payload in block.payloads], dtype, name)


class Reduced(NamedTuple):
    """Results of an operation: shape (windows, questions)."""

    values: NDArray[Any]
    valid: Mask | None

    def at(self, window: int) -> Column:
        """The results for one window."""
        valid = None if self.valid is None else self.valid[window]
        return Column(self.values[window], None if valid is None or valid.all() else valid)

    def plain(self) -> list[Any]:
        """The results of the only question for each window, None where not valid."""
        values: list[Any] = self.values.ravel().tolist()
        if self.valid is None:
            return values
        return [value if valid else None for value, valid in zip(values, self.valid.ravel().tolist(), strict=True)]


class Numbers:
    """The values of a column without its nulls, and the ranges of all windows of all questions in them."""

    def __init__(self, name: str, values: NDArray[Any], starts: Ints, ends: Ints, boolean: bool) -> None:
        self._name = name
        self.boolean = boolean
        self._padded = np.empty(len(values) + 1, values.dtype)  # the end of a range may be the end of the values
        self._padded[:-1] = values
        self._padded[-1] = 0
        self._values = self._padded[:-1]
        self._shape = starts.shape
        self._starts, self._ends = starts.ravel(), ends.ravel()
        self._order = self._starts.argsort() if len(self._starts) > _FEW else None
        self._edges = np.empty(2 * len(self._starts), np.int64)
        self._edges[::2], self._edges[1::2] = (
            (self._starts, self._ends) if self._order is None else (self._starts[self._order], self._ends[self._order])
        )
        self._counts = self._ends - self._starts
        some = self._counts > 0
        self._some: Mask | None = None if some.all() else some

    @classmethod
    def of(cls, codec: FixedCodec, rows: Rows, index: int) -> Numbers:
        words, starts, ends = rows.block.words[:, 3:], rows.starts, rows.ends
        values, valid = codec.values(words, index), codec.valid(words, index)
        if valid is not None:
            before = np.concatenate([np.zeros(1, np.int64), np.cumsum(valid, dtype=np.int64)])
            values, starts, ends = values[valid], before[starts], before[ends]
        name, dtype = list(codec.schema.items())[index]
        return cls(name, values, starts, ends, dtype == pl.Boolean)

    def reduce(self, operation: str) -> Reduced:
        """Do one operation for all ranges; empty ones are not valid, but have a count."""
        if operation == "count":
            return self._result(self._counts, None)
        return self._result(_REDUCTIONS[operation](self), self._some)

    def _result(self, values: NDArray[Any], valid: Mask | None) -> Reduced:
        return Reduced(values.reshape(self._shape), None if valid is None else valid.reshape(self._shape))

    def each(self, ufunc: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """Reduce every range; what stands for an empty one means nothing."""
        reduced: NDArray[Any] = ufunc.reduceat(values, self._edges)[::2]
        if self._order is None:
            return reduced
        result = np.empty_like(reduced)
        result[self._order] = reduced
        return result

    @cached_property
    def sums(self) -> NDArray[Any]:
        """The sum of each range, which the means take as well."""
        values = self._padded
        if values.dtype == np.int64:
            return self._integer_sums()
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self.each(np.add, values)
            magnitude = self.each(np.add, np.abs(values))
            careful = ~(magnitude <= CANCELLED * np.abs(sums))
        if self._some is not None:
            careful &= self._some
        if careful.any():
            sums[careful] = ranges.range_sums(self._values, self._starts[careful], self._ends[careful])
        return sums

    def _integer_sums(self) -> NDArray[Any]:
        if self._fits:
            return self.each(np.add, self._padded)
        sums, wrapped = ranges.range_int_sums(self._values, self._starts, self._ends)
        if wrapped.any():
            raise InvalidData(
                f"a sum of {self._name!r} does not fit into 64 bits",
                hint=f"Make it a float in the view's transform: pl.col({self._name!r}).cast(pl.Float64)",
            )
        return sums

    @cached_property
    def _fits(self) -> bool:
        """Whether no sum of these integers can be too large."""
        values = self._padded
        return self.boolean or max(int(values.max()), -int(values.min())) * len(values) < _SAFE

    def means(self) -> NDArray[Any]:
        if self._padded.dtype == np.int64 and not self._fits:
            sums: NDArray[Any] = ranges.range_sums(self._values.astype(np.float64), self._starts, self._ends)
        else:
            sums = self.sums
        means: NDArray[np.float64] = sums / np.maximum(self._counts, 1)
        return means

    def extremes(self, ufunc: np.ufunc) -> NDArray[Any]:
        found = self.each(ufunc, self._padded)
        return found.astype(bool) if self.boolean else found

    def ends(self, last: bool) -> NDArray[Any]:
        found = self._padded[np.maximum(self._ends - 1, 0) if last else self._starts]
        return found.astype(bool) if self.boolean else found


_REDUCTIONS: dict[str, Callable[[Numbers], NDArray[Any]]] = {
    "sum": lambda numbers: numbers.sums,
    "mean": Numbers.means,
    "min": lambda numbers: numbers.extremes(np.minimum),
    "max": lambda numbers: numbers.extremes(np.maximum),
    "first": lambda numbers: numbers.ends(False),
    "last": lambda numbers: numbers.ends(True),
}
