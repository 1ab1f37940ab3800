"""Metadata in SQLite: the contract, and what a file on a disk brings with it."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, InvalidData, StorageFull
from tidemill.core.records.events import Pin
from tidemill.stores.metadata import sqlite as sqlite_module
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.sql import SqlMetadata
from tidemill.testing.metadata_suite import MetadataSuite, OpenStore, pin


class TestSqlite(MetadataSuite):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return functools.partial(open_metadata, "sqlite:", tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlMetadata]:
    store = open_metadata("sqlite:", tmp_path)
    yield store
    store.close()


def pragma(store: SqlMetadata, name: str) -> object:
    with store._dialect.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_the_file_is_where_the_url_says(tmp_path: Path) -> None:
    for url, file in [
        ("sqlite:", "metadata.db"),
        ("sqlite:///deep/other.db?synchronous=FULL", "deep/other.db"),
        (f"sqlite:///{tmp_path}/abs.db", "abs.db"),
    ]:
        open_metadata(url, tmp_path).close()
        assert (tmp_path / file).is_file()


@pytest.mark.parametrize(("option", "level"), [("", 1), ("?synchronous=full", 2)])
def test_journal_and_durability(tmp_path: Path, option: str, level: int) -> None:
    store = open_metadata(f"sqlite:{option}", tmp_path)
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == level
    store.close()


@pytest.mark.parametrize("url", ["sqlite:?sync=full", "sqlite:?synchronous=off", "sqlite://host/file.db"])
def test_a_wrong_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument):
        open_metadata(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_database_system_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"oracle.*sqlite, postgresql"):
        open_metadata("oracle://scott:tiger@host/x", tmp_path)


def test_a_program_that_knows_nothing_of_the_file_lock_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_MILLIS", 10)  # so that SQLite's own patience ends first
    store = open_metadata("sqlite:", tmp_path)
    other = sqlite3.connect(tmp_path / "metadata.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    release.start()
    with store.write() as writer:
        writer.add(pin("a"))
        assert not release.is_alive() or release.finished.is_set()
    release.join()
    other.close()
    store.close()


def test_a_full_disk(store: SqlMetadata) -> None:
    with store.write() as writer:
        writer.add(pin("kept"))
    with store._dialect.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageFull, match=r"metadata\.db.*Free some space"), store.write() as writer:
        writer.add(*(pin(f"{number:0150d}") for number in range(1000)))
    with store.read() as reader:
        assert [found.target for found in reader.find(Pin)] == ["kept"]
    with store._dialect.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
    with store.write() as writer:
        writer.add(pin("again"))


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 100])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metadata.db").write_bytes(content)
    with pytest.raises(InvalidData, match=r"metadata\.db is damaged or not a database"):
        open_metadata("sqlite:", tmp_path)
    assert (tmp_path / "metadata.db").read_bytes() == content


def test_a_row_changed_by_hand_is_reported(tmp_path: Path, store: SqlMetadata) -> None:
    with store.write() as writer:
        writer.add(pin("a"))
    other = sqlite3.connect(tmp_path / "metadata.db")
    other.execute("UPDATE pins SET created_at = 'yesterday'")
    other.commit()
    other.close()
    with store.read() as reader, pytest.raises(InvalidData, match="row of pins is not a Pin"):
        reader.find(Pin)
