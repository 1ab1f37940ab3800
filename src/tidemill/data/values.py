"""Columns of plain Python values: what pushes, JSON and databases give."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

_NESTED = {dict, list, tuple}
_PLAIN = {
    bool, int, float, str, bytes, datetime.date, datetime.datetime, datetime.time, datetime.timedelta, *_NESTED,
}  # fmt: skip


def frame_of_records(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows with names as a frame; what a row lacks is null.

    Example:
        >>> frame_of_records([{"x": 1}, {"x": 2.5, "y": "a"}]).to_dicts()
        [{'x': 1.0, 'y': None}, {'x': 2.5, 'y': 'a'}]
    """
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: column(name, [row.get(name) for row in rows]) for name in names})


def column(name: str, values: Sequence[Any]) -> pl.Series:
    """Values as a column. Integers among floats become floats; values of several other types come as text.

    So do values of a type that Polars does not know, such as UUIDs.

    Example:
        >>> column("x", [1, "a", None]).to_list()
        ['1', 'a', None]
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds == {datetime.datetime}:
        values = [_in_utc(value) for value in values]
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= _PLAIN):
        try:
            # Strictly, a list or record after the first would lose what does not fit the type of the first.
            return pl.Series(name, values, strict=len(kinds) <= 1 and not kinds & _NESTED)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            pass  # texts in lists of numbers, or integers beyond 128 bits: as text
    return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _in_utc(value: datetime.datetime | None) -> datetime.datetime | None:
    return value if value is None or value.tzinfo is None else value.astimezone(datetime.UTC)
