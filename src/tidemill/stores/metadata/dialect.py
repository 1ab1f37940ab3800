"""What differs between databases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine, Insert
from sqlalchemy.exc import DBAPIError

from tidemill.core.errors import TidemillError
from tidemill.core.records.record import Record


class Dialect(Protocol):
    """One database system. Its engine runs in the driver's autocommit mode: transactions are begun in words."""

    engine: Engine
    begin_read: str
    """Begins a transaction that reads one snapshot."""
    begin_write: str
    """Begins a transaction that is the only writing one."""

    def turn(self) -> AbstractContextManager[None]:
        """Held around a writing transaction, so that this process's threads queue instead of polling."""
        ...

    def migrating(self) -> AbstractContextManager[Connection]:
        """A transaction for a migration, which no other process migrates in at the same time."""
        ...

    def upsert(self, kind: type[Record]) -> Insert:
        """Insert or replace by primary key."""
        ...

    def passes(self, error: DBAPIError, tries: int) -> bool:
        """Whether beginning again may succeed after an error."""
        ...

    def translate(self, error: DBAPIError) -> TidemillError | None:
        """The error in Tidemill's words, without secrets; None for one that means a defect of the program."""
        ...

    def close(self) -> None: ...
