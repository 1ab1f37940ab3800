"""Rows that come one by one: durable in a stream when acknowledged, compacted into tables many at a time."""

from __future__ import annotations

import msgspec
import polars as pl

from tidemill.core.records.data import Arrival
from tidemill.core.scope import Scope
from tidemill.core.specs.sources import Source
from tidemill.data import ids
from tidemill.data.inbox import Inbox
from tidemill.data.intake import Prepared, divide, prepare
from tidemill.data.layout import numbered, quarantine_of, schema_of, span, table_of
from tidemill.data.ledger import PUSH, Ledger
from tidemill.data.quarantine import SCHEMA
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """What became of pushed rows."""

    rows: int
    """Accepted rows."""
    quarantined: int
    reasons: dict[str, int]
    """Quarantined rows by reason."""
    first_seq: int
    """Ingest sequence of the first accepted row; 0 when there is none."""


class PushedRows:
    """Accepts and compacts pushed rows. But for `names` and `has_pending`, called under the guard of the source's table.

    Args:
        scope: Project, principal and clock.
        ledger: Where their arrivals are recorded.
        tables: Where they are compacted to.
        streams: Where they are durable until then.
    """

    def __init__(self, scope: Scope, ledger: Ledger, tables: TableStore, streams: StreamStore) -> None:
        self._scope = scope
        self._ledger = ledger
        self._tables = tables
        self._streams = streams
        self._seen: dict[str, ids.SeenIds] = {}

    def accept(self, source: Source, frame: pl.DataFrame, *, strict: bool) -> tuple[pl.DataFrame, Push]:
        """Check rows and make them durable; returns those accepted, system columns included, and what became of all."""
        now, table = self._scope.now(), schema_of(self._tables, source.name)
        prepared = prepare(source, frame, table, now, whole=False)
        intake = divide(source, prepared, self._repeated(source, prepared), now, None)
        if strict:
            intake.refuse_rejected(source.name)
        if intake.rejected.height:
            self._inbox(quarantine_of(source.name)).add(intake.rejected.select(SCHEMA.names()))
        accepted, first_seq = intake.accepted, 0
        if accepted.height:
            first_seq = self._ledger.reserve(source.name, accepted.height)
            accepted = numbered(accepted, first_seq)
            self._add(source, table, accepted)
        done = Push(
            rows=accepted.height, quarantined=intake.rejected.height, reasons=intake.counts, first_seq=first_seq
        )
        return accepted, done

    def _add(self, source: Source, table: pl.Schema | None, rows: pl.DataFrame) -> None:
        # The table settles the types of columns. Were it told only when the rows are compacted, pushes of two processes
        # could both be acknowledged and not fit each other.
        columns = rows.schema.items()
        if table is None or any(table.get(name) != dtype for name, dtype in columns if dtype != pl.Null()):
            self._tables.append(table_of(source.name), rows.clear())
        offset = self._inbox(table_of(source.name)).add(rows)
        seen = self._seen.get(source.name)
        if seen is not None:
            seen.add(rows)
            seen.offset = offset

    def _repeated(self, source: Source, prepared: Prepared) -> pl.Series:
        """Of each row that passed its checks: is its id repeated?"""
        passed = prepared.rows.filter(prepared.verdict.passed)
        if not source.id_columns or not passed.height or not self._seen_ids(source).maybe(passed):
            return pl.Series([False]).new_from_index(0, passed.height)
        self.compact(source.name)
        table = table_of(source.name)
        there = None if self._tables.version(table) is None else self._tables.scan(table)
        return ids.repeated(passed, source.distinct_columns, there)

    def _seen_ids(self, source: Source) -> ids.SeenIds:
        """What is known of the source's ids, brought up to date."""
        table = table_of(source.name)
        seen = self._seen.get(source.name)
        if seen is None or seen.columns != source.distinct_columns:
            seen = self._seen[source.name] = ids.SeenIds(source.distinct_columns)
        version = self._tables.version(table)
        seen.follow(None if version is None else self._tables.scan(table), version)
        batch = self._inbox(table).read(seen.offset)
        if batch.rows is not None:
            seen.add(batch.rows)
        seen.offset = batch.end
        return seen

    def names(self) -> set[str]:
        """The sources that ever had rows pushed."""
        topics = (topic.split("/") for topic in self._streams.topics())
        return {parts[1] for parts in topics if len(parts) == 2 and parts[0] in ("sources", "quarantine")}

    def has_pending(self, source: str) -> bool:
        """Whether rows wait to be compacted."""
        return any(
            self._inbox(table).end() > (self._tables.position(table, PUSH) or 0)
            for table in (table_of(source), quarantine_of(source))
        )

    def compact(self, source: str) -> None:
        """Move all waiting rows of a source to its tables, each exactly once, as one arrival."""
        self._ledger.settle(source)  # first: an intent that failed must not see the position of a later one
        if not self.has_pending(source):
            return
        rejected = self._compact_rejected(source)
        inbox, table = self._inbox(table_of(source)), table_of(source)
        batch = inbox.read(self._tables.position(table, PUSH) or 0)
        if batch.rows is None:
            return
        arrival = self._arrival(source, batch.rows, rejected)
        with self._ledger.arriving(arrival, PUSH, batch.end):
            self._tables.append(table, batch.rows, once=(PUSH, batch.end))
        inbox.trim(batch.end)

    def _arrival(self, source: str, rows: pl.DataFrame, rejected: int) -> Arrival:
        first_ts, last_ts = span(rows["event_ts"])
        first_seq, _ = span(rows["ingest_seq"])
        return Arrival(
            **self._scope.stamp(), id=self._scope.new_id(), source=source, origin="push", table=table_of(source),
            table_version=0, rows=rows.height, quarantined=rejected, first_seq=first_seq or 0, first_ts=first_ts,
            last_ts=last_ts,
        )  # fmt: skip

    def _compact_rejected(self, source: str) -> int:
        inbox, table = self._inbox(quarantine_of(source)), quarantine_of(source)
        batch = inbox.read(self._tables.position(table, PUSH) or 0)
        if batch.rows is None:
            return 0
        self._tables.append(table, batch.rows, once=(PUSH, batch.end))
        inbox.trim(batch.end)
        return batch.rows.height

    def _inbox(self, table: str) -> Inbox:
        return Inbox(self._streams, table)
