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

    def marker(self) -> Marker:
        """The marker now."""
        end = self._streams.end(self._topic, _PARTITION)
        last = self._streams.read(self._topic, _PARTITION, end - 1, 1) if end else []
        return msgspec.msgpack.decode(last[0].payload, type=Marker) if last else Marker()

    def positions(self) -> dict[str, dict[str, str]]:
        """The last position taken, by feed and partition."""
        marker, known = self.marker(), self._known
        if marker.inbox > known.inbox:  # what lies between may be trimmed
            known = Marker(marker.inbox, latest(known.positions, marker.positions))
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
        self.positions()
        marker = Marker(end, self._known.positions)
        after = self._streams.append(self._topic, _PARTITION, [msgspec.msgpack.encode(marker)])
        self._streams.trim(self._topic, _PARTITION, after - 1)
        self._inbox.trim(end)
