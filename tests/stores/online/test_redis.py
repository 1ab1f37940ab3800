"""The online store in Redis: the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

pytest.importorskip("redis")

from tidemill.stores.online.redis import RedisOnline
from tidemill.testing.online_suite import OnlineSuite


@pytest.fixture
def online(redis_url: str) -> Iterator[RedisOnline]:
    store = RedisOnline(redis_url, prefix=f"tm-{uuid.uuid4().hex[:12]}")
    yield store
    with store.read() as reader:
        for view in reader.views():
            store.drop(view)
    assert not store.server.ask("KEYS", f"{store._prefix}:[0-9]*")
    store.server.ask("DEL", f"{store._prefix}:number")
    store.close()


@pytest.mark.service
class TestRedisOnline(OnlineSuite):
    pass
