"""Windowed aggregates of one question over few rows: plain Python is quicker than arrays for some dozens of values."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tidemill.features.encoding import FixedCodec
from tidemill.stores.online.protocol import TIMES, Block

MOST = 256
"""More rows are left to arrays."""
_TIMES = TIMES.size // 8
_LARGEST = 2**63

Steps = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, int]]]]]
"""Column -> operations, each with the features it gives and their windows."""


class FewRows:
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

    def __call__(self, block: Block, bounds: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        """The features as plain values; None when there are many rows, nulls, or values that need more care.

        Args:
            block: The rows of a key, in order.
            bounds: Start and end of each window.
        """
        words = block.words.T
        if words.shape[1] > MOST or any(any(words[place].tolist()) for place in self._marks):
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


class Operations(NamedTuple):
    """What is computed of one column: for each operation the features it gives, and of which window each is."""

    counts: Sequence[tuple[str, int]]
    sums: Sequence[tuple[str, int]]
    means: Sequence[tuple[str, int]]
    others: Sequence[tuple[str, int, Callable[[list[Any]], Any]]]
    """With what finds the value among those of a window, of which there is one at least."""

    @classmethod
    def of(cls, steps: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Operations:
        found: dict[str, list[tuple[str, int]]] = {}
        for operation, features in steps:
            found.setdefault(operation, []).extend(features)
        others = [(*feature, reduce) for operation, reduce in _OTHERS.items() for feature in found.get(operation, [])]
        return cls(found.get("count", []), found.get("sum", []), found.get("mean", []), others)

    def add(self, results: dict[str, Any], parts: Sequence[list[Any]], total: Callable[[list[Any]], Any]) -> None:
        """Add the features to others.

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
        for feature, window, reduce in self.others:
            results[feature] = reduce(parts[window]) if parts[window] else None


def _plain(words: np.ndarray[Any, np.dtype[np.int64]], kind: type) -> list[Any] | None:
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
