"""Windowed aggregates of a feature view.

Windows are half-open, `[t - W, t)`: an event at the prediction time itself never counts. `hop=` trades exactness for bounded
memory, `offset=` shifts both ends, `over=None` means everything before t.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import InvalidArgument
from tidemill.core.times import Duration, format_duration, parse_duration

OPERATIONS = (
    "count", "unique_count", "sum", "mean", "min", "max", "first", "last", "first_k", "last_k",
    "stddev_samp", "stddev_pop", "var_samp", "var_pop",
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """One window, in microseconds. `size` None means everything before the end."""

    size: int | None
    mode: str = "exact"
    hop: int = 0
    offset: int = 0

    @property
    def label(self) -> str:
        """How the window reads in a feature name: `24h`, `lifetime`, `24h_hop_1h`, `24h_offset_7d`."""
        text = "lifetime" if self.size is None else _hours(self.size)
        if self.mode != "exact":
            text += f"_{self.mode}_{_hours(self.hop)}"
        return text + (f"_offset_{_hours(self.offset)}" if self.offset else "")


def _hours(micros: int) -> str:
    # "24h" is what the user wrote and what the column is called, although it is also "1d".
    hour = 3_600_000_000
    return f"{micros // hour}h" if micros % hour == 0 and micros < 7 * 24 * hour else format_duration(micros)


@dataclass(frozen=True)
class Aggregate:
    """One aggregate over one or several windows."""

    operation: str
    column: str
    windows: tuple[Window, ...]
    k: int = 0
    alias: str | None = None

    def features(self) -> Iterator[tuple[str, Window]]:
        """Feature names without the view's prefix, each with its window."""
        for window in self.windows:
            base = self.alias or f"{self.column}_{self.operation}{self.k or ''}"
            single = self.alias is not None and len(self.windows) == 1
            yield (base if single else f"{base}_{window.label}"), window

    def describe(self) -> list[Any]:
        windows = [[w.size, w.mode, w.hop, w.offset] for w in self.windows]
        return [self.operation, self.column, windows, self.k, self.alias]


def _aggregate(
    operation: str,
    column: str,
    over: Duration | Sequence[Duration | None] | None,
    hop: Duration | None,
    offset: Duration,
    mode: str | None,
    name: str | None,
    k: int = 0,
) -> Aggregate:
    sizes: list[Any] = list(over) if isinstance(over, list | tuple) else [over]
    if not sizes:
        raise InvalidArgument(f"{operation}({column!r}) has no window", expected='over="24h" or a list of durations')
    step = 0 if hop is None else parse_duration(hop)
    kind = mode or ("exact" if hop is None else "sawtooth")
    if kind not in ("exact", "sawtooth", "hopping"):
        raise InvalidArgument(f"mode {kind!r} is unknown", known=["exact", "sawtooth", "hopping"])
    if kind != "exact" and step <= 0:
        raise InvalidArgument(f"{operation}({column!r}) has mode {kind!r} without a hop", expected='hop="5m"')
    windows = tuple(Window(_size(operation, column, size), kind, step, parse_duration(offset)) for size in sizes)
    return Aggregate(operation, column, windows, k, name)


def _size(operation: str, column: str, size: Duration | None) -> int | None:
    if size is None:
        return None
    micros = parse_duration(size)
    if micros == 0:
        raise InvalidArgument(f"{operation}({column!r}) has a window of length zero")
    return micros


def count(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
          name: str | None = None) -> Aggregate:  # fmt: skip
    """How many values there are; 0 in an empty window."""
    return _aggregate("count", column, over, hop, offset, mode, name)


def unique_count(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0,
                 mode: str | None = None, name: str | None = None) -> Aggregate:  # fmt: skip
    """How many different values there are, exactly; 0 in an empty window."""
    return _aggregate("unique_count", column, over, hop, offset, mode, name)


def sum(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
        name: str | None = None) -> Aggregate:  # fmt: skip
    """The sum of the values; null in an empty window."""
    return _aggregate("sum", column, over, hop, offset, mode, name)


def mean(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
         name: str | None = None) -> Aggregate:  # fmt: skip
    """The mean of the values; null in an empty window. Of a boolean: the share of true.

    Example:
        >>> [feature for feature, _ in mean("late", over=["1h", "3h"]).features()]
        ['late_mean_1h', 'late_mean_3h']
    """
    return _aggregate("mean", column, over, hop, offset, mode, name)


def min(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
        name: str | None = None) -> Aggregate:  # fmt: skip
    """The smallest value; null in an empty window."""
    return _aggregate("min", column, over, hop, offset, mode, name)


def max(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
        name: str | None = None) -> Aggregate:  # fmt: skip
    """The largest value; null in an empty window."""
    return _aggregate("max", column, over, hop, offset, mode, name)


def first(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
          name: str | None = None) -> Aggregate:  # fmt: skip
    """The oldest value, by event time, time known and order of arrival."""
    return _aggregate("first", column, over, hop, offset, mode, name)


def last(column: str, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0, mode: str | None = None,
         name: str | None = None) -> Aggregate:  # fmt: skip
    """The newest value, by event time, time known and order of arrival."""
    return _aggregate("last", column, over, hop, offset, mode, name)


def first_k(column: str, k: int, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0,
            mode: str | None = None, name: str | None = None) -> Aggregate:  # fmt: skip
    """The k oldest values, oldest first; an empty list in an empty window."""
    return _aggregate("first_k", column, over, hop, offset, mode, name, _positive(k))


def last_k(column: str, k: int, over: Any = None, *, hop: Duration | None = None, offset: Duration = 0,
           mode: str | None = None, name: str | None = None) -> Aggregate:  # fmt: skip
    """The k newest values, newest first; an empty list in an empty window."""
    return _aggregate("last_k", column, over, hop, offset, mode, name, _positive(k))


def stddev(column: str, over: Any = None, *, population: bool = False, hop: Duration | None = None, offset: Duration = 0,
           mode: str | None = None, name: str | None = None) -> Aggregate:  # fmt: skip
    """The standard deviation: of the sample (n - 1, null for one value) or of the population (n)."""
    return _aggregate("stddev_pop" if population else "stddev_samp", column, over, hop, offset, mode, name)


def variance(column: str, over: Any = None, *, population: bool = False, hop: Duration | None = None,
             offset: Duration = 0, mode: str | None = None, name: str | None = None) -> Aggregate:  # fmt: skip
    """The variance: of the sample (n - 1, null for one value) or of the population (n)."""
    return _aggregate("var_pop" if population else "var_samp", column, over, hop, offset, mode, name)


def _positive(k: int) -> int:
    if k < 1:
        raise InvalidArgument(f"k = {k} keeps no value", expected="k of at least 1")
    return k
