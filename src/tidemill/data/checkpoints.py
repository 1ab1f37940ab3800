"""How far the inbox of a source was compacted, and how far brokers were read for it."""

from __future__ import annotations

import msgspec

from tidemill.data.inbox import Inbox
from tidemill.data.layout import checkpoints_of, table_of
from tidemill.data.parcels import Positions, latest
from tidemill.stores.streams.protocol import StreamStore

_PARTITION = "main"


class Marker(msgspec.Struct, frozen=True):
    """Everything in the inbox before `inbox` is in the tables, and `positions` is what it said about brokers."""

    inbox: int = 0
    positions: dict[str, dict[str, str]] = {}


class Checkpoints:
    """The checkpoints of one source.

    A position is durable in the message of the inbox that holds the rows it covers, and in no other place until those rows
    are in the tables; then a marker takes it over, and only then is the inbox trimmed.

    Args:
        streams: Where inboxes and markers are kept.
        source: The source's name.
    """

    def __init__(self, streams: StreamStore, source: str) -> None:
        self._streams = streams
        self._topic = checkpoints_of(source)
        self._inbox = Inbox(streams, table_of(source))
        self._known = Marker()
        self._marked = 0
        """The end of the markers when the last one was adopted."""

    def marker(self) -> Marker:
        """The marker now."""
        return self._marker(self._streams.end(self._topic, _PARTITION))

    def positions(self) -> dict[str, dict[str, str]]:
        """The last position taken, by feed and partition."""
        marked = self._streams.end(self._topic, _PARTITION)
        if marked != self._marked:  # what it covers may be trimmed, and another process may have forgotten a feed
            self._known, self._marked = self._marker(marked), marked
        known = self._known
        for letter in self._inbox.letters(known.inbox):
            known = Marker(letter.offset + 1, latest(known.positions, letter.parcel.positions))
        self._known = known
        return known.positions

    def took(self, positions: Positions, end: int) -> None:
        """Learn what was just appended, as the only message since `positions` was called."""
        if end == self._known.inbox + 1:
            self._known = Marker(end, latest(self._known.positions, positions))

    def compacted(self, end: int) -> None:
        """Everything before a position of the inbox is in the tables: note it, then forget it there."""
        self._mark(Marker(end, self.positions()))
        self._inbox.trim(end)

    def forget(self, feed: str) -> None:
        """Forget the positions of a feed. The inbox is compacted."""
        kept = {name: partitions for name, partitions in self.positions().items() if name != feed}
        self._mark(Marker(self._known.inbox, kept))

    def _mark(self, marker: Marker) -> None:
        after = self._streams.append(self._topic, _PARTITION, [msgspec.msgpack.encode(marker)])
        self._streams.trim(self._topic, _PARTITION, after - 1)

    def _marker(self, end: int) -> Marker:
        last = self._streams.read(self._topic, _PARTITION, end - 1, 1) if end else []
        return msgspec.msgpack.decode(last[0].payload, type=Marker) if last else Marker()
