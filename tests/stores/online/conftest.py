"""Servers of the online stores."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import create_engine


@pytest.fixture(scope="session")
def mariadb_url() -> str:
    """The URL of the MariaDB of TIDEMILL_TEST_MARIADB_URL."""
    from tests.conftest import require_service

    url = os.environ.get("TIDEMILL_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")

    def reach() -> None:
        engine = create_engine(url, connect_args={"connect_timeout": 3})
        engine.connect().close()
        engine.dispose()

    require_service(f"MariaDB at {url.rpartition('@')[2]}", reach)
    return url
