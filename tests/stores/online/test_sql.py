"""The online store in PostgreSQL and MariaDB: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import inspect, make_url
from tests.stores.online.proxy import Proxy

from tidemill.core.errors import InvalidArgument, PermissionDenied, Unavailable
from tidemill.stores.online.buffered import BufferedOnline
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.pending import Pending
from tidemill.stores.online.sql import SqlOnline
from tidemill.testing.online_suite import WIDTH, OpenStore, SharedOnlineSuite, entries, payload


@pytest.fixture(params=["postgres_url", "mariadb_url"])
def sql_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def open_sql(sql_url: str) -> Iterator[OpenStore]:
    """Opens a store with tables of this test's own."""
    open_store = functools.partial(SqlOnline, sql_url, prefix=f"tm_{uuid.uuid4().hex[:12]}")
    yield open_store
    store = open_store()
    store.remove()
    store.close()


@pytest.mark.service
class TestSqlOnline(SharedOnlineSuite):
    @pytest.fixture
    def open_store(self, open_sql: OpenStore) -> OpenStore:
        return open_sql

    @pytest.fixture(params=[4, pytest.param(1, marks=pytest.mark.slow)], ids=["a quarter", "all"])
    def examples(self, request: pytest.FixtureRequest) -> int:
        """Each asks the server eighty questions: `make test` tries a quarter of them, `make verify` all."""
        return settings().max_examples // request.param


@pytest.fixture
def online(open_sql: OpenStore) -> Iterator[SqlOnline]:
    store = open_sql()
    assert isinstance(store, SqlOnline)
    yield store
    store.close()


@pytest.mark.service
def test_every_table_and_column_says_what_it_holds(online: SqlOnline) -> None:
    online.declare("v", width=WIDTH)
    examined = inspect(online._engine)
    for table in online._tables.metadata.tables:
        assert examined.get_table_comment(table)["text"]
        assert all(column["comment"] for column in examined.get_columns(table))


@pytest.mark.service
def test_a_reading_block_sees_one_moment(online: SqlOnline) -> None:
    online.declare("v", width=WIDTH)
    with online.read() as reader:
        assert reader.stats("v").rows == 0
        online.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True), positions={"table": 1})
        assert reader.position("v", "table") is None
        assert reader.latest("v", [b"a"], [9]) == [None]
    with online.read() as reader:
        assert reader.position("v", "table") == 1


@pytest.mark.service
def test_keys_longer_than_an_index_takes(online: SqlOnline) -> None:
    online.declare("v", width=WIDTH)
    long = [b"k" * size for size in (1023, 1024, 1025, 5000)]
    online.append("v", entries([(key, (1, 1, 1), payload(len(key))) for key in long], fixed=True))
    with online.read() as reader:
        found = reader.latest("v", long, [9] * 4)
    assert [record and record[24:] for record in found] == [payload(len(key)) for key in long]


@pytest.mark.service
def test_a_wrong_password_is_refused(mariadb_url: str) -> None:
    store = SqlOnline(mariadb_url.replace("root@", "nobody_x:geheim77@"))
    with pytest.raises(PermissionDenied, match="nobody_x") as caught, store.read():
        pass
    assert "geheim77" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_no_server_at_the_address(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = SqlOnline(f"{scheme}://ada:geheim77@127.0.0.1:{port}/db")
    with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}/db does not answer") as caught, store.read():
        pass
    assert "geheim77" not in str(caught.value)
    store.close()


def test_a_wrong_url_is_refused_without_repeating_the_password() -> None:
    with pytest.raises(InvalidArgument) as caught:
        SqlOnline("postgresql://ada:geheim77@host:port/db")
    assert "geheim77" not in str(caught.value)


@pytest.mark.service
def test_a_server_that_leaves_in_the_middle_of_a_read(sql_url: str, tmp_path: Path) -> None:
    address = make_url(sql_url)
    proxy = Proxy((address.host or "", address.port or 0))
    behind = address.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    server = SqlOnline(behind, prefix=f"tm_{uuid.uuid4().hex[:12]}")
    store = BufferedOnline(server, Pending(tmp_path, "server"), second=MemoryOnline(), pause=0)
    store.declare("v", width=WIDTH)
    store.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True))
    with store.read() as reader:
        assert reader.position("v", "table") is None
        proxy.close()
        assert reader.stats("v").rows == 1  # the second store
    store.append("v", entries([(b"a", (2, 2, 2), payload(2))], fixed=True), positions={"table": 2})
    assert "1 write waiting" in str(store.condition())
    proxy.reopen()
    assert store.condition() is None
    with server.read() as direct:
        assert direct.stats("v").rows == 2
        assert direct.position("v", "table") == 2
    server.remove()
    store.close()
    proxy.close()
