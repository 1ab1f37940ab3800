"""The online store in PostgreSQL and MariaDB: the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tidemill.stores.online.sql import SqlOnline
from tidemill.testing.online_suite import OnlineSuite


@pytest.mark.service
class TestPostgresOnline(OnlineSuite):
    @pytest.fixture
    def online(self, postgres_url: str) -> Iterator[SqlOnline]:
        store = SqlOnline(postgres_url, prefix=f"tm_{uuid.uuid4().hex[:12]}")
        yield store
        store.remove()
        store.close()


@pytest.mark.service
class TestMariaOnline(OnlineSuite):
    @pytest.fixture
    def online(self, mariadb_url: str) -> Iterator[SqlOnline]:
        store = SqlOnline(mariadb_url, prefix=f"tm_{uuid.uuid4().hex[:12]}")
        yield store
        store.remove()
        store.close()
