"""Rows that come one by one: durable in a stream when acknowledged, compacted into tables many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import polars as pl

from tidemill.core.errors import InvalidArgument, InvalidData, NotFound, UserCodeError
from tidemill.core.records.data import Arrival
from tidemill.core.scope import Scope
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data import ids
from tidemill.data.checkpoints import Checkpoints
from tidemill.data.columns import wider
from tidemill.data.events import DeadLetter, dead_letters, decode
from tidemill.data.inbox import Inbox, Letter, joined
from tidemill.data.intake import Intake, Prepared, divide, prepare
from tidemill.data.layout import dead_letters_of, numbered, quarantine_of, schema_of, span, table_of
from tidemill.data.ledger import PUSH, Ledger
from tidemill.data.parcels import Parcel
from tidemill.stores.consumers.protocol import Event
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
    duplicates: int = 0
    """Rows that were there already, with the same id and the same values; only where repeats are expected."""


class Feed(NamedTuple):
    """Where events are read."""

    name: str
    """The same in every process; positions are remembered by it."""
    replays: bool
    """Whether an event has the same position whenever it is read; see `Consumer.replays`."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of events."""

    events: int = 0
    rows: int = 0
    """Accepted rows."""
    quarantined: int = 0
    duplicates: int = 0
    """Rows that were there already, with the same id and the same values."""
    dead: int = 0
    """Events that are no rows."""
    redelivered: int = 0
    """Events that were taken before, told by their position."""

    def __add__(self, other: Taken) -> Taken:
        return Taken(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


_UNFIT = (InvalidData, InvalidArgument, NotFound, UserCodeError, pl.exceptions.PolarsError)
"""What events can be at fault for."""

_ASIDE = "inbox"
"""The consumer whose position, an offset of the inbox, stands in the tables of quarantine and dead letters."""


class PushedRows:
    """Accepts and compacts pushed rows. But for `names` and `waiting`, called under the guard of the source's table.

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
        self._checkpoints: dict[str, Checkpoints] = {}

    def accept(self, source: Source, frame: pl.DataFrame, *, strict: bool, again: bool) -> tuple[pl.DataFrame, Push]:
        """Check rows and make them durable; returns those accepted, system columns included, and what became of all."""
        intake, table = self._divided(source, frame, again=again)
        if strict:
            intake.refuse_rejected(source.name)
        accepted, first_seq = self._kept(source, intake, table)
        done = Push(
            rows=accepted.height, quarantined=intake.rejected.height, reasons=intake.counts, first_seq=first_seq,
            duplicates=intake.duplicates,
        )  # fmt: skip
        return accepted, done

    def admit(self, source: Source, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Make rows durable, all or none of them.

        Returns:
            Those that were not there yet, system columns included, and all in the types of the table with their times.
        """
        intake, table = self._divided(source, frame, again=True)
        intake.refuse_rejected(source.name)
        return self._kept(source, intake, table)[0], intake.typed

    def _kept(self, source: Source, intake: Intake, table: pl.Schema | None) -> tuple[pl.DataFrame, int]:
        accepted, first_seq = self._numbered(source, intake)
        if accepted.height or intake.rejected.height:
            self._add(source, Parcel(accepted, intake.rejected), table)
        return accepted, first_seq

    def take(self, source: Source, events: Sequence[Event], feed: Feed) -> tuple[list[pl.DataFrame], Taken]:
        """Make events durable with their positions, each once; returns the rows accepted and what became of all.

        Where events cannot be taken together, they are divided until those that are at fault are alone.
        """
        fresh = self._fresh(source, events, feed)
        done = Taken(events=len(events), redelivered=len(events) - len(fresh))
        frames: list[pl.DataFrame] = []
        waiting = [fresh] if fresh else []
        while waiting:
            part = waiting.pop()
            try:
                rows, taken = self._take(source, part, feed)
            except _UNFIT as error:
                if len(part) > 1:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]  # the earlier half is next
                    continue
                rows, taken = self._bury(source, part[0], feed, str(error))
            frames += [rows] if rows.height else []
            done += taken
        return frames, done

    def _fresh(self, source: Source, events: Sequence[Event], feed: Feed) -> Sequence[Event]:
        """The events after the durable positions: another process may have taken some while this one held them."""
        if not feed.replays:
            return events
        known = self.checkpoints(source.name).positions().get(feed.name, {})
        return [event for event in events if event.partition not in known or event.position > known[event.partition]]

    def _take(self, source: Source, events: Sequence[Event], feed: Feed) -> tuple[pl.DataFrame, Taken]:
        frame, dead = decode(source, events)
        if frame is None:
            self._add(source, self._parcel(events, feed, None, None, dead), None)
            return pl.DataFrame(), Taken(dead=len(dead))
        intake, table = self._divided(source, frame, again=True)
        accepted, _ = self._numbered(source, intake)
        self._add(source, self._parcel(events, feed, accepted, intake.rejected, dead), table)
        return accepted, Taken(
            rows=accepted.height, quarantined=intake.rejected.height, duplicates=intake.duplicates, dead=len(dead)
        )

    def _bury(self, source: Source, event: Event, feed: Feed, reason: str) -> tuple[pl.DataFrame, Taken]:
        self._add(source, self._parcel([event], feed, None, None, [DeadLetter(event, reason)]), None)
        return pl.DataFrame(), Taken(dead=1)

    def _parcel(
        self, events: Sequence[Event], feed: Feed, rows: pl.DataFrame | None, rejected: pl.DataFrame | None,
        dead: Sequence[DeadLetter],
    ) -> Parcel:  # fmt: skip
        # Events of one partition come in order: the last one's position covers all.
        positions = {event.partition: event.position for event in events} if feed.replays else {}
        letters = dead_letters(dead, feed.name, self._scope.now())
        return Parcel(rows, rejected, letters, {feed.name: positions} if positions else {})

    def _divided(self, source: Source, frame: pl.DataFrame, *, again: bool) -> tuple[Intake, pl.Schema | None]:
        """The rows divided, and the table's columns as they were found."""
        now, table = self._scope.now(), schema_of(self._tables, source.name)
        prepared = prepare(source, frame, table, now, whole=False)
        if table is not None and self._widen(source, prepared.raw, table):
            table = schema_of(self._tables, source.name)
            prepared = prepare(source, frame, table, now, whole=False)
        repeated = self._repeated(source, prepared)
        same = self._same(source, prepared, repeated) if again else None
        return divide(source, prepared, repeated, now, None, same), table

    def _widen(self, source: Source, raw: pl.DataFrame, table: pl.Schema) -> bool:
        """Widen the table's columns of numbers where what comes needs it; returns whether any was."""
        settled = {*SYSTEM_COLUMNS, *source.types, *source.id_columns}  # what the definition says stays
        asked = {name: wider(raw[name], dtype) for name, dtype in table.items()
                 if name in raw.columns and name not in settled}  # fmt: skip
        widened = {name: dtype for name, dtype in asked.items() if dtype is not None}
        if not widened:
            return False
        self.compact(source.name)  # rows that wait have the types the table had
        try:
            self._tables.widen(table_of(source.name), widened)
        except InvalidData:
            return False  # it holds whole numbers too large for fractions: what does not fit goes to quarantine
        return True

    def _numbered(self, source: Source, intake: Intake) -> tuple[pl.DataFrame, int]:
        if not intake.accepted.height:
            return intake.accepted, 0
        first_seq = self._ledger.reserve(source.name, intake.accepted.height)
        return numbered(intake.accepted, first_seq), first_seq

    def checkpoints(self, source: str) -> Checkpoints:
        """How far a source's inbox was compacted, and its brokers were read."""
        return self._checkpoints.setdefault(source, Checkpoints(self._streams, source))

    def _add(self, source: Source, parcel: Parcel, table: pl.Schema | None) -> None:
        if parcel.rows is not None and parcel.rows.height:
            self._settle_types(source, table, parcel.rows)
        offset = self._inbox(source.name).add(parcel)
        if parcel.positions:
            self.checkpoints(source.name).took(parcel.positions, offset)
        seen = self._seen.get(source.name)
        if seen is not None and parcel.rows is not None:
            seen.add(parcel.rows)
            seen.offset = offset

    def _settle_types(self, source: Source, table: pl.Schema | None, rows: pl.DataFrame) -> None:
        # The table settles the types of columns. Were it told only when the rows are compacted, pushes of two processes
        # could both be acknowledged and not fit each other.
        columns = rows.schema.items()
        if table is None or any(table.get(name) != dtype for name, dtype in columns if dtype != pl.Null()):
            self._tables.append(table_of(source.name), rows.clear())

    def _repeated(self, source: Source, prepared: Prepared) -> pl.Series:
        """Of each row that passed its checks: is its id repeated?"""
        passed = prepared.rows.filter(prepared.verdict.passed)
        if not source.id_columns or not passed.height or not self._seen_ids(source).maybe(passed):
            return pl.Series([False]).new_from_index(0, passed.height)
        self.compact(source.name)
        table = table_of(source.name)
        there = None if self._tables.version(table) is None else self._tables.scan(table)
        return ids.repeated(passed, source.distinct_columns, there)

    def _same(self, source: Source, prepared: Prepared, repeated: pl.Series) -> pl.Series:
        """Of each row that passed its checks: is it repeated, with the values it has already?"""
        if not repeated.any():
            return repeated
        passed, table = prepared.rows.filter(prepared.verdict.passed), table_of(source.name)
        there = None if self._tables.version(table) is None else self._tables.scan(table)
        return ids.same(passed, source.distinct_columns, repeated, there)

    def _seen_ids(self, source: Source) -> ids.SeenIds:
        """What is known of the source's ids, brought up to date."""
        table = table_of(source.name)
        seen = self._seen.get(source.name)
        if seen is None or seen.columns != source.distinct_columns:
            seen = self._seen[source.name] = ids.SeenIds(source.distinct_columns)
        version = self._tables.version(table)
        seen.follow(None if version is None else self._tables.scan(table), version)
        batch = self._inbox(source.name).read(seen.offset)
        if batch.rows is not None:
            seen.add(batch.rows)
        seen.offset = batch.end
        return seen

    def names(self) -> set[str]:
        """The sources that ever had rows pushed."""
        topics = (topic.split("/") for topic in self._streams.topics())
        return {parts[1] for parts in topics if len(parts) == 2 and parts[0] == "sources"}

    def waiting(self, source: str) -> int:
        """How many pushes wait to be compacted."""
        return max(0, self._inbox(source).end() - Checkpoints(self._streams, source).marker().inbox)

    def compact(self, source: str) -> None:
        """Move all waiting rows of a source to its tables, each exactly once, as one arrival."""
        self._ledger.settle(source)  # first: an intent that failed must not see the position of a later one
        checkpoints = self.checkpoints(source)
        letters = list(self._inbox(source).letters(checkpoints.marker().inbox))
        if not letters:
            return
        end = letters[-1].offset + 1
        rejected = self._set_aside(quarantine_of(source), letters, "rejected")
        self._set_aside(dead_letters_of(source), letters, "dead")
        self._compact_rows(source, letters, end, rejected)
        checkpoints.compacted(end)

    def _set_aside(self, table: str, letters: Sequence[Letter], part: Literal["rejected", "dead"]) -> int:
        """Append the rejected rows or dead letters that are not in their table yet; returns how many."""
        done = self._tables.position(table, _ASIDE) or 0
        parts = [getattr(one.parcel, part) for one in letters if one.offset >= done]
        frame = joined([arrow for arrow in parts if arrow is not None])
        if frame is None:
            return 0
        self._tables.append(table, frame, once={_ASIDE: letters[-1].offset + 1})
        return frame.height

    def _compact_rows(self, source: str, letters: Sequence[Letter], end: int, rejected: int) -> None:
        done = self._tables.position(table_of(source), PUSH) or 0
        rows = joined([one.parcel.rows for one in letters if one.offset >= done and one.parcel.rows is not None])
        if rows is None:
            return
        with self._ledger.arriving(self._arrival(source, rows, rejected), PUSH, end):
            self._tables.append(table_of(source), rows, once={PUSH: end})

    def _arrival(self, source: str, rows: pl.DataFrame, rejected: int) -> Arrival:
        first_ts, last_ts = span(rows["event_ts"])
        first_seq, _ = span(rows["ingest_seq"])
        return Arrival(
            **self._scope.stamp(), id=self._scope.new_id(), source=source, origin="push", table=table_of(source),
            table_version=0, rows=rows.height, quarantined=rejected, first_seq=first_seq or 0, first_ts=first_ts,
            last_ts=last_ts,
        )  # fmt: skip

    def _inbox(self, source: str) -> Inbox:
        return Inbox(self._streams, table_of(source))
