"""The data room's use cases: take in deliveries and pushed rows, and read them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.core.errors import InvalidArgument, NotFound, unknown
from tidemill.core.records.data import Arrival
from tidemill.core.scope import Scope
from tidemill.core.specs.sources import Source
from tidemill.data import ids, ledger
from tidemill.data.archive import Archived, archive_file, archive_frame
from tidemill.data.claims import Claims
from tidemill.data.columns import as_read, known_types
from tidemill.data.database import Selection, is_database, selection
from tidemill.data.documentation import describe_source
from tidemill.data.events import SCHEMA as EVENT_SCHEMA
from tidemill.data.inbox import pushed_frame
from tidemill.data.increments import mark_of
from tidemill.data.intake import Intake, Prepared, divide, prepare
from tidemill.data.layout import dead_letters_of, numbered, quarantine_of, schema_of, span, table_of
from tidemill.data.pushed import Feed, Push, PushedRows, Taken
from tidemill.data.quarantine import SCHEMA
from tidemill.data.reading import checked, find_file, read_file, read_frame
from tidemill.data.summary import SourceSummary, summarize
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.consumers.open import is_broker
from tidemill.stores.consumers.protocol import Event
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore

Listener = Callable[[Source, pl.DataFrame], None]
"""Called with a source and rows that were pushed and accepted, system columns included, once they are durable."""

Reading = Callable[[pl.Schema | None], pl.DataFrame]
"""Gives the rows of an archived delivery, told the columns of the source's table."""


