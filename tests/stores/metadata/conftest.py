"""Metadata stores on the databases of the tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from tests.fixtures.servers import fresh_mariadb

from tidemill.stores.metadata.format import FORMAT
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.tables import metadata


@pytest.fixture(scope="session")
def postgres_engine(postgres_url: str) -> Iterator[Engine]:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)  # tests end connections
    yield engine
    engine.dispose()


@pytest.fixture
def schema_url(postgres_url: str, postgres_engine: Engine) -> Iterator[str]:
    """The URL of a PostgreSQL schema of this test's own."""
    schema = f"tm_{uuid.uuid4().hex[:12]}"
    with postgres_engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    yield f"{postgres_url}?options=-csearch_path%3D{schema}"
    with postgres_engine.connect() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb_server: Engine, worker: str) -> Iterator[Engine]:
    """An engine on a MariaDB database with all tables: making them takes MariaDB seconds."""
    with fresh_mariadb(mariadb_server, f"tidemill_{worker}") as url:
        open_metadata(url, Path()).close()
        engine = create_engine(url.replace("mysql+", "mariadb+"), poolclass=NullPool)
        yield engine
        engine.dispose()


@pytest.fixture
def empty_mariadb_url(migrated_mariadb: Engine) -> Iterator[str]:
    """The URL of a MariaDB database with all tables, which are empty."""
    yield migrated_mariadb.url.set(drivername="mysql+pymysql").render_as_string(hide_password=False)
    with migrated_mariadb.begin() as connection:
        for table in metadata.tables.values():
            connection.execute(table.delete())
        connection.execute(text("UPDATE tidemill_format SET version_num = :format"), {"format": f"{FORMAT:04d}"})
