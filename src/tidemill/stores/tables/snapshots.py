"""Versions of Delta tables as read from their logs, each log read once and then only what was added."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import arro3.core as arro3
from deltalake import DeltaTable

from tidemill.stores.tables.folders import Folders
from tidemill.stores.tables.tail import Snapshot, file_of, read_commit
from tidemill.stores.tables.types import dtypes


@dataclass
class _Log:
    """A log as far as it was read."""

    born: Hashable
    table: DeltaTable
    """The version at which it was read as a whole."""
    newest: Snapshot


class Snapshots:
    """What is known of the logs of tables. Safe for threads: readers share what they read under a lock.

    Args:
        folders: Where the tables are.
    """

    OLD = 64
    """How many older versions are remembered."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._writing: dict[str, tuple[Hashable, DeltaTable]] = {}
        self._old: OrderedDict[tuple[str, Hashable, int], Snapshot] = OrderedDict()

    def table(self, name: str) -> DeltaTable | None:
        """A handle at the newest version for a writer's own use, who holds the table's lock; None without a table."""
        with self._lock:
            log = self._read(name)
        if log is None:
            self._writing.pop(name, None)
            return None
        known = self._writing.get(name)
        if known is None or known[0] != log.born:
            known = self._writing[name] = log.born, self._delta(name)
        if known[1].version() != log.newest.version:
            with self._folders.errors():
                known[1].update_incremental()
        return known[1]

    def newest(self, name: str) -> Snapshot | None:
        """The newest version; None without a table."""
        with self._lock:
            log = self._read(name)
            return None if log is None else log.newest

    def at(self, name: str, version: int) -> Snapshot:
        """An older version of a table that exists."""
        key = (name, self._folders.birth(name), version)
        with self._lock:
            if key not in self._old:
                self._old[key] = self._snapshot(name, self._delta(name, version))
            self._old.move_to_end(key)
            if len(self._old) > self.OLD:
                self._old.popitem(last=False)
            return self._old[key]

    def position(self, name: str, consumer: str) -> int | None:
        """The highest position a consumer committed."""
        with self._lock:
            log = self._read(name)
            if log is None:
                return None
            found = log.newest.positions.get(consumer)
            return log.table.transaction_version(consumer) if found is None else found

    def _read(self, name: str) -> _Log | None:
        born = self._folders.birth(name)
        if born is None:
            self._logs.pop(name, None)
            return None
        log = self._logs.get(name)
        if log is None or log.born != born or not self._follow(name, log):
            table = self._delta(name)
            log = self._logs[name] = _Log(born, table, self._snapshot(name, table))
        return log

    def _follow(self, name: str, log: _Log) -> bool:
        """Take in what was added to a log; False when it has to be read as a whole."""
        location = self._folders.location(name)
        while (raw := self._folders.commit(name, log.newest.version + 1)) is not None:
            commit = read_commit(raw)
            if commit is None:
                return False
            log.newest = log.newest.after(commit, location)
        # Another program may have cleaned up commits behind a checkpoint before they were seen here.
        return (self._folders.checkpoint(name) or 0) <= log.newest.version

    def _delta(self, name: str, version: int | None = None) -> DeltaTable:
        with self._folders.errors():
            return DeltaTable(
                self._folders.location(name), version=version, storage_options=self._folders.delta_options
            )

    def _snapshot(self, name: str, table: DeltaTable) -> Snapshot:
        """The version a handle is at."""
        appended, stored = dtypes(table.schema())
        location = self._folders.location(name)
        # Not `file_uris`: of a local table it encodes them, and no file is found in a folder "a b".
        paths = arro3.Table.from_arrow(table.get_add_actions())["path"].to_pylist()
        return Snapshot(table.version(), tuple(file_of(location, path) for path in paths), appended, stored)
