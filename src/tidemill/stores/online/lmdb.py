"""The embedded online store, on LMDB and a log: reads in microseconds from any number of processes, and quick appends.

Records are in chunks of the LMDB file, ordered by key and time, but for those of the newest small appends: these are in a log
(`tail`), and are moved into the chunks many at a time. A read sees both as of one moment.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tidemill.stores.online import chunks, lmdb_views
from tidemill.stores.online.environment import FIRST_MAP, Environment, acquire, release
from tidemill.stores.online.hot import NOWHERE, Hot
from tidemill.stores.online.lmdb_append import add_directly, append_to_log, is_small, load_chunks, loaded, merge
from tidemill.stores.online.lmdb_chunks import trim
from tidemill.stores.online.lmdb_views import View, framed, seek_time, values_between, view_of
from tidemill.stores.online.log import HEADER
from tidemill.stores.online.protocol import TIMES, Block, Blocks, Entries, Question, ViewStats, check_width
from tidemill.stores.online.tail import Moment, Tail, Unmerged

T = TypeVar("T")

LOG_SIZE = 2 << 20
"""Bytes of the log after which its records are moved into chunks."""

_TOP = 2**63 - 1
_event = struct.Struct("<q").unpack_from


class LmdbReader:
    """Reads within one transaction, and the log as it was then."""

    def __init__(self, environment: Environment) -> None:
        self._environment, self._tail = environment, environment.tail
        self._pinned = False

    def __enter__(self) -> LmdbReader:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()
        self._environment.end(self._transaction)

    def _begin(self, *, again: bool = False) -> None:
        """Begin a transaction; one that is begun again knows its moment whatever there is in the log."""
        self._transaction = self._environment.begin()
        self._quiet = not again and self._tail.is_empty(self._transaction)
        absent = -1
        while not self._quiet:
            moment = self._tail.moment(self._transaction, absent=absent)
            if moment is not None:
                self._moment: Moment = moment
                self._quiet = moment.length == HEADER
                break
            absent = lmdb_views.log_number(self._transaction)
            self._environment.end(self._transaction)
            self._transaction = self._environment.begin()
        self._cursor = self._transaction.cursor()

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
                self._begin(again=True)

    def _ask(self, name: str, hot: Callable[[Tail, View], T], plain: Callable[[View], T]) -> T:
        """Ask what is in memory of a view, if it has to be asked, else the chunks."""
        if not self._quiet:
            tail = self._locked()
            try:
                view = view_of(self._transaction, name)
                if tail.holds(view):
                    try:
                        return hot(tail, view)
                    except BaseException:
                        tail.forget(view)
                        raise
            finally:
                tail.lock.release()
        return plain(view_of(self._transaction, name))

    def _unmerged(self, name: str) -> Unmerged | None:
        """What the log has of a view."""
        if self._quiet:
            return None
        tail = self._locked()
        try:
            return tail.views.get(view_of(self._transaction, name).number)
        finally:
            tail.lock.release()

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        if self._quiet:
            return [question.ask(self) for question in questions]
        tail = self._locked()  # so that no other thread goes on between two of them
        try:
            return [question.ask(self) for question in questions]
        finally:
            tail.lock.release()

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        if self._quiet:
            found = view_of(self._transaction, view)
            return self._latest(found, keys, at, known) if found.rows else [None] * len(keys)
        return self._ask(
            view,
            lambda tail, found: self._latest_of_both(tail.hot(found), found, keys, at, known),
            lambda found: self._latest(found, keys, at, known) if found.rows else [None] * len(keys),
        )

    def _latest(self, view: View, keys: Sequence[bytes | None], at: Sequence[int], known: bool) -> list[bytes | None]:
        layout, number = view.layout, view.prefix
        seek, value = self._cursor.set_range, self._cursor.item
        result: list[bytes | None] = []
        for key, time in zip(keys, at, strict=True):
            record = None
            if key is not None:
                prefix = number + framed(key)
                if seek(prefix + seek_time(_TOP - time)):
                    place, chunk = value()
                    if place.startswith(prefix):
                        record = layout.last(chunk)
                        if known or _event(record)[0] > time:
                            record = chunks.newest_at(layout, chunk, time, known)
                        if record is None and known:
                            record = self._older(layout, prefix, time)
            result.append(record)
        return result

    def _older(self, layout: chunks.Layout, prefix: bytes, at: int) -> bytes | None:
        while self._cursor.next() and self._cursor.key().startswith(prefix):
            record = chunks.newest_at(layout, self._cursor.value(), at, True)
            if record is not None:
                return record
        return None

    def _latest_of_both(
        self, hot: Hot, view: View, keys: Sequence[bytes | None], at: Sequence[int], known: bool
    ) -> list[bytes | None]:
        result: list[bytes | None] = []
        for key, time in zip(keys, at, strict=True):
            code = None if key is None else hot.codes.get(key)
            record = None if code is None else hot.latest(code, time, known)
            if code is None or record is None or not _covers(hot.floor(code), _event(record)[0]):
                older = self._latest(view, [key], [time], known)[0] if view.rows else None
                if record is None or (older is not None and TIMES.unpack_from(older) > TIMES.unpack_from(record)):
                    record = older
            result.append(record)
        return result

    def range(
        self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        return self._ask(
            view,
            lambda tail, found: self._range_of_both(tail.hot(found), found, keys, start, end),
            lambda found: self._range(found, keys, start, end),
        )

    def _range(self, view: View, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]) -> list[Block]:
        layout, number = view.layout, view.prefix
        result = []
        for key, low, high in zip(keys, start, end, strict=True):
            found = [] if key is None or low >= high else values_between(self._cursor, number + framed(key), low, high)
            result.append(chunks.within(layout.decode(found), low, high) if found else layout.decode([]))
        return result

    def _range_of_both(
        self, hot: Hot, view: View, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]
    ) -> Sequence[Block]:
        if len(keys) == 1:
            return self._range_of_one(hot, view, keys[0], start[0], end[0])
        asked = [(key, low, high) for key, low, high in zip(keys, start, end, strict=True) if key is not None]
        here = [key for key, _, _ in asked]
        lows, highs = np.array([low for _, low, _ in asked], np.int64), np.array([h for _, _, h in asked], np.int64)
        codes = hot.coded(here)
        load_chunks(hot, self._cursor, view, here, codes, lows)
        found = hot.ranges(codes, lows, highs)
        if len(here) == len(keys):
            return found
        counts = np.zeros(len(keys), np.int64)
        counts[[place for place, key in enumerate(keys) if key is not None]] = np.diff(found.starts)
        return Blocks(found.block, np.append(0, np.cumsum(counts)))

    def _range_of_one(self, hot: Hot, view: View, key: bytes | None, low: int, high: int) -> Sequence[Block]:
        if key is None or low >= high:
            return [view.layout.decode([])]
        code = loaded(hot, self._cursor, view, key, low)
        return [hot.one(code, low, high)]

    def position(self, view: str, feed: str) -> int | None:
        if not self._quiet:
            unmerged = self._unmerged(view)
            if unmerged is not None and feed in unmerged.positions:
                return unmerged.positions[feed]
        found = lmdb_views.position_of(self._transaction, view, feed)
        if found is None:
            view_of(self._transaction, view)
        return found

    def stats(self, view: str) -> ViewStats:
        unmerged, found = self._unmerged(view), view_of(self._transaction, view)
        rows, newest = found.rows, found.newest
        if unmerged is not None:
            rows, newest = rows + unmerged.rows, max(newest, unmerged.newest)
        return ViewStats(rows, newest if rows else None)

    def views(self) -> list[str]:
        self._pinned = True
        return lmdb_views.names(self._transaction)


def _covers(floor: int, time: int) -> bool:
    return floor <= time and floor != NOWHERE


class LmdbOnline:
    """The online store in one folder.

    Args:
        path: The folder; made when absent.
        map_size: Bytes of address space at first; it doubles when the content no longer fits.
        log_size: Bytes of the log after which its records are moved into chunks.

    Raises:
        FormatTooNew: A newer program wrote it.
    """

    def __init__(self, path: Path, *, map_size: int = FIRST_MAP, log_size: int = LOG_SIZE) -> None:
        self._path, self._map_size, self._log_size = path, map_size, max(log_size, HEADER)
        self._pid = os.getpid()
        self._environment = acquire(path, map_size)
        self._closed = False
        transaction = self._environment.begin()
        try:
            lmdb_views.check_format(transaction, path)
        finally:
            self._environment.end(transaction)

    def read(self) -> LmdbReader:
        return LmdbReader(self._env)

    def declare(self, view: str, *, width: int | None) -> None:
        check_width(view, width)
        self._write(lambda transaction, _: lmdb_views.declare(transaction, view, -1 if width is None else width))

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        environment, given, full = self._env, positions or {}, self._log_size
        tail = environment.tail
        if not is_small(entries):
            return self._write(lambda transaction, _: add_directly(transaction, tail, view, entries, given))
        while True:
            added = environment.hold(lambda transaction: append_to_log(transaction, tail, view, entries, given, full))
            if added is not None:
                tail.settle(environment.flush)
                return added
            environment.write(lambda transaction: merge(transaction, tail))

    def trim(self, view: str, before: int) -> int:
        def work(transaction: Any, tail: Tail) -> int:
            if tail.has(transaction, view_of(transaction, view)):
                merge(transaction, tail)
            return trim(transaction, view, before)

        return self._write(work)

    def drop(self, view: str) -> None:
        self._write(lambda transaction, _: lmdb_views.drop(transaction, view))

    def close(self) -> None:
        if not self._closed and self._pid == os.getpid():
            release(self._environment)
        self._closed = True

    def _write(self, work: Callable[[Any, Tail], T]) -> T:
        tail = self._env.tail

        def run(transaction: Any) -> T:
            tail.prepare(transaction)
            return work(transaction, tail)

        return self._env.write(run)

    @property
    def _env(self) -> Environment:
        if self._pid != os.getpid():  # after a fork: the parent's environment must not be touched here
            self._environment, self._pid = acquire(self._path, self._map_size), os.getpid()
        return self._environment
