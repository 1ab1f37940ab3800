"""Windowed aggregates of one question over few rows: plain Python is quicker than arrays for some dozens of values."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
        self._marks = slice(_TIMES, _TIMES + codec.marks)
        self._steps = []
        for place, (name, dtype) in enumerate(codec.schema.items()):
            if name in steps:
                kind = float if dtype.is_float() else bool if dtype == pl.Boolean else int
                operations = [(_OPERATIONS[operation], features) for operation, features in steps[name]]
                self._steps.append((_TIMES + codec.marks + place, kind, operations))

    def __call__(self, block: Block, bounds: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
        """The features as plain values; None when there are many rows, nulls, or values that need more care.

        Args:
            block: The rows of a key, in order.
            bounds: Start and end of each window.
        """
        words = block.words
        if len(words) > MOST or any(words[:, self._marks].ravel().tolist()):
            return None
        event = words[:, 0].tolist()
        spans = [(bisect_left(event, start), bisect_left(event, end)) for start, end in bounds]
        results: dict[str, Any] = {}
        for column, kind, operations in self._steps:
            values = _plain(words[:, column], kind)
            if values is None:
                return None
            parts = [values[low:high] for low, high in spans]
            try:
                totals = (
                    [math.fsum(part) for part in parts] if kind is float else [_integer_sum(part) for part in parts]
                )
            except OverflowError:
                return None
            for operation, features in operations:
                for feature, window in features:
                    results[feature] = operation(parts[window], totals[window])
        return results


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


_OPERATIONS: dict[str, Callable[[list[Any], Any], Any]] = {
    "count": lambda values, _: len(values),
    "sum": lambda values, total: total if values else None,
    "mean": lambda values, total: total / len(values) if values else None,
    "min": lambda values, _: min(values, default=None),
    "max": lambda values, _: max(values, default=None),
    "first": lambda values, _: values[0] if values else None,
    "last": lambda values, _: values[-1] if values else None,
}
