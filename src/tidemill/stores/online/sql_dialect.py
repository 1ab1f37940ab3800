"""What differs between the databases of an online store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Row = Sequence[Any]

NEWEST_FIRST = "ORDER BY event_ts DESC, created_ts DESC, ingest_seq DESC LIMIT 1"
KNOWN = " AND created_ts <= {at} AND created_ts > -9223372036854775808"
AT_ONCE = 10_000
"""Records in one statement."""


class SqlDialect(Protocol):
    """One database system."""

    drivername: str
    """SQLAlchemy's name of system and driver."""
    begin_read: str
    """Makes the transaction that has just begun one that reads a single snapshot; empty when it is so anyway."""

    def latest(
        self, connection: Connection, table: str, view: int, keys: Sequence[bytes], at: Sequence[int], known: bool
    ) -> list[Row]:
        """Place among the keys, times and payload of the newest record of each key that has one."""
        ...

    def range(
        self,
        connection: Connection,
        table: str,
        view: int,
        keys: Sequence[bytes],
        start: Sequence[int],
        end: Sequence[int],
    ) -> list[Row]:
        """Place among the keys, times and payload of the records, in order."""
        ...

    def insert(self, connection: Connection, table: str, view: int, columns: Sequence[list[Any]]) -> int:
        """Write records (columns of keys, three times, payloads) that are not there; returns how many there were."""
        ...

    def delete_old(self, table: str) -> str:
        """The statement that deletes a view's records before a time but a key's newest."""
        ...

    def kind(self, error: DBAPIError) -> str:
        """`full`, `denied`, `away`, or `` for what means a defect."""
        ...


class PostgresOnline:
    """PostgreSQL: arrays go over whole."""

    drivername = "postgresql+psycopg"
    begin_read = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

    def latest(
        self, connection: Connection, table: str, view: int, keys: Sequence[bytes], at: Sequence[int], known: bool
    ) -> list[Row]:
        only = KNOWN.format(at="k.at") if known else ""
        statement = (
            "SELECT k.place - 1, r.* FROM unnest(%s::bytea[], %s::bigint[]) WITH ORDINALITY AS k(entity, at, place)"
            f" CROSS JOIN LATERAL (SELECT event_ts, created_ts, ingest_seq, payload FROM {table}"
            f" WHERE view = %s AND entity = k.entity AND event_ts <= k.at{only} {NEWEST_FIRST}) AS r"
        )
        return list(connection.exec_driver_sql(statement, (list(keys), list(at), view)))

    def range(
        self,
        connection: Connection,
        table: str,
        view: int,
        keys: Sequence[bytes],
        start: Sequence[int],
        end: Sequence[int],
    ) -> list[Row]:
        statement = (
            "SELECT k.place - 1, event_ts, created_ts, ingest_seq, payload FROM"
            " unnest(%s::bytea[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS k(entity, low, high, place)"
            f" JOIN {table} AS r ON r.view = %s AND r.entity = k.entity AND event_ts >= low AND event_ts < high"
            " ORDER BY k.place, event_ts, created_ts, ingest_seq"
        )
        return list(connection.exec_driver_sql(statement, (list(keys), list(start), list(end), view)))

    def insert(self, connection: Connection, table: str, view: int, columns: Sequence[list[Any]]) -> int:
        arrays = "%s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]"
        statement = (
            f"INSERT INTO {table} (view, entity, event_ts, created_ts, ingest_seq, payload)"
            f" SELECT %s, c.* FROM unnest({arrays}) AS c ON CONFLICT DO NOTHING"
        )
        count = 0
        for first in range(0, len(columns[0]), AT_ONCE):
            some = [column[first : first + AT_ONCE] for column in columns]
            count += connection.exec_driver_sql(statement, (view, *some)).rowcount
        return count

    def delete_old(self, table: str) -> str:
        return (
            f"DELETE FROM {table} AS r WHERE r.view = %s AND r.event_ts < %s AND EXISTS"
            f" (SELECT 1 FROM {table} AS n WHERE n.view = r.view AND n.entity = r.entity"
            " AND (n.event_ts, n.created_ts, n.ingest_seq) > (r.event_ts, r.created_ts, r.ingest_seq))"
        )

    def kind(self, error: DBAPIError) -> str:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state == "53100":
            return "full"
        if state == "42501" or state.startswith("28"):
            return "denied"
        return "away" if not state or state.startswith(("08", "53", "57P")) else ""


class MariaOnline:
    """MariaDB and MySQL: one part of the statement for each key."""

    drivername = "mysql+pymysql"
    begin_read = ""  # a transaction reads one snapshot by default

    def latest(
        self, connection: Connection, table: str, view: int, keys: Sequence[bytes], at: Sequence[int], known: bool
    ) -> list[Row]:
        only = KNOWN.format(at="%s") if known else ""
        part = (
            f"(SELECT %s AS place, event_ts, created_ts, ingest_seq, payload FROM {table}"
            f" WHERE view = %s AND entity = %s AND event_ts <= %s{only} {NEWEST_FIRST})"
        )
        values = [
            (place, view, key, time, *([time] if known else []))
            for place, (key, time) in enumerate(zip(keys, at, strict=True))
        ]
        return _united(connection, part, values)

    def range(
        self,
        connection: Connection,
        table: str,
        view: int,
        keys: Sequence[bytes],
        start: Sequence[int],
        end: Sequence[int],
    ) -> list[Row]:
        part = (
            f"(SELECT %s AS place, event_ts, created_ts, ingest_seq, payload FROM {table}"
            " WHERE view = %s AND entity = %s AND event_ts >= %s AND event_ts < %s)"
        )
        values = [
            (place, view, key, low, high) for place, (key, low, high) in enumerate(zip(keys, start, end, strict=True))
        ]
        return _united(connection, part, values, " ORDER BY place, event_ts, created_ts, ingest_seq")

    def insert(self, connection: Connection, table: str, view: int, columns: Sequence[list[Any]]) -> int:
        statement = (
            f"INSERT IGNORE INTO {table} (view, entity, event_ts, created_ts, ingest_seq, payload)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
        )
        rows = [(view, *row) for row in zip(*columns, strict=True)]
        return connection.exec_driver_sql(statement, rows).rowcount

    def delete_old(self, table: str) -> str:
        # A derived table: no other way to look at the table that is changed.
        return (
            "DELETE r FROM (SELECT view, entity, event_ts, created_ts, ingest_seq, ROW_NUMBER() OVER"
            " (PARTITION BY entity ORDER BY event_ts DESC, created_ts DESC, ingest_seq DESC) AS age"
            f" FROM {table} WHERE view = %s) AS o JOIN {table} AS r"
            " USING (view, entity, event_ts, created_ts, ingest_seq) WHERE o.age > 1 AND r.event_ts < %s"
        )

    def kind(self, error: DBAPIError) -> str:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else 0
        if code in (1021, 1114):
            return "full"
        if code in (1044, 1045, 1142, 1698):
            return "denied"
        return "away" if code in (0, 1040, 1053, 1077, 1927) or 2000 <= code < 2100 else ""


_PARTS = 200
"""Keys in one statement."""


def _united(connection: Connection, part: str, values: Sequence[Sequence[Any]], order: str = "") -> list[Row]:
    rows: list[Row] = []
    for first in range(0, len(values), _PARTS):
        some = values[first : first + _PARTS]
        statement = " UNION ALL ".join([part] * len(some)) + order
        rows += connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))
    return rows
