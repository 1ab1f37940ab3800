"""The labels a source holds, as monitoring reads them."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from tidemill.core.errors import NotFound, unknown
from tidemill.core.specs.features import Label
from tidemill.core.specs.sources import Source

Scan = Callable[[Source], pl.LazyFrame]


def source_labels(label: Label, scan: Scan) -> pl.LazyFrame | None:
    """Columns `id` (text; the parts of a composite id joined by `/`), `label`, `known_at`, `seq` of a label's source.

    Args:
        label: The label.
        scan: Reads a source's table.

    Returns:
        None while the source has no rows.

    Raises:
        NotFound: The label's `known_at` is no column of its source.
    """
    try:
        rows = scan(label.source)
    except NotFound:
        return None
    schema = rows.collect_schema()
    known = label.known_at or "event_ts"
    if known not in schema:
        raise unknown(f"known_at column of label {label.name!r}", known, schema.names())
    at = pl.col(known).dt.epoch("us") if schema[known].is_temporal() else pl.col(known).cast(pl.Int64)
    return rows.select(
        pl.concat_str([pl.col(name).cast(pl.String) for name in label.source.id_columns], separator="/").alias("id"),
        label.expression.alias("label"),
        at.alias("known_at"),
        pl.col("ingest_seq").cast(pl.Int64).alias("seq"),
    ).filter(pl.col("known_at").is_not_null(), pl.col("id").is_not_null())
