"""Versions of Delta tables as read from their logs, each log read once and then only what was added."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from tidemill.stores.tables.types import dtypes

LOG = "_delta_log"
_FIRST_COMMIT = f"{0:020d}.json"

Birth = tuple[int, int]
"""Inode and modification time of a table's first commit: a table deleted and made anew has another."""


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

    born: Birth
    table: DeltaTable
    log_changed: int

    @classmethod
    def open(cls, folder: Path, born: Birth) -> _Handle:
        changed = _changed(folder)  # before the log is read: a commit in between is seen as news
        return cls(born, DeltaTable(folder), changed)

    def refresh(self, folder: Path) -> None:
        """Take in commits made since. Looking for the next commit costs microseconds, asking deltalake milliseconds."""
        changed = _changed(folder)
        # The time alone could miss two commits within one tick of the disk's clock, the name one whose file was cleaned up.
        if changed != self.log_changed or (folder / LOG / f"{self.table.version() + 1:020d}.json").exists():
            self.table.update_incremental()
            self.log_changed = changed


class Snapshots:
    """What is known of the logs of tables. Safe for threads: readers share one handle a table under a lock."""

    OLD = 64
    """How many older versions are remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, _Handle] = {}
        self._writing: dict[Path, _Handle] = {}
        self._newest: dict[Path, tuple[Birth, Snapshot]] = {}
        self._old: OrderedDict[tuple[Path, Birth, int], Snapshot] = OrderedDict()

    def table(self, folder: Path) -> DeltaTable | None:
        """A handle at the newest version for a writer's own use, who holds the table's lock; None without a table."""
        handle = _refreshed(self._writing, folder)
        return None if handle is None else handle.table

    def newest(self, folder: Path) -> Snapshot | None:
        """The newest version; None without a table."""
        with self._lock:
            handle = _refreshed(self._open, folder)
            if handle is None:
                return None
            born, table = handle.born, handle.table
            known = self._newest.get(folder)
            if known is None or known[0] != born or known[1].version != table.version():
                known = self._newest[folder] = (born, self.of(table))
            return known[1]

    def at(self, folder: Path, version: int) -> Snapshot:
        """An older version of a table that exists."""
        key = (folder, birth(folder) or (0, 0), version)
        with self._lock:
            if key not in self._old:
                self._old[key] = self.of(DeltaTable(folder, version=version))
            self._old.move_to_end(key)
            if len(self._old) > self.OLD:
                self._old.popitem(last=False)
            return self._old[key]

    def position(self, folder: Path, consumer: str) -> int | None:
        """The highest position a consumer committed."""
        with self._lock:
            handle = _refreshed(self._open, folder)
            return None if handle is None else handle.table.transaction_version(consumer)

    def of(self, table: DeltaTable) -> Snapshot:
        """The version a handle is at."""
        appended, stored = dtypes(table.schema())
        return Snapshot(table.version(), tuple(table.file_uris()), appended, stored)


def _refreshed(handles: dict[Path, _Handle], folder: Path) -> _Handle | None:
    born = birth(folder)
    if born is None:
        handles.pop(folder, None)
        return None
    known = handles.get(folder)
    if known is None or known.born != born:
        known = handles[folder] = _Handle.open(folder, born)
    else:
        known.refresh(folder)
    return known


def _changed(folder: Path) -> int:
    """When a file was last added to a table's log or removed from it; nanoseconds."""
    return (folder / LOG).stat().st_mtime_ns


def birth(folder: Path) -> Birth | None:
    """What tells this table from an earlier one of the same name; None without a table."""
    log = folder / LOG
    try:
        status = (log / _FIRST_COMMIT).stat()
    except FileNotFoundError:
        # Another program may have cleaned the log up to a checkpoint.
        return (0, 0) if (log / "_last_checkpoint").exists() else None
    return status.st_ino, status.st_mtime_ns
