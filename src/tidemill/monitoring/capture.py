"""Capture: what endpoints saw and answered, first in a stream, then in a table.

Serving appends one message per request, which is durable when `append` returns. Compaction moves whole messages into the
table `captures/ENDPOINT`, each exactly once, however often it is killed.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from tidemill.core.errors import NotFound
from tidemill.core.protocols import Captured
from tidemill.stores.streams.protocol import StreamStore
from tidemill.stores.tables.protocol import TableStore

ROW_ID, TIME = "row_id", "prediction_time"

CHUNK = 2_000
"""Messages of a partition per commit of the table."""

JOIN_EVERY = 64
"""Versions of the table after which its small files are joined."""

_HEAD = struct.Struct("<I")


class Header(msgspec.Struct, array_like=True, frozen=True):
    """What is captured of a request beside its rows."""

    generation: int
    request_id: str
    received_at: int
    duration_us: int


class StreamCapture:
    """The sink serving writes to; see `CaptureSink`.

    Args:
        streams: Where messages are kept until compaction.
        worker: Name of the partition; each process needs its own. The process id when absent.
    """

    def __init__(self, streams: StreamStore, worker: str | None = None) -> None:
        self._streams = streams
        self._worker = worker

    def append(self, captured: Captured) -> None:
        """Store one request; it survives kill -9 of any process once this returns."""
        worker = self._worker or f"p{os.getpid()}"
        self._streams.append(topic_of(captured.endpoint), worker, [encode(captured)])


class Captures:
    """The captured rows of endpoints.

    Args:
        streams: What serving appended.
        tables: Where the rows end up.
    """

    def __init__(self, streams: StreamStore, tables: TableStore) -> None:
        self._streams = streams
        self._tables = tables

    def compact(self, endpoint: str) -> int:
        """Move what was appended into the table; returns how many messages that were.

        Safe to be called by several processes, and to be killed at any point.
        """
        topic = topic_of(endpoint)
        with self._tables.guard(topic):
            partitions = self._streams.partitions(topic)
            moved = count = self._compact_round(topic, partitions)
            while count >= CHUNK:  # else it took all there was when it began; what came since comes next time
                count = self._compact_round(topic, partitions)
                moved += count
            version = self._tables.version(topic)
            if moved and version is not None and version % JOIN_EVERY == JOIN_EVERY - 1:
                self._tables.compact(topic)
        return moved

    def read(self, endpoint: str, start: int | None = None, end: int | None = None) -> pl.DataFrame:
        """The rows predicted for times in [start, end), in order of time and id, as far as they are in the table.

        Args:
            endpoint: The endpoint.
            start: Microseconds UTC; from the first when absent.
            end: Microseconds UTC, exclusive; to the last when absent.
        """
        first, last = -(2**63) if start is None else start, 2**63 - 1 if end is None else end
        rows = self._scan(endpoint).filter(pl.col(TIME).is_between(first, last, closed="left")).collect()
        return _reunited(rows).sort(TIME, ROW_ID, "received_at", "request_id")

    def windows(self, endpoint: str, spans: Sequence[tuple[int, int]]) -> list[pl.DataFrame]:
        """The rows predicted for times in each of some spans, in one read of the table; see `read`.

        Args:
            endpoint: The endpoint.
            spans: Start and end of each, microseconds UTC, the end exclusive.
        """
        inside = [pl.col(TIME).is_between(start, end, closed="left") for start, end in spans]
        rows = self._scan(endpoint).filter(pl.any_horizontal(inside)).collect()
        ordered = _reunited(rows).sort(TIME, ROW_ID, "received_at", "request_id")
        return [ordered.filter(one) for one in inside]

    def received(self, endpoint: str, start: int, end: int) -> pl.DataFrame:
        """The rows of requests received in [start, end), microseconds, in the order of `read`, as far as in the table."""
        rows = self._scan(endpoint).filter(pl.col("received_at").is_between(start, end, closed="left")).collect()
        return _reunited(rows).sort(TIME, ROW_ID, "received_at", "request_id")

    def times(self, endpoint: str, where: pl.Expr) -> pl.Series:
        """The prediction times of the rows that fulfil a condition on `row_id`, `prediction_time` or `received_at`."""
        return self._scan(endpoint).filter(where).select(TIME).collect()[TIME]

    def arrivals(self, endpoint: str, where: pl.Expr) -> pl.DataFrame:
        """Columns `prediction_time` and `received_at` of the rows that fulfil a condition on them."""
        return self._scan(endpoint).filter(where).select(TIME, "received_at").collect()

    def ids(self, endpoint: str) -> pl.Series:
        """The ids of all rows."""
        return self._scan(endpoint).select(ROW_ID).collect()[ROW_ID]

    def _scan(self, endpoint: str) -> pl.LazyFrame:
        try:
            return self._tables.scan(topic_of(endpoint))
        except NotFound:  # nothing was captured yet
            return _nothing().lazy()

    def _compact_round(self, topic: str, partitions: Sequence[str]) -> int:
        """Move some messages of every partition in one commit; returns how many."""
        payloads: list[bytes] = []
        moved: dict[str, int] = {}
        ends = {one: self._tables.position(topic, _consumer(topic, one)) or 0 for one in partitions}
        for partition, done in ends.items():
            if messages := self._streams.read(topic, partition, done, CHUNK):
                payloads += [message.payload for message in messages]
                moved[partition] = messages[-1].offset + 1
        if payloads:
            once = {_consumer(topic, partition): end for partition, end in moved.items()}
            self._tables.append(topic, fitted(decode(payloads), self._schema(topic)), once=once)
        for partition, end in {**ends, **moved}.items():
            self._streams.trim(topic, partition, end)
        return len(payloads)

    def _schema(self, topic: str) -> pl.Schema:
        known = self._tables.version(topic) is not None
        return self._tables.scan(topic).collect_schema() if known else pl.Schema()


def _consumer(topic: str, partition: str) -> str:
    return f"{topic}/{partition}"


def topic_of(endpoint: str) -> str:
    """The topic, and the table, of an endpoint's captures."""
    return f"captures/{endpoint}"


