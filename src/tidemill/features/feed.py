"""What a view keeps in the online store, and how rows get there.

A view's definition has a pointer, named after its digest: which generation of its data answers, the columns of its source, and
which ingest sequences are in it. A generation is filled aside and takes over in one transaction; until then the one before
answers. Sequences are remembered as ranges, because rows of two writers may become visible out of order.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.core.errors import NotFound, NotReady, Unavailable
from tidemill.core.specs.features import FeatureView
from tidemill.features.encoding import FixedCodec, VariableCodec, codec_of, encode_keys
from tidemill.features.inputs import with_inputs
from tidemill.features.kernel.changes import ADDED
from tidemill.features.rows import ViewRows, view_rows
from tidemill.features.single import SingleRow
from tidemill.features.spine import micros
from tidemill.stores.online.protocol import NEVER_KNOWN, TIMES, Entries, OnlineReader, OnlineStore, Position

Ints = NDArray[np.int64]

EVENT_ID = ("\0id0", "\0id1")
"""Columns that hold 128 bits of a digest of the event id."""

ROWS_AT_ONCE = 500_000
_FEW = 20_000
"""More rows are brought in order by Polars, on all processors."""
_TWO_WORDS = struct.Struct("<qq")
_POINTER, _GENERATION, _NUMBER = b"pointer", "generation", "number"
_LATEST = 2**63 - 1


class Pointer(msgspec.Struct, frozen=True, array_like=True):
    """Where a view's definition is in the store."""

    generation: int
    columns: bytes
    """The columns of the source, as an empty Arrow file."""
    ranges: list[tuple[int, int]]
    """Ingest sequences applied, both ends included, ascending, without neighbours."""


class Names(NamedTuple):
    """What a view's definition is called in the store."""

    pointer: str

    @classmethod
    def of(cls, view: FeatureView) -> Names:
        return cls.called(view.name, view.digest())

    @classmethod
    def called(cls, view: str, digest: str) -> Names:
        return cls(f"{view}@{digest[:12]}")

    def data(self, generation: int) -> str:
        """The rows of a generation."""
        return f"{self.pointer}/{generation}"

    def reports(self, generation: int) -> str:
        """Every report of every event, for views whose source names its events."""
        return f"{self.pointer}/{generation}/reports"

    def repeated(self, generation: int) -> str:
        """The keys that have an event reported more than once."""
        return f"{self.pointer}/{generation}/repeated"

    def all(self, generation: int) -> tuple[str, str, str]:
        return self.data(generation), self.reports(generation), self.repeated(generation)


def read_pointer(reader: OnlineReader, names: Names) -> Pointer | None:
    """The pointer of a definition; None before it was first materialized."""
    try:
        record = reader.latest(names.pointer, [_POINTER], [_LATEST])[0]
    except NotFound:
        return None
    return None if record is None else msgspec.msgpack.decode(record[TIMES.size :], type=Pointer)


def pointer_number(reader: OnlineReader, names: Names) -> int | None:
    """A number that a definition's pointer has for itself; None when it has none."""
    try:
        return reader.position(names.pointer, _NUMBER)
    except NotFound:
        return None


def generation_of(names: Names) -> Position:
    """Asks which generation of a definition answers."""
    return Position(names.pointer, _GENERATION)


def current_generation(reader: OnlineReader, names: Names, view: FeatureView) -> int:
    """The generation that answers.

    Raises:
        NotReady: The view was not materialized yet.
    """
    try:
        generation = reader.position(names.pointer, _GENERATION)
    except KeyError:
        generation = None
    if generation is None:
        raise NotReady(f"feature view {view.name!r} is not in the online store yet, in this version of it",
                       hint="Run: tidemill features materialize")  # fmt: skip
    return generation


def put_pointer(store: OnlineStore, names: Names, pointer: Pointer) -> None:
    """Make a pointer the current one; its generation answers from now on."""
    store.declare(names.pointer, width=None)
    with store.read() as reader:
        record = reader.latest(names.pointer, [_POINTER], [_LATEST])[0]
    number = 0 if record is None else TIMES.unpack_from(record)[0] + 1
    times = np.array([[number, 0, 0]], np.int64)
    entries = Entries([_POINTER], np.array([0, 1]), times, [msgspec.msgpack.encode(pointer)])
    store.append(names.pointer, entries, positions={_GENERATION: pointer.generation, _NUMBER: number})
    store.trim(names.pointer, number)


def dump_columns(schema: pl.Schema) -> bytes:
    """Columns as an empty Arrow file."""
    buffer = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc(buffer)
    return buffer.getvalue()


def load_columns(raw: bytes) -> pl.Schema:
    """The columns of an empty Arrow file."""
    return pl.read_ipc(io.BytesIO(raw)).schema


