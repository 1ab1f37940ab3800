"""Versions of Delta tables as read from their logs, each log read once and then only what was added."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable

from tidemill.stores.tables.folders import Folders
from tidemill.stores.tables.types import dtypes


@dataclass(frozen=True)
class Snapshot:
    """One version of a table."""

    version: int
    files: tuple[str, ...]
    appended: pl.Schema
    """Its columns with the dtypes they were appended with."""
    stored: pl.Schema
    """The same columns with their dtypes in the files."""


@dataclass
class _Handle:
    """An open table, and what its log looked like when it was last read."""

    born: Hashable
    table: DeltaTable
    log: Hashable


class Snapshots:
    """What is known of the logs of tables. Safe for threads: readers share one handle a table under a lock.

    Args:
        folders: Where the tables are.
    """

    OLD = 64
    """How many older versions are remembered."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._open: dict[str, _Handle] = {}
        self._writing: dict[str, _Handle] = {}
        self._newest: dict[str, tuple[Hashable, Snapshot]] = {}
        self._old: OrderedDict[tuple[str, Hashable, int], Snapshot] = OrderedDict()

    def table(self, name: str) -> DeltaTable | None:
        """A handle at the newest version for a writer's own use, who holds the table's lock; None without a table."""
        handle = self._refreshed(self._writing, name)
        return None if handle is None else handle.table

    def newest(self, name: str) -> Snapshot | None:
        """The newest version; None without a table."""
        with self._lock:
            handle = self._refreshed(self._open, name)
            if handle is None:
                return None
            born, table = handle.born, handle.table
            known = self._newest.get(name)
            if known is None or known[0] != born or known[1].version != table.version():
                known = self._newest[name] = (born, self.of(table))
            return known[1]

    def at(self, name: str, version: int) -> Snapshot:
        """An older version of a table that exists."""
        key = (name, self._folders.birth(name), version)
        with self._lock:
            if key not in self._old:
                self._old[key] = self.of(self._delta(name, version))
            self._old.move_to_end(key)
            if len(self._old) > self.OLD:
                self._old.popitem(last=False)
            return self._old[key]

    def position(self, name: str, consumer: str) -> int | None:
        """The highest position a consumer committed."""
        with self._lock:
            handle = self._refreshed(self._open, name)
            return None if handle is None else handle.table.transaction_version(consumer)

    def of(self, table: DeltaTable) -> Snapshot:
        """The version a handle is at."""
        appended, stored = dtypes(table.schema())
        return Snapshot(table.version(), tuple(table.file_uris()), appended, stored)

    def _refreshed(self, handles: dict[str, _Handle], name: str) -> _Handle | None:
        born = self._folders.birth(name)
        if born is None:
            handles.pop(name, None)
            return None
        known = handles.get(name)
        log = self._folders.log(name)  # before it is read: a commit in between is news the next time
        if known is None or known.born != born:
            known = handles[name] = _Handle(born, self._delta(name), log)
        # The look of the log alone could miss two commits within one tick of the disk's clock, the name of the next one a
        # file that was cleaned up. Both take microseconds; asking deltalake takes milliseconds.
        elif log is None or log != known.log or self._folders.has_commit(name, known.table.version() + 1):
            with self._folders.errors():
                known.table.update_incremental()
            known.log = log
        return known

    def _delta(self, name: str, version: int | None = None) -> DeltaTable:
        with self._folders.errors():
            return DeltaTable(
                self._folders.location(name), version=version, storage_options=self._folders.delta_options
            )
