"""Runs the migrations within a transaction that is already open."""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent

# Alembic keeps the migration it runs in a module global: one at a time in a process, even of different databases.
_alembic = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest format.

    Args:
        connection: In a transaction nobody else migrates in; the caller commits.
    """
    with _alembic:
        command.upgrade(configuration(connection), "head")


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration of this folder, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
