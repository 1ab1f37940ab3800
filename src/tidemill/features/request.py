"""Rows as callers send them: texts from a command line or JSON, the time absent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.core.schema import Column
from tidemill.core.times import format_time
from tidemill.data.times import INSTANT, instants
from tidemill.features.kernel.timeline import Ints
from tidemill.features.spine import micros

_READ = {"int64": pl.Int64(), "float64": pl.Float64()}
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def conform(rows: pl.DataFrame, request: Sequence[Column]) -> pl.DataFrame:
    """Rows with texts read as the types of the columns they are meant for; other values stay as they are.

    Args:
        rows: The rows.
        request: What a caller sends.

    Raises:
        InvalidArgument: A text is no value of its column's type.

    Example:
        >>> rows = pl.DataFrame({"distance": ["1400"], "carrier": ["UA"]})
        >>> request = [Column(name="distance", type="int64"), Column(name="carrier", type="string")]
        >>> conform(rows, request).row(0)
        (1400, 'UA')
    """
    meant = {column.name: column.type for column in request}
    texts = [s for s in rows.iter_columns() if s.dtype == pl.String and meant.get(s.name, "string") != "string"]
    return rows.with_columns(_read(text, meant[text.name]) for text in texts)


def _read(text: pl.Series, kind: str) -> pl.Series:
    if kind == "time":
        read = instants(text)
    elif kind == "boolean":
        read = text.str.to_lowercase().replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
    else:
        read = text.cast(_READ[kind], strict=False) if kind in _READ else text
    wrong = text.filter(read.is_null() & text.is_not_null())
    if len(wrong):
        raise InvalidArgument(f"{wrong[0]!r} is no value of column {text.name!r}", expected=kind)
    return read


def timed(rows: pl.DataFrame, time: str | None, at: int | None, now: int) -> tuple[pl.DataFrame, Ints]:
    """The moment of each row: `at`, or the row's own time, or the clock; and the rows with that time.

    Args:
        rows: The rows.
        time: The column that holds a row's time, if its name is known.
        at: One moment for all, microseconds.
        now: The clock's time, microseconds.

    Raises:
        InvalidArgument: A moment is in the future.
    """
    own = pl.Series([None], dtype=pl.Int64).new_from_index(0, rows.height)
    if at is None and time is not None and time in rows.columns:
        own = micros(rows[time])
    moments = own.fill_null(now if at is None else at)
    if time is not None and (time not in rows.columns or own.null_count()):
        rows = rows.with_columns(moments.cast(INSTANT).alias(time))
    return rows, checked(moments.to_numpy().astype(np.int64, copy=False), now)


def checked(moments: Ints, now: int) -> Ints:
    """The moments, if none is in the future.

    Raises:
        InvalidArgument: One is.
    """
    if len(moments) and moments.max() > now:
        raise InvalidArgument(
            f"the time {format_time(int(moments.max()))} is in the future", expected=f"a time up to {format_time(now)}"
        )
    return moments
