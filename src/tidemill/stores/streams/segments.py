"""Streams in files: `TOPIC/PARTITION/FIRST_OFFSET.log`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tidemill.core.ids import check_name
from tidemill.stores.streams.partition import Partition
from tidemill.stores.streams.protocol import Message

SEGMENT_BYTES = 16 << 20


class FileStreams:
    """Durable logs in a folder; see `StreamStore`.

    Args:
        root: The folder; created by the first message.
        segment_bytes: The size from which on a segment file gets a successor.
    """

    def __init__(self, root: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._partitions: dict[tuple[str, str], Partition] = {}
        self._pid = os.getpid()

    def append(self, topic: str, partition: str, payloads: Sequence[bytes], *, sync: bool = False) -> int:
        """Add messages in order; returns the offset after the last."""
        return self._partition(topic, partition).append(payloads, sync=sync)

    def read(self, topic: str, partition: str, start: int, limit: int = 1000) -> list[Message]:
        """Up to `limit` messages from an offset on."""
        return self._partition(topic, partition).read(start, limit)

    def end(self, topic: str, partition: str) -> int:
        """The offset the next message will get."""
        return self._partition(topic, partition).end()

    def partitions(self, topic: str) -> list[str]:
        """The partitions of a topic, sorted."""
        folder = self._root / check_topic(topic)
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if _is_partition(entry))

    def topics(self) -> list[str]:
        """All topics, sorted."""
        found = {path.parent.parent for path in self._root.rglob("*.log")}
        return sorted(folder.relative_to(self._root).as_posix() for folder in found)

    def trim(self, topic: str, partition: str, before: int) -> None:
        """Forget messages below `before`, as far as whole segments allow."""
        self._partition(topic, partition).trim(before)

    def close(self) -> None:
        """Close the files."""
        for partition in list(self._partitions.values()):
            partition.close()
        self._partitions.clear()

    def _partition(self, topic: str, partition: str) -> Partition:
        if self._pid != os.getpid():
            self._partitions, self._pid = {}, os.getpid()  # a forked child opens files of its own
        found = self._partitions.get((topic, partition))
        if found is None:
            folder = self._root / check_topic(topic) / check_name(partition, "partition")
            # Of two threads that come first together, both get the one that is kept.
            fresh = Partition(self._root, folder, self._segment_bytes)
            found = self._partitions.setdefault((topic, partition), fresh)
        return found


def check_topic(topic: str) -> str:
    """The topic, if it is names joined by `/`.

    Raises:
        InvalidArgument: It is not.
    """
    for name in topic.split("/"):
        check_name(name, f"part of a topic (in {topic!r})")
    return topic


def _is_partition(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.log"), None) is not None
