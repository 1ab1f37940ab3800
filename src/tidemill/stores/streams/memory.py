"""Streams in the memory of one process; gone with it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from tidemill.core.ids import check_name
from tidemill.stores.streams.protocol import Message
from tidemill.stores.streams.segments import check_topic


class MemoryStreams:
    """Logs for tests and experiments; see `StreamStore`. Any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        self._forgotten: dict[tuple[str, str], int] = defaultdict(int)

    def append(self, topic: str, partition: str, payloads: Sequence[bytes], *, sync: bool = False) -> int:
        """Add messages in order; returns the offset after the last. `sync` has nothing to wait for."""
        name = _checked(topic, partition)
        with self._lock:
            self._logs[name] += map(bytes, payloads)
            return self._forgotten[name] + len(self._logs[name])

    def read(self, topic: str, partition: str, start: int, limit: int = 1000) -> list[Message]:
        """Up to `limit` messages from an offset on; from the oldest kept when that one is forgotten."""
        name = _checked(topic, partition)
        with self._lock:
            base = self._forgotten.get(name, 0)
            begin = max(start - base, 0)
            payloads = self._logs.get(name, [])[begin : begin + max(limit, 0)]
        return [Message(base + begin + number, payload) for number, payload in enumerate(payloads)]

    def end(self, topic: str, partition: str) -> int:
        """The offset the next message will get."""
        name = _checked(topic, partition)
        with self._lock:
            return self._forgotten.get(name, 0) + len(self._logs.get(name, ()))

    def partitions(self, topic: str) -> list[str]:
        """The partitions of a topic, sorted."""
        check_topic(topic)
        with self._lock:
            return sorted(partition for of, partition in self._logs if of == topic)

    def topics(self) -> list[str]:
        """All topics, sorted."""
        with self._lock:
            return sorted({topic for topic, _ in self._logs})

    def trim(self, topic: str, partition: str, before: int) -> None:
        """Forget messages below `before`."""
        name = _checked(topic, partition)
        with self._lock:
            if name in self._logs:
                gone = min(max(before - self._forgotten[name], 0), len(self._logs[name]))
                del self._logs[name][:gone]
                self._forgotten[name] += gone

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._logs.clear()
            self._forgotten.clear()


def _checked(topic: str, partition: str) -> tuple[str, str]:
    return check_topic(topic), check_name(partition, "partition")
