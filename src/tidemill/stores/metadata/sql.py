"""The metadata store on an SQL database."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Pool
from sqlalchemy.exc import DBAPIError

from tidemill.core.errors import Conflict
from tidemill.stores.metadata.dialect import Dialect
from tidemill.stores.metadata.format import check_format, read_format
from tidemill.stores.metadata.session import SqlReader, SqlWriter


class SqlMetadata:
    """Records in SQL tables; see `MetadataStore`.

    Writing transactions follow one another, on every database: what a block read still holds when it writes. A process
    that was forked gets connections of its own.

    Args:
        dialect: The database.
        name: Its address without secrets, for messages.
    """

    def __init__(self, dialect: Dialect, name: str) -> None:
        self._dialect = dialect
        self._name = name
        self._abandoned: list[Pool] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._writing = threading.local()

    @contextmanager
    def read(self) -> Iterator[SqlReader]:
        """One snapshot: what is committed meanwhile is not seen."""
        with self._transaction(self._dialect.begin_read) as connection:
            yield SqlReader(connection)

    @contextmanager
    def write(self) -> Iterator[SqlWriter]:
        """The only writing transaction of its time.

        Raises:
            Conflict: This thread is in a `write` block already; pass its writer on instead.
        """
        self._own_process()
        if getattr(self._writing, "active", False):
            raise Conflict("this thread already writes", hint="Pass the writer of the outer block on")
        self._writing.active = True
        try:
            with self._dialect.turn(), self._transaction(self._dialect.begin_write) as connection:
                yield SqlWriter(connection, self._dialect.upsert)
        finally:
            self._writing.active = False

    def migrate(self) -> None:
        """Bring the database to this program's format; many processes may do so at once.

        Raises:
            FormatTooNew: A newer program wrote it.
        """
        with self._translated():
            if self._is_current():
                return
            with self._dialect.migrating() as connection:
                if not check_format(read_format(connection), self._name):
                    # Alembic takes long to import, and a home is rarely older than the program.
                    from tidemill.stores.metadata.migrations.upgrade import upgrade

                    upgrade(connection)

    def close(self) -> None:
        """Close the connections. The store must not be used afterwards."""
        self._own_process()
        self._dialect.close()

    def _is_current(self) -> bool:
        with self._begun("SELECT 1") as connection:
            return check_format(read_format(connection), self._name)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        self._own_process()
        # Leaving without COMMIT gives the connection back to the pool, which rolls it back.
        with self._translated(), self._begun(begin) as connection:
            yield connection
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def _begun(self, begin: str) -> Iterator[Connection]:
        connection = self._begin(begin)
        try:
            yield connection
        finally:
            connection.close()

    def _begin(self, begin: str) -> Connection:
        tries = 0
        while True:
            connection = self._dialect.engine.connect()
            try:
                connection.exec_driver_sql(begin)
                return connection
            except DBAPIError as error:
                connection.close()
                tries += 1
                if not self._dialect.passes(error, tries):
                    raise
            except BaseException:
                connection.close()
                raise

    def _own_process(self) -> None:
        if self._pid != os.getpid():
            self._forget_connections()
            self._reset()

    def _forget_connections(self) -> None:
        """After a fork: use none of the parent's connections, and close none either.

        Closing one would end the parent's session, or drop its locks: all are kept, unused, until the process ends.
        """
        engine = self._dialect.engine
        self._abandoned.append(engine.pool)
        engine.dispose(close=False)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            known = self._dialect.translate(error)
            if known is None:
                raise
            raise known from error
