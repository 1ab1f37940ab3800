"""Making the columns of a delivery fit the types their source is known to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from tidemill.core.errors import InvalidData
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data.times import INSTANT, instants

TYPES: Mapping[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "time": INSTANT,
}
"""What the words of `Source(types=...)` mean."""


class Misfit(NamedTuple):
    """Values of one column that do not fit its type."""

    column: str
    dtype: pl.DataType
    mask: pl.Series
    """Per row: does the value not fit?"""
    reason: pl.Series
    """Per row: what to say about it."""

    @property
    def label(self) -> str:
        """The name shown in reports, such as `temp: Float64`."""
        return f"{self.column}: {self.dtype}"


def known_types(source: Source, table: pl.Schema | None) -> dict[str, pl.DataType]:
    """The types settled by the source's definition and by the rows already there, system columns left out."""
    found = {} if table is None else {n: t for n, t in table.items() if n not in SYSTEM_COLUMNS and t != pl.Null()}
    return found | {name: TYPES[kind] for name, kind in source.types.items()}


def as_read(types: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The types to read columns of a CSV file with: plain ones as they are, all others as text."""
    plain = (pl.Boolean, pl.Int64, pl.Float64)
    return {name: dtype if isinstance(dtype, plain) else pl.String() for name, dtype in types.items()}


def fit(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, list[Misfit]]:
    """Cast columns to their known types as far as no value changes by it.

    Returns:
        The frame, null where a value does not fit, and which values those are.
    """
    misfits: list[Misfit] = []
    for name, dtype in types.items():
        if name in frame.columns and frame[name].dtype != dtype:
            before = frame[name]
            after = _cast(before, dtype)
            mask = before.is_not_null() & after.is_null()
            if mask.any():
                misfits.append(Misfit(name, dtype, mask, _reason(before, dtype)))
            frame = frame.with_columns(after.alias(name))
    return frame, misfits


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if dtype == INSTANT and not column.dtype.is_numeric():
        return instants(column)
    if column.dtype == pl.Null():
        return column.cast(dtype)
    if dtype == pl.Boolean() and column.dtype == pl.String():
        return column.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=dtype
        )
    try:
        after = column.cast(dtype, strict=False)
        if column.dtype.is_numeric() and not dtype.is_numeric():
            return pl.Series(column.name, [None], dtype).new_from_index(0, len(column))  # a number is no text
        if column.dtype == pl.String() or column.dtype.is_nested():
            return after
        back = after.cast(column.dtype, strict=False)
    except pl.exceptions.PolarsError:  # Polars has no such cast at all: nothing fits
        return pl.Series(column.name, [None], dtype).new_from_index(0, len(column))
    return pl.select(pl.when(back.eq_missing(column)).then(after)).to_series()


def wider(column: pl.Series, dtype: pl.DataType) -> pl.DataType | None:
    """The type of numbers that holds what a column of a table holds and what comes now; None when the table's will do.

    Args:
        column: What comes; texts are read as numbers where they are some.
        dtype: The type of the table's column.

    Example:
        >>> wider(pl.Series([1.0, 2.5]), pl.Int64())
        Float64
        >>> [wider(pl.Series(values), pl.Int64()) for values in ([1.0, None], ["late"], ["nan"])]
        [None, None, None]
    """
    if dtype.is_integer() and _has_fractions(column):
        return pl.Float64()
    both_whole = dtype.is_integer() and column.dtype.is_integer()
    if not both_whole and not (dtype == pl.Float32() and column.dtype == pl.Float64()):
        return None
    widest = pl.Int64() if both_whole else pl.Float64()
    fits = column.cast(dtype, strict=False).cast(column.dtype, strict=False).eq_missing(column).all()
    return None if fits or dtype == widest else widest


def _has_fractions(column: pl.Series) -> bool:
    if not column.dtype.is_float() and column.dtype != pl.String():
        return False
    numbers = column.cast(pl.Float64, strict=False)
    return bool((numbers.is_finite() & (numbers != numbers.floor())).any())


def _reason(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    what = "no time" if dtype == INSTANT else f"not of type {dtype}"
    texts = [f"{value!r:.80} in column {column.name!r} is {what}" for value in column.to_list()]
    return pl.Series("reason", texts, pl.String)


def check_types_kept(misfits: list[Misfit], frame: pl.DataFrame, source: str) -> None:
    """Refuse a delivery in which most values of a column do not fit: the column changed its type.

    Raises:
        InvalidData: Names the column, what it held and what it holds.
    """
    for misfit in misfits:
        name = misfit.column
        values = frame.height - frame[name].null_count() + int(misfit.mask.sum())
        if misfit.mask.sum() * 2 > values:
            raise InvalidData(
                f"column {name!r} of source {source!r} changed its type: {misfit.mask.sum()} of {values} values do not fit, "
                f"the first: {misfit.reason.filter(misfit.mask)[0]}",
                expected=f"{misfit.dtype}, as declared or as in the rows already there",
                hint="Correct the file, or name a new source",
            )


def check_none_vanished(frame: pl.DataFrame, table: pl.Schema | None, source: str) -> None:
    """Refuse a delivery that lacks a column earlier ones had.

    Raises:
        InvalidData: Says which columns were expected and found.
    """
    expected = [] if table is None else [name for name in table if name not in SYSTEM_COLUMNS]
    missing = [name for name in expected if name not in frame.columns]
    if missing:
        raise InvalidData(
            f"the delivery of source {source!r} lacks the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}; "
            f"it has {', '.join(frame.columns)}",
            expected=f"the columns of earlier deliveries: {', '.join(expected)}",
            hint="Nothing was written. If the column is gone for good, add it as null in clean=",
        )
