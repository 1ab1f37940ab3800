"""Columns of frames: their logical types, and the dtypes a model sees.

A model sees strings as `pl.Enum` of the categories known at training; a value outside them is null. Everything else keeps its
plain dtype. scikit-learn takes such a frame as it is: its histogram boosting treats Enum columns as categorical.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.schema import Column, names

_TIME = pl.Datetime("us", "UTC")
_DTYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "time": _TIME,
}


def logical_type(dtype: pl.DataType) -> str | None:
    """The logical type of a Polars dtype; None when a dataset cannot hold it.

    Example:
        >>> logical_type(pl.Int16())
        'int64'
    """
    if dtype.is_integer():
        return "int64"
    if dtype.is_float() or dtype.is_decimal() or dtype == pl.Null:
        return "float64"
    if dtype.is_temporal():
        return "time" if isinstance(dtype, pl.Datetime | pl.Date) else None
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "string"
    if isinstance(dtype, pl.List | pl.Array):
        return "list"
    return "boolean" if dtype == pl.Boolean else None


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the plain dtypes of a dataset: Int64, Float64, Boolean, String, Datetime(us, UTC), List.

    Raises:
        InvalidData: A column has a dtype a dataset cannot hold.
    """
    return frame.with_columns(_plain_column(series) for series in frame.iter_columns())


def _plain_column(series: pl.Series) -> pl.Series:
    kind = logical_type(series.dtype)
    if kind is None:
        raise InvalidData(
            f"column {series.name!r} is {series.dtype}",
            expected="integers, floats, booleans, strings, times or lists",
        )
    if kind == "list":
        return series.arr.to_list() if isinstance(series.dtype, pl.Array) else series
    if kind == "time" and isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is None:
        return series.dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return series.cast(_DTYPES[kind])


def columns_of(frame: pl.DataFrame, wanted: Iterable[str], *, categories: bool) -> tuple[Column, ...]:
    """Describe columns of a plain frame.

    Args:
        frame: The frame.
        wanted: The names, in order.
        categories: Whether string columns list the values they hold, sorted.

    Raises:
        InvalidArgument: A name is not a column of the frame.
    """
    return tuple(_column(frame, name, categories=categories) for name in wanted)


def _column(frame: pl.DataFrame, name: str, *, categories: bool) -> Column:
    require(frame, [name])
    series = frame.get_column(name)
    kind = logical_type(series.dtype) or "string"
    values = tuple(series.drop_nulls().unique().sort()) if categories and kind == "string" else None
    return Column(name=name, type=kind, categories=values)


def require(frame: pl.DataFrame, wanted: Sequence[str], what: str = "the frame") -> None:
    """Check that all wanted columns are there.

    Raises:
        InvalidArgument: Some are missing; the message names them and lists those that exist.
    """
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise InvalidArgument(f"{what} has no column {', '.join(map(repr, missing))}", known=frame.columns)


def model_frame(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """What a model sees of some rows: its inputs, in order, with model dtypes.

    Args:
        frame: Rows that hold at least the columns; other columns are left out.
        columns: The inputs.

    Raises:
        InvalidArgument: A column is missing, or holds values of another type.

    Example:
        >>> rows = pl.DataFrame({"carrier": ["AA", "ZZ"], "other": [1, 2]})
        >>> model_frame(rows, [Column(name="carrier", type="string", categories=("AA", "UA"))])["carrier"].to_list()
        ['AA', None]
    """
    require(frame, names(columns), "the input")
    return pl.DataFrame([_model_series(frame.get_column(column.name), column) for column in columns])


def _model_series(series: pl.Series, column: Column) -> pl.Series:
    if column.type == "list":
        return series
    if column.type == "string":
        text = series.cast(pl.String) if series.dtype != pl.String else series
        return text if column.categories is None else text.cast(pl.Enum(column.categories), strict=False)
    try:
        return series.cast(_DTYPES[column.type])
    except pl.exceptions.PolarsError:
        raise InvalidArgument(
            f"column {series.name!r} holds {series.dtype} that is not {column.type}", expected=f"{column.type} values"
        ) from None