@dataclass(frozen=True)
class Shape:
    """How a view's rows look in the store."""

    rows: ViewRows
    codec: FixedCodec | VariableCodec

    @cached_property
    def is_plain(self) -> bool:
        """Whether the view takes columns of its source as they are, so that nothing has to be worked out for a row."""
        view = self.rows.view
        taken = view.transform is None and with_inputs(view) is view and not view.checks
        return taken and view.source.time is not None and self.rows.changes is None

    @cached_property
    def single(self) -> SingleRow | None:
        """The short way to the store for one row, where there is one."""
        if not self.is_plain or self.names_events or not isinstance(self.codec, FixedCodec):
            return None
        return SingleRow.of(self.rows, self.codec)

    def derive(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """The view's rows, and how many failed each check; see `ViewRows.derive`."""
        if self.is_plain:
            return rows[list(self.rows.reads)], {}
        return self.rows.derive(rows.lazy())

    @classmethod
    def of(cls, view: FeatureView, source: pl.Schema, *, unique_ids: bool = False) -> Shape:
        """The shape of a view over a source with these columns; see `view_rows`."""
        rows = view_rows(view, source, unique_ids=unique_ids)
        kept = {name: rows.schema[name] for name in rows.inputs}
        ids = {name: pl.Int64() for name in EVENT_ID} if rows.event_id else {}
        added = {} if rows.changes is None else {ADDED: pl.Boolean()}
        return cls(rows, codec_of({**kept, **ids, **added}, f"feature view {view.name!r}"))

    @property
    def names_events(self) -> bool:
        """Whether a repeated event counts once."""
        return bool(self.rows.event_id)


class Batch:
    """Rows of a view, ready for the store."""

    def __init__(self, shape: Shape, rows: pl.DataFrame) -> None:
        self.shape = shape
        frame, self.failed = shape.derive(rows)
        keys = encode_keys([frame[key] for key in shape.rows.view.key_columns])
        if frame["event_ts"].null_count() or None in keys:
            usable = [key is not None for key in keys]
            mask = pl.Series(usable, dtype=pl.Boolean) & frame["event_ts"].is_not_null()
            frame = frame.filter(mask)
            keys = [key for key, keep in zip(keys, mask, strict=True) if keep]
        self.frame = frame
        self.keys: list[bytes] = keys  # type: ignore[assignment]
        self.times = _times(frame)
        self.events = self._events()

    def _events(self) -> list[bytes | None] | None:
        """Key and digest of the event id of each row; None for a row without id."""
        if not self.shape.names_events:
            return None
        ids = encode_keys([self.frame[name] for name in self.shape.rows.event_id])
        digests = [None if part is None else hashlib.blake2b(part, digest_size=16).digest() for part in ids]
        words = [(None, None) if digest is None else _TWO_WORDS.unpack(digest) for digest in digests]
        columns = [pl.Series(name, [pair[place] for pair in words], pl.Int64) for place, name in enumerate(EVENT_ID)]
        self.frame = self.frame.hstack(columns)
        return [None if d is None else key + d for key, d in zip(self.keys, digests, strict=True)]

    def entries(self) -> Entries:
        """All rows, by key."""
        order, keys, starts = grouped(self.keys)
        if order is not None and len(order) > _FEW:
            return Entries(keys, starts, self.times[order], self.shape.codec.encode(self.frame[order]))
        times, payloads = self.times, self.shape.codec.encode(self.frame)
        if order is not None:
            times = times[order]
            payloads = [payloads[i] for i in order.tolist()] if isinstance(payloads, list) else payloads[order]
        return Entries(keys, starts, times, payloads)

    def reports(self) -> Entries:
        """A report of each event: its key, its times, no payload."""
        named = [place for place, event in enumerate(self.events or ()) if event is not None]
        order, keys, starts = grouped([self.events[place] for place in named])  # type: ignore[index, misc]
        places = np.array(named, np.int64)
        times = self.times[places if order is None else places[order]]
        return Entries(keys, starts, times, np.zeros((len(times), 0), np.uint8))

    def repeated(self, reports: Entries, reader: OnlineReader, view: str) -> Entries:
        """The keys of events that were reported more than once, these reports included."""
        low, high = [-(2**63)] * len(reports.keys), [_LATEST] * len(reports.keys)
        blocks = reader.range(view, reports.keys, low, high)
        keys = {event[:-16] for event, block in zip(reports.keys, blocks, strict=True) if len(block.words) > 1}
        return keys_only(keys)


def keys_only(keys: Collection[bytes]) -> Entries:
    """One record without time or payload for each key."""
    times = np.zeros((len(keys), 3), np.int64)
    return Entries(sorted(keys), np.arange(len(keys) + 1), times, np.zeros((len(keys), 0), np.uint8))


def grouped(keys: Sequence[bytes]) -> tuple[Ints | None, list[bytes], Ints]:
    """Bring equal keys together: the order of the rows (None: as they are), the distinct keys, and where each starts."""
    numbers: dict[bytes, int] = {}
    codes = [numbers.setdefault(key, len(numbers)) for key in keys]
    if len(numbers) == len(codes):
        return None, list(numbers), np.arange(len(codes) + 1)
    array = np.array(codes, np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(array, minlength=len(numbers)))])
    if (array[1:] >= array[:-1]).all():
        return None, list(numbers), starts
    return np.argsort(array, kind="stable"), list(numbers), starts


