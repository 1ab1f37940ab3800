"""What a transaction offers: reads, and writes on top."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Insert, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from tidemill.core.errors import AlreadyExists, InvalidArgument
from tidemill.core.records.events import Event
from tidemill.core.records.record import Record
from tidemill.stores.metadata import where as sql
from tidemill.stores.metadata.protocol import Where
from tidemill.stores.metadata.rows import decode, encode, encoders
from tidemill.stores.metadata.tables import COUNTERS, TABLES

R = TypeVar("R", bound=Record)

Upsert = Callable[[type[Record]], Insert]

EVENTS = "tidemill/events"
"""The counter of the event log."""


class SqlReader:
    """Reads within one transaction; see `Reader`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, kind: type[R], /, **key: Any) -> R | None:
        """The record with this primary key."""
        if key.keys() != set(kind.KEY):
            raise InvalidArgument(
                f"{kind.__name__} cannot be got by {', '.join(key) or 'nothing'}", expected=", ".join(kind.KEY)
            )
        found = self.find(kind, key, limit=1)
        return found[0] if found else None

    def find(
        self,
        kind: type[R],
        where: Where | None = None,
        *,
        order: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[R]:
        """Records that match, in order; ties by the primary key. Nulls count as smallest."""
        shape, parameters = sql.parse(kind, where)
        if limit is not None:
            parameters["row_limit"] = limit
        if offset:
            parameters["row_offset"] = offset
        statement = sql.selection(kind, shape, tuple(order), limit is not None, bool(offset))
        return decode(kind, self._connection.execute(statement, parameters))

    def count(self, kind: type[Record], where: Where | None = None) -> int:
        """How many records match."""
        shape, parameters = sql.parse(kind, where)
        return int(self._connection.execute(sql.counting(kind, shape), parameters).scalar_one())


class SqlWriter(SqlReader):
    """Reads and writes within one transaction; see `Writer`.

    Args:
        connection: In a writing transaction.
        upsert: The database's own "insert or replace" of a kind.
    """

    def __init__(self, connection: Connection, upsert: Upsert) -> None:
        super().__init__(connection)
        self._upsert = upsert

    def add(self, *records: Record) -> None:
        """Insert new records, all or none."""
        for kind, group in _by_kind(records):
            with self._savepoint(kind, group):
                self._connection.execute(_insertion(kind), [encode(record) for record in group])

    def put(self, *records: Record) -> None:
        """Insert records, or replace those with the same primary key."""
        for kind, group in _by_kind(records):
            self._connection.execute(self._upsert(kind), [encode(record) for record in group])

    def change(self, kind: type[Record], where: Where, /, **values: Any) -> int:
        """Set fields of the records that match; returns how many."""
        shape, parameters = sql.parse(kind, where)
        if not values:
            raise InvalidArgument(f"nothing to change in {kind.__name__}", expected="fields and their values")
        for field, value in values.items():
            parameters[f"set_{field}"] = _encoded(kind, field, value)
        return self._connection.execute(sql.changing(kind, shape, tuple(values)), parameters).rowcount

    def remove(self, kind: type[Record], where: Where) -> int:
        """Delete the records that match; returns how many."""
        shape, parameters = sql.parse(kind, where)
        return self._connection.execute(sql.removing(kind, shape), parameters).rowcount

    def emit(self, event: Event) -> None:
        """Append to the event log."""
        numbered = msgspec.structs.replace(event, seq=self.next(EVENTS))
        self._connection.execute(_insertion(Event), encode(numbered))

    def next(self, counter: str, by: int = 1) -> int:
        """Advance a named counter and return its value before."""
        if by < 1:
            raise InvalidArgument(f"a counter cannot advance by {by}", expected="1 or more")
        name = {"counter": counter}
        value = self._connection.execute(_COUNTER_VALUE, name).scalar_one_or_none()
        if value is None:
            self._connection.execute(_COUNTER_START, {"name": counter, "value": 1 + by})
            return 1
        self._connection.execute(_COUNTER_MOVE, {**name, "after": value + by})
        return int(value)

    @contextmanager
    def _savepoint(self, kind: type[Record], records: list[Record]) -> Iterator[None]:
        # Without it PostgreSQL would refuse the rest of the transaction, and SQLite keep a part of the records.
        self._connection.exec_driver_sql("SAVEPOINT records")
        try:
            yield
        except IntegrityError as error:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT records")
            raise self._taken(kind, records) from error
        self._connection.exec_driver_sql("RELEASE SAVEPOINT records")

    def _taken(self, kind: type[Record], records: list[Record]) -> AlreadyExists:
        seen: set[tuple[Any, ...]] = set()
        for record in records:
            key = {name: getattr(record, name) for name in kind.KEY}
            if tuple(key.values()) in seen or self.get(kind, **key) is not None:
                shown = ", ".join(f"{name}={value!r}" for name, value in key.items())
                return AlreadyExists(f"there is a {kind.__name__} with {shown} already")
            seen.add(tuple(key.values()))
        return AlreadyExists(f"one of {len(records)} records of {kind.TABLE} exists already")


def _by_kind(records: Sequence[Record]) -> Iterator[tuple[type[Record], list[Record]]]:
    for kind, group in groupby(records, key=type):
        yield kind, list(group)


def _encoded(kind: type[Record], field: str, value: Any) -> Any:
    known = encoders(kind)
    if field not in known or field in kind.KEY:
        changeable = [name for name in known if name not in kind.KEY]
        raise InvalidArgument(f"{kind.__name__}.{field} cannot be changed", known=changeable)
    return known[field](value)


@functools.cache
def _insertion(kind: type[Record]) -> Insert:
    return insert(TABLES[kind])


_COUNTER_VALUE = select(COUNTERS.c.value).where(COUNTERS.c.name == bindparam("counter"))
_COUNTER_START = insert(COUNTERS)
_COUNTER_MOVE = update(COUNTERS).where(COUNTERS.c.name == bindparam("counter")).values(value=bindparam("after"))
