"""Filling in what is missing."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.schema import Column
from tidemill.core.specs.preparation import DISCRETE, Fill, Impute
from tidemill.data.columns import TYPES
from tidemill.data.preparation.state import Fitted, Table, checked, finite_values, keys, nothing_in

MISSING = "missing"


class Imputed(Fitted, frozen=True, kw_only=True, tag="impute", omit_defaults=True):
    """What is filled in, for all rows or by the value of another column."""

    value: Fill
    column_type: str
    """Logical type of what comes out."""
    by: str | None = None
    by_type: str = "string"
    groups: tuple[bool | int | str, ...] = ()
    values: tuple[Fill, ...] = ()
    """One for each group."""
    indicator: bool = False

    def outputs(self, column: Column) -> tuple[Column, ...]:
        known = column.categories
        if known is not None:
            known = tuple(sorted({*known, *map(str, (self.value, *self.values))}))
        filled = Column(name=column.name, type=self.column_type, nullable=False, categories=known, unit=column.unit)
        tells = Column(name=f"{column.name}_{MISSING}", type="boolean", nullable=False)
        return (filled, tells) if self.indicator else (filled,)

    def expressions(self) -> list[pl.Expr]:
        return list(self._made)

    @cached_property
    def _made(self) -> list[pl.Expr]:
        dtype = TYPES[self.column_type]
        present = pl.col(self.column).cast(dtype)
        if self.column_type == "float64":
            present = present.fill_nan(None)
        fill = pl.lit(self.value, dtype)
        if self.by is not None:
            known = keys(self.groups, self.by_type)
            fill = Table(known, pl.Series(self.values, dtype=dtype), self.value).of(self.by)
        made = [present.fill_null(fill).alias(self.column)]
        return [*made, present.is_null().alias(f"{self.column}_{MISSING}")] if self.indicator else made


def fit_impute(spec: Impute, frame: pl.DataFrame, column: Column, columns: dict[str, Column]) -> Imputed:
    """Learn what to fill in.

    Args:
        spec: What to do.
        frame: The rows to learn from.
        column: The column.
        columns: All columns there are.

    Raises:
        InvalidData: There is no value to learn from.
        InvalidArgument: The rows cannot be grouped by that column.
    """
    name, made = column.name, _type_after(spec, column)
    if spec.strategy == "constant":
        assert spec.fill_value is not None  # impute() saw to it
        fill = float(spec.fill_value) if made == "float64" else spec.fill_value
        return Imputed(column=name, value=fill, column_type=made, indicator=spec.indicator)
    overall = _learned(spec.strategy, frame, name)
    if spec.by is None:
        return Imputed(column=name, value=overall, column_type=made, indicator=spec.indicator)
    by = _grouping(spec.by, name, columns)
    found = _by_group(spec.strategy, frame, name, by.name)
    return Imputed(
        column=name, value=overall, column_type=made, by=by.name, by_type=by.type, groups=tuple(found),
        values=tuple(found.values()), indicator=spec.indicator,
    )  # fmt: skip


def _type_after(spec: Impute, column: Column) -> str:
    fractions = spec.strategy in ("mean", "median") or isinstance(spec.fill_value, float)
    return "float64" if fractions else column.type


def _grouping(by: str, name: str, columns: dict[str, Column]) -> Column:
    if by not in columns:
        raise unknown(f"column to impute {name!r} by", by, columns)
    if by == name or columns[by].type not in DISCRETE:
        raise InvalidArgument(f"{name!r} cannot be imputed by {by!r}, which holds {columns[by].type}",
                              expected="another column, of texts, whole numbers or booleans")  # fmt: skip
    return columns[by]


def _learned(strategy: str, frame: pl.DataFrame, name: str) -> Fill:
    if strategy == "most_frequent":
        present = _present(frame.get_column(name))
        if not len(present):
            raise nothing_in(frame, name)
        fill: Fill = present.mode().sort()[0]
        return fill
    values = finite_values(frame, name)
    with np.errstate(over="ignore"):
        return checked(float(np.mean(values) if strategy == "mean" else np.median(values)), name)


def _present(series: pl.Series) -> pl.Series:
    return series.filter(series.is_finite()) if series.dtype.is_float() else series.drop_nulls()


def _by_group(strategy: str, frame: pl.DataFrame, name: str, by: str) -> dict[bool | int | str, Fill]:
    """What each group fills in. One group after the other: sums must not depend on how threads divide the rows."""
    present = frame.select(pl.col(by), pl.col(name)).drop_nulls()
    if present.schema[name].is_float():
        present = present.filter(pl.col(name).is_finite())
    parts = present.sort(by, maintain_order=True).partition_by(by, maintain_order=True, as_dict=True)
    return {group: _learned(strategy, rows, name) for (group,), rows in parts.items()}
