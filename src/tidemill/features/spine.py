"""The rows features are asked for: their times and keys."""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, unknown
from tidemill.core.specs.features import ViewUse
from tidemill.data.times import instants
from tidemill.features.kernel.timeline import Ints


def moments(frame: pl.DataFrame, time: str) -> Ints:
    """The times of a frame's rows in microseconds UTC.

    Args:
        frame: The rows.
        time: Their time column: a datetime (naive means UTC), a date (its midnight), or integer microseconds.

    Raises:
        NotFound: There is no such column.
        InvalidArgument: It holds no times.
        InvalidData: A time is null (R12).
    """
    if time not in frame.columns:
        raise unknown("time column", time, frame.columns)
    column = frame[time]
    if column.null_count():
        raise InvalidData(
            f"{column.null_count()} of {frame.height} rows have no {time!r}", expected="a time in every row"
        )
    return micros(column).to_numpy().astype(np.int64, copy=False)


def micros(column: pl.Series) -> pl.Series:
    """Times as Int64 microseconds UTC; nulls stay.

    Example:
        >>> micros(pl.Series(["1969-12-31T23:59:59.5"]).str.to_datetime("%FT%T%.f")).to_list()
        [-500000]
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return instants(column).to_physical()
    if column.dtype.is_integer():
        return column.cast(pl.Int64)
    raise InvalidArgument(
        f"column {column.name!r} is {column.dtype}", expected="times: Datetime, Date, or integer microseconds"
    )


def moment(t: int) -> pl.Expr:
    """A moment to compare event times with.

    A time and not its number: so Polars leaves out what the statistics of a file show to be out of reach.

    Example:
        >>> pl.select(moment(-1) < moment(0)).item()
        True
    """
    return pl.lit(t, pl.Int64).cast(pl.Datetime("us", "UTC"))


def check_keys(use: ViewUse, types: dict[str, pl.DataType], spine: pl.Schema) -> None:
    """Whether the spine has the keys of a view, of the same kind of type.

    Args:
        use: The view as a service uses it.
        types: The types of the view's keys.
        spine: The columns of the spine.

    Raises:
        NotFound: A key is missing.
        InvalidArgument: A key has another type, such as text against integers (R12).
    """
    for key, column in use.keys.items():
        if column not in spine:
            raise unknown(f"key of feature view {use.view.name!r} among the rows", column, spine.names())
        if kind(types[key]) != kind(spine[column]) and pl.Null not in (types[key], spine[column]):
            raise InvalidArgument(
                f"key {key!r} of feature view {use.view.name!r} is {types[key]}, but column {column!r} is {spine[column]}",
                expected="the same type",
                hint="Cast one of them: in the source's clean=, or in the view's transform",
            )


def kind(dtype: pl.DataType) -> str:
    """What a type is, as far as equality of keys goes: widths do not matter."""
    if dtype.is_integer():
        return "integer"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return "float" if dtype.is_float() else str(dtype.base_type())
