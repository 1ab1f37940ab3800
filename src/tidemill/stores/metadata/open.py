"""Opening the metadata store a URL names."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.stores.metadata.dialect import Dialect
from tidemill.stores.metadata.sql import SqlMetadata

FILE_NAME = "metadata.db"
POSTGRES = ("postgresql", "postgresql+psycopg")
MARIADB = ("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql")
SCHEMES = ("sqlite", *POSTGRES, *MARIADB)

_SYNCHRONOUS = ("normal", "full")


def open_metadata(url: str, home: Path) -> SqlMetadata:
    """Open the store and bring it to this program's format.

    Args:
        url: `sqlite:` (`metadata.db` in the home), `sqlite:///FILE` (relative to the home) with `?synchronous=full` to
            survive power cuts, `postgresql://USER:PASSWORD@HOST/DATABASE`, or `mysql+pymysql://...` for MariaDB.
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: The driver is not installed.
        Unavailable: The server does not answer.
        FormatTooNew: A newer program wrote it.

    Example:
        >>> import tempfile
        >>> store = open_metadata("sqlite:", Path(tempfile.mkdtemp()))
        >>> with store.write() as writer:
        ...     writer.next("example")
        1
        >>> store.close()
    """
    dialect, name = _dialect(url, home)
    store = SqlMetadata(dialect, name)
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


def _dialect(url: str, home: Path) -> tuple[Dialect, str]:
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return _sqlite(url, home)
    if scheme in POSTGRES:
        return _postgres(url)
    if scheme in MARIADB:
        return _mariadb(url)
    raise InvalidArgument(f"the metadata store cannot be {scheme!r}", known=SCHEMES)


def _sqlite(url: str, home: Path) -> tuple[Dialect, str]:
    from tidemill.stores.metadata.sqlite import SqliteDialect

    parts = urlsplit(url)
    if parts.netloc:
        raise InvalidArgument(
            f"{url!r} names a host", expected="sqlite:///FILE with three slashes, or four if absolute"
        )
    file = home / (parts.path.removeprefix("/") or FILE_NAME)
    options = dict(parse_qsl(parts.query))
    synchronous = options.pop("synchronous", "normal").lower()
    if options or synchronous not in _SYNCHRONOUS:
        raise InvalidArgument(
            f"{parts.query!r} is no option of sqlite:", known=[f"synchronous={v}" for v in _SYNCHRONOUS]
        )
    return SqliteDialect(file, synchronous=synchronous), str(file)


def _postgres(url: str) -> tuple[Dialect, str]:
    if importlib.util.find_spec("psycopg") is None:
        raise MissingExtra("the metadata store postgresql", "postgres")
    from tidemill.stores.metadata.postgres import PostgresDialect

    dialect = PostgresDialect(url)
    return dialect, dialect.name


def _mariadb(url: str) -> tuple[Dialect, str]:
    if importlib.util.find_spec("pymysql") is None:
        raise MissingExtra("the metadata store mysql", "mysql")
    from tidemill.stores.metadata.mariadb import MariadbDialect

    dialect = MariadbDialect(url)
    return dialect, dialect.name
