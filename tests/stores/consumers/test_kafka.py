"""Kafka as a source of events, on the broker inside librdkafka: the contract, settings, groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied
from tidemill.stores.consumers.kafka import KafkaProducer
from tidemill.stores.consumers.kafka_consumer import KafkaConsumer
from tidemill.stores.consumers.open import open_consumer, open_producer
from tidemill.testing.consumer_suite import (
    Breakable,
    NumberedSuite,
    Place,
    RemoteSuite,
    ReplayingSuite,
    numbered,
    poll_until,
)
from tidemill.testing.kafka_broker import KafkaBroker

# A sender that counts its events, the default, asks for a number and waits half a second for it.
QUICK = "enable.idempotence=false&heartbeat.interval.ms=100&session.timeout.ms=1000"


@pytest.fixture(scope="module")
def shared() -> Iterator[KafkaBroker]:
    broker = KafkaBroker()
    yield broker
    broker.close()


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    broker = KafkaBroker()
    yield broker
    broker.close()


@pytest.fixture
def place(shared: KafkaBroker, name: str, tmp_path: Path) -> Place:
    shared.create_topic(name, partitions=1)
    return Place(f"kafka://{shared.address}/{name}?{QUICK}", tmp_path)


class TestKafka(ReplayingSuite, NumberedSuite, RemoteSuite):
    @pytest.fixture
    def place(self, place: Place) -> Place:
        return place

    @pytest.fixture
    def divided(self, shared: KafkaBroker, name: str, tmp_path: Path) -> Place:
        shared.create_topic(f"{name}-4", partitions=4)
        return Place(f"kafka://{shared.address}/{name}-4?{QUICK}", tmp_path)

    @pytest.fixture
    def connection(self, broker: KafkaBroker) -> Breakable:
        return broker

    @pytest.fixture
    def remote(self, broker: KafkaBroker, name: str, tmp_path: Path) -> Place:
        broker.create_topic(name, partitions=1)
        return Place(f"kafka://{broker.address}/{name}?reconnect.backoff.max.ms=200", tmp_path)


def test_one_key_keeps_to_one_partition(shared: KafkaBroker, name: str, tmp_path: Path) -> None:
    shared.create_topic(name, partitions=4)
    place = Place(f"kafka://{shared.address}/{name}?{QUICK}", tmp_path)
    keys = [b"key-%d" % (n % 9) for n in range(90)]
    with closing(place.producer()) as producer, closing(place.consumer()) as consumer:
        producer.send(numbered(0, 90), keys)
        events = poll_until(consumer, 90)
    for key in set(keys):
        mine = [event for event in events if event.key == key]
        assert len({event.partition for event in mine}) == 1
        assert [int(event.payload) for event in mine] == [n for n in range(90) if keys[n] == key]


def test_the_group_shows_what_was_committed(place: Place, shared: KafkaBroker, name: str) -> None:
    with closing(place.producer()) as producer, closing(place.consumer("shop.orders")) as consumer:
        producer.send(numbered(0, 5))
        event = poll_until(consumer, 5)[2]
        consumer.commit({event.partition: event.position})
        consumer.commit({})
    other = Consumer({"bootstrap.servers": shared.address, "group.id": "shop.orders"})
    (found,) = other.committed([TopicPartition(name, 0)], timeout=5)
    other.close()
    assert found.offset == 3


def test_reading_goes_on_behind_events_that_retention_removed(place: Place) -> None:
    with closing(place.producer()) as producer, closing(place.consumer()) as consumer:
        producer.send([b"%02d" % n + bytes(900_000) for n in range(12)])  # the broker of the tests keeps 5 MB
        consumer.seek({"0": f"{0:020d}"}.get)
        kept = [int(event.payload[:2]) for event in poll_until(consumer, 3)]
        assert 1 < kept[0] < 10
        assert kept == list(range(kept[0], kept[0] + len(kept)))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (KafkaError._AUTHENTICATION, PermissionDenied),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, PermissionDenied),
        (KafkaError._UNKNOWN_TOPIC, NotFound),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, NotFound),
    ],
)
def test_what_waiting_does_not_help_is_told_once_with_the_reason(
    place: Place, code: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker of the tests refuses nobody and makes every topic, so the library's own errors are handed in."""
    with closing(place.consumer()) as consumer, closing(place.producer()) as producer:
        assert isinstance(consumer, KafkaConsumer)
        assert isinstance(producer, KafkaProducer)
        consumer._refused(KafkaError(code), "0")
        with pytest.raises(error, match="Kafka at 127"):
            consumer.poll(1, timeout=60.0)
        monkeypatch.setattr(producer, "_enqueue", lambda payload, key: producer._failures.append(KafkaError(code)))
        with pytest.raises(error, match="Kafka at 127"):
            producer.send([b"x"])
        monkeypatch.undo()
        producer.send([b"y"])
        assert poll_until(consumer, 1)[0].payload == b"y"


@pytest.mark.parametrize(
    "url",
    ["kafka://h", "kafka://h/a/b", "kafka://h:99999/t", "kafka:/t", "kafka://h/t?group=x", "kafka://h/t?no.such=1"],
)
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        open_consumer(url, tmp_path, group="g")
    with pytest.raises(InvalidArgument):
        open_producer(url, tmp_path)
