"""The labels a source holds, as monitoring reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from tidemill.core.errors import NotFound, unknown
from tidemill.core.specs.features import Label
from tidemill.core.specs.sources import Source

Scan = Callable[[Source], pl.LazyFrame]

_LABEL = "\0label"


@dataclass(frozen=True)
class HeldLabels:
    """Rows of a source, and which of their columns make labels.

    What is asked for is a condition on the source's own columns, so that a file of the table that cannot fulfil it is not
    read, and of the others only the rows that do.

    Args:
        rows: The rows.
        ids: Columns that name a row; their texts are joined by `/`.
        label: Column with the label.
        known: Column with the time it became known: a time, or microseconds.
        seq: Column with a number that grows with arrival.
    """

    rows: pl.LazyFrame
    ids: tuple[str, ...]
    label: str
    known: str
    seq: str

    def of(self, ids: pl.Series, until: int) -> pl.DataFrame:
        """Columns `id`, `label`, `known_at` (microseconds) and `seq` of the labels of some ids that are known by a time."""
        wanted = pl.col("id").is_in(ids.implode())
        return self._labels(self._known <= until, self._maybe(ids)).filter(wanted).collect()

    def changed(self, after: int, seq: int, until: int) -> pl.Series:
        """The ids of labels known by a time that were not known by an earlier one, or arrived after a sequence."""
        fresh = (self._known > after) | (pl.col(self.seq) > seq)
        return self._labels(self._known <= until, fresh).select("id").collect()["id"]

    def top(self, least: int) -> int:
        """The greatest sequence, at least this one."""
        top = self.rows.select(pl.col(self.seq).cast(pl.Int64).max()).collect().item()
        return least if top is None else max(int(top), least)

    @property
    def _known(self) -> pl.Expr:
        """When a label became known, microseconds."""
        known = pl.col(self.known)
        return known.dt.epoch("us") if self.rows.collect_schema()[self.known].is_temporal() else known.cast(pl.Int64)

    def _maybe(self, ids: pl.Series) -> pl.Expr:
        """A condition all rows of some ids fulfil, and hopefully few others."""
        if len(self.ids) == 1 and self.rows.collect_schema()[self.ids[0]] == pl.String:
            return pl.col(self.ids[0]).is_in(ids.implode())
        return pl.lit(True)

    def _labels(self, *where: pl.Expr) -> pl.LazyFrame:
        named = [pl.col(name).is_not_null() for name in self.ids]
        texts = [pl.col(name).cast(pl.String) for name in self.ids]
        return self.rows.filter(*where, *named, pl.col(self.label).is_not_null()).select(
            (texts[0] if len(texts) == 1 else pl.concat_str(texts, separator="/")).alias("id"),
            pl.col(self.label).alias("label"),
            self._known.alias("known_at"),
            pl.col(self.seq).cast(pl.Int64).alias("seq"),
        )


def source_labels(label: Label, scan: Scan) -> HeldLabels | None:
    """The labels of a label's source.

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
    labelled = rows.with_columns(label.expression.alias(_LABEL))
    return HeldLabels(labelled, ids=label.source.id_columns, label=_LABEL, known=known, seq="ingest_seq")
