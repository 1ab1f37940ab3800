"""Arrivals, completed or not begun: what a crash left in between is finished or forgotten.

The commit of a delivery's rows to its table is the one moment at which it happened. Before it, an intent is recorded: the
whole arrival, and the position the commit will carry. Whoever comes next looks whether the table has reached that position:
if so the arrival is recorded, with its event and pins, in one transaction; if not, the intent is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from tidemill.core.errors import unknown
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import Event, Pin, Position
from tidemill.core.scope import Scope
from tidemill.stores.artifacts.protocol import ArtifactStore
from tidemill.stores.metadata.protocol import MetadataStore, Writer
from tidemill.stores.tables.protocol import TableStore

INGEST, PUSH = "ingest", "push"
"""The consumers whose positions stand in a source's table: sequences of deliveries, offsets of pushed rows."""


@dataclass(frozen=True)
class Ledger:
    """Records arrivals. All calls about one source are made under the guard of its table."""

    scope: Scope
    metadata: MetadataStore
    artifacts: ArtifactStore
    tables: TableStore

    def reserve(self, source: str, rows: int) -> int:
        """Take ingest sequence numbers for rows; returns the first. Numbers of a failed delivery are never used again."""
        with self.metadata.write() as writer:
            return writer.next(f"ingest/{source}", by=max(rows, 1))

    @contextmanager
    def arriving(self, arrival: Arrival, consumer: str, position: int) -> Iterator[None]:
        """Commit the rows of an arrival to its table inside the block, with `once={consumer: position}`."""
        feed = self.artifacts.put(msgspec.json.encode((consumer, arrival)))
        with self.metadata.write() as writer:
            writer.put(
                Position(**self.scope.stamp(), consumer=self._intents(arrival.source), feed=feed, position=position)
            )
        try:
            yield
        finally:
            self.settle(arrival.source)

    def settle(self, source: str) -> None:
        """Finish or forget what was begun."""
        for intent in self._begun(source):
            consumer, arrival = msgspec.json.decode(self.artifacts.get(intent.feed), type=tuple[str, Arrival])
            reached = self.tables.position(arrival.table, consumer)
            with self.metadata.write() as writer:
                if reached is not None and reached >= intent.position:
                    self._record(writer, arrival)
                writer.remove(Position, {"consumer": intent.consumer, "feed": intent.feed})
            self.artifacts.delete(intent.feed)

    def begun(self) -> set[str]:
        """The sources for which something waits to be settled."""
        pattern = ("like", self._intents("%"))
        with self.metadata.read() as reader:
            return {intent.consumer.rpartition("/")[2] for intent in reader.find(Position, {"consumer": pattern})}

    def has_begun(self, source: str) -> bool:
        """Whether something waits to be settled."""
        return bool(self._begun(source))

    def _begun(self, source: str) -> list[Position]:
        with self.metadata.read() as reader:
            return reader.find(Position, {"consumer": self._intents(source)})

    def _intents(self, source: str) -> str:
        return f"arriving/{self.scope.project}/{source}"

    def _record(self, writer: Writer, arrival: Arrival) -> None:
        done = msgspec.structs.replace(arrival, table_version=self.tables.version(arrival.table) or 0)
        writer.add(done)
        if done.archive is not None:
            writer.put(Pin(**self.scope.stamp(), target=f"artifact/{done.archive}", owner=f"arrival/{done.id}"))
        body = {
            "arrival": done.id, "origin": done.origin, "rows": done.rows, "quarantined": done.quarantined,
            "table": done.table, "table_version": done.table_version, "first_seq": done.first_seq,
            "first_ts": done.first_ts, "last_ts": done.last_ts,
        }  # fmt: skip
        writer.emit(Event(**self.scope.stamp(), kind="data.arrived", subject=f"source/{done.source}", body=body))

    def earlier(self, source: str, archive: str) -> Arrival | None:
        """The arrival of the same bytes."""
        where = {"project": self.scope.project, "source": source, "archive": archive}
        with self.metadata.read() as reader:
            found = reader.find(Arrival, where, limit=1)
        return found[0] if found else None

    def arrival(self, arrival_id: str) -> Arrival:
        """A recorded arrival."""
        with self.metadata.read() as reader:
            found = reader.get(Arrival, id=arrival_id)
        if found is None:
            raise unknown("arrival", arrival_id, ())
        return found

    def arrivals(self, source: str | None) -> list[Arrival]:
        """The arrivals of a source, or of all, oldest first."""
        where = {"project": self.scope.project} | ({} if source is None else {"source": source})
        with self.metadata.read() as reader:
            return reader.find(Arrival, where, order=("created_at", "id"))

    def last_ts(self, source: str) -> int | None:
        """The newest event time that arrived."""
        where = {"project": self.scope.project, "source": source}
        with self.metadata.read() as reader:
            newest = reader.find(Arrival, where, order=("-last_ts",), limit=1)
        return newest[0].last_ts if newest else None
