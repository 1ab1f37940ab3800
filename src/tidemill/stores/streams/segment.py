"""One file of a partition: messages from its first offset on."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from tidemill.core.errors import InvalidData
from tidemill.stores.streams.frames import MOST_BYTES, message_length, unpack
from tidemill.stores.streams.protocol import Message

BLOCK_BYTES = 1 << 18
MARK_BYTES = 1 << 16
"""A mark every so many bytes: reading from the middle starts at most that far before."""


class Segment:
    """What this process knows of one segment file: marks, and the end of what it has seen.

    Args:
        folder: The partition's folder.
        first: The offset of the first message.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.first = first
        self.path = folder / f"{first:020d}.log"
        self.end = first
        """The offset after the last message seen."""
        self.size = 0
        """The position after the last message seen; bytes."""
        self._marks = [(first, 0)]

    def read(self, start: int, limit: int) -> list[Message]:
        """Up to `limit` messages from an offset on, as far as they are whole."""
        found: list[Message] = []
        if limit <= 0:
            return found
        for message in self._scan(start):
            if message.offset >= start:
                found.append(message)
                if len(found) == limit:
                    break
        return found

    def advance(self) -> None:
        """See all whole messages there are by now."""
        for _ in self._scan(self.end):
            pass

    def check_end(self, following: int | None) -> None:
        """Whether what follows the messages seen is what a killed writer leaves, and not damage.

        Args:
            following: The first offset of the next segment; None when this is the last.

        Raises:
            InvalidData: Messages that were acknowledged are damaged.
        """
        if following is not None:
            if following != self.end:
                raise self._damaged()
            return
        with self.path.open("rb") as file:
            file.seek(self.size)
            tail = file.read()
        length = message_length(tail, 0)
        if length is None or next(unpack(tail), None) is not None:
            return  # at the end, or somebody appended after we looked
        if next(unpack(tail, length), None) is not None:
            raise self._damaged()

    def saw(self, end: int, size: int) -> None:
        """Remember where messages end."""
        if end > self.end:
            self.end, self.size = end, size
            if size - self._marks[-1][1] >= MARK_BYTES:
                self._marks.append((end, size))

    def forget(self) -> None:
        """See everything anew."""
        self.end, self.size = self.first, 0
        self._marks = [(self.first, 0)]

    def _scan(self, start: int) -> Iterator[Message]:
        offset, position = self._before(start)
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for after, payload in _whole_messages(fd, position):
                self.saw(offset + 1, after)
                yield Message(offset, payload)
                offset += 1
        finally:
            os.close(fd)

    def _before(self, offset: int) -> tuple[int, int]:
        if offset >= self.end:
            return self.end, self.size
        if offset <= self.first:  # a reader that comes from the segment before
            return self.first, 0
        return self._marks[bisect_right(self._marks, (offset, self.size)) - 1]

    def _damaged(self) -> InvalidData:
        return InvalidData(
            f"{self.path} is damaged at byte {self.size}: message {self.end} cannot be read",
            hint="Restore the file from a backup",
        )


def _whole_messages(fd: int, position: int) -> Iterator[tuple[int, bytes]]:
    """Messages of a file from a position on, each with the position after it."""
    wanted = BLOCK_BYTES
    while data := os.pread(fd, wanted, position):
        used = 0
        for used, payload in unpack(data):
            yield position + used, payload
        position += used
        if used == 0:
            length = message_length(data, 0)
            if length is None or length <= len(data) or length > min(MOST_BYTES, os.fstat(fd).st_size - position):
                return
        wanted = length if used == 0 and length is not None else BLOCK_BYTES
