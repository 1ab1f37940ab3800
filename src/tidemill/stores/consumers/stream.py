"""Events in the project's own streams: `stream:TOPIC`.

Options: `partition=NAME` reads that partition only, and sends to it instead of to `main`. The streams are those in the
home (`file:`); keys are not kept.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from tidemill.core.errors import InvalidArgument
from tidemill.core.ids import check_name
from tidemill.stores.consumers.protocol import Checkpoint, Event
from tidemill.stores.consumers.sharing import Sharing, made_anew
from tidemill.stores.streams.open import open_streams
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.streams.segments import check_topic

_LOOK_AGAIN = 0.02
"""Seconds between two looks at streams in which nothing is new."""

_RENEW = 0.9
"""Three times the seconds after which a process sees that another one came or went."""


class StreamBroker:
    """The streams in the home; see `Broker`."""

    def __init__(self, url: str, home: Path) -> None:
        topic, _, query = url.partition(":")[2].removeprefix("//").partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for option in options.keys() - {"partition"}:
            raise InvalidArgument(f"the URL of stream has no option {option!r}", known=["partition"])
        self._topic = check_topic(topic)
        self._partition = options.get("partition")
        if self._partition is not None:
            check_name(self._partition, "partition")
        self._home = home

    def consumer(self, group: str) -> StreamConsumer:
        folder = self._home / "consumers" / group / self._topic / (f"_{self._partition}" if self._partition else "_all")
        return StreamConsumer(open_streams("file:", self._home), self._topic, FileClaims(folder), self._partition)

    def producer(self) -> StreamProducer:
        return StreamProducer(open_streams("file:", self._home), self._topic, self._partition or "main")


class StreamConsumer:
    """Reads a topic of a stream store; see `Consumer`.

    Args:
        streams: The store; closed with the consumer.
        topic: The topic.
        claims: Where the processes of the group see each other.
        partition: The only partition to read; None: all there are and will be.
    """

    replays = True

    def __init__(self, streams: StreamStore, topic: str, claims: FileClaims, partition: str | None = None) -> None:
        self._streams = streams
        self._topic = topic
        self._partition = partition
        self._sharing = Sharing(claims, claims.me, _RENEW, self._partitions)
        self._turn = 0

    def poll(self, limit: int, timeout: float) -> list[Event]:
        deadline = time.monotonic() + timeout
        while True:
            self._sharing.refresh()
            events = self._look(limit)
            left = deadline - time.monotonic()
            if events or left <= 0:
                return events
            time.sleep(min(_LOOK_AGAIN, left))

    def seek(self, checkpoint: Checkpoint) -> None:
        self._sharing.seek(checkpoint)

    def commit(self, positions: Mapping[str, str]) -> None:
        """Nobody is told: the streams keep no record of their readers."""

    def lag(self) -> dict[str, int]:
        self._sharing.refresh()
        return {
            partition: max(self._streams.end(self._topic, partition) - _after(place), 0)
            for partition, place in self._sharing.places.items()
        }

    def close(self) -> None:
        self._sharing.leave()
        self._streams.close()

    def _partitions(self) -> list[str]:
        return self._streams.partitions(self._topic) if self._partition is None else [self._partition]

    def _look(self, limit: int) -> list[Event]:
        places = self._sharing.places
        names = sorted(places)
        self._turn += 1  # so that a partition with much to read does not keep the others waiting
        events: list[Event] = []
        for number in range(len(names)):
            name = names[(self._turn + number) % len(names)]
            start = _after(places[name])
            messages = self._streams.read(self._topic, name, start, limit - len(events))
            if not messages and self._streams.end(self._topic, name) < start:
                raise made_anew(name)
            events += [Event(name, f"{message.offset:020d}", message.payload) for message in messages]
            if messages:
                places[name] = events[-1].position
            if len(events) >= limit:
                break
        return events


class StreamProducer:
    """Appends to one partition of a topic; see `Producer`."""

    def __init__(self, streams: StreamStore, topic: str, partition: str) -> None:
        self._streams = streams
        self._topic = topic
        self._partition = partition

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        """Append the events and wait for the disk; keys are not kept."""
        self._streams.append(self._topic, self._partition, payloads, sync=True)

    def close(self) -> None:
        self._streams.close()


class FileClaims:
    """Claims as locked files in a folder; see `Claims`. The system ends them when a process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self.me = uuid.uuid4().hex
        self._members = folder / "members"
        self._partitions = folder / "partitions"
        self._held: dict[Path, int] = {}

    def members(self) -> list[str]:
        mine = self._members / self.me
        if not mine.exists():  # not yet, or another process took it for a dead one's before it was locked
            self._unlock(mine)
            self._lock(mine)
        return sorted(path.name for path in self._members.iterdir() if path == mine or self._lives(path))

    def take(self, partition: str) -> bool:
        return self._lock(self._partitions / partition)

    def keep(self, partition: str) -> bool:
        return self._partitions / partition in self._held

    def give(self, partition: str) -> None:
        self._unlock(self._partitions / partition)

    def leave(self) -> None:
        (self._members / self.me).unlink(missing_ok=True)
        for path in list(self._held):
            self._unlock(path)

    def _lives(self, path: Path) -> bool:
        if not self._lock(path):
            return True
        path.unlink(missing_ok=True)
        self._unlock(path)
        return False

    def _lock(self, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._held[path] = fd
        return True

    def _unlock(self, path: Path) -> None:
        fd = self._held.pop(path, None)
        if fd is not None:
            os.close(fd)


def _after(place: str | None) -> int:
    return 0 if place is None else int(place) + 1
