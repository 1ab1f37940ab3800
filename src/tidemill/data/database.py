"""Rows of a table or a query of an SQL database."""

from __future__ import annotations

import decimal
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, NotFound, Unavailable, unknown
from tidemill.core.specs.sources import Source
from tidemill.core.uris import concealed
from tidemill.data.values import column as column_of

DRIVERS = {
    "postgresql": ("psycopg", "psycopg", "postgres"),
    "mysql": ("pymysql", "pymysql", "mysql"),
    "mariadb": ("pymysql", "pymysql", "mysql"),
    "sqlite": ("pysqlite", "sqlite3", ""),
}
"""Database -> SQLAlchemy's word for the driver, its module, and the extra that installs it."""

CONNECT_SECONDS = 10
_BATCH = 50_000
_EXPECTED = "postgresql://USER@HOST/DATABASE?table=NAME"
_VARIABLE = re.compile(r"#password=(\w+)$")


def is_database(place: str) -> bool:
    """Whether a source's URL names a database.

    Example:
        >>> is_database("postgresql+psycopg://db/shop?table=orders"), is_database("orders.csv")
        (True, False)
    """
    scheme, colon, _ = place.partition("://")
    return bool(colon) and scheme.partition("+")[0] in DRIVERS


@dataclass(frozen=True)
class Selection:
    """What a source reads of a database.

    Args:
        url: The database, with its password.
        table: The table, or
        query: the query.
        since: Column by whose value reading goes on.
        ids: The id columns, by which rows are ordered where `since` does not.
        origin: All of this without secrets: equal for what may go on where the other stopped.
    """

    url: sa.URL
    table: str | None
    query: str | None
    since: str | None
    ids: tuple[str, ...]
    origin: str

    def fetch(self, start: Any = None) -> pl.DataFrame:
        """The rows, those of `since` at or after a start.

        Raises:
            Unavailable: The database does not answer.
            NotFound: There is no such table or column.
            InvalidArgument: The query fails, or `since` is a text.
            InvalidData: Two columns have one name, or a row has no value in `since`.
        """
        with self._connected() as connection:
            names = self._columns(connection)
            if self.since is not None:
                self._check_since(connection, names)
            with connection.execution_options(stream_results=True).execute(self._statement(names, start)) as result:
                frame = _frame(names, result)
        self._check_ordered(frame)
        return frame

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        engine = _engine(self.url)
        try:
            with self._connect(engine) as connection:
                yield connection
        except DBAPIError as error:
            if error.connection_invalidated:
                raise self._unavailable(error) from None
            raise self._unreadable(error.orig or error) from None
        except SQLAlchemyError as error:
            raise self._unreadable(error) from None
        finally:
            engine.dispose()

    def _connect(self, engine: sa.Engine) -> sa.Connection:
        try:
            return engine.connect()
        except DBAPIError as error:
            raise self._unavailable(error) from None

    @property
    def _rows(self) -> sa.FromClause:
        if self.query is not None:
            # Everything in it is meant literally: a colon does not begin a parameter.
            return sa.text(self.query.rstrip().rstrip(";").replace(":", r"\:")).columns().subquery("selected")
        schema, _, table = str(self.table).rpartition(".")
        return sa.table(table, schema=schema or None)

    def _columns(self, connection: sa.Connection) -> list[str]:
        if self.table is not None:
            _check_table(sa.inspect(connection), self.table)
        names = list(connection.execute(self._select().where(sa.false())).keys())
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise InvalidData(f"{self.origin} has several columns named {', '.join(map(repr, doubled))}",
                              expected="every column name once", hint="Name them with AS")  # fmt: skip
        return names

    def _select(self) -> sa.Select[Any]:
        return sa.select(sa.text("*")).select_from(self._rows)

    def _statement(self, names: Sequence[str], start: Any) -> sa.Select[Any]:
        if self.since is None:
            return self._select().order_by(*(sa.column(name) for name in self.ids if name in names))
        since: sa.ColumnClause[Any] = sa.column(self.since)
        statement = self._select().order_by(since)
        return statement if start is None else statement.where(since >= start)

    def _check_since(self, connection: sa.Connection, names: Sequence[str]) -> None:
        if self.since not in names:
            raise unknown("column", str(self.since), names, hint="since= of the source names it")
        without = self._rows_without_since(connection)
        if without:
            raise InvalidData(
                f"{without} rows of {self.origin} have no {self.since}, so they would never be read",
                expected="a value in every row of the column that since= names",
                hint=f"Leave them out: query='SELECT ... WHERE {self.since} IS NOT NULL'",
            )

    def _rows_without_since(self, connection: sa.Connection) -> int:
        empty = sa.column(str(self.since)).is_(None)
        return connection.execute(sa.select(sa.func.count()).select_from(self._rows).where(empty)).scalar_one()

    def _check_ordered(self, frame: pl.DataFrame) -> None:
        # Each database has an order of its own for texts; that of SQLite is the order of their bytes.
        if (
            self.since is not None
            and frame[self.since].dtype == pl.String()
            and self.url.get_backend_name() != "sqlite"
        ):
            raise InvalidArgument(
                f"since={self.since!r} names a column of texts", expected="a column of numbers or times"
            )

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        said = self._said(error.orig or error)
        return Unavailable(f"the database {self.origin} does not answer: {said}", hint="Check the URL and the server")

    def _unreadable(self, error: BaseException) -> InvalidArgument:
        said = self._said(error)
        return InvalidArgument(
            f"{self.origin} cannot be read: {said}", hint="Check table=, query= and the user's rights"
        )

    def _said(self, error: BaseException) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        password = self.url.password
        return text.replace(str(password), "***") if password else text


