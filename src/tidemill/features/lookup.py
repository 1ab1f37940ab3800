"""One view as a service uses it, read from one moment of the online store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.features.blocks import chosen, columns_of, live, visible
from tidemill.features.encoding import FixedCodec, column_of
from tidemill.features.feed import EVENT_ID, Names, Shape
from tidemill.features.kernel.timeline import Ints
from tidemill.features.plan import UsePlan
from tidemill.features.windowed import Column, Evaluator, Rows, WindowTimes, place
from tidemill.stores.online.protocol import TIMES, Block, OnlineReader

Key = bytes | None
Found = dict[str, Column | pl.Series]
"""Values by feature, without the view's prefix."""


class StateLookup:
    """The latest row of a key (rules R2, R3 and R10)."""

    def __init__(self, plan: UsePlan, shape: Shape, view: str) -> None:
        self._codec = shape.codec
        self._view = view
        self._ttl = plan.use.view.ttl_micros
        self._delay = plan.use.view.source.delay_micros
        self._known = plan.use.view.is_as_known
        self._changes = plan.rows.changes is not None
        self._types = plan.types

    def records(self, reader: OnlineReader, keys: Sequence[Key], t: Sequence[int], known: bool) -> list[bytes | None]:
        """The row that holds for each key at its moment, as bytes."""
        at: Sequence[int] = t if not self._delay else [max(time - self._delay, -(2**63)) for time in t]
        if self._changes or (known and self._delay):
            # Known by t, not by t - delay: the store compares both times with one moment.
            found = [self._known_late(reader, key, a, b) for key, a, b in zip(keys, at, t, strict=True)]
        else:
            found = reader.latest(self._view, keys, at, known=known)
        if self._ttl:
            limit = self._ttl
            return [
                record if record is not None and TIMES.unpack_from(record)[0] >= time - limit else None
                for record, time in zip(found, t, strict=True)
            ]
        return found

    def _known_late(self, reader: OnlineReader, key: Key, at: int, t: int) -> bytes | None:
        block = reader.range(self._view, [key], [-(2**63)], [at + 1])[0]
        block = live(block, self._codec, t) if self._changes else visible(block, t)
        if not len(block.words):
            return None
        last: bytes = block.words[-1].tobytes()
        return last + (block.payloads[-1] if block.payloads else b"")

    def __call__(self, reader: OnlineReader, keys: Sequence[Key], t: Ints, known: bool) -> Found:
        """The features of each question."""
        records = self.records(reader, keys, t.tolist(), known or self._known)
        if isinstance(self._codec, FixedCodec):
            return self._fixed(self._codec, records)
        values = [None if record is None else self._codec.record(record, TIMES.size) for record in records]
        return {
            name: column_of([None if row is None else row[index] for row in values], dtype, name)
            for index, (name, dtype) in enumerate(self._types.items())
        }

    def _fixed(self, codec: FixedCodec, records: Sequence[bytes | None]) -> Found:
        empty = bytes(TIMES.size + codec.width)
        found: np.ndarray[Any, np.dtype[np.bool_]] | None = None
        if None in records:
            found = np.array([record is not None for record in records], bool)
        words = np.frombuffer(b"".join([record or empty for record in records]), np.int64)
        words = words.reshape(len(records), -1)[:, TIMES.size // 8 :]
        marked = words[:, : codec.marks].any()
        result: Found = {}
        for index, (name, dtype) in enumerate(self._types.items()):
            valid = codec.valid(words, index) if marked else None
            if found is not None:
                valid = found if valid is None else valid & found
            values = np.ascontiguousarray(codec.values(words, index))
            if dtype == pl.UInt64:
                values = values.view(np.uint64)
            result[name] = Column(values, valid)
        return result

    def vector(self, reader: OnlineReader, key: Key, t: int, known: bool) -> dict[str, Any]:
        """The features of one question, as plain values."""
        record = self.records(reader, [key], [t], known or self._known)[0]
        if record is None:
            return dict.fromkeys(self._types)
        return dict(zip(self._types, self._codec.record(record, TIMES.size)[: len(self._types)], strict=True))


class WindowLookup:
    """Aggregates of a key's rows (rules R3 to R7, R10 and R11)."""

    def __init__(self, plan: UsePlan, shape: Shape, names: Names, generation: int) -> None:
        self._codec = shape.codec
        self._view = names.data(generation)
        self._repeated = names.repeated(generation) if shape.names_events else None
        self._known = plan.use.view.is_as_known
        self._changes = plan.rows.changes is not None
        self._evaluate = Evaluator(plan.use.view.aggregates, shape.codec)
        self._times = WindowTimes(self._evaluate.windows, plan.use.view.source.delay_micros)

    def __call__(self, reader: OnlineReader, keys: Sequence[Key], t: Ints, known: bool) -> Found:
        """The features of each question."""
        starts, ends = self._times(t)
        return self._evaluate(self._rows(reader, keys, t, starts, ends, known or self._known), t)

    def _rows(self, reader: OnlineReader, keys: Sequence[Key], t: Ints, starts: Ints, ends: Ints, known: bool) -> Rows:
        repeated = self._repeating(reader, keys)
        users = _users(keys, {key: known or key in repeated for key in keys})
        firsts = [questions[0] for questions in users]
        lows, highs = starts.min(axis=0, initial=2**63 - 1), ends.max(axis=0, initial=-(2**63))
        asked = [keys[question] for question in firsts]
        low = [
            -(2**63) if key in repeated else int(lows[questions].min())
            for key, questions in zip(asked, users, strict=True)
        ]
        blocks = reader.range(self._view, asked, low, [int(highs[questions].max()) for questions in users])
        if self._changes:
            blocks = [
                live(block, self._codec, int(t[question])) for block, question in zip(blocks, firsts, strict=True)
            ]
        elif known:
            blocks = [visible(block, int(t[question])) for block, question in zip(blocks, firsts, strict=True)]
        if repeated:
            blocks = [self._once(block) if key in repeated else block for key, block in zip(asked, blocks, strict=True)]
        return place(blocks, users, starts, ends)

    def _repeating(self, reader: OnlineReader, keys: Sequence[Key]) -> set[Key]:
        """Those keys some event of which was reported more than once."""
        if self._repeated is None or reader.stats(self._repeated).rows == 0:
            return set()
        found = reader.latest(self._repeated, keys, [0] * len(keys))
        return {key for key, record in zip(keys, found, strict=True) if record is not None}

    def _once(self, block: Block) -> Block:
        """The first report of each event."""
        ids = columns_of(self._codec, block, EVENT_ID)
        first = ids.to_struct().is_first_distinct() | ids[EVENT_ID[0]].is_null()
        return chosen(block, first.to_numpy())

    def vector(self, reader: OnlineReader, key: Key, t: int, known: bool) -> dict[str, Any]:
        """The features of one question, as plain values."""
        return {name: plain(found) for name, found in self(reader, [key], np.array([t]), known).items()}


def plain(found: Column | pl.Series) -> Any:
    """The only value of a feature."""
    if isinstance(found, Column):
        return found.values[0].item() if found.valid is None or found.valid[0] else None
    value = found[0]
    return value.to_list() if isinstance(value, pl.Series) else value


def _users(keys: Sequence[Key], alone: dict[Key, bool]) -> list[list[int]]:
    """Questions with one key share its rows, unless what counts depends on the question."""
    shared: dict[Key, list[int]] = {}
    users: list[list[int]] = []
    for question, key in enumerate(keys):
        if alone[key] or key not in shared:
            users.append([question])
            shared.setdefault(key, users[-1])
        else:
            shared[key].append(question)
    return users


def lookup_of(plan: UsePlan, shape: Shape, names: Names, generation: int) -> StateLookup | WindowLookup:
    """How a view of a service is read.

    Raises:
        InvalidArgument: The service was resolved for other columns than the store holds.
    """
    if plan.rows.inputs != shape.rows.inputs:
        raise InvalidArgument(f"feature view {plan.use.view.name!r} was materialized from other columns",
                              hint="Run: tidemill features materialize")  # fmt: skip
    if plan.use.view.is_windowed:
        return WindowLookup(plan, shape, names, generation)
    return StateLookup(plan, shape, names.data(generation))
