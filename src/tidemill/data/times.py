"""Times as sources write them, as instants in UTC."""

from __future__ import annotations

import polars as pl

from tidemill.core.errors import InvalidData

INSTANT = pl.Datetime("us", "UTC")
"""How every instant is kept."""

# Date, time of day, seconds with fraction, zone; everything after the date may be missing, and no zone means UTC.
_ISO = (
    r"^\s*(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<minute>\d{2}:\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?"
    r"\s*(?:(?P<utc>[Zz])|(?P<sign>[+-])(?P<zone_h>\d{2}):?(?P<zone_m>\d{2})?)?\s*$"
)


def instants(column: pl.Series) -> pl.Series:
    """The instants a column tells; naive means UTC. A value that is no time becomes null.

    Args:
        column: ISO-8601 texts, dates (their first moment), or datetimes of any unit and zone.

    Raises:
        InvalidData: The column holds numbers or anything else that does not say what it counts.

    Example:
        >>> instants(pl.Series("at", ["2024-01-01T01:00+01:00"])).dt.timestamp("us").to_list()
        [1704067200000000]
    """
    dtype = column.dtype
    if dtype == pl.Null():
        return column.cast(INSTANT)
    if isinstance(dtype, pl.Datetime):
        return _from_datetime(column, dtype)
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _from_text(column.cast(pl.String))
    raise InvalidData(
        f"the time column {column.name!r} holds values of type {dtype}",
        expected="ISO-8601 texts, dates or datetimes",
        hint=f"Convert it in clean=, such as rows.with_columns(pl.from_epoch({column.name!r}, time_unit='s'))",
    )


def _from_datetime(column: pl.Series, dtype: pl.Datetime) -> pl.Series:
    # The physical value is UTC whatever the zone shown. Nanoseconds are rounded down, before 1970 too.
    physical = column.to_physical()
    micros = {"ns": lambda: physical // 1000, "us": lambda: physical, "ms": lambda: physical * 1000}[dtype.time_unit]()
    return micros.cast(INSTANT)


def _from_text(column: pl.Series) -> pl.Series:
    if column.is_empty():  # asked for its type only
        return pl.Series(column.name, [], INSTANT)
    # Not by strptime: with one pattern for texts of several shapes it would read a part of them only.
    parts = column.str.extract_groups(_ISO).struct.unnest()
    local = (
        parts.select(
            pl.concat_str("date", pl.lit("T"), pl.col("minute").fill_null("00:00"), pl.lit(":"),
                          pl.col("second").fill_null("00"))
            .str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S", strict=False)
        )
        .to_series()
        .to_physical()
    )  # fmt: skip
    extra = parts.select(
        fraction=pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64),
        offset=_offset_minutes() * 60_000_000,
    )
    return (local + extra["fraction"] - extra["offset"]).cast(INSTANT).alias(column.name)


def _offset_minutes() -> pl.Expr:
    hours = pl.col("zone_h").fill_null("0").cast(pl.Int64)
    minutes = pl.col("zone_m").fill_null("0").cast(pl.Int64)
    return pl.when(pl.col("sign") == "-").then(-1).otherwise(1) * (hours * 60 + minutes)
