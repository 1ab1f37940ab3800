"""Redis Streams as a source of events: the contract, patterns of streams, other people's entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.stores.consumers.behind import BehindProxySuite

from tidemill.core.errors import InvalidArgument, PermissionDenied
from tidemill.stores.consumers.open import open_consumer, open_producer
from tidemill.testing.consumer_suite import (
    LeasedSuite,
    Place,
    ReplayingSuite,
    payloads,
    poll_until,
)

pytestmark = pytest.mark.service


@pytest.fixture
def client(redis_url: str, name: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
        keys = [*client.scan_iter(f"{name}*"), *client.scan_iter(f"tidemill:*{name}*")]
        if keys:
            client.delete(*keys)


@pytest.fixture
def place(client: Any, redis_url: str, name: str, tmp_path: Path) -> Place:
    return Place(f"{redis_url}?stream={name}&lease=0.9", tmp_path)


@pytest.fixture
def remote_url(client: Any, redis_url: str, name: str) -> str:
    return f"{redis_url}?stream={name}&lease=30"


class TestRedis(BehindProxySuite, ReplayingSuite, LeasedSuite):
    @pytest.fixture
    def divided(self, client: Any, redis_url: str, name: str, tmp_path: Path) -> Place:
        senders = [f"{redis_url}?stream={name}.{n}" for n in range(4)]
        return Place(f"{redis_url}?stream={name}.*&lease=0.9", tmp_path, senders)


def test_entries_of_others(place: Place, client: Any, name: str) -> None:
    client.xadd(name, {"carrier": "UA", "delay": 7}, id="5-1")
    client.xadd(name, {b"raw": b"\xff"}, id="5-2")
    with closing(place.consumer()) as consumer:
        first, second = poll_until(consumer, 2)
        assert first.payload == b'{"carrier":"UA","delay":"7"}'
        assert (first.published, first.position < second.position) == (5000, True)
        assert second.payload == b"\x81\xc4\x03raw\xc4\x01\xff"
    with closing(open_consumer(f"{place.url}&field=carrier", place.home, group="other")) as consumer:
        assert consumer.poll(1, timeout=1.0)[0].payload == b"UA"


def test_the_group_shows_what_was_committed(place: Place, client: Any, name: str) -> None:
    with closing(place.producer()) as producer:
        producer.send([b"1", b"2", b"3"])
    with closing(place.consumer("shop.orders")) as consumer:
        for event in poll_until(consumer, 3)[:2]:
            consumer.commit({event.partition: event.position})
    (group,) = client.xinfo_groups(name)
    assert group["name"] == b"shop.orders"
    assert client.xrange(name, min=b"(" + group["last-delivered-id"])[0][1][b"payload"] == b"3"


def test_reading_goes_on_behind_trimmed_entries(place: Place, client: Any, name: str) -> None:
    with closing(place.producer()) as producer, closing(place.consumer()) as consumer:
        producer.send([b"1", b"2", b"3", b"4"])
        consumer.poll(1, timeout=1.0)
        client.xtrim(name, maxlen=1, approximate=False)
        assert payloads(poll_until(consumer, 1)) == [b"4"]


def test_a_new_stream_of_the_pattern_is_found(redis_url: str, client: Any, name: str, tmp_path: Path) -> None:
    place = Place(f"{redis_url}?stream={name}.*&lease=0.3", tmp_path)
    with closing(place.consumer()) as consumer:
        assert consumer.poll(10, timeout=0.0) == []
        client.set(f"{name}.no-stream", "x")
        client.xadd(f"{name}.new", {"payload": "hello"})
        assert payloads(poll_until(consumer, 1)) == [b"hello"]
    with pytest.raises(InvalidArgument, match="cannot be sent to the pattern"):
        place.producer()


def test_another_kind_of_key_is_refused(place: Place, client: Any, name: str) -> None:
    client.set(name, "a text")
    with closing(place.consumer()) as consumer, pytest.raises(InvalidArgument, match=r"cannot use .* as a stream"):
        consumer.poll(1, timeout=5.0)


def test_a_wrong_password_is_told_at_once(redis_url: str, name: str, tmp_path: Path) -> None:
    url = redis_url.replace("//", "//:geheim77@")
    with (
        closing(open_consumer(f"{url}?stream={name}", tmp_path, group="g")) as consumer,
        pytest.raises(PermissionDenied, match="refuses") as caught,
    ):
        consumer.poll(1, timeout=60.0)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h/0?stream=", "redis:?stream=s", "redis://h/x?stream=s", "redis://h/0?stream=s&a=b"]
)
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        open_consumer(url, tmp_path, group="g")
    with pytest.raises(InvalidArgument):
        open_producer(url, tmp_path)
