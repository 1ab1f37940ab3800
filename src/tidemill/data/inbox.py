"""Pushed rows on their way: durable in a stream, until they are compacted into the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.data.parcels import Packed, Parcel, frame_of, unpack
from tidemill.data.reading import read_frame
from tidemill.data.values import frame_of_records
from tidemill.stores.streams.protocol import StreamStore

_PARTITION = "main"
_BATCH = 1000


class Letter(NamedTuple):
    """A parcel and its place in the inbox."""

    offset: int
    parcel: Packed


class Batch(NamedTuple):
    """Rows read from an inbox."""

    rows: pl.DataFrame | None
    """None when there were none."""
    end: int
    """The position after them."""


@dataclass(frozen=True)
class Inbox:
    """What was pushed to one table and is not compacted yet, one message per push.

    Args:
        streams: Where it is kept.
        topic: The table's name.
    """

    streams: StreamStore
    topic: str

    def add(self, parcel: Parcel) -> int:
        """Append a parcel; it survives a crash once this returns. Returns the position after it."""
        return self.streams.append(self.topic, _PARTITION, [parcel.pack()])

    def end(self) -> int:
        """The position after the last parcel."""
        return self.streams.end(self.topic, _PARTITION)

    def read(self, start: int) -> Batch:
        """All accepted rows from a position on."""
        letters = list(self.letters(start))
        rows = [letter.parcel.rows for letter in letters if letter.parcel.rows is not None]
        return Batch(joined(rows), letters[-1].offset + 1 if letters else start)

    def letters(self, start: int) -> Iterator[Letter]:
        """All parcels from a position on."""
        while messages := self.streams.read(self.topic, _PARTITION, start, _BATCH):
            for message in messages:
                yield Letter(message.offset, unpack(message.payload))
            start = messages[-1].offset + 1

    def trim(self, before: int) -> None:
        """Forget parcels below a position."""
        self.streams.trim(self.topic, _PARTITION, before)


def joined(parts: Sequence[bytes]) -> pl.DataFrame | None:
    """The rows of several parcels; None without any."""
    return pl.concat(map(frame_of, parts), how="diagonal_relaxed") if parts else None


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
