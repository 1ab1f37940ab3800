"""Metadata in PostgreSQL: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
import importlib.util
import socket
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tidemill.core.errors import InvalidArgument, MissingExtra, PermissionDenied, Unavailable
from tidemill.core.records.events import Pin
from tidemill.stores.metadata.open import open_metadata
from tidemill.testing.metadata_suite import MetadataSuite, OpenStore, pin


@pytest.mark.service
class TestPostgres(MetadataSuite):
    @pytest.fixture
    def open_store(self, schema_url: str, tmp_path: Path) -> OpenStore:
        return functools.partial(open_metadata, schema_url, tmp_path)


def close_connections(engine: Engine) -> None:
    """Make the server end every connection to the database but this one."""
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


@pytest.mark.service
def test_connections_the_server_closed_are_replaced(schema_url: str, postgres_engine: Engine, tmp_path: Path) -> None:
    store = open_metadata(schema_url.replace("postgresql+psycopg:", "postgresql:"), tmp_path)
    for round_ in range(2):
        with store.write() as writer, store.read() as reader:
            assert reader.count(Pin) == round_
            writer.add(pin(round_))
        close_connections(postgres_engine)
    with store.read() as reader:
        assert reader.count(Pin) == 2
    store.close()


@pytest.mark.service
def test_a_connection_lost_in_the_middle_is_unavailable_and_changes_nothing(
    schema_url: str, postgres_engine: Engine, tmp_path: Path
) -> None:
    store = open_metadata(schema_url, tmp_path)

    def write_and_lose_the_connection() -> None:
        with store.write() as writer:
            writer.add(pin("lost"))
            close_connections(postgres_engine)
            writer.add(pin("lost too"))

    with pytest.raises(Unavailable, match="does not answer"):
        write_and_lose_the_connection()
    with store.write() as writer:
        assert writer.count(Pin) == 0
    store.close()


@pytest.mark.service
def test_an_unknown_user_or_database(postgres_url: str, tmp_path: Path) -> None:
    address = postgres_url.partition("@")[2]
    with pytest.raises((Unavailable, PermissionDenied), match=r"nobody_x:\*\*\*@") as caught:
        open_metadata(f"postgresql://nobody_x:geheim77@{address}", tmp_path)
    assert "geheim77" not in str(caught.value)


def test_no_server_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}.*Check that the server runs") as caught:
        open_metadata(f"postgresql://ada:geheim77@127.0.0.1:{port}/db", tmp_path)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://ada:geheim77@host:port/db", "postgresql:geheim77", "postgresql://u:geheim77@h"]
)
def test_a_wrong_url_is_refused_without_repeating_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        open_metadata(url, tmp_path)
    assert "geheim77" not in str(caught.value)


def test_without_the_driver_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'tidemill\[postgres\]'"):
        open_metadata("postgresql://h/db", tmp_path)