def _times(frame: pl.DataFrame) -> Ints:
    times = np.empty((frame.height, 3), np.int64)
    times[:, 0], times[:, 1] = _micros(frame["event_ts"]), _micros(frame["created_ts"])
    times[:, 2] = frame["ingest_seq"].to_numpy()
    return times


def _micros(column: pl.Series) -> Ints:
    """Times in microseconds; nulls were never known."""
    nulls = column.null_count()
    if not nulls and column.dtype == pl.Datetime and column.dtype.time_unit == "us":  # type: ignore[attr-defined]
        instants: Ints = column.to_numpy().view(np.int64)
        return instants
    found = micros(column)
    return (found.fill_null(NEVER_KNOWN) if nulls else found).to_numpy()


class Feed:
    """Writes a view's rows into one generation."""

    def __init__(self, store: OnlineStore, shape: Shape, names: Names, generation: int) -> None:
        self._store, self._shape, self._names, self._generation = store, shape, names, generation
        self._data = names.data(generation)

    def declare(self) -> None:
        """Make the generation's views known, emptied of what an interrupted attempt left."""
        for name in self._names.all(self._generation):
            self._store.drop(name)
        self._store.declare(self._names.data(self._generation), width=self._shape.codec.width)
        if self._shape.names_events:
            self._store.declare(self._names.reports(self._generation), width=0)
            self._store.declare(self._names.repeated(self._generation), width=0)

    def append(self, rows: pl.DataFrame) -> int:
        """Derive and append rows of the source; returns how many were new."""
        if rows.height == 1 and self._shape.single is not None:
            entry = self._shape.single.entry(rows)
            if entry is not None:
                return int(self._store.exchange(self._data, entry, _nothing)[0])
        batch = Batch(self._shape, rows)
        if batch.events is not None:
            self._note_repeats(batch)
        return self._store.append(self._data, batch.entries())

    def _note_repeats(self, batch: Batch) -> None:
        # Reports first, then what is repeated, then the rows: whoever of two writers looks second sees both reports, and
        # a repeated row is never there before its key is known to have one.
        name, reports = self._names.reports(self._generation), batch.reports()
        first = self._is_empty(name)
        self._store.append(name, reports)
        if first and len(reports.keys) == len(reports.times):
            return
        try:
            with self._store.read() as reader:
                repeated = batch.repeated(reports, reader, name)
        except (
            Unavailable
        ):  # the writes are kept for later, and nobody can tell: reads of these keys will look at all rows
            repeated = keys_only({event[:-16] for event in reports.keys})
        if repeated.keys:
            self._store.append(self._names.repeated(self._generation), repeated)

    def _is_empty(self, view: str) -> bool:
        try:
            with self._store.read() as reader:
                return reader.stats(view).rows == 0
        except Unavailable:
            return False

    def drop(self) -> None:
        """Forget the generation."""
        for name in self._names.all(self._generation):
            self._store.drop(name)


def _nothing(_: OnlineReader) -> None:
    return None


def merged_ranges(ranges: Sequence[tuple[int, int]], sequences: Ints) -> list[tuple[int, int]]:
    """Ranges of sequences with some more in them.

    Example:
        >>> merged_ranges([(1, 3)], np.array([7, 4, 8]))
        [(1, 4), (7, 8)]
    """
    if len(sequences):
        ordered = np.unique(sequences)
        breaks = np.flatnonzero(np.diff(ordered) > 1)
        lows, highs = ordered[[0, *(breaks + 1)]].tolist(), ordered[[*breaks, -1]].tolist()
        ranges = sorted([*ranges, *zip(lows, highs, strict=True)])
    merged: list[tuple[int, int]] = []
    for low, high in ranges:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def unseen(ranges: Sequence[tuple[int, int]], sequences: Ints) -> NDArray[np.bool_]:
    """Which sequences are in none of the ranges."""
    if not ranges:
        return np.ones(len(sequences), bool)
    lows, highs = np.array(ranges).T
    place = np.searchsorted(lows, sequences, side="right") - 1
    fresh: NDArray[np.bool_] = (place < 0) | (sequences > highs[place])
    return fresh
