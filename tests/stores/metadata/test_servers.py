"""What a server brings with it, PostgreSQL or MariaDB: connections that end, strangers, addresses where nobody is."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from tidemill.core.errors import InvalidArgument, MissingExtra, PermissionDenied, Unavailable
from tidemill.core.records.events import Pin
from tidemill.stores.metadata.open import open_metadata
from tidemill.testing.metadata_suite import pin

OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()",
    "mysql": "SELECT CONCAT('KILL CONNECTION ', id) FROM information_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
"""The statement that ends every other connection to the database, or makes the statements that do."""


@dataclass(frozen=True)
class Database:
    """An empty place for metadata on a server."""

    url: str
    engine: Engine

    @property
    def short_url(self) -> str:
        """The URL without the driver, as users write it."""
        return self.url.replace("mysql+pymysql:", "mariadb:").replace("postgresql+psycopg:", "postgresql:")

    def close_connections(self) -> None:
        with self.engine.connect() as connection:
            for found in connection.exec_driver_sql(OTHERS[self.engine.dialect.name]).scalars().all():
                if isinstance(found, str):
                    connection.exec_driver_sql(found)


@pytest.fixture(params=["schema_url", "empty_mariadb_url"], ids=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    url = request.getfixturevalue(request.param)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    yield Database(url, engine)
    engine.dispose()


@pytest.mark.service
def test_connections_the_server_closed_are_replaced(database: Database, tmp_path: Path) -> None:
    store = open_metadata(database.short_url, tmp_path)
    for round_ in range(2):
        with store.write() as writer, store.read() as reader:
            assert reader.count(Pin) == round_
            writer.add(pin(round_))
        database.close_connections()
    with store.read() as reader:
        assert reader.count(Pin) == 2
    store.close()


@pytest.mark.service
def test_a_connection_lost_in_the_middle_is_unavailable_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    store = open_metadata(database.url, tmp_path)

    def write_and_lose_the_connection() -> None:
        with store.write() as writer:
            writer.add(pin("lost"))
            database.close_connections()
            writer.add(pin("lost too"))

    with pytest.raises(Unavailable, match="does not answer"):
        write_and_lose_the_connection()
    with store.write() as writer:
        assert writer.count(Pin) == 0
    store.close()


@pytest.mark.service
def test_an_unknown_user(database: Database, tmp_path: Path) -> None:
    address = database.url.partition("@")[2]
    scheme = database.engine.dialect.name
    with pytest.raises((PermissionDenied, Unavailable), match=r"nobody_x:\*\*\*@") as caught:
        open_metadata(f"{scheme}://nobody_x:geheim77@{address}", tmp_path)
    assert "geheim77" not in str(caught.value)


@pytest.mark.service
def test_an_unknown_database(empty_mariadb_url: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no_such_database"):
        open_metadata(empty_mariadb_url.rpartition("/")[0] + "/no_such_database", tmp_path)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_no_server_at_the_address(scheme: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}.*Check that the server runs") as caught:
        open_metadata(f"{scheme}://ada:geheim77@127.0.0.1:{port}/db", tmp_path)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:geheim77@host:port/db",
        "postgresql:geheim77",
        "postgresql://u:geheim77@h",
        "mysql://ada:geheim77@host:port/db",
        "mariadb:geheim77",
        "mysql://u:geheim77@h",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        open_metadata(url, tmp_path)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "extra"), [("postgresql", "postgres"), ("mysql", "mysql")])
def test_without_the_driver_the_extra_is_named(
    scheme: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"pip install 'tidemill\[{extra}\]'"):
        open_metadata(f"{scheme}://h/db", tmp_path)
