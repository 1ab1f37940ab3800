"""Metadata in MariaDB: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect

from tidemill.core.errors import InvalidArgument, InvalidData, MissingExtra, PermissionDenied, Unavailable
from tidemill.core.records.events import Event, Pin
from tidemill.stores.metadata import mariadb
from tidemill.stores.metadata.open import open_metadata
from tidemill.testing.metadata_suite import MetadataSuite, OpenStore, event, pin
from tidemill.testing.processes import run_together


@pytest.mark.service
class TestMariadb(MetadataSuite):
    @pytest.fixture
    def open_store(self, empty_mariadb_url: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_metadata, empty_mariadb_url, tmp_path)


@pytest.fixture
def engine(empty_mariadb_url: str) -> Iterator[Engine]:
    engine = create_engine(empty_mariadb_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


def close_connections(engine: Engine) -> None:
    """Make the server end every connection to the database but this one."""
    with engine.connect() as connection:
        others = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for number in connection.exec_driver_sql(others).scalars().all():
            connection.exec_driver_sql(f"KILL CONNECTION {number}")


@pytest.mark.service
def test_connections_the_server_closed_are_replaced(empty_mariadb_url: str, engine: Engine, tmp_path: Path) -> None:
    store = open_metadata(empty_mariadb_url.replace("mysql+pymysql:", "mariadb:"), tmp_path)
    for round_ in range(2):
        with store.write() as writer, store.read() as reader:
            assert reader.count(Pin) == round_
            writer.add(pin(round_))
        close_connections(engine)
    with store.read() as reader:
        assert reader.count(Pin) == 2
    store.close()


@pytest.mark.service
def test_a_connection_lost_in_the_middle_is_unavailable_and_changes_nothing(
    empty_mariadb_url: str, engine: Engine, tmp_path: Path
) -> None:
    store = open_metadata(empty_mariadb_url, tmp_path)

    def write_and_lose_the_connection() -> None:
        with store.write() as writer:
            writer.add(pin("lost"))
            close_connections(engine)
            writer.add(pin("lost too"))

    with pytest.raises(Unavailable, match="does not answer"):
        write_and_lose_the_connection()
    with store.write() as writer:
        assert writer.count(Pin) == 0
    store.close()


@pytest.mark.service
def test_spaces_at_the_end_tell_texts_apart(empty_mariadb_url: str, tmp_path: Path) -> None:
    store = open_metadata(empty_mariadb_url, tmp_path)
    with store.write() as writer:
        writer.add(pin("a"), pin("a "), pin(""), pin(" "))
        assert writer.find(Pin, {"target": "a "}) == [pin("a ")]
        assert writer.count(Pin, {"target": ""}) == 1
    store.close()


@pytest.mark.service
def test_long_texts_are_kept(empty_mariadb_url: str, tmp_path: Path) -> None:
    store = open_metadata(empty_mariadb_url, tmp_path)
    with store.write() as writer:
        writer.emit(event(subject="s" * 191))
        assert writer.change(Event, {}, body={"text": "ü" * 100_000}) == 1
    with store.read() as reader:
        assert reader.find(Event)[0].body == {"text": "ü" * 100_000}
    store.close()


@pytest.mark.service
def test_an_interrupted_migration_is_finished(
    mariadb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MariaDB cannot roll the tables back that were made before the interruption.
    def interrupt(*arguments: object) -> tuple[str, object]:
        if "step_results" in str(arguments[2]):
            raise KeyboardInterrupt
        return mariadb_repeatable(*arguments)  # type: ignore[arg-type]

    mariadb_repeatable = mariadb._repeatable
    monkeypatch.setattr(mariadb, "_repeatable", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_metadata(mariadb_url, tmp_path)
    monkeypatch.undo()
    assert "runs" in tables(mariadb_url)
    store = open_metadata(mariadb_url, tmp_path)
    with store.write() as writer:
        writer.add(pin("a"))
    store.close()
    assert "step_results" in tables(mariadb_url)


def open_and_add(url: str, home: Path, number: int) -> None:
    store = open_metadata(url, home)
    with store.write() as writer:
        writer.add(pin(number))
    store.close()


@pytest.mark.service
def test_processes_migrate_a_new_database_at_once(mariadb_url: str, tmp_path: Path) -> None:
    run_together(open_and_add, [(mariadb_url, tmp_path, number) for number in range(2)])
    store = open_metadata(mariadb_url, tmp_path)
    with store.read() as reader:
        assert reader.count(Pin) == 2
    store.close()


@pytest.mark.service
def test_tables_of_another_program_are_not_touched(mariadb_url: str, tmp_path: Path) -> None:
    engine = create_engine(mariadb_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (x INT)")
    engine.dispose()
    with pytest.raises(InvalidData, match="holds tables of another program: runs"):
        open_metadata(mariadb_url, tmp_path)
    assert tables(mariadb_url) == ["runs"]


@pytest.mark.service
def test_an_unknown_user_or_database(empty_mariadb_url: str, tmp_path: Path) -> None:
    address = empty_mariadb_url.partition("@")[2]
    with pytest.raises((PermissionDenied, Unavailable), match=r"nobody_x:\*\*\*@") as caught:
        open_metadata(f"mysql://nobody_x:geheim77@{address}", tmp_path)
    assert "geheim77" not in str(caught.value)
    with pytest.raises(Unavailable, match="no_such_database"):
        open_metadata(empty_mariadb_url.rpartition("/")[0] + "/no_such_database", tmp_path)


def test_no_server_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}.*Check that the server runs") as caught:
        open_metadata(f"mysql://ada:geheim77@127.0.0.1:{port}/db", tmp_path)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://ada:geheim77@host:port/db", "mariadb:geheim77", "mysql://u:geheim77@h"])
def test_a_wrong_url_is_refused_without_repeating_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        open_metadata(url, tmp_path)
    assert "geheim77" not in str(caught.value)


def test_without_the_driver_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[mysql\]'"):
        open_metadata("mysql://h/db", tmp_path)
