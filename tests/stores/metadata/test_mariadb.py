"""Metadata in MariaDB: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from tidemill.core.errors import InvalidData
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


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


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
