"""Events of a broker as rows, and those that are no rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

from tidemill.core.errors import InvalidData
from tidemill.core.specs.sources import SYSTEM_COLUMNS, Source
from tidemill.data.inbox import pushed_frame
from tidemill.data.times import INSTANT
from tidemill.stores.consumers.protocol import Event

SCHEMA = pl.Schema({
    "arrived_at": INSTANT, "reason": pl.String(), "feed": pl.String(), "partition": pl.String(), "position": pl.String(),
    "published": INSTANT, "key": pl.Binary(), "payload": pl.Binary(),
})  # fmt: skip
"""Of a dead letter: when it arrived, why it is no row, where it was read, when the broker took it, and all of it."""


class DeadLetter(NamedTuple):
    """An event that is no row."""

    event: Event
    reason: str


class Decoded(NamedTuple):
    """Events, read."""

    rows: pl.DataFrame | None
    """Their rows; None without any."""
    dead: list[DeadLetter]


def decode(source: Source, events: Sequence[Event]) -> Decoded:
    """Read events in the format of their source.

    Args:
        source: Their source.
        events: The events. One that cannot be read, or has not the columns the source names, becomes a dead letter.

    Raises:
        InvalidData: Each can be read, but not all together: divide them.

    Example:
        >>> events = [Event("0", "1", b'{"speed": 3}'), Event("0", "2", b"{broken")]
        >>> decoded = decode(Source("trips"), events)
        >>> decoded.rows.rows(), decoded.dead[0].reason
        ([(3,)], 'the payload is no JSON: object keys must be strings (byte 1)')
    """
    read = _READERS[source.format]
    contents, dead = [], []
    for event in events:
        try:
            content = _whole(source, read(event.payload))
            _check_columns(source, content)
        except InvalidData as error:
            dead.append(DeadLetter(event, error.found))
        else:
            contents.append(content)
    return Decoded(_together(contents), dead)


def dead_letters(dead: Sequence[DeadLetter], feed: str, now: int) -> pl.DataFrame:
    """Dead letters as rows of `SCHEMA`.

    Args:
        dead: The letters.
        feed: Where they were read.
        now: When, microseconds.
    """
    events = [letter.event for letter in dead]
    columns: dict[str, list[Any]] = {
        "arrived_at": [now] * len(dead), "reason": [letter.reason for letter in dead], "feed": [feed] * len(dead),
        "partition": [event.partition for event in events], "position": [event.position for event in events],
        "published": [event.published for event in events], "key": [event.key for event in events],
        "payload": [event.payload for event in events],
    }  # fmt: skip
    raw = {name: pl.Int64() if dtype == INSTANT else dtype for name, dtype in SCHEMA.items()}
    return pl.DataFrame(columns, schema=raw).cast({"arrived_at": INSTANT, "published": INSTANT})


def _whole(source: Source, content: Any) -> Any:
    """A change, with the image it leaves out."""
    if source.changes is None or source.changes.before is None or not isinstance(content, dict):
        return content
    return {str(source.changes.before): None, str(source.changes.after): None, **content} if content else content


def _check_columns(source: Source, content: Any) -> None:
    columns = content.columns if isinstance(content, pl.DataFrame) else content
    if not len(content):
        raise InvalidData("the event has no columns")
    reserved = [name for name in SYSTEM_COLUMNS if name in columns]
    if reserved:
        raise InvalidData(f"the event has the reserved columns {', '.join(reserved)}")
    missing = [name for name in _needed(source) if name not in columns]
    if missing:
        raise InvalidData(f"the event lacks the column {', '.join(missing)}; it has {', '.join(columns)}")


def _needed(source: Source) -> list[str]:
    """The columns an event must have."""
    if source.clean is not None:  # which may make them of others
        return []
    op = None if source.changes is None else source.changes.op
    images = source.changes is not None and source.changes.before is not None  # which hold the others
    named = (op,) if images else (op, source.time, source.created, *source.id_columns)
    return [name for name in dict.fromkeys(named) if name is not None]


def _together(contents: list[Any]) -> pl.DataFrame | None:
    if not contents:
        return None
    if isinstance(contents[0], pl.DataFrame):
        try:
            together: pl.DataFrame = pl.concat(contents, how="diagonal_relaxed")
            return together
        except pl.exceptions.PolarsError as error:
            raise InvalidData(f"the events' columns do not fit each other: {error}") from None
    return pushed_frame(contents)


def _from_json(payload: bytes) -> dict[str, Any]:
    try:
        return _object(msgspec.json.decode(payload))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidData(f"the payload is no JSON: {_said(error)}") from None


def _from_msgpack(payload: bytes) -> dict[str, Any]:
    try:
        return _object(msgspec.msgpack.decode(payload))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidData(f"the payload is no msgpack: {_said(error)}") from None


def _from_arrow(payload: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(payload)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(f"the payload is no Arrow stream: {_said(error)}") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InvalidData(f"the payload is a {type(value).__name__}, not an object of columns")
    return value


def _said(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].removeprefix("JSON is malformed: ").removeprefix("MessagePack is malformed: ")


_READERS: dict[str, Callable[[bytes], Any]] = {"json": _from_json, "msgpack": _from_msgpack, "arrow": _from_arrow}