def selection(place: str, source: Source, folder: Path, environ: Mapping[str, str] = os.environ) -> Selection:
    """What a source reads of the database its URL names.

    Args:
        place: The URL; `?table=` names a table, `#password=VARIABLE` an environment variable with the password.
        source: The source, with its `query` and `since`.
        folder: The project folder; a file of SQLite is relative to it.
        environ: The environment.

    Raises:
        InvalidArgument: The URL cannot be read, or names both a table and a query or neither.
        NotFound: There is no such file.
        MissingExtra: The driver is not installed.
    """
    found = _VARIABLE.search(place)
    url, table = _parsed(place[: found.start()] if found else place)
    if found:
        url = url.set(password=_password(found[1], source.name, environ))
    if (table is None) == (source.query is None):
        both = "a table and a query" if table else "neither a table nor a query"
        raise InvalidArgument(
            f"source {source.name!r} names {both}", expected="one of ?table=NAME in its URL and query="
        )
    origin = concealed(place[: found.start()] if found else place)
    origin += "" if source.query is None else f" query {source.query!r}"
    origin += "" if source.since is None else f" since {source.since}"
    return Selection(_located(url, folder), table, source.query, source.since, source.id_columns, origin)


def _parsed(place: str) -> tuple[sa.URL, str | None]:
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise InvalidArgument("the URL of the source's database cannot be read", expected=_EXPECTED) from None
    driver, module, extra = DRIVERS[url.get_backend_name()]
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f"a source on {url.get_backend_name()}", extra)
    table = url.query.get("table")
    if isinstance(table, tuple):
        raise InvalidArgument(f"{concealed(place)} names several tables", expected="one, or query=")
    if "+" not in url.drivername:
        url = url.set(drivername=f"{url.drivername}+{driver}")
    return url.difference_update_query(["table"]), table


def _password(variable: str, source: str, environ: Mapping[str, str]) -> str:
    if variable not in environ:
        raise InvalidArgument(f"source {source!r} wants its password from {variable}, which is not set")
    return environ[variable]


def _located(url: sa.URL, folder: Path) -> sa.URL:
    if url.get_backend_name() != "sqlite":
        return url
    file = folder / unquote(url.database or "")
    if not file.is_file():
        raise NotFound(f"there is no database {file}", hint="Check the url= of the source")
    return url.set(database=f"file:{quote(str(file))}", query={"mode": "ro", "uri": "true"})


def _engine(url: sa.URL) -> sa.Engine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {} if backend == "sqlite" else {"connect_timeout": CONNECT_SECONDS}
    if backend in ("mysql", "mariadb"):
        options["init_command"] = "SET time_zone = '+00:00'"  # a TIMESTAMP is told in the session's zone
    given = {name: value for name, value in options.items() if name not in url.query}
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=given)
    if backend == "postgresql":
        sa.event.listen(engine, "connect", _json_as_text)
    return engine


def _json_as_text(connection: Any, _record: Any) -> None:
    # Its fields differ from row to row, and a column has one type.
    from psycopg.types.string import TextLoader

    for kind in ("json", "jsonb"):
        connection.adapters.register_loader(kind, TextLoader)


def _check_table(inspector: sa.Inspector, name: str) -> None:
    schema, _, table = name.rpartition(".")
    if schema and schema not in inspector.get_schema_names():
        raise unknown("schema", schema, inspector.get_schema_names())
    known = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
    if table not in known:
        raise unknown("table", table, known, hint="?table= of the source's URL names it")


def _frame(names: Sequence[str], result: sa.CursorResult[Any]) -> pl.DataFrame:
    # What DB-API calls the scale: without one, or with places after the point, a NUMERIC becomes a float.
    numbers = [int if entry[5] == 0 else float for entry in result.cursor.description]
    parts = [_part(names, rows, numbers) for rows in result.partitions(_BATCH)]
    return pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame({name: [] for name in names})


def _part(names: Sequence[str], rows: Sequence[sa.Row[Any]], numbers: Sequence[Callable[[Any], Any]]) -> pl.DataFrame:
    columns = zip(names, zip(*rows, strict=True), numbers, strict=True)
    return pl.DataFrame([column_of(name, _plain(values, number)) for name, values, number in columns])


def _plain(values: Sequence[Any], number: Callable[[Any], Any]) -> Sequence[Any]:
    kinds = set(map(type, values))
    return [None if value is None else number(value) for value in values] if decimal.Decimal in kinds else values
