"""The migrations make what the records say, and a home of another format is refused or upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from tidemill.core.errors import FormatTooNew, InvalidData
from tidemill.core.records.verifications import ServiceVerification
from tidemill.stores.metadata.format import FORMAT
from tidemill.stores.metadata.migrations.upgrade import configuration
from tidemill.stores.metadata.open import open_metadata
from tidemill.stores.metadata.tables import COUNTERS, TABLES, metadata


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("schema_url", marks=pytest.mark.service, id="postgresql"),
        pytest.param("empty_mariadb_url", marks=pytest.mark.service, id="mariadb"),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Engine]]:
    """A migrated database, and an engine on it."""
    url = f"sqlite:///{tmp_path}/m.db" if request.param == "sqlite" else request.getfixturevalue(request.param)
    open_metadata(url, tmp_path).close()
    engine = create_engine(url.replace("mysql+", "mariadb+"))
    yield url, engine
    engine.dispose()


def set_format(engine: Engine, value: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE tidemill_format SET version_num = :value"), {"value": value})


def test_migrations_make_the_tables_of_the_records(database: tuple[str, Engine]) -> None:
    _, engine = database
    with engine.connect() as connection:
        options = {"version_table": "tidemill_format", "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_primary_keys_and_collations_are_those_of_the_records(database: tuple[str, Engine]) -> None:
    # Alembic does not compare these.
    _, engine = database
    found = inspect(engine)
    for table in (*TABLES.values(), COUNTERS):
        expected = [column.name for column in table.primary_key]
        assert found.get_pk_constraint(table.name)["constrained_columns"] == expected
        for column in found.get_columns(table.name):
            if engine.dialect.name == "postgresql" and getattr(column["type"], "length", 0) is not None:
                wanted = table.c[column["name"]].type.dialect_impl(engine.dialect)
                assert getattr(column["type"], "collation", None) == getattr(wanted, "collation", None)


def test_the_format_is_the_number_of_the_newest_migration() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    assert revisions == [f"{number:04d}" for number in range(1, FORMAT + 1)]


def test_a_home_of_the_first_format_is_upgraded(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'metadata.db'}")
    open_metadata("sqlite:", tmp_path).close()
    with engine.begin() as connection:  # back to what it was
        connection.execute(text("DROP TABLE verifications"))
        connection.execute(text("INSERT INTO counters VALUES ('kept', 7)"))
    set_format(engine, "0001")
    store = open_metadata("sqlite:", tmp_path)
    with store.write() as writer:
        assert writer.find(ServiceVerification) == []
        assert writer.next("kept") == 7
    store.close()
    engine.dispose()


def test_a_newer_home_is_refused_and_both_formats_are_named(database: tuple[str, Engine], tmp_path: Path) -> None:
    url, engine = database
    set_format(engine, "0099")
    with pytest.raises(FormatTooNew, match=rf"has format 99; .* up to {FORMAT}\. .*upgrade"):
        open_metadata(url, tmp_path)
    set_format(engine, f"{FORMAT:04d}")
    open_metadata(url, tmp_path).close()


def test_another_programs_tables_are_not_touched(database: tuple[str, Engine], tmp_path: Path) -> None:
    url, engine = database
    set_format(engine, "ae1027a6acf")
    with pytest.raises(InvalidData, match="another program"):
        open_metadata(url, tmp_path)


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # A table in the way of the last one created: the migration must roll back the others.
    file = tmp_path / "metadata.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE step_results (x)"))
    with pytest.raises(Exception, match="step_results"):
        open_metadata("sqlite:", tmp_path)
    assert inspect(engine).get_table_names() == ["step_results"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE step_results"))
    open_metadata("sqlite:", tmp_path).close()
    engine.dispose()
