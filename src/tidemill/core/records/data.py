"""What arrived, and the datasets made of it."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class Arrival(Record, frozen=True, kw_only=True):
    """One delivery of a source: its archived bytes and what became of its rows."""

    TABLE: ClassVar[str] = "arrivals"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "source", "created_at"),)

    id: str
    source: str
    origin: str
    """The URL it was read from, or `push`."""
    archive: str | None = None
    """Digest of the unmodified bytes in the artifact store."""
    size: int = 0
    """Bytes."""
    table: str
    table_version: int
    rows: int
    quarantined: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    """First and last event time."""
    first_seq: int = 0
    """Ingest sequence of the first row."""
    checks: Json = msgspec.field(default_factory=dict)
    """Failed rows by check."""
    documentation: Json = msgspec.field(default_factory=dict)


class DatasetRecord(Record, frozen=True, kw_only=True):
    """An immutable dataset, known by the digest of its manifest."""

    TABLE: ClassVar[str] = "datasets"
    KEY: ClassVar[tuple[str, ...]] = ("project", "digest")

    digest: str
    name: str
    rows: int
    manifest: Json
