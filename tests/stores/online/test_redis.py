"""The online store in Redis: the contract, and what a server brings with it."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("redis")

from tests.stores.online.proxy import own_prefix

from tidemill.core.errors import InvalidArgument, PermissionDenied, StorageFull, Unavailable
from tidemill.stores.online.protocol import OnlineStore
from tidemill.stores.online.redis import RedisOnline
from tidemill.stores.online.redis_server import RedisServer
from tidemill.testing.online_suite import WIDTH, OpenStore, SharedOnlineSuite, entries, payload


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    with own_prefix(redis_url) as prefix:
        yield prefix


@pytest.fixture
def online(redis_url: str, prefix: str) -> Iterator[RedisOnline]:
    store = RedisOnline(redis_url, prefix=prefix)
    yield store
    store.close()


@pytest.mark.service
class TestRedisOnline(SharedOnlineSuite):
    @pytest.fixture
    def open_store(self, redis_url: str, prefix: str) -> OpenStore:
        return functools.partial(RedisOnline, redis_url, prefix=prefix)


def fill(store: OnlineStore, view: str, fixed: bool = True) -> None:
    store.declare(view, width=WIDTH if fixed else None)
    store.append(view, entries([(b"%d" % key, (1, 1, 1), payload(key)) for key in range(3_000)], fixed=fixed))


@pytest.mark.service
def test_a_dropped_view_leaves_no_key(online: RedisOnline, prefix: str) -> None:
    fill(online, "v")
    fill(online, "texts", fixed=False)
    online.drop("v")
    online.drop("texts")
    assert online.server.ask("KEYS", f"{prefix}:*") == [f"{prefix}:number".encode()]


@pytest.mark.service
def test_what_an_interrupted_drop_left_goes_with_the_next(online: RedisOnline, prefix: str) -> None:
    from tidemill.stores.online.redis import DROP

    fill(online, "v")
    online.server.run(DROP, prefix, "v")  # as a process does that is killed before it takes the keys away
    assert len(online.server.ask("KEYS", f"{prefix}:*")) > 3_000
    online.drop("v")
    assert online.server.ask("KEYS", f"{prefix}:*") == [f"{prefix}:number".encode()]


@pytest.mark.service
def test_trimmed_texts_take_no_room(online: RedisOnline, prefix: str) -> None:
    online.declare("texts", width=None)
    online.append("texts", entries([(b"a", (t, t, t), b"x" * 1000) for t in range(100)], fixed=False))
    assert online.trim("texts", 99) == 99
    assert online.server.ask("STRLEN", f"{prefix}:1:ha") == 1000
    with online.read() as reader:
        assert reader.range("texts", [b"a"], [0], [100])[0].payloads == [b"x" * 1000]


@pytest.mark.service
def test_projects_in_one_database_do_not_meet(online: RedisOnline, redis_url: str, prefix: str) -> None:
    other = RedisOnline(redis_url, prefix=f"{prefix}-other")
    fill(online, "v")
    with other.read() as reader:
        assert reader.views() == []
    other.close()


@pytest.mark.service
def test_a_view_that_somebody_else_fills_meanwhile_is_merged_with(
    online: RedisOnline, monkeypatch: pytest.MonkeyPatch
) -> None:
    online.declare("v", width=WIDTH)
    unless_changed = RedisServer.unless_changed

    def interrupted(self: RedisServer, key: str, look: Any, then: Any) -> bool:
        def late(found: Any) -> Any:
            commands = then(found)
            if commands:  # between looking and doing
                online.append("v", entries([(b"0", (0, 0, 0), payload(9)), (b"1", (1, 1, 1), payload(9))], fixed=True))
            return commands

        return unless_changed(self, key, look, late)

    monkeypatch.setattr(RedisServer, "unless_changed", interrupted)
    rows = [(b"%d" % key, (1, 1, 1), payload(1)) for key in range(5_000)]
    assert online.append("v", entries(rows, fixed=True), positions={"table": 1}) == 4_999
    with online.read() as reader:
        assert reader.stats("v") == (5_001, 1)
        assert reader.position("v", "table") == 1
        assert [len(block.words) for block in reader.range("v", [b"0", b"1", b"2"], [0] * 3, [9] * 3)] == [2, 1, 1]


@pytest.mark.service
def test_scripts_a_server_forgot_are_sent_again(online: RedisOnline) -> None:
    fill(online, "v")
    online.server.ask("SCRIPT", "FLUSH")
    with online.read() as reader:
        assert reader.stats("v").rows == 3_000
    online.server.ask("SCRIPT", "FLUSH")
    fill(online, "w")
    with online.read() as reader:
        assert reader.stats("w").rows == 3_000


@pytest.mark.service
def test_connections_the_server_closed_are_replaced(online: RedisOnline, redis_url: str) -> None:
    fill(online, "v")
    other = RedisServer(redis_url)
    mine = online.server.ask("CLIENT", "ID")
    other.ask("CLIENT", "KILL", "ID", mine)
    with online.read() as reader:
        assert reader.stats("v").rows == 3_000
    other.close()


@pytest.mark.service
def test_a_wrong_password_is_refused(redis_url: str) -> None:
    store = RedisOnline(redis_url.replace("redis://", "redis://nobody_x:geheim77@"))
    with store.read() as reader, pytest.raises(PermissionDenied, match="user and password") as caught:
        reader.views()
    assert "geheim77" not in str(caught.value)


def test_no_server_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = RedisOnline(f"redis://ada:geheim77@127.0.0.1:{port}/0")
    with store.read() as reader, pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port} does not answer") as caught:
        reader.views()
    assert "geheim77" not in str(caught.value)


def test_a_wrong_url_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="redis://USER:PASSWORD@HOST:PORT/DB"):
        RedisOnline("redis://ada:geheim77@h/0?socket_timeout=soon")


@pytest.mark.service
def test_a_full_server_is_told_and_changes_nothing(own_redis: str) -> None:
    store = RedisOnline(own_redis)
    store.declare("v", width=WIDTH)
    store.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True), positions={"table": 1})
    store.server.ask("CONFIG", "SET", "maxmemory", "1mb")
    for count in (10, 10_000):
        rows = [(b"%d" % key, (2, 2, 2), payload(2)) for key in range(count)]
        with pytest.raises(StorageFull, match="maxmemory"):
            store.append("v", entries(rows, fixed=True), positions={"table": 2})
    with store.read() as reader:
        assert reader.stats("v") == (1, 1)
        assert reader.position("v", "table") == 1
    store.close()


@pytest.mark.service
def test_a_replica_refuses_writes_as_a_server_that_is_away(own_redis: str) -> None:
    store = RedisOnline(own_redis)
    store.declare("v", width=WIDTH)
    store.server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Unavailable, match=r"READONLY|read only"):
        store.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True))
    store.server.ask("REPLICAOF", "NO", "ONE")
    assert store.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True)) == 1
    store.close()