class Data:
    """Sources, their tables and their quarantine. Safe for any number of threads and processes.

    Args:
        scope: Project, principal and clock.
        metadata: Where arrivals are recorded.
        artifacts: Where deliveries are archived.
        tables: Where rows are kept.
        streams: Where pushed rows are durable until they are compacted into tables.
        folder: The project folder; paths of sources are relative to it.
        listeners: Called with the rows of every push.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, artifacts: ArtifactStore, tables: TableStore,
        streams: StreamStore, folder: Path, listeners: Sequence[Listener] = (),
    ) -> None:  # fmt: skip
        self.scope = scope
        self.artifacts = artifacts
        self.tables = tables
        self.streams = streams
        self.folder = folder
        self.listeners = list(listeners)
        self._ledger = ledger.Ledger(scope, metadata, artifacts, tables)
        self._pushed = PushedRows(scope, self._ledger, tables, streams)
        self._claims = Claims(scope, metadata)

    # -- deliveries ----------------------------------------------------------------------------------------------------

    def ingest(self, source: Source, *, url: str | None = None, frame: Any = None, strict: bool = False) -> Arrival:
        """Take in a delivery: archive it, read it, check its rows, and add those that pass to the source's table.

        What a database gives is archived as Parquet; when nothing is new since the last time, its arrival is returned.
        Rows that fail go to quarantine with all their reasons. The same bytes again change nothing. Killed at any point, it
        has happened completely or not at all.

        Args:
            source: The source.
            url: Read from here instead of the source's own URL.
            frame: The rows themselves: a frame of Polars, pandas or pyarrow.
            strict: Refuse the whole delivery when a row fails.

        Returns:
            The arrival; the earlier one when these bytes were taken in before.

        Raises:
            NotFound: The file does not exist, or the definition names a column that the delivery lacks.
            InvalidData: The delivery cannot be read, is empty, lacks a column earlier ones had, or one changed its type.
            AlreadyExists: The name is that of another project's source in the same home.
        """
        place = url or source.url
        if frame is None and place is not None and is_database(place):
            return self._ingest_selection(source, selection(place, source, self.folder), strict=strict)
        archived, read = self._archived(source, url, frame)
        with self._writing(source):
            self._pushed.compact(source.name)
            return self._take_in_once(source, archived, read, strict=strict)

    def _ingest_selection(self, source: Source, wanted: Selection, *, strict: bool) -> Arrival:
        # All under the guard: two deliveries must not go on from the same place.
        with self._writing(source):
            self._pushed.compact(source.name)
            earlier = [arrival for arrival in self._ledger.arrivals(source.name) if arrival.origin == wanted.origin]
            mark = mark_of(earlier, wanted.since, self.artifacts) if wanted.since is not None else None
            frame = wanted.fetch(None if mark is None else mark.value)
            if mark is not None and wanted.since is not None:
                frame = mark.new(frame, wanted.since, wanted.ids)
                if not frame.height:
                    return earlier[-1]
            frame = checked(frame, wanted.origin)
            archived = archive_frame(self.artifacts, frame, wanted.origin)
            return self._take_in_once(source, archived, lambda table: frame, strict=strict)

    def _take_in_once(self, source: Source, archived: Archived, read: Reading, *, strict: bool) -> Arrival:
        earlier = self._ledger.earlier(source.name, archived.digest)
        if earlier is not None:
            return earlier
        table = schema_of(self.tables, source.name)
        return self._take_in(source, archived, read(table), table, strict=strict)

    def _archived(self, source: Source, url: str | None, frame: Any) -> tuple[Archived, Reading]:
        if frame is not None:
            if url is not None:
                raise InvalidArgument("ingest was given both url= and frame=", expected="one of them")
            rows = read_frame(frame)
            return archive_frame(self.artifacts, rows), lambda table: rows
        place = url or source.url
        if place is None:
            raise InvalidArgument(f"source {source.name!r} has no URL", hint="Pass url= or frame=, or push rows")
        if is_broker(place):
            raise InvalidArgument(
                f"source {source.name!r} is read from a broker", hint=f"Run: tidemill features stream {source.name}"
            )
        path = find_file(place, self.folder)
        archived = archive_file(self.artifacts, path, place)

        def read(table: pl.Schema | None) -> pl.DataFrame:
            # What `clean` is given are the file's own types: those of the table are the types of what it returns.
            known = known_types(source, table if source.clean is None else None)
            # The archived bytes, not the file's: it may have changed since.
            return read_file(self.artifacts.local_path(archived.digest), source, as_read(known), origin=str(path))

        return archived, read

    def _take_in(
        self, source: Source, archived: Archived, frame: pl.DataFrame, table: pl.Schema | None, *, strict: bool
    ) -> Arrival:
        now, arrival_id = self.scope.now(), self.scope.new_id()
        prepared = prepare(source, frame, table, now, whole=True)
        intake = divide(source, prepared, self._repeated(source, prepared, table), now, arrival_id)
        if strict:
            intake.refuse_rejected(source.name)
        first_seq = self._ledger.reserve(source.name, intake.accepted.height)
        arrival = Arrival(
            **self.scope.stamp(), id=arrival_id, source=source.name, origin=archived.origin, archive=archived.digest,
            size=archived.size, first_seq=first_seq, **_counts(source.name, intake),
            documentation=dict(source.documentation),
        )  # fmt: skip
        self._commit(arrival, intake)
        return self._ledger.arrival(arrival_id)

    def _commit(self, arrival: Arrival, intake: Intake) -> None:
        position = arrival.first_seq + max(arrival.rows, 1) - 1
        with self._ledger.arriving(arrival, ledger.INGEST, position):
            # The quarantine first: its rows are shown only once their arrival is recorded.
            if intake.rejected.height:
                self.tables.append(quarantine_of(arrival.source), intake.rejected.select(SCHEMA.names()))
            rows = numbered(intake.accepted, arrival.first_seq)
            self.tables.append(arrival.table, rows, once={ledger.INGEST: position})

    def _repeated(self, source: Source, prepared: Prepared, table: pl.Schema | None) -> pl.Series:
        passed = prepared.rows.filter(prepared.verdict.passed)
        if not source.id_columns:
            return pl.Series([False]).new_from_index(0, passed.height)
        there = None if table is None else self.tables.scan(table_of(source.name))
        return ids.repeated(passed, source.distinct_columns, there)

    @contextmanager
    def _writing(self, source: Source) -> Iterator[None]:
        """Alone with the table of a source that is this project's."""
        table = table_of(source.name)
        with self.tables.guard(table):
            self._claims.claim(
                source.name, lambda: self.tables.version(table) is not None or self._pushed.waiting(source.name) > 0
            )
            yield

    # -- pushed rows ---------------------------------------------------------------------------------------------------

    def push(self, source: Source, rows: Any, *, strict: bool = False, again: bool = False) -> Push:
        """Take in rows that come one by one. They are durable when this returns.

        Args:
            source: The source.
            rows: A frame, or a list of dictionaries. Columns left out are null.
            strict: Refuse all rows when one fails.
            again: Whether rows may come again: one that is there already, with the same id and the same values, is counted
                as a duplicate instead of going to quarantine.

        Raises:
            InvalidData: The rows cannot be read, or one fails and `strict` was asked for.
            AlreadyExists: The name is that of another project's source in the same home.
        """
        frame = pushed_frame(rows)
        with self._writing(source):
            accepted, result = self._pushed.accept(source, frame, strict=strict, again=again)
        if accepted.height:
            for listener in self.listeners:
                listener(source, accepted)
        return result

    def admit(self, source: Source, rows: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Take in rows that are answered, all or none of them; they may come again. They are durable when this returns.

        Args:
            source: The source.
            rows: A frame, or a list of dictionaries. Columns left out are null.

        Returns:
            The rows that were not there yet, system columns included (listeners are not called), and all of them, in the
            types of the table and with `event_ts` and `created_ts`.

        Raises:
            InvalidData: The rows cannot be read, or one of them fails.
            AlreadyExists: The name is that of another project's source in the same home.
        """
        frame = pushed_frame(rows)
        with self._writing(source):
            return self._pushed.admit(source, frame)

    def take(self, source: Source, events: Sequence[Event], feed: Feed) -> tuple[list[pl.DataFrame], Taken]:
        """Take in events of a broker. When this returns they are durable, and so are the positions they were read at.

        Killed at any point, a part of the events from the first on has happened with its positions, and the rest not at
        all. Events at or before a durable position are left out, and so are rows that are there already with the same id
        and values. An event that is no row becomes a dead letter; one that fails a check goes to quarantine.

        Args:
            source: The source.
            events: The events, in order within each partition.
            feed: Where they were read.

        Returns:
            The accepted rows, system columns included (listeners are not called), and what became of the events.
        """
        with self._writing(source):
            return self._pushed.take(source, events, feed)

    def positions(self, source: Source | str, feed: str) -> dict[str, str]:
        """The position of the last event taken of each partition of a feed."""
        name = _name(source)
        with self.tables.guard(table_of(name)):
            return self._pushed.checkpoints(name).positions().get(feed, {})

    def forget_positions(self, source: Source, feed: str) -> None:
        """Forget how far a feed was read: whoever reads it next begins with its earliest event."""
        with self.tables.guard(table_of(source.name)):
            self._pushed.compact(source.name)
            self._pushed.checkpoints(source.name).forget(feed)

    def waiting(self, source: Source | str) -> int:
        """How many pushes of a source wait to be compacted into its table."""
        return self._pushed.waiting(_name(source))

    def flush(self, source: Source | str | None = None, *, least: int = 1) -> None:
        """Compact pushed rows into the table: many pushes, one commit, each row exactly once.

        Args:
            source: The source; all of them when absent.
            least: Only where at least so many pushes wait.
        """
        for name in self._ledger.begun() | self._pushed.names() if source is None else {_name(source)}:
            if self._pushed.waiting(name) >= least or self._ledger.has_begun(name):
                with self.tables.guard(table_of(name)):
                    self._pushed.compact(name)

    # -- reading -------------------------------------------------------------------------------------------------------

    def scan(
        self, source: Source | str, *, version: int | None = None, columns: Sequence[str] | None = None
    ) -> pl.LazyFrame:
        """The rows of a source, pushed ones included, in no particular order.

        Args:
            source: The source.
            version: A version of its table; the newest when absent.
            columns: Only these columns.

        Raises:
            NotFound: There are no rows yet, or no such version or column.
        """
        name = _name(source)
        if version is None:
            self.flush(name)
        if self.tables.version(table_of(name)) is None:
            raise NotFound(f"source {name!r} has no rows yet", hint=f"Run `tidemill ingest {name}`, or push rows")
        rows = self.tables.scan(table_of(name), version=version)
        return rows if columns is None else _select(rows, columns)

    def table_columns(self, source: Source | str) -> pl.Schema | None:
        """The columns of a source's table as it is, pushed rows that wait left aside; None before its first rows."""
        return schema_of(self.tables, _name(source))

    def table_version(self, source: Source | str) -> int | None:
        """The newest version of a source's table, pushed rows included; None when there are no rows."""
        self.flush(source)
        return self.tables.version(table_of(_name(source)))

    def watermark(self, source: Source | str) -> int | None:
        """The newest event time of a source's rows, microseconds; None when there are no rows or no times."""
        self.flush(source)
        return self._ledger.last_ts(_name(source))

    def quarantine(self, source: Source | str) -> pl.DataFrame:
        """The rows that failed, oldest first: `arrived_at`, `reason`, `id`, `row` (JSON) and `arrival`."""
        name = _name(source)
        self.flush(name)
        if self.tables.version(quarantine_of(name)) is None:
            return pl.DataFrame(schema=SCHEMA)
        known = pl.Series([arrival.id for arrival in self._ledger.arrivals(name)], dtype=pl.String)
        complete = pl.col("arrival").is_null() | pl.col("arrival").is_in(known.implode())
        rows = self.tables.scan(quarantine_of(name)).filter(complete).sort("arrived_at", maintain_order=True)
        return rows.select(SCHEMA.names()).collect()

    def dead_letters(self, source: Source | str) -> pl.DataFrame:
        """The events of a source that are no rows, oldest first; see `tidemill.data.events.SCHEMA`."""
        name = _name(source)
        self.flush(name)
        if self.tables.version(dead_letters_of(name)) is None:
            return pl.DataFrame(schema=EVENT_SCHEMA)
        rows = self.tables.scan(dead_letters_of(name)).sort("arrived_at", "partition", "position")
        return rows.select(EVENT_SCHEMA.names()).collect()

    def arrivals(self, source: Source | str | None = None) -> list[Arrival]:
        """What arrived, oldest first; pushed rows as one arrival per compaction."""
        self.flush(source)
        return self._ledger.arrivals(None if source is None else _name(source))

    def sources(self) -> list[SourceSummary]:
        """A summary of every source that has rows, a quarantine or dead letters, by name."""
        self.flush()
        kinds = ("sources/", "quarantine/", "dead-letters/")
        names = {name.partition("/")[2] for name in self.tables.names() if name.startswith(kinds)}
        return [
            summarize(
                name,
                self._ledger.arrivals(name),
                self.tables.version(table_of(name)),
                self.quarantine(name).height,
                self.dead_letters(name).height,
            )
            for name in sorted(names)
        ]

    def documentation(self, source: Source) -> Mapping[str, Any]:
        """What is known about a source: what it is, owner, origin, its columns with types and units, its checks."""
        self.flush(source)
        return describe_source(source, schema_of(self.tables, source.name))


def _name(source: Source | str) -> str:
    return source if isinstance(source, str) else source.name


def _counts(source: str, intake: Intake) -> dict[str, Any]:
    first_ts, last_ts = span(intake.accepted["event_ts"])
    return {
        "table": table_of(source), "table_version": 0, "rows": intake.accepted.height,
        "quarantined": intake.rejected.height, "checks": intake.counts,
        "first_ts": first_ts, "last_ts": last_ts,
    }  # fmt: skip


def _select(rows: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    known = rows.collect_schema().names()
    for column in columns:
        if column not in known:
            raise unknown("column", column, known)
    return rows.select(columns)
