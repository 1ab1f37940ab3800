"""SQLite: one file, WAL, any number of processes on one machine."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Insert, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from tidemill.core.errors import InvalidData, PermissionDenied, TidemillError, Unavailable
from tidemill.core.records.record import Record
from tidemill.stores.disk import disk_errors, storage_full
from tidemill.stores.locks import FileLock
from tidemill.stores.metadata.tables import TABLES

BUSY_MILLIS = 10_000
"""How long SQLite itself waits for somebody else's lock before it is asked again."""

_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_SCHEMA")


class SqliteDialect:
    """A database file.

    A writer first takes its turn with a file lock, which wakes the next process at once; SQLite's own waiting polls.
    Programs that do not know of the file lock are waited for by SQLite's rules.

    Args:
        file: The database; its folder is created.
        synchronous: `normal`: a commit survives kill -9, and a power cut may lose the newest commits but never damages
            the file. `full`: survives a power cut, at the price of one disk flush a commit.
    """

    begin_read = "BEGIN"
    begin_write = "BEGIN IMMEDIATE"

    def __init__(self, file: Path, *, synchronous: str = "normal") -> None:
        self._file = file
        with disk_errors(str(file)):
            file.parent.mkdir(parents=True, exist_ok=True)
        self._turn = FileLock(file.with_name(f"{file.name}.lock"))
        self.engine = _engine(file, synchronous)

    def turn(self) -> AbstractContextManager[None]:
        """The file lock beside the database."""
        return self._turn

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Under the file lock; the file is in WAL mode from here on."""
        with disk_errors(str(self._file)), self._turn, self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql(self.begin_write)
            yield connection
            connection.exec_driver_sql("COMMIT")

    def upsert(self, kind: type[Record]) -> Insert:
        """`INSERT ... ON CONFLICT DO UPDATE`."""
        return _upsert(kind)

    def passes(self, error: DBAPIError, tries: int) -> bool:
        """Somebody else's lock always passes."""
        return (getattr(error.orig, "sqlite_errorname", None) or "").startswith(_PASSING)

    def translate(self, error: DBAPIError) -> TidemillError | None:
        """Full disk, refused file, damaged file."""
        name = getattr(error.orig, "sqlite_errorname", None) or ""
        if name.startswith("SQLITE_FULL"):
            return storage_full(str(self._file))
        if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            return PermissionDenied(f"{self._file} may not be written", hint="Check its owner and mode")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return InvalidData(
                f"{self._file} is damaged or not a database: {error.orig}", hint="Restore it from a backup"
            )
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR", *_PASSING)):
            return Unavailable(f"{self._file} cannot be used: {error.orig}", hint="Check the disk and the folder")
        return None

    def close(self) -> None:
        """Close the connections and the lock."""
        self.engine.dispose()
        self._turn.close()


def _engine(file: Path, synchronous: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        isolation_level="AUTOCOMMIT",
        pool_size=8,
        max_overflow=-1,
        connect_args={"timeout": BUSY_MILLIS / 1000, "check_same_thread": False},
    )

    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        # LIKE means the same as on PostgreSQL.
        connection.execute("PRAGMA case_sensitive_like=ON")

    event.listen(engine, "connect", configure)
    return engine


@functools.cache
def _upsert(kind: type[Record]) -> Insert:
    statement = insert(TABLES[kind])
    columns = [column.name for column in TABLES[kind].c if column.name not in kind.KEY]
    return statement.on_conflict_do_update(
        index_elements=kind.KEY, set_={name: statement.excluded[name] for name in columns}
    )
