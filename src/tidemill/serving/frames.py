"""Rows of a request as a typed frame, checked value by value.

Columns are built by the endpoint's schema, never inferred: that is cheaper, and a value of the wrong type is named with its
row and column instead of changing the type of the whole column.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData
from tidemill.core.schema import Column, names
from tidemill.core.times import to_micros

ROW_ID = "row_id"
PREDICTION_TIME = "prediction_time"

Values = Sequence[Any]

_TIME = pl.Datetime("us", "UTC")
_DTYPES: dict[str, pl.DataType] = {
    "int64": pl.Int64(), "float64": pl.Float64(), "boolean": pl.Boolean(), "string": pl.String(), "time": _TIME,
}  # fmt: skip
_ALLOWED: dict[str, frozenset[type]] = {
    "int64": frozenset({int, NoneType}),
    "float64": frozenset({int, float, NoneType}),
    "boolean": frozenset({bool, NoneType}),
    "string": frozenset({str, NoneType}),
    "time": frozenset({str, int, NoneType}),
    "list": frozenset({list, NoneType}),
}
_EXPECTED = {
    "int64": "an integer",
    "float64": "a number",
    "boolean": "true or false",
    "string": "a text",
    "time": "an ISO-8601 time or integer microseconds",
    "list": "a list",
}


@dataclass(frozen=True)
class RequestSchema:
    """What a caller of an endpoint sends.

    Args:
        columns: All columns, in order.
        optional: Names of columns that may be left out: the row ids and the prediction time.
    """

    columns: tuple[Column, ...]
    optional: frozenset[str] = frozenset()

    def from_rows(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """A frame of JSON objects, one per row; fields the schema does not know are left out.

        Raises:
            InvalidData: A column is missing, or a value is of another type; the message names row and column.

        Example:
            >>> schema = RequestSchema((Column(name="distance", type="float64"),))
            >>> schema.from_rows([{"distance": 733, "note": "x"}])["distance"].to_list()
            [733.0]
        """
        return pl.DataFrame([build(column, self._column(column.name, rows)) for column in self.columns])

    def _column(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        try:
            return [row[name] for row in rows]
        except KeyError:
            if name in self.optional:
                return [row.get(name) for row in rows]
        index = next(index for index, row in enumerate(rows) if name not in row)
        raise self._missing(name, rows[index], f"row {index} has no column {name!r}")

    def from_columns(self, columns: Mapping[str, Values], height: int) -> pl.DataFrame:
        """A frame of columns of equal length; columns the schema does not know are left out.

        Raises:
            InvalidData: A column is missing, or a value is of another type; the message names row and column.
        """
        return pl.DataFrame([build(column, self._given(column.name, columns, height)) for column in self.columns])

    def _given(self, name: str, columns: Mapping[str, Values], height: int) -> Values:
        if name in columns:
            return columns[name]
        if name in self.optional:
            return [None] * height
        raise self._missing(name, columns, f"the request has no column {name!r}")

    def _missing(self, name: str, given: Mapping[str, Any], found: str) -> InvalidData:
        known = set(names(self.columns))
        close = difflib.get_close_matches(name, [other for other in given if other not in known], n=1)
        hint = f"Is {close[0]!r} meant as {name!r}?" if close else None
        return InvalidData(found, known=names(self.columns), hint=hint)


def build(column: Column, values: Values) -> pl.Series:
    """A typed series of JSON values.

    Raises:
        InvalidData: A value is of another type; integers are widened to float, floats are never cut to integers.
    """
    kinds = set(map(type, values))
    if not kinds <= _ALLOWED[column.type] or (not column.nullable and NoneType in kinds):
        raise _wrong(column, values)
    try:
        return _series(column, values, kinds)
    except (OverflowError, TypeError, pl.exceptions.PolarsError):
        raise InvalidData(
            f"column {column.name!r} holds a value that is too large or of mixed types", expected=_EXPECTED[column.type]
        ) from None


def _series(column: Column, values: Values, kinds: set[type]) -> pl.Series:
    if column.type == "time":
        return _times(column.name, values, kinds)
    if column.type == "list":
        return pl.Series(column.name, values)
    if column.type == "float64" and int in kinds:
        values = [None if value is None else float(value) for value in values]
    return pl.Series(column.name, values, dtype=_DTYPES[column.type])


def _times(name: str, values: Values, kinds: set[type]) -> pl.Series:
    micros = values if str not in kinds else [_moment(name, row, value) for row, value in enumerate(values)]
    return pl.Series(name, micros, dtype=pl.Int64()).cast(_TIME)


def _moment(name: str, row: int, value: Any) -> int | None:
    try:
        return None if value is None else to_micros(value)
    except InvalidArgument as error:
        raise InvalidData(f"row {row}, column {name!r}: {error.found}", expected=error.expected) from None


def _wrong(column: Column, values: Values) -> InvalidData:
    allowed = _ALLOWED[column.type] if column.nullable else _ALLOWED[column.type] - {NoneType}
    row, value = next((row, value) for row, value in enumerate(values) if type(value) not in allowed)
    shown = "null" if value is None else repr(value)
    return InvalidData(
        f"row {row}, column {column.name!r} is {shown if len(shown) < 80 else shown[:79] + '…'}",
        expected=_EXPECTED[column.type] + (" or null" if column.nullable else ""),
    )
