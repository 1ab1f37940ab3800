"""Streams: durable logs of messages, read by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """One message and its place."""

    offset: int
    payload: bytes


class StreamStore(Protocol):
    """Topics divided into partitions. One process appends to a partition at a time; any number read.

    A message is acknowledged when `append` returns, and then survives kill -9. A torn last message is never seen.
    """

    def append(self, topic: str, partition: str, payloads: Sequence[bytes], *, sync: bool = False) -> int:
        """Add messages in order; returns the offset after the last.

        Args:
            topic: The topic; created by its first message.
            partition: The partition; a writer that appends alone uses one of its own and needs no lock.
            payloads: The messages.
            sync: Whether to wait for the disk, so that a power cut loses nothing either.
        """
        ...

    def read(self, topic: str, partition: str, start: int, limit: int = 1000) -> list[Message]:
        """Up to `limit` messages from an offset on. Offsets count messages from 0."""
        ...

    def end(self, topic: str, partition: str) -> int:
        """The offset the next message will get."""
        ...

    def partitions(self, topic: str) -> list[str]: ...

    def topics(self) -> list[str]: ...

    def trim(self, topic: str, partition: str, before: int) -> None:
        """Forget messages with an offset below `before`, as far as whole segments allow."""
        ...

    def close(self) -> None: ...


Messages = Iterator[Message]
