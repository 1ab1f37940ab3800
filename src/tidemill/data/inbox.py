"""Pushed rows on their way: durable in a stream, until they are compacted into the table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.data.reading import read_frame
from tidemill.data.values import frame_of_records
from tidemill.stores.streams.protocol import StreamStore

_PARTITION = "main"
_BATCH = 1000


class Batch(NamedTuple):
    """Rows read from an inbox."""

    rows: pl.DataFrame | None
    """None when there were none."""
    end: int
    """The position after them."""


@dataclass(frozen=True)
class Inbox:
    """The pushed rows of one table, one message per push.

    Args:
        streams: Where they are kept.
        topic: The table's name.
    """

    streams: StreamStore
    topic: str

    def add(self, rows: pl.DataFrame) -> int:
        """Append rows; they survive a crash once this returns. Returns the position after them."""
        buffer = io.BytesIO()
        rows.write_ipc_stream(buffer)
        return self.streams.append(self.topic, _PARTITION, [buffer.getvalue()])

    def end(self) -> int:
        """The position after the last rows."""
        return self.streams.end(self.topic, _PARTITION)

    def read(self, start: int) -> Batch:
        """All rows from a position on."""
        frames, end = [], start
        for offset, frame in self._frames(start):
            frames.append(frame)
            end = offset + 1
        return Batch(pl.concat(frames, how="diagonal_relaxed") if frames else None, end)

    def _frames(self, start: int) -> Iterator[tuple[int, pl.DataFrame]]:
        while messages := self.streams.read(self.topic, _PARTITION, start, _BATCH):
            for message in messages:
                yield message.offset, pl.read_ipc_stream(message.payload)
            start = messages[-1].offset + 1

    def trim(self, before: int) -> None:
        """Forget rows below a position."""
        self.streams.trim(self.topic, _PARTITION, before)


def pushed_frame(rows: Any) -> pl.DataFrame:
    """Pushed rows as a frame.

    Args:
        rows: A frame, or a list of dictionaries. A column whose values are of several types comes as text.

    Raises:
        InvalidArgument: They are neither.
    """
    if not isinstance(rows, list | tuple):
        return read_frame(rows)
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidArgument("these are no rows", expected="a frame, or a list of dictionaries with at least one")
    return read_frame(frame_of_records(rows))
