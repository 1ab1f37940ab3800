"""What every fitted preparation of a column is, and what they share."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import InvalidData
from tidemill.core.schema import Column
from tidemill.data.columns import TYPES

Floats = NDArray[np.float64]
Key = bool | int | str | None
"""A value of a discrete column; None where it is missing."""

FEW_ROWS = 256
"""Up to so many rows are looked up one by one."""


class Fitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, dict=True):
    """What a preparation learned about one column: plain, finite values, so that it can be read as JSON.

    Applying it looks at one row at a time: a batch and its rows alone come out the same.
    """

    column: str

    def outputs(self, column: Column) -> tuple[Column, ...]:
        """What takes the place of the column.

        Args:
            column: The column as it is before.
        """
        raise TypeError(f"{type(self).__name__} does not say what it makes")

    def expressions(self) -> list[pl.Expr]:
        """How the outputs are made of the columns before."""
        raise TypeError(f"{type(self).__name__} does not say how it is applied")


def finite_values(frame: pl.DataFrame, name: str) -> Floats:
    """The values of a column that are neither missing nor NaN nor infinite.

    Raises:
        InvalidData: There is none.
    """
    values = frame.get_column(name).drop_nulls().cast(pl.Float64).to_numpy()
    found: Floats = values[np.isfinite(values)]
    if not len(found):
        raise nothing_in(frame, name)
    return found


def nothing_in(frame: pl.DataFrame, name: str) -> InvalidData:
    """The error for a column without any value to learn from."""
    return InvalidData(f"column {name!r} has no value in the {frame.height} rows its preparation is fitted on",
                       expected="at least one", hint="Leave the column out, or learn nothing from it")  # fmt: skip


def checked(number: float, name: str) -> float:
    """A number that was learned.

    Raises:
        InvalidData: It is not finite, because the values are too large to compute with.
    """
    if not np.isfinite(number):
        raise InvalidData(f"the values of column {name!r} are too large to compute with", hint="Clip them first")
    return float(number)


def values_in_order(series: pl.Series) -> list[tuple[Key, int]]:
    """The distinct values of a discrete column and how often each is there, the most frequent first, of equals the smaller."""
    counted = series.drop_nulls().alias("value").to_frame().group_by("value").len("count")
    return list(counted.sort(["count", "value"], descending=[True, False]).iter_rows())


def keys(values: Sequence[Key], column_type: str) -> pl.Series:
    """Discrete values as a series of their column's dtype."""
    return pl.Series("key", values, dtype=TYPES[column_type])


class Table:
    """The value that each of some keys stands for, and one for all other keys.

    Args:
        known: The keys.
        becomes: Their values.
        default: The value of any other key, missing ones included.
    """

    def __init__(self, known: pl.Series, becomes: pl.Series, default: Key | float) -> None:
        self._known, self._becomes, self._default = known, becomes, default
        self._values = dict(zip(known.to_list(), becomes.to_list(), strict=True))

    def __call__(self, series: pl.Series) -> pl.Series:
        """The values of a series of keys."""
        dtype = self._becomes.dtype
        # Polars hashes all keys anew in each call, which takes milliseconds where one row asks for one of thousands.
        if len(series) <= FEW_ROWS or not self._values:
            found = [self._values.get(key, self._default) for key in series.to_list()]
            return pl.Series(series.name, found, dtype=dtype)
        return series.replace_strict(self._known, self._becomes, default=self._default, return_dtype=dtype)

    def of(self, column: str) -> pl.Expr:
        """The values of the keys in a column."""
        return pl.col(column).map_batches(self, return_dtype=self._becomes.dtype, is_elementwise=True)
