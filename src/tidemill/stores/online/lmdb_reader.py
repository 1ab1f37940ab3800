"""Reads of the embedded online store: what is in the chunks of the LMDB file, and what is in the log."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.stores.online import chunks, lmdb_views
from tidemill.stores.online.environment import Environment
from tidemill.stores.online.hot import NOWHERE, Hot
from tidemill.stores.online.lmdb_append import load_chunks, loaded
from tidemill.stores.online.lmdb_views import Known, View, framed, seek_time, values_between
from tidemill.stores.online.log import HEADER
from tidemill.stores.online.protocol import TIMES, Block, Blocks, Question, ReaderOfQuestions, ViewStats
from tidemill.stores.online.tail import Moment, Tail

_TOP = 2**63 - 1
_event = struct.Struct("<q").unpack_from


class LmdbReader(ReaderOfQuestions):
    """Reads within one transaction, and the log as it was then."""

    def __init__(self, environment: Environment) -> None:
        self._environment, self._tail = environment, environment.tail
        self._pinned = False
        self.unchanged: object | None = None

    def __enter__(self) -> LmdbReader:
        self._transaction = self._environment.begin()
        file = self._tail.file(self._transaction)
        self._quiet = self._tail.is_empty(file.log)
        if self._quiet:
            self._chunks = ChunkReader(self._transaction, file)
            self.unchanged = file
            return self
        try:
            self._find_moment(file)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.end(self._transaction)  # its cursors go with it

    def _find_moment(self, file: Known) -> None:
        """Find out what the transaction sees of the log; it is begun again until that can be told."""
        absent = None
        while True:
            moment = self._tail.moment(self._transaction, absent=absent)
            if moment is not None:
                self._moment: Moment = moment
                self._quiet = moment.length == HEADER
                break
            absent = file.log
            self._environment.end(self._transaction)
            self._transaction = self._environment.begin()
            file = self._tail.file(self._transaction)
        self._chunks = ChunkReader(self._transaction, file)
        self.unchanged = file if self._quiet else None

    def _locked(self) -> Tail:
        """The log as of this moment, its lock held: give it back."""
        while True:
            tail = self._tail
            tail.lock.acquire()
            try:
                if tail.reach(self._moment):
                    self._pinned = True
                    return tail
            except BaseException:
                tail.lock.release()
                raise
            tail.lock.release()  # others went on meanwhile
            if self._pinned:
                self._tail = Tail(tail.folder)
            else:
                self.__exit__()
                self._transaction = self._environment.begin()
                self._find_moment(self._tail.file(self._transaction))

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        if self._quiet:
            return self._chunks.answer(questions)
        tail = self._locked()
        try:
            return HeldReader(self._chunks, tail).answer(questions)
        finally:
            tail.lock.release()

    def views(self) -> list[str]:
        self._pinned = True
        return self._chunks.views()


class ChunkReader:
    """Reads of the chunks alone.

    Args:
        transaction: Of the LMDB file.
        known: What is known of the file as the transaction sees it.
    """

    unchanged: object | None = None

    def __init__(self, transaction: Any, known: Known) -> None:
        self.transaction, self._known = transaction, known
        self._opened: Any = None

    def _cursor(self) -> Any:
        if self._opened is None:
            self._opened = self.transaction.cursor()
        return self._opened

    def view(self, name: str) -> View:
        """The description of a view.

        Raises:
            NotFound: There is none.
        """
        return self._known.view(self.transaction, name)

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        return [question.ask(self) for question in questions]

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        return self.latest_of(self.view(view), keys, at, known)

    def latest_of(self, view: View, keys: Sequence[bytes | None], at: Sequence[int], known: bool) -> list[bytes | None]:
        """`OnlineReader.latest` of a view whose description is known."""
        if not view.rows:
            return [None] * len(keys)
        layout, number, cursor = view.layout, view.prefix, self._cursor()
        seek, value, last = cursor.set_range, cursor.item, layout.last
        result: list[bytes | None] = []
        moment, sought = None, b""
        for key, time in zip(keys, at, strict=True):
            record = None
            if key is not None:
                if time != moment:
                    moment, sought = time, seek_time(_TOP - time)
                prefix = number + framed(key)
                if seek(prefix + sought):
                    place, chunk = value()
                    if place.startswith(prefix):
                        record = last(chunk)
                        if known or _event(record)[0] > time:
                            record = chunks.newest_at(layout, chunk, time, known)
                        if record is None and known:
                            record = _older(cursor, layout, prefix, time)
            result.append(record)
        return result

    def range(self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]) -> list[Block]:
        return self.range_of(self.view(view), keys, start, end)

    def range_of(
        self, view: View, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> list[Block]:
        """`OnlineReader.range` of a view whose description is known."""
        layout, number, cursor = view.layout, view.prefix, self._cursor()
        result = []
        for key, low, high in zip(keys, start, end, strict=True):
            found = [] if key is None or low >= high else values_between(cursor, number + framed(key), low, high)
            result.append(chunks.within(layout.decode(found), low, high) if found else layout.decode([]))
        return result

    def position(self, view: str, feed: str) -> int | None:
        return self._known.position(self.transaction, view, feed)

    def stats(self, view: str) -> ViewStats:
        found = self.view(view)
        return ViewStats(found.rows, found.newest if found.rows else None)

    def views(self) -> list[str]:
        return lmdb_views.names(self.transaction)


def _older(cursor: Any, layout: chunks.Layout, prefix: bytes, at: int) -> bytes | None:
    while cursor.next() and cursor.key().startswith(prefix):
        record = chunks.newest_at(layout, cursor.value(), at, True)
        if record is not None:
            return record
    return None


class HeldReader:
    """Reads of the chunks and the log by who holds the log's lock, so that no other thread goes on in between.

    Args:
        of_chunks: Reads of the transaction.
        tail: The log, as of the transaction's moment.
    """

    def __init__(self, of_chunks: ChunkReader, tail: Tail) -> None:
        self._chunks, self._tail = of_chunks, tail
        self.unchanged: object | None = tail.settled

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        return [question.ask(self) for question in questions]

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        found = self._chunks.view(view)
        hot = self._tail.held(found)
        if hot is None:
            return self._chunks.latest_of(found, keys, at, known)
        return [self._latest_of_both(hot, found, key, time, known) for key, time in zip(keys, at, strict=True)]

    def _latest_of_both(self, hot: Hot, view: View, key: bytes | None, at: int, known: bool) -> bytes | None:
        code = None if key is None else hot.codes.get(key)
        record = None if code is None else hot.latest(code, at, known)
        if code is None or record is None or not _covers(hot.floor(code), _event(record)[0]):
            older = self._chunks.latest_of(view, [key], [at], known)[0]
            if record is None or (older is not None and TIMES.unpack_from(older) > TIMES.unpack_from(record)):
                record = older
        return record

    def range(
        self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        found = self._chunks.view(view)
        hot = self._tail.held(found)
        if hot is None:
            return self._chunks.range_of(found, keys, start, end)
        try:
            if len(keys) == 1:
                return [self._range_of_one(hot, found, keys[0], start[0], end[0])]
            return self._range_of_both(hot, found, keys, start, end)
        except BaseException:
            self._tail.forget(found)
            raise

    def _range_of_one(self, hot: Hot, view: View, key: bytes | None, low: int, high: int) -> Block:
        if key is None or low >= high:
            return view.layout.decode([])
        return hot.one(loaded(hot, self._chunks.transaction, view, key, low), low, high)

    def _range_of_both(
        self, hot: Hot, view: View, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        asked = [(key, low, high) for key, low, high in zip(keys, start, end, strict=True) if key is not None]
        here = [key for key, _, _ in asked]
        lows, highs = np.array([low for _, low, _ in asked], np.int64), np.array([h for _, _, h in asked], np.int64)
        codes = hot.coded(here)
        load_chunks(hot, self._chunks.transaction, view, here, codes, lows)
        found = hot.ranges(codes, lows, highs)
        if len(here) == len(keys):
            return found
        counts = np.zeros(len(keys), np.int64)
        counts[[place for place, key in enumerate(keys) if key is not None]] = np.diff(found.starts)
        return Blocks(found.block, np.append(0, np.cumsum(counts)))

    def position(self, view: str, feed: str) -> int | None:
        unmerged = self._tail.views.get(self._chunks.view(view).number)
        if unmerged is not None and feed in unmerged.positions:
            return unmerged.positions[feed]
        return self._chunks.position(view, feed)

    def stats(self, view: str) -> ViewStats:
        found = self._chunks.view(view)
        rows, newest = found.rows, found.newest
        unmerged = self._tail.views.get(found.number)
        if unmerged is not None:
            rows, newest = rows + unmerged.rows, max(newest, unmerged.newest)
        return ViewStats(rows, newest if rows else None)

    def views(self) -> list[str]:
        return self._chunks.views()


def _covers(floor: int, time: int) -> bool:
    return floor <= time and floor != NOWHERE
