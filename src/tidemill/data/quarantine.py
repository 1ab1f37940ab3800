"""Rows that failed, in the one form every source's quarantine has."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tidemill.data.times import INSTANT

SCHEMA = pl.Schema(
    {"arrived_at": INSTANT, "reason": pl.String(), "id": pl.String(), "row": pl.String(), "arrival": pl.String()}
)
"""When it arrived, all reasons joined by "; ", its id as text, the whole row as JSON, and its arrival (null: pushed)."""


def quarantine_rows(raw: pl.DataFrame, reason: pl.Series | str, id_columns: Sequence[str]) -> pl.DataFrame:
    """The columns `reason`, `id` and `row` of rows that failed; the types of their own columns do not matter.

    Args:
        raw: The rows as they arrived.
        reason: Why, per row or of all.
        id_columns: The columns of their id; several are joined by `/`.
    """
    if raw.is_empty():  # most pushes of a single row have none, and take no longer than a few of these steps
        return pl.DataFrame(schema={name: SCHEMA[name] for name in ("reason", "id", "row")})
    texts = raw.with_columns(
        pl.col(pl.Binary).bin.encode("base64"), pl.col(pl.Duration, pl.Time, pl.Decimal).cast(pl.String)
    )
    id_text = pl.concat_str([pl.col(name).cast(pl.String) for name in id_columns], separator="/")
    frame = texts.select(
        id=id_text if id_columns else pl.lit(None, pl.String),
        row=pl.struct(pl.all()).struct.json_encode(),
    )
    reasons = pl.lit(reason) if isinstance(reason, str) else reason
    return frame.with_columns(reason=reasons).select(
        pl.col("reason").cast(pl.String), "id", pl.col("row").cast(pl.String)
    )
