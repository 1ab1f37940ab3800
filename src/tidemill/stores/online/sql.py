"""The online store in PostgreSQL, MariaDB or MySQL: three documented tables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, delete, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from tidemill.core.errors import (
    InvalidArgument,
    InvalidData,
    PermissionDenied,
    StorageFull,
    TidemillError,
    Unavailable,
    unknown,
)
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import (
    TIMES,
    Block,
    Entries,
    Entry,
    OnlineReader,
    Question,
    T,
    ViewStats,
    append_then_ask,
    check_width,
    other_width,
)
from tidemill.stores.online.sql_dialect import MariaOnline, PostgresOnline, SqlDialect
from tidemill.stores.online.sql_tables import LONGEST_KEY, Tables

_DIGEST = 32


class View(NamedTuple):
    """A row of the table of views."""

    number: int
    name: str
    width: int | None
    records: int
    newest: int | None


def placed(key: bytes) -> bytes:
    """A key as the index takes it: a long one is as long as can be, which no other is."""
    if len(key) < LONGEST_KEY:
        return key
    return key[: LONGEST_KEY - _DIGEST] + hashlib.sha256(key).digest()


class SqlReader:
    """Reads within one transaction."""

    unchanged: object | None = None

    def __init__(self, connection: Connection, tables: Tables, dialect: SqlDialect) -> None:
        self._connection, self._tables, self._dialect = connection, tables, dialect
        self._views: dict[str, View] = {}

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        return [question.ask(self) for question in questions]

    def view(self, name: str) -> View:
        """The description of a view.

        Raises:
            NotFound: There is none.
        """
        if name not in self._views:
            row = self._connection.execute(select(self._tables.views).where(self._tables.views.c.name == name)).first()
            if row is None:
                raise unknown("view in the online store", name, self.views(), hint="Materialize it first")
            self._views[name] = View(*row)
        return self._views[name]

    def latest(
        self, view: str, keys: Sequence[bytes | None], at: Sequence[int], *, known: bool = False
    ) -> list[bytes | None]:
        found = self.view(view)
        result: list[bytes | None] = [None] * len(keys)
        asked = [place for place, key in enumerate(keys) if key is not None]
        if asked and found.records:
            rows = self._dialect.latest(
                self._connection, self._tables.records.name, found.number, _keys(keys, asked), [at[p] for p in asked],
                known,
            )  # fmt: skip
            for place, event, created, sequence, payload in rows:
                result[asked[place]] = TIMES.pack(event, created, sequence) + payload
        return result

    def range(self, view: str, keys: Sequence[bytes | None], start: Sequence[int], end: Sequence[int]) -> list[Block]:
        found = self.view(view)
        asked = [place for place, key in enumerate(keys) if key is not None]
        groups: list[list[Any]] = [[] for _ in keys]
        if asked and found.records:
            bounds = ([bound[place] for place in asked] for bound in (start, end))
            rows = self._dialect.range(
                self._connection, self._tables.records.name, found.number, _keys(keys, asked), *bounds
            )
            for place, *record in rows:
                groups[asked[place]].append(record)
        return [_block(group, found.width) for group in groups]

    def position(self, view: str, feed: str) -> int | None:
        table = self._tables.positions
        statement = select(table.c.position).where(table.c.view == self.view(view).number, table.c.feed == feed)
        return self._connection.scalar(statement)

    def stats(self, view: str) -> ViewStats:
        found = self.view(view)
        return ViewStats(found.records, found.newest)

    def views(self) -> list[str]:
        return sorted(self._connection.scalars(select(self._tables.views.c.name)))


def _keys(keys: Sequence[bytes | None], places: Sequence[int]) -> list[bytes]:
    return [placed(key) for key in map(keys.__getitem__, places) if key is not None]


def _block(records: Sequence[Sequence[Any]], width: int | None) -> Block:
    times = np.array([record[:3] for record in records], np.int64).reshape(-1, chunks.TIME_WORDS)
    payloads = [record[3] for record in records]
    if width is None:
        return Block(times, payloads)
    words = np.frombuffer(b"".join(payloads), np.int64).reshape(len(records), width // 8)
    return Block(np.concatenate([times, words], axis=1))


class SqlOnline:
    """The online store in an SQL database.

    Writes to a view follow one another; reads wait for nobody.

    Args:
        url: `postgresql://USER:PASSWORD@HOST/DATABASE` or `mysql://...`; options of the driver may follow `?`.
        prefix: What the names of the tables begin with.

    Raises:
        InvalidArgument: The URL is wrong.
    """

    def __init__(self, url: str, *, prefix: str = "tidemill") -> None:
        self._tables = Tables(prefix)
        self._dialect: SqlDialect = PostgresOnline() if url.startswith("postgresql") else MariaOnline()
        try:
            address = make_url(url).set(drivername=self._dialect.drivername)
        except (ArgumentError, ValueError):
            # The text is not repeated: it may hold a password.
            raise InvalidArgument("the URL of the online store cannot be read",
                                  expected="postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None  # fmt: skip
        self._password = address.password
        self._name = address.set(drivername=url.partition(":")[0], password=None, query={}).render_as_string()
        patience = {} if "connect_timeout" in address.query else {"connect_timeout": 5}
        self._engine: Engine = create_engine(address, pool_pre_ping=True, max_overflow=-1, connect_args=patience)
        self._pid, self._made = os.getpid(), False

    @contextmanager
    def read(self) -> Iterator[SqlReader]:
        with self._transaction() as connection:
            if self._dialect.begin_read:
                connection.exec_driver_sql(self._dialect.begin_read)
            yield SqlReader(connection, self._tables, self._dialect)

    def declare(self, view: str, *, width: int | None) -> None:
        check_width(view, width)
        with self._transaction() as connection:
            found = self._locked(connection, view)
            if found is None:
                try:
                    with connection.begin_nested():
                        connection.execute(insert(self._tables.views).values(name=view, width=width, records=0))
                except IntegrityError:  # another process declared it at the same time
                    found = self._locked(connection, view)
            if found is not None and found.width != width:
                raise other_width(view, found.width, width)

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        with self._transaction() as connection:
            found = self._found(connection, view)
            if len(entries.times):
                columns = _columns(view, entries, found.width)
                added = self._dialect.insert(connection, self._tables.records.name, found.number, columns)
                latest = int(entries.times[:, 0].max())
                newest = latest if found.newest is None else max(found.newest, latest)
                self._change(connection, found, records=found.records + added, newest=newest)
            else:
                added = 0
            for feed, position in (positions or {}).items():
                self._put_position(connection, found, feed, position)
            return added

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        return append_then_ask(self, view, entry, ask)

    def trim(self, view: str, before: int) -> int:
        with self._transaction() as connection:
            found = self._found(connection, view)
            statement = self._dialect.delete_old(self._tables.records.name)
            gone = connection.exec_driver_sql(statement, (found.number, before)).rowcount
            self._change(connection, found, records=found.records - gone)
            return gone

    def drop(self, view: str) -> None:
        with self._transaction() as connection:
            found = self._locked(connection, view)
            if found is not None:
                for table in (self._tables.records, self._tables.positions):
                    connection.execute(delete(table).where(table.c.view == found.number))
                connection.execute(delete(self._tables.views).where(self._tables.views.c.number == found.number))

    def remove(self) -> None:
        """Drop the tables."""
        with self._transaction() as connection:
            self._tables.metadata.drop_all(connection)
        self._made = False

    def close(self) -> None:
        self._engine.dispose(close=self._pid == os.getpid())

    def _found(self, connection: Connection, view: str) -> View:
        found = self._locked(connection, view)
        if found is None:
            return SqlReader(connection, self._tables, self._dialect).view(view)  # refuses
        return found

    def _locked(self, connection: Connection, view: str) -> View | None:
        """The description of a view, which nobody else may change until the end of the transaction."""
        table = self._tables.views
        row = connection.execute(select(table).where(table.c.name == view).with_for_update()).first()
        return None if row is None else View(*row)

    def _change(self, connection: Connection, view: View, **values: int) -> None:
        table = self._tables.views
        connection.execute(update(table).where(table.c.number == view.number).values(**values))

    def _put_position(self, connection: Connection, view: View, feed: str, position: int) -> None:
        table = self._tables.positions
        here = (table.c.view == view.number, table.c.feed == feed)  # the lock of the view keeps others out
        connection.execute(delete(table).where(*here))
        connection.execute(insert(table).values(view=view.number, feed=feed, position=position))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._pid != os.getpid():  # after a fork: the parent's connections are not ours
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            if not self._made:
                self._make()
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            known = self._translated(error)
            if known is None:
                raise
            raise known from error

    def _make(self) -> None:
        try:
            self._tables.metadata.create_all(self._engine)
        except (IntegrityError, OperationalError, ProgrammingError):  # two processes made them at the same time
            self._tables.metadata.create_all(self._engine)
        self._made = True

    def _translated(self, error: DBAPIError) -> TidemillError | None:
        kind = self._dialect.kind(error)
        lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        said = lines[0].replace(self._password, "***") if self._password else lines[0]
        if kind == "full":
            return StorageFull(f"the disk of {self._name} is full", hint="Free some space on the server and try again")
        if kind == "denied":
            return PermissionDenied(f"{self._name} refuses: {said}", hint="Check the user's rights")
        if kind == "away":
            return Unavailable(f"{self._name} does not answer: {said}", hint="Check that the server runs")
        return None


def _columns(view: str, entries: Entries, width: int | None) -> list[list[Any]]:
    """Keys, times and payloads of each record; of records with one identity the first."""
    found = entries.payloads.shape[1] if isinstance(entries.payloads, np.ndarray) else None
    if found != width:
        raise InvalidData(f"payloads do not fit view {view!r}",
                          expected="payloads of any length" if width is None else f"{width} bytes each")  # fmt: skip
    groups = np.repeat(np.arange(len(entries.keys)), np.diff(entries.starts))
    block, groups = chunks.ordered(chunks.layout_of(width).block(entries), groups)
    times = block.words[:, : chunks.TIME_WORDS].T.tolist()
    if width is None:
        payloads = list(block.payloads)
    else:
        raw = np.ascontiguousarray(block.words[:, chunks.TIME_WORDS :]).tobytes()
        payloads = [raw[first : first + width] for first in range(0, len(raw), width)] if width else [b""] * len(groups)
    keys = [placed(key) for key in entries.keys]
    return [[keys[owner] for owner in groups.tolist()], *times, payloads]
