"""Windowed aggregates of one question: few rows in plain Python, quicker for some dozens, more in a few steps of NumPy."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.features.encoding import FixedCodec
from tidemill.features.kernel.timeline import Ints
from tidemill.stores.online.protocol import TIMES, Block

FEW = 256
"""More rows are left to arrays."""
CANCELLED = 1e5
"""Sums so much smaller than what was added are added again at twice the precision."""
_TIMES = TIMES.size // 8
_LARGEST = 2**63

Floats = NDArray[np.float64]
Span = tuple[int, int]
"""The first row of a window, and the one after its last."""

Steps = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, int]]]]]
"""Column -> operations, each with the features it gives and their windows."""


class Quick:
    """Computes aggregates that `windowed.Evaluator` has quick ways for.

    Args:
        codec: What the payloads hold.
        steps: What to compute.
    """

    def __init__(self, codec: FixedCodec, steps: Steps) -> None:
        self._marks = range(_TIMES, _TIMES + codec.marks)
        self._columns = []
        for place, (name, dtype) in enumerate(codec.schema.items()):
            if name in steps:
                kind = float if dtype.is_float() else bool if dtype == pl.Boolean else int
                self._columns.append((_TIMES + codec.marks + place, kind, Operations.of(steps[name])))
        self._floats = all(kind is float for _, kind, _ in self._columns)

    def __call__(self, block: Block, bounds: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        """The features as plain values; None when there are nulls, or values that need more care.

        Args:
            block: The rows of a key, in order.
            bounds: Start and end of each window.
        """
        words = block.words.T
        return self._of_few(words, bounds) if words.shape[1] <= FEW else self._of_many(words, bounds)

    def _of_few(self, words: Ints, bounds: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        if any(any(words[place].tolist()) for place in self._marks):
            return None
        event = words[0].tolist()
        spans = [(bisect_left(event, start), bisect_left(event, end)) for start, end in bounds]
        results: dict[str, Any] = {}
        for column, kind, operations in self._columns:
            values = _plain(words[column], kind)
            if values is None:
                return None
            try:
                operations.add(results, [values[low:high] for low, high in spans], _SUMS[kind])
            except OverflowError:
                return None
        return results

    def _of_many(self, words: Ints, bounds: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        event = memoryview(words[0])
        spans = [(bisect_left(event, start), bisect_left(event, end)) for start, end in bounds]
        if (
            not self._floats
            or any(low >= high for low, high in spans)
            or words[self._marks.start : self._marks.stop].any()
        ):
            return None
        edges, count, results = np.array(list(chain(*spans))), len(event), dict[str, Any]()
        values = np.empty(count + 1)  # the end of a window may be the end of the values
        values[count] = 0.0
        for column, _, operations in self._columns:
            values[:count] = words[column].view(np.float64)
            if not operations.add_reduced(results, values, edges, spans):
                return None
        return results


class Operations(NamedTuple):
    """What is computed of one column: for each operation the features it gives, and of which window each is."""

    counts: Sequence[tuple[str, int]]
    sums: Sequence[tuple[str, int]]
    means: Sequence[tuple[str, int]]
    others: Sequence[tuple[str, int, str]]
    """With the operation, which needs a value at least."""

    @classmethod
    def of(cls, steps: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Operations:
        found: dict[str, list[tuple[str, int]]] = {}
        for operation, features in steps:
            found.setdefault(operation, []).extend(features)
        others = [(*feature, operation) for operation in _OTHERS for feature in found.get(operation, [])]
        return cls(found.get("count", []), found.get("sum", []), found.get("mean", []), others)

    def add(self, results: dict[str, Any], parts: Sequence[list[Any]], total: Callable[[list[Any]], Any]) -> None:
        """Add the features of few values to others.

        Args:
            results: Where they are added.
            parts: The values of each window.
            total: Adds values.

        Raises:
            OverflowError: A sum is too large.
        """
        for feature, window in self.counts:
            results[feature] = len(parts[window])
        totals = [total(part) for part in parts] if self.sums or self.means else []
        for feature, window in self.sums:
            results[feature] = totals[window] if parts[window] else None
        for feature, window in self.means:
            results[feature] = totals[window] / len(parts[window]) if parts[window] else None
        for feature, window, operation in self.others:
            results[feature] = _OTHERS[operation](parts[window]) if parts[window] else None

    def add_reduced(self, results: dict[str, Any], values: Floats, edges: Ints, spans: Sequence[Span]) -> bool:
        """Add the features of many values to others; False when a sum needs more care.

        Args:
            results: Where they are added.
            values: The values of all windows, and one more.
            edges: The spans, one after the other.
            spans: Where the values of each window are, of which there is one at least.
        """
        for feature, window in self.counts:
            results[feature] = spans[window][1] - spans[window][0]
        if self.sums or self.means:
            with np.errstate(over="ignore", invalid="ignore"):
                totals, sizes = _reduced(np.add, values, edges), _reduced(np.add, np.abs(values), edges)
            if not all(size <= CANCELLED * abs(total) for total, size in zip(totals, sizes, strict=True)):
                return False
            for feature, window in self.sums:
                results[feature] = totals[window]
            for feature, window in self.means:
                results[feature] = totals[window] / (spans[window][1] - spans[window][0])
        found: dict[str, list[float]] = {}
        for feature, window, operation in self.others:
            if operation not in found:
                found[operation] = _MANY[operation](values, edges)
            results[feature] = found[operation][window]
        return True


def _reduced(ufunc: np.ufunc, values: Floats, edges: Ints) -> list[float]:
    """What a reduction gives for each window."""
    reduced: list[float] = ufunc.reduceat(values, edges)[::2].tolist()
    return reduced


def _plain(words: Ints, kind: type) -> list[Any] | None:
    """The values of a column; None when one is not finite."""
    if kind is not float:
        return list(map(bool, words.tolist())) if kind is bool else words.tolist()
    values: list[float] = words.view(np.float64).tolist()
    total = sum(values)
    return values if total - total == 0 else None


def _integer_sum(values: list[int]) -> int:
    total = sum(values)
    if not -_LARGEST <= total < _LARGEST:
        raise OverflowError
    return total


_SUMS: dict[type, Callable[[list[Any]], Any]] = {float: math.fsum, int: _integer_sum, bool: _integer_sum}
_OTHERS: dict[str, Callable[[list[Any]], Any]] = {
    "min": min, "max": max, "first": itemgetter(0), "last": itemgetter(-1),
}  # fmt: skip
_MANY: dict[str, Callable[[Floats, Ints], list[float]]] = {
    "min": lambda values, edges: _reduced(np.minimum, values, edges),
    "max": lambda values, edges: _reduced(np.maximum, values, edges),
    "first": lambda values, edges: values[edges[::2]].tolist(),
    "last": lambda values, edges: values[edges[1::2] - 1].tolist(),
}
