"""MariaDB: for several machines."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    PoolResetState,
    UnaryExpression,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.dialects.mysql.base import MySQLCompiler
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError

from tidemill.core.errors import (
    InvalidArgument,
    InvalidData,
    PermissionDenied,
    StorageFull,
    TidemillError,
    Unavailable,
)
from tidemill.core.records.record import Record
from tidemill.stores.metadata.tables import TABLES

CONNECT_SECONDS = 10
TRIES = 3
"""Of beginning a transaction on a connection the server has closed, after a restart for example."""

_YEAR = 365 * 24 * 3600

_FULL = (1021, 1114)
_DENIED = (1044, 1045, 1142, 1143, 1227, 1370, 1698)
_GONE = (0, 1040, 1043, 1049, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1317, 1927)
_CLIENT = range(2000, 2100)
"""Errors the driver itself finds: no connection, or none any more."""
_TOO_LARGE = (1153, 1301)


class MariadbDialect:
    """A MariaDB database.

    Args:
        url: `mysql+pymysql://USER:PASSWORD@HOST:PORT/DATABASE`; PyMySQL's options may follow `?`.
    """

    begin_read = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self.name = self._url.set(drivername="mysql", password=None, query={}).render_as_string()
        self._take_turn = _take_turn(str(self._url.database))
        # It makes writers follow one another, so that the event log's numbers appear in order and what a transaction has
        # read still holds when it writes.
        self.begin_write = _block(self._take_turn, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE")
        self.engine = _engine(self._url)

    def turn(self) -> AbstractContextManager[None]:
        """Nothing: the server queues writers."""
        return nullcontext()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """In the writers' turn. MariaDB commits every change of a table by itself, so each can be made again."""
        with self._suitable_server(), self.engine.connect() as connection:
            connection.exec_driver_sql(_block(self._take_turn))
            _check_own(connection, self.name)
            event.listen(connection, "before_cursor_execute", _repeatable, retval=True)
            yield connection

    @contextmanager
    def _suitable_server(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequestError as error:
            if "MariaDB" not in str(error):
                raise
            raise InvalidArgument(f"{self.name} is no MariaDB: {error}", expected="MariaDB or PostgreSQL") from None

    def upsert(self, kind: type[Record]) -> Insert:
        """`INSERT ... ON DUPLICATE KEY UPDATE`."""
        return _upsert(kind)

    def passes(self, error: DBAPIError, tries: int) -> bool:
        """A pooled connection the server has closed."""
        return error.connection_invalidated and tries < TRIES

    def translate(self, error: DBAPIError) -> TidemillError | None:
        """No connection, no right, no room."""
        number, said = self._said(error)
        if number in _FULL:
            return StorageFull(f"the disk of {self.name} is full", hint="Free some space on the server and try again")
        if number in _DENIED:
            return PermissionDenied(f"{self.name} refuses: {said}", hint="Check the user's password and rights")
        if number in _TOO_LARGE:
            return InvalidData(f"a record is too large for {self.name}: {said}", hint="Raise its max_allowed_packet")
        if number in _GONE or number in _CLIENT:
            return Unavailable(
                f"MariaDB at {self.name} does not answer: {said}",
                hint="Check that the server runs, and `metadata` in tidemill.toml; `tidemill doctor` tries it again",
            )
        return None

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _said(self, error: DBAPIError) -> tuple[int, str]:
        arguments = getattr(error.orig, "args", ())
        number = arguments[0] if arguments and isinstance(arguments[0], int) else -1
        text = str(arguments[-1]) if arguments else type(error.orig).__name__
        return number, text.replace(str(self._url.password), "***") if self._url.password else text


class _Compiler(MySQLCompiler):
    """Nulls are the smallest in MariaDB anyway, and it has no words to say so."""

    def visit_nulls_first_op_unary_modifier(self, unary: UnaryExpression[Any], _operator: Any, **options: Any) -> str:
        return str(self.process(unary.element, **options))

    visit_nulls_last_op_unary_modifier = visit_nulls_first_op_unary_modifier


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise InvalidArgument(
            "the URL of the metadata store cannot be read", expected="mysql+pymysql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if not parsed.database:
        raise InvalidArgument(f"{parsed.set(password=None).render_as_string()} names no database")
    return parsed.set(drivername="mariadb+pymysql")


def _engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=8,
        max_overflow=-1,
        pool_reset_on_return=None,
        connect_args={
            "init_command": "SET SESSION tx_isolation = 'REPEATABLE-READ', sql_mode = 'STRICT_ALL_TABLES'",
            **({} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}),
        },
    )
    engine.dialect.statement_compiler = _Compiler
    event.listen(engine, "reset", _reset)
    return engine


def _reset(connection: Any, _record: Any, state: PoolResetState) -> None:
    if not state.terminate_only:
        with connection.cursor() as cursor:
            cursor.execute(_block("ROLLBACK", "DO RELEASE_ALL_LOCKS()"))


def _take_turn(database: str) -> str:
    # The name of a lock is known in the whole server, and has at most 64 characters. It may take as long as it wants, but
    # somebody may also end the waiting: then the answer is null.
    name = f"tidemill/{hashlib.sha256(database.encode()).hexdigest()[:32]}"
    return (
        f"IF GET_LOCK('{name}', {_YEAR}) IS NOT TRUE THEN"
        " SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1205, MESSAGE_TEXT = 'waiting for the turn to write was ended';"
        " END IF"
    )


def _block(*statements: str) -> str:
    """Several statements in one trip."""
    return f"BEGIN NOT ATOMIC {'; '.join(statements)}; END"


_ONCE = {
    re.compile(r"^\s*(CREATE (?:TABLE|INDEX|UNIQUE INDEX)) "): r"\1 IF NOT EXISTS ",
    re.compile(r"^\s*(ALTER TABLE \S+ ADD COLUMN) "): r"\1 IF NOT EXISTS ",
    re.compile(r"^\s*(DROP (?:TABLE|INDEX)) "): r"\1 IF EXISTS ",
    re.compile(r"^\s*(ALTER TABLE \S+ DROP COLUMN) "): r"\1 IF EXISTS ",
}


def _repeatable(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """A change of a table as one that may have been made before: by a migration that was killed."""
    for pattern, replacement in _ONCE.items():
        statement = pattern.sub(replacement, statement)
    return statement, parameters


def _check_own(connection: Connection, name: str) -> None:
    # A migration begins by making the table of the format. Without it, tables of our names are somebody else's.
    found = set(inspect(connection).get_table_names())
    taken = sorted(found & {table.name for table in TABLES.values()})
    if taken and "tidemill_format" not in found:
        raise InvalidData(
            f"{name} holds tables of another program: {', '.join(taken)}",
            hint="Use a database of its own: CREATE DATABASE tidemill",
        )


@functools.cache
def _upsert(kind: type[Record]) -> Insert:
    statement = insert(TABLES[kind])
    columns = [column.name for column in TABLES[kind].c if column.name not in kind.KEY]
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in columns})
