"""Killed in the middle of a replay, through real brokers: the final state is that of a batch, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.streaming.skies import await_inbox, kill, landings, make_project, opened, payloads, send, serving, state

ROWS = landings(2000)
WRONG = {**ROWS[7], "flight_id": "wrong", "delay": 9999}
POISON = [b"{broken", b'"text"', b'{"flight_id": "poor", "carrier": "UA"}']
NATS = os.environ.get("TIDEMILL_TEST_NATS_URL", "nats://127.0.0.1:4222")
REDIS = os.environ.get("TIDEMILL_TEST_REDIS_URL", "redis://127.0.0.1:6379")

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """What a batch of the same rows comes to."""
    folder = make_project(tmp_path_factory.mktemp("skies") / "batch", None)
    with opened(folder) as platform:
        platform.data.ingest(platform.definitions.get("source", "landings"), frame=_frame())
        platform.features.materialize()
        return state(platform)


def _frame() -> Any:
    import polars as pl

    return pl.DataFrame(ROWS)


def replay(url: str, folder: Path, batch: tuple[list[Any], list[Any]]) -> None:
    """Send everything, some of it twice and some of it poisoned; kill the worker in the middle; compare."""
    make_project(folder, url)
    events = payloads(ROWS)
    send(url, folder, [*events[:1000], *POISON, *payloads([WRONG]), *events[200:300], *events[1000:]])
    with serving(folder, "landings", "--limit", "100", "--drain") as service:
        await_inbox(folder, 3)
        (first,) = service.pids()
        kill(first)
        assert service.await_end() == 0
        pids, last = service.pids(), service.lines()[-1]
    assert len(pids) == 2
    assert last["lag"]
    assert not any(last["lag"].values())
    with opened(folder) as platform:
        source = platform.definitions.get("source", "landings")
        assert state(platform) == batch
        quarantine = platform.data.quarantine(source)
        assert (quarantine["id"].to_list(), quarantine["reason"].to_list()) == (
            ["wrong"],
            ["delay.between(-100, 2000)"],
        )
        assert platform.data.dead_letters(source)["payload"].to_list() == POISON
        assert (
            platform.features.offline(  # and offline says what online says
                "service", _spine(platform), "at"
            )
            .select("lateness__late_count_24h")
            .to_series()
            .sum()
            > 0
        )


def _spine(platform: Any) -> Any:
    import polars as pl

    return pl.DataFrame({"carrier": ["UA"], "at": [pl.datetime(2024, 1, 3, time_zone="UTC")]}).with_columns(
        at=pl.datetime(2024, 1, 3, time_zone="UTC")
    )


def test_redis_streams(tmp_path: Path, require: Any, batch: Any) -> None:
    import redis

    client = redis.Redis.from_url(REDIS)
    require("Redis", client.ping)
    name = f"test-landings-{uuid.uuid4().hex[:8]}"
    try:
        replay(f"{REDIS}/0?stream={name}&lease=1", tmp_path / "skies", batch)
    finally:
        for key in client.scan_iter(f"*{name}*"):
            client.delete(key)
        client.close()


@pytest.fixture
def subject(require: Any) -> Iterator[str]:
    """A subject with a JetStream stream under it."""
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
    yield f"{name}.landings"
    asyncio.run(change("delete"))


def test_nats(tmp_path: Path, subject: str, batch: Any) -> None:
    replay(f"nats://{urlsplit(NATS).netloc}/{subject}?lease=1", tmp_path / "skies", batch)


def test_kafka(tmp_path: Path, batch: Any) -> None:
    pytest.importorskip("confluent_kafka")
    from tidemill.testing.kafka_broker import KafkaBroker

    broker = KafkaBroker()  # lives in this process; the service reads it from another
    try:
        broker.create_topic("landings", partitions=1)
        quick = "session.timeout.ms=1000&heartbeat.interval.ms=100"
        replay(f"kafka://{broker.address}/landings?{quick}", tmp_path / "skies", batch)
    finally:
        broker.close()


def test_supervisor_and_worker_killed_together(tmp_path: Path, batch: Any) -> None:
    folder = make_project(tmp_path / "skies", "stream:landings")
    send("stream:landings", folder, payloads(ROWS))
    with serving(folder, "--limit", "100") as service:
        await_inbox(folder, 3)
        kill(service.process.pid)
        kill(service.pids()[0])
    with serving(folder, "--alone", "--drain") as service:
        assert service.await_end() == 0
        last = service.lines()[-1]["taken"]
    assert (last["redelivered"], last["duplicates"]) == (0, 0)
    with opened(folder) as platform:
        assert state(platform) == batch
