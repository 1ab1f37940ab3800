"""The embedded online store, on LMDB and a log: reads in microseconds from any number of processes, and quick appends.

Records are in chunks of the LMDB file, ordered by key and time, but for those of the newest small appends: these are in a log
(`tail`), and are moved into the chunks many at a time. A read sees both as of one moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tidemill.stores.online import lmdb_views
from tidemill.stores.online.environment import FIRST_MAP, Environment, acquire, release
from tidemill.stores.online.lmdb_append import add_directly, append_one, append_to_log, is_small, merge
from tidemill.stores.online.lmdb_chunks import trim
from tidemill.stores.online.lmdb_reader import ChunkReader, HeldReader, LmdbReader
from tidemill.stores.online.lmdb_views import view_of
from tidemill.stores.online.log import HEADER
from tidemill.stores.online.protocol import Entries, Entry, OnlineReader, check_width
from tidemill.stores.online.tail import Tail

T = TypeVar("T")

LOG_SIZE = 2 << 20
"""Bytes of the log after which its records are moved into chunks."""


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
        try:
            self._adopt()
        except BaseException:
            release(self._environment)
            raise

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

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        environment, full = self._env, self._log_size
        tail = environment.tail

        def work(transaction: Any) -> tuple[bool, T] | None:
            with tail.lock:
                added = append_one(transaction, tail, view, entry, full)
                if added is None:
                    return None
                of_chunks = ChunkReader(transaction, tail.file(transaction))
                return added, ask(HeldReader(of_chunks, tail))

        while True:
            found = environment.hold(work)
            if found is not None:
                tail.settle(environment.flush)
                return found
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

    def _adopt(self) -> None:
        """Bring a new file, or one of before, to the format this program writes."""
        transaction = self._environment.begin()
        try:
            is_current = lmdb_views.is_current(transaction, self._path)
        finally:
            self._environment.end(transaction)
        if not is_current:
            self._environment.write(self._put_format)

    def _put_format(self, transaction: Any) -> None:
        if not lmdb_views.is_current(transaction, self._path):  # else another process was quicker, and may use the log
            self._environment.tail.adopt(transaction)
            lmdb_views.put_format(transaction)

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
