"""PostgreSQL: for several machines."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import URL, Connection, Engine, Insert, create_engine, make_url
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, DBAPIError

from tidemill.core.errors import InvalidArgument, PermissionDenied, StorageFull, TidemillError, Unavailable
from tidemill.core.records.record import Record
from tidemill.stores.metadata.tables import TABLES

CONNECT_SECONDS = 10
TRIES = 3
"""Of beginning a transaction on a connection the server has closed, after a restart for example."""

# Held until commit. It makes writers follow one another, so that the event log's numbers appear in order and what a
# transaction has read still holds when it writes. The schema is part of it: stores in other schemas do not wait.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('tidemill/' || coalesce(current_schema(), ''), 0))"


class PostgresDialect:
    """A PostgreSQL database, or the schema its connections search first.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; libpq's options may follow `?`.
    """

    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    begin_write = f"BEGIN ISOLATION LEVEL READ COMMITTED; {_TURN}"

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self.name = self._url.set(password=None, query={}).render_as_string()
        self.engine = _engine(self._url)

    def turn(self) -> AbstractContextManager[None]:
        """Nothing: the server queues writers."""
        return nullcontext()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """In a writing transaction; PostgreSQL rolls back changes of tables too."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql(self.begin_write)
            yield connection
            connection.exec_driver_sql("COMMIT")

    def upsert(self, kind: type[Record]) -> Insert:
        """`INSERT ... ON CONFLICT DO UPDATE`."""
        return _upsert(kind)

    def passes(self, error: DBAPIError, tries: int) -> bool:
        """A pooled connection the server has closed."""
        return error.connection_invalidated and tries < TRIES

    def translate(self, error: DBAPIError) -> TidemillError | None:
        """No connection, no right, no room."""
        state = getattr(error.orig, "sqlstate", None) or ""
        said = self._said(error)
        if state == "53100":
            return StorageFull(f"the disk of {self.name} is full", hint="Free some space on the server and try again")
        if state == "42501" or state.startswith("28"):
            return PermissionDenied(f"{self.name} refuses: {said}", hint="Check the user's rights")
        if not state or state.startswith(("08", "53", "57P")):
            return Unavailable(
                f"PostgreSQL at {self.name} does not answer: {said}",
                hint="Check that the server runs, and `metadata` in tidemill.toml; `tidemill doctor` tries it again",
            )
        return None

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _said(self, error: DBAPIError) -> str:
        lines = str(error.orig).strip().splitlines()
        text = lines[0] if lines else type(error.orig).__name__
        return text.replace(self._url.password, "***") if self._url.password else text


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise InvalidArgument(
            "the URL of the metadata store cannot be read", expected="postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if not parsed.database:
        raise InvalidArgument(f"{parsed.set(password=None).render_as_string()} names no database")
    return parsed.set(drivername="postgresql+psycopg")


def _engine(url: URL) -> Engine:
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        execution_options={"no_parameters": True},  # several statements in one trip
        pool_size=8,
        max_overflow=-1,
        connect_args={} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS},
    )


@functools.cache
def _upsert(kind: type[Record]) -> Insert:
    statement = insert(TABLES[kind])
    columns = [column.name for column in TABLES[kind].c if column.name not in kind.KEY]
    return statement.on_conflict_do_update(
        index_elements=kind.KEY, set_={name: statement.excluded[name] for name in columns}
    )
