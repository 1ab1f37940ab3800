"""What one message of an inbox holds: everything that has to become durable at once."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import polars as pl

_MAGIC = b"TMP1"
"""How a parcel begins that is more than rows. An Arrow stream begins with four bytes of ones."""

Positions = Mapping[str, Mapping[str, str]]
"""The position of the last event that was taken, by feed and partition."""


@dataclass(frozen=True)
class Parcel:
    """Rows for the table, for the quarantine and for the dead letters, and how far a broker was read when they came.

    A message is written whole or not at all: whoever finds the rows finds the positions they came from.
    """

    rows: pl.DataFrame | None = None
    """Accepted rows, system columns included."""
    rejected: pl.DataFrame | None = None
    """Rows for the quarantine."""
    dead: pl.DataFrame | None = None
    """Events that are no rows."""
    positions: Positions = field(default_factory=dict)

    def pack(self) -> bytes:
        """The parcel as bytes: an Arrow stream where there are but rows."""
        frames = [_arrow(frame) for frame in (self.rows, self.rejected, self.dead)]
        if frames[0] is not None and not any(frames[1:]) and not self.positions:
            return frames[0]
        return _MAGIC + msgspec.msgpack.encode((*frames, self.positions))


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """A parcel whose frames are read when they are asked for."""

    rows: bytes | None = None
    rejected: bytes | None = None
    dead: bytes | None = None
    positions: dict[str, dict[str, str]] = {}


def unpack(payload: bytes) -> Packed:
    """What `Parcel.pack` packed.

    Example:
        >>> unpack(Parcel(positions={"kafka:trips": {"0": "17"}}).pack()).positions
        {'kafka:trips': {'0': '17'}}
    """
    if not payload.startswith(_MAGIC):
        return Packed(rows=payload)
    return msgspec.msgpack.decode(memoryview(payload)[len(_MAGIC) :], type=Packed)


def frame_of(arrow: bytes) -> pl.DataFrame:
    """The rows of one part of a packed parcel."""
    return pl.read_ipc_stream(arrow)


def latest(known: Positions, more: Positions) -> dict[str, dict[str, str]]:
    """The later of two positions, for each partition of each feed.

    Example:
        >>> latest({"f": {"0": "5", "1": "7"}}, {"f": {"0": "6", "1": "3"}, "g": {"0": "1"}})
        {'f': {'0': '6', '1': '7'}, 'g': {'0': '1'}}
    """
    found = {feed: dict(partitions) for feed, partitions in known.items()}
    for feed, partitions in more.items():
        into = found.setdefault(feed, {})
        for partition, position in partitions.items():
            into[partition] = max(position, into.get(partition, position))
    return found


def _arrow(frame: pl.DataFrame | None) -> bytes | None:
    if frame is None or not frame.height:
        return None
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()
