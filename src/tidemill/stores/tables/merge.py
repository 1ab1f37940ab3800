"""How an append changes the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import InvalidData
from tidemill.stores.tables.types import refines


@dataclass(frozen=True)
class Merge:
    """A frame made to fit a table, and what it does to the table's columns."""

    frame: pl.DataFrame
    """The rows: the table's columns in its order, then the new ones."""
    added: tuple[str, ...]
    """Columns the table did not have."""
    typed: tuple[str, ...]
    """Columns that held nothing but values without a type so far (nulls, empty lists), and have one now."""


def merge(table: str, known: pl.Schema, frame: pl.DataFrame) -> Merge:
    """Fit a frame to a table: missing columns are null, new ones are added.

    Raises:
        InvalidData: A column has another dtype than the table's; the message names it.
    """
    typed: list[str] = []
    columns: list[pl.Expr] = []
    for name, dtype in known.items():
        found = frame.schema.get(name, pl.Null())
        if found == dtype:
            columns.append(pl.col(name))
        elif refines(dtype, found):
            columns.append((pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name))
        elif refines(found, dtype):
            typed.append(name)
            columns.append(pl.col(name))
        else:
            raise InvalidData(
                f"column {name!r} of table {table!r} changed its type: found {found}",
                expected=f"{dtype}, as in the rows already there",
                hint="Cast the column, or give it another name",
            )
    added = tuple(name for name in frame.columns if name not in known)
    return Merge(_select(frame, [*columns, *map(pl.col, added)]), added, tuple(typed))


def _select(frame: pl.DataFrame, columns: list[pl.Expr]) -> pl.DataFrame:
    # `with_columns` first: a selection of nothing but literals would have one row instead of the frame's height.
    names = [column.meta.output_name() for column in columns]
    return frame.with_columns(columns).select(names)
