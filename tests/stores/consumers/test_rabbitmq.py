"""Queues of RabbitMQ as a source of events: the contract of what is acknowledged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from tests.stores.consumers.behind import BehindProxySuite

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied
from tidemill.stores.consumers.open import open_consumer, open_producer
from tidemill.stores.consumers.protocol import earliest
from tidemill.testing.consumer_suite import (
    ConsumerSuite,
    Place,
    numbered,
    payloads,
    poll_until,
)

pytestmark = pytest.mark.service


@pytest.fixture(scope="session")
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """The URL of a RabbitMQ, without a virtual host."""
    url = os.environ.get("TIDEMILL_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
    request.getfixturevalue("require")(f"RabbitMQ at {urlsplit(url).hostname}", lambda: connect(url).close())
    return url


def connect(url: str) -> Any:
    return pika.BlockingConnection(pika.URLParameters(f"{url}/%2F?socket_timeout=3"))


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[Any]:
    connection = connect(rabbitmq_url)
    yield connection.channel()
    connection.close()


@pytest.fixture
def queue(channel: Any, name: str) -> Iterator[str]:
    channel.queue_declare(name, durable=True)
    yield name
    channel.queue_delete(name)


@pytest.fixture
def place(rabbitmq_url: str, queue: str, tmp_path: Path) -> Place:
    return Place(f"{rabbitmq_url}/?queue={queue}", tmp_path)


@pytest.fixture
def remote_url(rabbitmq_url: str, queue: str) -> str:
    return f"{rabbitmq_url}/%2F?queue={queue}"


class TestRabbitMQ(BehindProxySuite, ConsumerSuite):
    """The contract, of a queue."""


def test_seeking_puts_back_what_is_not_committed(place: Place) -> None:
    with closing(place.producer()) as producer, closing(place.consumer()) as consumer:
        producer.send(numbered(0, 6))
        first = poll_until(consumer, 4, limit=4)
        assert not consumer.replays
        consumer.commit({first[1].partition: first[1].position})
        consumer.seek(earliest)
        again = poll_until(consumer, 4)
        assert payloads(again) == numbered(2, 6)
        assert [event.redelivered for event in again[:2]] == [True, True]
        consumer.commit({first[3].partition: first[3].position})  # of before: says nothing about what came since
        consumer.seek(earliest)
        assert payloads(poll_until(consumer, 4)) == numbered(2, 6)


def test_no_more_is_held_than_the_prefetch(place: Place) -> None:
    with (
        closing(place.producer()) as producer,
        closing(open_consumer(f"{place.url}&prefetch=5", place.home, group="g")) as consumer,
    ):
        producer.send(numbered(0, 12))
        events = poll_until(consumer, 5)
        assert payloads(events) == numbered(0, 5)
        assert consumer.poll(10, timeout=0.05) == []
        consumer.commit({events[-1].partition: events[-1].position})
        assert payloads(poll_until(consumer, 5)) == numbered(5, 10)


def test_two_processes_share_a_queue(place: Place) -> None:
    with closing(place.consumer("one")) as one, closing(place.consumer("two")) as two:
        one.poll(1, timeout=0.0)
        two.poll(1, timeout=0.0)
        with closing(place.producer()) as producer:
            producer.send(numbered(0, 40))
        shares = [payloads(poll_until(consumer, 20)) for consumer in (one, two)]
    assert all(list(map(int, share)) == sorted(map(int, share)) for share in shares)
    assert sorted(shares[0] + shares[1]) == sorted(numbered(0, 40))


def test_messages_of_others(place: Place, channel: Any, queue: str) -> None:
    channel.basic_publish("", queue, b"x", pika.BasicProperties(timestamp=1_704_067_200, headers={"key": "ann"}))
    channel.basic_publish("", queue, b"y", pika.BasicProperties(headers={"key": 7}))
    with closing(place.consumer()) as consumer:
        first, second = poll_until(consumer, 2)
    assert (first.key, first.published) == (b"ann", 1_704_067_200_000_000)
    assert (second.key, second.published) == (None, None)


def test_there_is_no_such_queue(rabbitmq_url: str, name: str, channel: Any, tmp_path: Path) -> None:
    url = f"{rabbitmq_url}/?queue={name}"
    with closing(open_consumer(url, tmp_path, group="g")) as consumer:
        with pytest.raises(NotFound, match=f"no queue '{name}'"):
            consumer.poll(1, timeout=5.0)
        with pytest.raises(NotFound):
            consumer.lag()
        with closing(open_producer(url, tmp_path)) as producer, pytest.raises(NotFound, match="no queue"):
            producer.send([b"x"])
        channel.queue_declare(name, durable=True)
        assert consumer.poll(1, timeout=0.0) == []
    channel.queue_delete(name)


def test_a_wrong_password_is_told_at_once(place: Place) -> None:
    url = place.url.replace("guest:guest@", "guest:geheim77@")
    with (
        closing(open_consumer(url, place.home, group="g")) as consumer,
        pytest.raises(PermissionDenied, match="refuses") as caught,
    ):
        consumer.poll(1, timeout=60.0)
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize("url", ["amqp://h", "amqp:?queue=q", "amqp://h/?queue=q&prefetch=0", "amqp://h/?queue=q&x=1"])
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        open_consumer(url, tmp_path, group="g")
