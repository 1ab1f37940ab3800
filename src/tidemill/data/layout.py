"""Where the rows of a source are: the names of its tables, and what every row in them has."""

from __future__ import annotations

from typing import Any

import polars as pl

from tidemill.stores.tables.protocol import TableStore


def table_of(source: str) -> str:
    """The table, and the stream, of a source's rows.

    Example:
        >>> table_of("weather")
        'sources/weather'
    """
    return f"sources/{source}"


def quarantine_of(source: str) -> str:
    """The table of the rows that failed.

    Example:
        >>> quarantine_of("weather")
        'quarantine/weather'
    """
    return f"quarantine/{source}"


def dead_letters_of(source: str) -> str:
    """The table of the events that are no rows.

    Example:
        >>> dead_letters_of("weather")
        'dead-letters/weather'
    """
    return f"dead-letters/{source}"


def checkpoints_of(source: str) -> str:
    """The stream that says how far the inbox was compacted, and how far brokers had been read by then.

    Example:
        >>> checkpoints_of("weather")
        'checkpoints/weather'
    """
    return f"checkpoints/{source}"


def schema_of(tables: TableStore, source: str) -> pl.Schema | None:
    """The columns of a source's table; None before its first rows."""
    if tables.version(table_of(source)) is None:
        return None
    return tables.scan(table_of(source)).collect_schema()


def numbered(rows: pl.DataFrame, first_seq: int) -> pl.DataFrame:
    """The rows with their ingest sequence, counting from `first_seq`."""
    return rows.with_columns(ingest_seq=pl.int_range(first_seq, first_seq + rows.height, dtype=pl.Int64))


def span(times: pl.Series) -> tuple[int | None, int | None]:
    """First and last of some times in microseconds; None without any.

    Example:
        >>> span(pl.Series([3, None, 1]))
        (1, 3)
    """
    ends: tuple[Any, Any] = times.to_physical().min(), times.to_physical().max()
    return ends
