"""Times as their parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import polars as pl

from tidemill.core.schema import Column
from tidemill.core.specs.preparation import Dates
from tidemill.data.preparation.state import Fitted

_PARTS: dict[str, Callable[[Any], pl.Expr]] = {
    "year": lambda at: at.year(),
    "quarter": lambda at: at.quarter(),
    "month": lambda at: at.month(),
    "week": lambda at: at.week(),
    "day": lambda at: at.day(),
    "day_of_year": lambda at: at.ordinal_day(),
    "weekday": lambda at: at.weekday(),
    "hour": lambda at: at.hour(),
    "minute": lambda at: at.minute(),
}


class Dated(Fitted, frozen=True, kw_only=True, tag="dates", omit_defaults=True):
    """Which parts, by which clock."""

    parts: tuple[str, ...]
    time_zone: str

    def outputs(self, column: Column) -> tuple[Column, ...]:
        return tuple(
            Column(name=f"{column.name}_{part}", type="int64", nullable=column.nullable) for part in self.parts
        )

    def expressions(self) -> list[pl.Expr]:
        return list(self._made)

    @cached_property
    def _made(self) -> list[pl.Expr]:
        local = pl.col(self.column).dt.convert_time_zone(self.time_zone).dt
        return [_PARTS[part](local).cast(pl.Int64).alias(f"{self.column}_{part}") for part in self.parts]


def fit_dates(spec: Dates, frame: pl.DataFrame, column: Column) -> Dated:
    """Learn nothing."""
    return Dated(column=column.name, parts=spec.parts, time_zone=spec.time_zone)
