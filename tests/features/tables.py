"""Tables in memory: what the features room reads, without a table store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from tidemill.core.specs.sources import Source
from tidemill.features.training import SourceReader

UTC = pl.Datetime("us", "UTC")
HOUR = 3_600_000_000


class Kept(NamedTuple):
    """What a training set was kept with."""

    frame: pl.DataFrame
    facts: dict[str, Any]


def keep(frame: pl.DataFrame, **facts: Any) -> Any:
    return Kept(frame, facts)


@dataclass
class Tables:
    """Rows by source, each with a list of versions."""

    versions: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, source: Source, rows: pl.DataFrame, created: str | None = None) -> None:
        """A new version: event time from the source's time column, created time from another, arrival by place."""
        event = pl.col(source.time).cast(pl.Int64).cast(UTC) if source.time else pl.lit(None, UTC)
        known = pl.lit(None, UTC) if created is None else pl.col(created).cast(pl.Int64).cast(UTC)
        stamped = rows.with_columns(event_ts=event, created_ts=known, ingest_seq=pl.int_range(pl.len(), dtype=pl.Int64))
        self.versions.setdefault(source.name, []).append(stamped)

    def scan(self, source: Source, *, version: int | None = None) -> pl.LazyFrame:
        return self.versions[source.name][-1 if version is None else version].lazy()

    def columns(self, source: Source) -> pl.Schema | None:
        return None if source.name not in self.versions else self.scan(source).collect_schema()

    def version(self, source: Source) -> int | None:
        found = self.versions.get(source.name)
        return None if found is None else len(found) - 1

    def watermark(self, source: Source) -> int | None:
        found = self.versions.get(source.name)
        return None if found is None else found[-1]["event_ts"].cast(pl.Int64).max()  # type: ignore[return-value]

    @property
    def reader(self) -> SourceReader:
        return SourceReader(scan=self.scan, columns=self.columns, version=self.version, watermark=self.watermark)
