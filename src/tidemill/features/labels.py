"""Labels as far as they were known at a moment."""

from __future__ import annotations

import polars as pl

from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.specs.features import Label
from tidemill.core.specs.sources import Source
from tidemill.features.offline import Read
from tidemill.features.spine import kind, micros, moment
from tidemill.features.transforms import resolved

LABEL = "\0label"


def with_labels(rows: pl.DataFrame, spine: Source, label: Label, until: int, read: Read) -> pl.DataFrame:
    """Rows of a spine with their labels, joined by id.

    Args:
        rows: Rows of the spine's table.
        spine: The spine.
        label: What to learn.
        until: Labels that became known later count as unknown, microseconds.
        read: Gives the rows of a source's table.

    Returns:
        The same rows in the same order, and the column `LABEL`: null where there is no label by then.

    Raises:
        InvalidArgument: The ids do not fit together.
        NotFound: The label's `known_at` is no column of its source.
    """
    if label.source.name == spine.name:
        known = _known(rows, label, until).alias("\0known")
        return rows.with_columns(_values(rows, label), known).with_columns(
            pl.when("\0known").then(LABEL).alias(LABEL)
        ).drop("\0known")  # fmt: skip
    return _joined(rows, spine, label, until, read)


def _known(rows: pl.DataFrame, label: Label, until: int) -> pl.Series:
    """Whether each row's label was known by then; without a time of its own, a label is known at its row's event time."""
    column = label.known_at or "event_ts"
    if column not in rows.columns:
        raise unknown(f"known_at column of label {label.name!r}", column, rows.columns)
    return (micros(rows[column]) <= until).fill_null(False)


def _values(rows: pl.DataFrame, label: Label) -> pl.Series:
    what = f"the expression of label {label.name!r}"
    values: pl.DataFrame = resolved(lambda: rows.select(label.expression.alias(LABEL)), what, rows.schema)
    if values.height != rows.height:
        raise InvalidArgument(f"{what} gives one value for all rows", expected="a value for each row")
    return values[LABEL]


def _joined(rows: pl.DataFrame, spine: Source, label: Label, until: int, read: Read) -> pl.DataFrame:
    ours, theirs = list(spine.id_columns), list(label.source.id_columns)
    if len(ours) != len(theirs):
        raise InvalidArgument(
            f"source {spine.name!r} has the id {ours}, source {label.source.name!r} of label {label.name!r} {theirs}",
            expected="ids that can be joined column by column",
        )
    truth = read(label.source).filter(pl.col("event_ts") <= moment(until)).collect()
    for mine, other in zip(ours, theirs, strict=True):
        if kind(rows.schema[mine]) != kind(truth.schema[other]):
            raise InvalidArgument(
                f"id {mine!r} is {rows.schema[mine]}, but id {other!r} of label {label.name!r} is {truth.schema[other]}",
                expected="the same type",
            )
    truth = truth.with_columns(_values(truth, label)).filter(_known(truth, label, until))
    time = micros(truth[label.known_at or "event_ts"]).alias("\0known")
    # The report known last decides: a correction replaces what it corrects.
    newest = truth.with_columns(time).sort("\0known", "created_ts", "ingest_seq").unique(theirs, keep="last")
    return rows.join(newest.select(*theirs, LABEL), left_on=ours, right_on=theirs, how="left", maintain_order="left")
