"""A column of any make (list, numpy array, Polars series) as what a profile counts."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from msgspec import Struct

from tidemill.measures.arrays import Floats
from tidemill.measures.profile import Kind


class Numbers(Struct, frozen=True):
    """A numeric column taken apart: its finite values in order, and how many were something else."""

    n: int
    ordered: Floats
    missing: int = 0
    nan: int = 0
    infinite: int = 0
    invalid: int = 0


class Categories(Struct, frozen=True):
    """A categorical column taken apart: rows per value as text."""

    n: int
    counts: dict[str, int]
    missing: int = 0


def kind_of(values: Any) -> Kind:
    """The kind of a column: by its dtype where it has one, else by its first value that is there.

    Example:
        >>> kind_of([None, 1.5]), kind_of(["a"]), kind_of([True])
        ('numeric', 'categorical', 'boolean')
    """
    if _is_polars(values):
        return _polars_kind(values)
    if isinstance(values, np.ndarray) and values.dtype.kind in _NUMPY_KINDS:
        return _NUMPY_KINDS[values.dtype.kind]
    first = next((value for value in values if value is not None), None)
    if isinstance(first, (bool, np.bool_)):
        return "boolean"
    if isinstance(first, (dt.date, np.datetime64)):
        return "time"
    return "numeric" if isinstance(first, (int, float, np.number)) else "categorical"


def as_numbers(values: Any, kind: Kind) -> Numbers:
    """A numeric or time column taken apart; never raises, what is no number is counted as invalid.

    Args:
        values: The column.
        kind: "numeric", or "time" for values that become microseconds UTC.
    """
    raw, missing, invalid = _to_floats(values, kind)
    nan = int(np.isnan(raw).sum()) - missing - invalid
    ordered = np.sort(raw)  # NaN sorts last, infinities at the ends
    ordered = ordered[: len(raw) - missing - invalid - nan]
    first = int(np.searchsorted(ordered, -np.inf, side="right"))
    last = int(np.searchsorted(ordered, np.inf, side="left"))
    infinite = len(ordered) - (last - first)
    return Numbers(len(raw), ordered[first:last], missing, nan, infinite, invalid)


def as_categories(values: Any) -> Categories:
    """A categorical or boolean column taken apart; None and NaN are missing, everything else becomes text.

    Example:
        >>> as_categories(["a", None, "a"])
        Categories(n=3, counts={'a': 2}, missing=1)
    """
    counted = _polars_counts(values) if _is_polars(values) else _counted(values)
    missing = sum(count for value, count in counted if _is_missing(value))
    counts: dict[str, int] = {}
    for value, count in counted:
        if not _is_missing(value):
            counts[_text(value)] = counts.get(_text(value), 0) + count
    return Categories(sum(count for _, count in counted), counts, missing)


_NUMPY_KINDS: dict[str, Kind] = {"b": "boolean", "i": "numeric", "u": "numeric", "f": "numeric", "M": "time"}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _is_polars(values: Any) -> bool:
    return type(values).__module__.partition(".")[0] == "polars"


def _polars_kind(series: Any) -> Kind:
    if series.dtype.is_temporal():
        return "time"
    if series.dtype.is_numeric():
        return "numeric"
    return "boolean" if str(series.dtype) == "Boolean" else "categorical"


def _to_floats(values: Any, kind: Kind) -> tuple[Floats, int, int]:
    """All rows as floats (NaN where there is none), how many were null, how many were no number."""
    if _is_polars(values):
        return _polars_floats(values)
    array = values if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype.kind == "M":
        stamps = array.astype("datetime64[us]")
        missing = np.isnat(stamps)
        return np.where(missing, np.nan, stamps.astype(np.int64)), int(missing.sum()), 0
    if array is not None and array.dtype.kind in "biuf":
        return array.astype(np.float64).ravel(), 0, 0
    return _listed_floats(list(values), kind)


def _polars_floats(series: Any) -> tuple[Floats, int, int]:
    import polars as pl

    if series.dtype in (pl.Date, pl.Datetime):
        series = series.cast(pl.Datetime("us"), strict=False).to_physical()
    elif series.dtype.is_temporal():  # a time of day or a duration has no place on the calendar: its own unit
        series = series.to_physical()
    missing = int(series.null_count())
    numbers = series.cast(pl.Float64, strict=False)
    return numbers.to_numpy(), missing, int(numbers.null_count()) - missing


def _listed_floats(values: list[Any], kind: Kind) -> tuple[Floats, int, int]:
    missing = sum(value is None for value in values)
    if kind == "numeric" and not any(isinstance(value, (str, bytes)) for value in values):
        try:
            return np.array(values, dtype=np.float64).reshape(len(values)), missing, 0
        except (TypeError, ValueError, OverflowError):
            pass  # something else than a number is among them: one by one
    numbers = [_number(value) for value in values]
    invalid = sum(number is None for number in numbers) - missing
    return np.array([np.nan if number is None else number for number in numbers]), missing, invalid


def _number(value: Any) -> float | None:
    """One value as a number, None where it is none (a text is no number, even if it looks like one)."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH) / dt.timedelta(microseconds=1)
    if isinstance(value, dt.date):
        return (value - _EPOCH.date()) / dt.timedelta(microseconds=1)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else float(value.astype("datetime64[us]").astype(np.int64))
    if not isinstance(value, (int, float, np.number, np.bool_)):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond the floats
        return None


def _counted(values: Iterable[Any]) -> list[tuple[Any, int]]:
    plain = values.ravel().tolist() if isinstance(values, np.ndarray) else list(values)
    try:
        return list(Counter(plain).items())
    except TypeError:  # lists or dicts among them: count their text
        return list(Counter(None if value is None else str(value) for value in plain).items())


def _polars_counts(series: Any) -> list[tuple[Any, int]]:
    import polars as pl

    if series.dtype.is_nested() or series.dtype == pl.Object:
        return _counted(series.to_list())
    counted = series.rename("value").value_counts(name="rows")
    return list(zip(counted["value"].to_list(), counted["rows"].to_list(), strict=True))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _text(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return str(value)
