"""Reading events from a broker by position, and sending some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

Checkpoint = Callable[[str], str | None]
"""The position after which to go on in a partition; None: from its earliest event. `positions.get` of a dict is one."""


def earliest(partition: str) -> str | None:
    """The checkpoint of one who has read nothing yet.

    Args:
        partition: The partition.
    """
    return None


class Event(NamedTuple):
    """One event and its place."""

    partition: str
    """The unit of order: events of one partition come in order, and to one process of a group at a time."""
    position: str
    """Its place in the partition. Positions of one partition are ordered as texts (`>` means later), and are the same
    whenever and by whomever the event is read, if the consumer `replays`."""
    payload: bytes
    key: bytes | None = None
    published: int | None = None
    """When the broker took it, microseconds since the epoch; None when the broker does not say."""
    redelivered: bool = False
    """Whether the broker says that it may have been delivered before; always False of a broker that `replays`."""


class Consumer(Protocol):
    """Reads the events of one URL for one group of processes. One thread at a time.

    **Nothing is lost.** What decides where reading goes on is the caller's own checkpoint, kept together with what it made
    of the events. An event that was polled, but is not covered by the checkpoint when the process dies, comes again.

    **Nothing counts twice, if the checkpoint is compared.** A process that was slow or stopped may lose a partition to
    another one while it still holds events of it. So whoever stores a batch must do it in one atomic step with the new
    checkpoint, and only if the stored checkpoint is still the one the batch started from; else the batch is thrown away.

    **A broker may go away.** Then `poll` tries again with growing pauses until its timeout has passed and raises
    `Unavailable`. The consumer stays usable: the next `poll` goes on after the last event that was returned; or after the
    checkpoint, where the broker was away for so long that another process may have read on.

    Example:
        Read the events of one partition, from the beginning:

        >>> import tempfile
        >>> from contextlib import closing
        >>> from pathlib import Path
        >>> from tidemill.stores.consumers.open import open_consumer, open_producer
        >>> home = Path(tempfile.mkdtemp())
        >>> with closing(open_producer("stream:orders", home)) as producer:
        ...     producer.send([b"one", b"two"])
        >>> with closing(open_consumer("stream:orders", home, group="mill")) as consumer:
        ...     [event.payload for event in consumer.poll(10, timeout=1.0)]
        [b'one', b'two']
    """

    replays: bool
    """Whether the broker keeps what was read, so that `seek` goes back and a position is the same for ever.

    False of RabbitMQ queues: there `commit` acknowledges, what was not acknowledged comes again with `redelivered`, and
    counting nothing twice rests on the ids of the events alone."""

    def poll(self, limit: int, timeout: float) -> list[Event]:
        """The next events, in order within each partition; empty when none came.

        Memory is bounded by `limit` events and what the backend fetches ahead (see its docstring).

        Args:
            limit: The most events to return, at least 1.
            timeout: Seconds to wait for the first one; 0 looks once.

        Raises:
            Unavailable: The broker did not answer within `timeout`; call again.
            NotFound: The broker answers, but has no such stream, topic or queue, and will not by waiting.
            InvalidData: The partition ends before the checkpoint, so it is not the one the checkpoint was made of.
        """
        ...

    def seek(self, checkpoint: Checkpoint) -> None:
        """Go on after these positions, forgetting what was polled; without any call, reading starts at the earliest.

        Args:
            checkpoint: Called with each partition when it is next read, and again whenever a partition comes to this
                process from another one: so it should look into the store where the group keeps its positions.
        """
        ...

    def commit(self, positions: Mapping[str, str]) -> None:
        """Tell the broker how far the events are stored: up to and including these positions.

        It is the acknowledgement of a broker that does not replay, and a display of progress for others.

        Args:
            positions: Position by partition, of events that this consumer polled.

        Raises:
            Unavailable: The broker does not answer. Nothing is lost by going on.
        """
        ...

    def lag(self) -> dict[str, int]:
        """The events not yet polled, for each partition that this process holds now.

        Raises:
            Unavailable: The broker does not answer.
        """
        ...

    def close(self) -> None:
        """Leave the group, so that others take over at once. Uncommitted events are not lost."""
        ...


class Producer(Protocol):
    """Sends events: dead letters, tests, demonstrations. One thread at a time."""

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        """Send events in order, and wait until the broker has them all.

        Args:
            payloads: The events.
            keys: The key of each; a broker that divides by key keeps the order of one key. None: without keys.

        Raises:
            Unavailable: The broker did not take them all within the producer's patience; some may be there.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Broker(Protocol):
    """What the URL of a broker names. Nothing is connected yet."""

    def consumer(self, group: str) -> Consumer:
        """A reader for one group of processes."""
        ...

    def producer(self) -> Producer:
        """A sender."""
        ...
