"""One view as a service uses it: what it asks the online store, and the features in the answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tidemill.core.errors import InvalidArgument
from tidemill.features.blocks import chosen, columns_of, live, visible
from tidemill.features.encoding import FixedCodec, column_of, restored
from tidemill.features.feed import EVENT_ID, Names, Shape
from tidemill.features.kernel.timeline import Ints
from tidemill.features.plan import UsePlan
from tidemill.features.windowed import Evaluator, Rows, WindowTimes, place
from tidemill.stores.online.protocol import TIMES, Block, Latest, OnlineReader, Question, Range

Key = bytes | None
Found = dict[str, Any]
"""By feature, without the view's prefix: a `Column` or a series for some questions, a plain value for one."""


class Asked(NamedTuple):
    """What a view asks the store, and what it makes of the answers."""

    questions: list[Question]
    found: Callable[[OnlineReader, Sequence[Any]], Found]
    """From the answers in their order; reads again where one answer raises another question."""


class StateLookup:
    """The latest row of a key (rules R2, R3 and R10)."""

    def __init__(self, plan: UsePlan, shape: Shape, view: str) -> None:
        self._codec = shape.codec
        self._view = view
        self._ttl = plan.use.view.ttl_micros
        self._delay = plan.use.view.source.delay_micros
        self._known = plan.use.view.is_as_known
        self._changes = plan.rows.changes is not None
        self._types, self._count = plan.types, len(plan.types)
        self._is_newest = not (self._ttl or self._delay or self._known or self._changes)
        """Whether the newest row is the one that counts, unless what was known is asked for."""
        # Comparing types takes longer than all else that is done with a column.
        self._columns = [
            (name, dtype, dtype.is_float(), dtype in (pl.Int64, pl.Float64)) for name, dtype in plan.types.items()
        ]

    def ask(self, keys: Sequence[Key], t: Ints, known: bool) -> Asked:
        """The features of each key at its moment."""
        return self._asked(keys, t.tolist(), known, self._values)

    def ask_one(self, key: Key, t: int, known: bool) -> Asked:
        """The features of one key, as plain values."""
        if self._is_newest and not known:
            return Asked([Latest(self._view, [key], [t])], self._newest)
        return self._asked([key], [t], known, self._plain)

    def _newest(self, _: OnlineReader, answers: Sequence[Any]) -> Found:
        return self._plain(answers[0])

    def _asked(
        self, keys: Sequence[Key], t: Sequence[int], known: bool, values: Callable[[Sequence[bytes | None]], Found]
    ) -> Asked:
        known = known or self._known
        at: Sequence[int] = t if not self._delay else [max(time - self._delay, -(2**63)) for time in t]
        if self._changes or (known and self._delay):
            # Known by t, not by t - delay: the store compares both times with one moment.
            question: Question = Range(self._view, keys, [-(2**63)] * len(at), [time + 1 for time in at])
        else:
            question = Latest(self._view, keys, at, known)

        def found(_: OnlineReader, answers: Sequence[Any]) -> Found:
            records = answers[0]
            if isinstance(question, Range):
                records = [_last(self._counting(block, time)) for block, time in zip(records, t, strict=True)]
            return values(self._alive(records, t))

        return Asked([question], found)

    def _counting(self, block: Block, t: int) -> Block:
        """The rows that count at a moment: known by then, and of a change log those that were live."""
        return live(block, self._codec, t) if self._changes else visible(block, t)

    def _alive(self, records: Sequence[bytes | None], t: Sequence[int]) -> Sequence[bytes | None]:
        """The rows that are not too old."""
        if not self._ttl:
            return records
        limit = self._ttl
        return [
            record if record is not None and TIMES.unpack_from(record)[0] >= time - limit else None
            for record, time in zip(records, t, strict=True)
        ]

    def _values(self, records: Sequence[bytes | None]) -> Found:
        if isinstance(self._codec, FixedCodec):
            return self._fixed(self._codec, records)
        values = [None if record is None else self._codec.record(record, TIMES.size) for record in records]
        return {
            name: column_of([None if row is None else row[index] for row in values], dtype, name)
            for index, (name, dtype) in enumerate(self._types.items())
        }

    def _fixed(self, codec: FixedCodec, records: Sequence[bytes | None]) -> Found:
        empty, count = bytes(TIMES.size + codec.width), len(records)
        found: np.ndarray[Any, np.dtype[np.bool_]] | None = None
        if None in records:
            found = np.array([record is not None for record in records], bool)
        words = np.frombuffer(b"".join([record or empty for record in records]), np.int64)
        words = words.reshape(count, -1)[:, TIMES.size // 8 :]
        marked = words[:, : codec.marks].any()
        # Slices of one long series cost far less than a series each.
        flat = np.ascontiguousarray(words[:, codec.marks :].T).ravel()
        integers, floats = pl.Series(flat), pl.Series(flat.view(np.float64))
        result: Found = {}
        for index, (name, dtype, is_float, is_plain) in enumerate(self._columns):
            valid = codec.valid(words, index) if marked else None
            if found is not None:
                valid = found if valid is None else valid & found
            series = (floats if is_float else integers).slice(index * count, count)
            series = series if is_plain else restored(series, dtype)
            result[name] = series if valid is None else series.scatter(np.flatnonzero(~valid), None)
        return result

    def _plain(self, records: Sequence[bytes | None]) -> dict[str, Any]:
        record = records[0]
        if record is None:
            return dict.fromkeys(self._types)
        return dict(zip(self._types, self._codec.record(record, TIMES.size)[: self._count], strict=True))


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

    def ask(self, keys: Sequence[Key], t: Ints, known: bool) -> Asked:
        """The features of each key at its moment."""
        return self._asked(keys, t, known, self._evaluate)

    def _asked(self, keys: Sequence[Key], t: Ints, known: bool, evaluate: Callable[[Rows, Ints], Found]) -> Asked:
        known = known or self._known
        starts, ends = self._times(t)
        spans = _spans(keys, starts, ends, known)
        questions: list[Question] = [Range(self._view, *spans.bounds)]
        if self._repeated is not None:
            questions.append(Latest(self._repeated, keys, [0] * len(keys)))

        def found(reader: OnlineReader, answers: Sequence[Any]) -> Found:
            blocks, used = answers[0], spans
            repeated = {key for key, record in zip(keys, *answers[1:], strict=True) if record} if answers[1:] else set()
            if repeated:  # the first report of an event may be older than any window
                used = _spans(keys, starts, ends, known, repeated)
                blocks = reader.range(self._view, *used.bounds)
            if known:
                blocks = [self._counting(block, int(t[one])) for block, one in zip(blocks, used.first, strict=True)]
            if repeated:
                asked = used.bounds[0]
                blocks = [self._once(b) if key in repeated else b for key, b in zip(asked, blocks, strict=True)]
            return evaluate(place(blocks, used.answers, starts, ends), t)

        return Asked(questions, found)

    def _counting(self, block: Block, t: int) -> Block:
        """The rows that count at a moment: known by then, and of a change log those that were live."""
        return live(block, self._codec, t) if self._changes else visible(block, t)

    def _once(self, block: Block) -> Block:
        """The first report of each event."""
        ids = columns_of(self._codec, block, EVENT_ID)
        first = ids.to_struct().is_first_distinct() | ids[EVENT_ID[0]].is_null()
        return chosen(block, first.to_numpy())

    def ask_one(self, key: Key, t: int, known: bool) -> Asked:
        """The features of one key, as plain values."""
        quick = self._evaluate.quick
        times = None if quick is None or known or self._known or self._repeated is not None else self._times.one(t)
        if quick is None or times is None:
            return self._asked([key], np.array([t]), known, self._evaluate.one)
        bounds, start, end = times
        question = Range(self._view, [key], [start], [end])

        def found(_: OnlineReader, answers: Sequence[Any]) -> Found:
            values = quick(answers[0][0], bounds)
            if values is not None:
                return values
            at = np.array([t])
            return self._evaluate.one(place(answers[0], np.zeros(1, np.int64), *self._times(at)), at)

        return Asked([question], found)


class Spans(NamedTuple):
    """What is read for some questions: rows of a key in a range of time, and which of them answer a question."""

    answers: Ints
    first: list[int]
    """For each read, the first question it answers."""
    bounds: tuple[list[Key], list[int], list[int]]
    """Keys, starts, ends."""


def _spans(keys: Sequence[Key], starts: Ints, ends: Ints, known: bool, repeated: Collection[Key] = ()) -> Spans:
    """From the first start to the last end of the questions, or all of the past of keys with repeated events.

    Questions with one key share its rows, unless what counts depends on the question.
    """
    low, high = starts.min(axis=0, initial=2**63 - 1), ends.max(axis=0, initial=-(2**63))
    answers, first = _shared(keys, known, repeated)
    asked = list(keys)
    if len(first) < len(keys):
        asked = [keys[question] for question in first]
        order = answers.argsort(kind="stable")
        begins = np.searchsorted(answers[order], np.arange(len(first)))
        low, high = np.minimum.reduceat(low[order], begins), np.maximum.reduceat(high[order], begins)
    lows = low.tolist()
    if repeated:
        lows = [-(2**63) if key in repeated else time for key, time in zip(asked, lows, strict=True)]
    return Spans(answers, first, (asked, lows, high.tolist()))


def _shared(keys: Sequence[Key], known: bool, repeated: Collection[Key]) -> tuple[Ints, list[int]]:
    """Which read answers each question, and the first question of each read."""
    if known or len(keys) == 1:
        return np.arange(len(keys)), list(range(len(keys)))
    numbers: dict[object, int] = {}
    names = [(place, key) if key in repeated else key for place, key in enumerate(keys)] if repeated else keys
    answers = [numbers.setdefault(name, len(numbers)) for name in names]
    first = dict(zip(reversed(answers), range(len(keys) - 1, -1, -1), strict=True))
    return np.array(answers, np.int64), [first[read] for read in range(len(numbers))]


def _last(block: Block) -> bytes | None:
    if not len(block.words):
        return None
    last: bytes = block.words[-1].tobytes()
    return last + (block.payloads[-1] if block.payloads else b"")


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