def encode(captured: Captured) -> bytes:
    """One request as bytes: length of the header, header (msgpack), rows (Arrow IPC stream, uncompressed)."""
    header = msgspec.msgpack.encode(
        Header(captured.generation, captured.request_id, captured.received_at, captured.duration_us)
    )
    buffer = io.BytesIO()
    captured.rows.write_ipc_stream(buffer, compression="uncompressed")
    return _HEAD.pack(len(header)) + header + buffer.getvalue()


def decode(payloads: Sequence[bytes]) -> pl.DataFrame:
    """The rows of some requests, at least one, with what is stamped on each row.

    A column of two types within them is what both can be cast to.
    """
    headers, frames = zip(*(_taken_apart(payload) for payload in payloads), strict=True)
    rows = _plain(pl.concat(frames, how="diagonal_relaxed"))
    heights = [frame.height for frame in frames]
    numbers = {
        name: pl.Series(np.repeat(np.array([getattr(one, name) for one in headers], dtype=np.int64), heights))
        for name in ("generation", "received_at", "duration_us")
    }
    texts = [one.request_id for one, height in zip(headers, heights, strict=True) for _ in range(height)]
    time = (
        rows[TIME].cast(pl.Int64) if TIME in rows.columns else pl.repeat(None, rows.height, dtype=pl.Int64, eager=True)
    )
    missing = time.is_null()
    return rows.with_columns(
        time.zip_with(~missing, numbers["received_at"]).alias(TIME),
        pl.Series("request_id", texts, dtype=pl.String),
        **numbers,
    )


def _taken_apart(payload: bytes) -> tuple[Header, pl.DataFrame]:
    (length,) = _HEAD.unpack_from(payload)
    start = _HEAD.size + length
    header = msgspec.msgpack.decode(payload[_HEAD.size : start], type=Header)
    rows = pl.read_ipc_stream(io.BytesIO(payload[start:]))
    if any(isinstance(dtype, pl.Enum | pl.Categorical) for dtype in rows.dtypes):
        # Two requests may know different categories, which do not join.
        rows = rows.with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
    return header, rows


def fitted(rows: pl.DataFrame, table: pl.Schema) -> pl.DataFrame:
    """Rows whose dtypes fit a table: what a generation captured with another type than the one before is kept beside it.

    Whole numbers go into a column of decimals; any other value into a column `NAME@TYPE`, which reading joins again.
    """
    columns = []
    for series in rows.get_columns():
        wanted = table.get(series.name)
        if wanted is None or wanted in (series.dtype, pl.Null) or series.dtype == pl.Null:
            columns.append(series)
        elif wanted == pl.Float64 and series.dtype == pl.Int64:
            columns.append(series.cast(pl.Float64))
        else:
            columns.append(series.alias(f"{series.name}@{str(series.dtype).lower()}"))
    return pl.DataFrame([series for series in columns if series.dtype != pl.Null])


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in few dtypes, so that generations seldom differ: whole numbers Int64, decimals Float64."""
    casts = {}
    for name, dtype in rows.schema.items():
        if name == ROW_ID:
            casts[name] = pl.col(name).cast(pl.String)
        elif dtype.is_integer():
            casts[name] = pl.col(name).cast(pl.Int64)
        elif dtype.is_float():
            casts[name] = pl.col(name).cast(pl.Float64)
    return rows.with_columns(**casts)


def _reunited(rows: pl.DataFrame) -> pl.DataFrame:
    """Joins `NAME@TYPE` columns with `NAME`: as numbers where all are numbers, else as text."""
    beside = [name for name in rows.columns if "@" in name]
    for name in dict.fromkeys(one.partition("@")[0] for one in beside):
        parts = [pl.col(one) for one in (name, *beside) if one.partition("@")[0] == name and one in rows.columns]
        numeric = all(rows.schema[part.meta.output_name()].is_numeric() for part in parts)
        kind = pl.Float64 if numeric else pl.String
        rows = rows.with_columns(pl.coalesce([part.cast(kind) for part in parts]).alias(name))
    return rows.drop(beside)


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(
        schema={ROW_ID: pl.String, TIME: pl.Int64, "request_id": pl.String, "generation": pl.Int64,
                "received_at": pl.Int64, "duration_us": pl.Int64},
    )  # fmt: skip
