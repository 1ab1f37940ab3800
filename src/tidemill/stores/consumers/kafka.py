"""Events in a topic of Kafka: `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/TOPIC`.

Options: every setting of librdkafka that has a dot in its name, such as `security.protocol=SASL_SSL`. User and password
stand for `sasl.username` and `sasl.password` (with `sasl.mechanism=PLAIN` and `security.protocol=SASL_SSL`, unless set).

Partitions are divided by Kafka's own groups, one partition at a time changing hands. Up to 16 MB are fetched ahead
(`queued.max.messages.kbytes`). `commit` writes the group's offsets, for others to see; they do not decide where reading goes
on. Events that the topic's retention removed before they were read are gone: reading goes on with the oldest there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tidemill.core.errors import InvalidArgument
from tidemill.stores.consumers.address import Address, parse_address
from tidemill.stores.consumers.kafka_consumer import KafkaConsumer
from tidemill.stores.consumers.kafka_errors import REFUSED, UNKNOWN, denied, log, misconfigured, no_topic
from tidemill.stores.consumers.retry import unavailable

_BLOCK = 0.5
"""Seconds to wait for room among the events that wait to be sent."""

_PATIENCE = 10.0
"""Seconds for which a producer tries again."""

_QUIET = {"log_level": 2}  # every failed attempt would be reported; what matters comes as an exception

_READER = {
    "auto.offset.reset": "error",  # KafkaConsumer sees to it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "fetch.wait.max.ms": 100,  # other requests wait behind a fetch
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": 16 * 1024,
    "session.timeout.ms": 10_000,
}
_WRITER = {"enable.idempotence": True, "message.timeout.ms": int(_PATIENCE * 1000), "linger.ms": 1}


class KafkaBroker:
    """One topic; see `Broker`."""

    def __init__(self, url: str, home: Path) -> None:
        self._address = parse_address(url, 9092, dotted=True)
        self._topic = self._address.path
        if not self._topic or "/" in self._topic:
            raise InvalidArgument("the URL of kafka names no topic", expected="kafka://HOST:PORT/TOPIC")

    def consumer(self, group: str) -> KafkaConsumer:
        settings = _QUIET | _READER | _settings(self._address) | {"group.id": group}
        return KafkaConsumer(settings, self._topic, _who(self._address))

    def producer(self) -> KafkaProducer:
        return KafkaProducer(_QUIET | _WRITER | _settings(self._address), self._topic, _who(self._address))


class KafkaProducer:
    """Sends to one topic, each event once; see `Producer`."""

    def __init__(self, settings: Mapping[str, Any], topic: str, who: str) -> None:
        self._topic = topic
        self._who = who
        self._failures: list[KafkaError] = []
        try:
            self._producer = Producer(dict(settings), logger=log)
        except KafkaException as error:
            raise misconfigured(error) from error

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        self._failures.clear()
        for payload, key in zip(payloads, keys or [None] * len(payloads), strict=True):
            self._enqueue(payload, key)
        self._producer.flush()  # ends by itself: what is not taken in time fails
        for error in self._failures[:1]:
            if error.code() in UNKNOWN:
                raise no_topic(self._who, self._topic)
            if error.code() in REFUSED:
                raise denied(self._who, error)
            raise unavailable(self._who, error.str())

    def close(self) -> None:
        self._producer.flush(0)

    def _enqueue(self, payload: bytes, key: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, payload, key, on_delivery=self._delivered)
            except BufferError:  # as much as may wait is waiting
                self._producer.poll(_BLOCK)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)


def _settings(address: Address) -> dict[str, Any]:
    settings: dict[str, Any] = {"bootstrap.servers": address.servers}
    if address.user is not None:
        settings |= {"sasl.username": address.user, "sasl.password": address.password or ""}
        settings |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
    return settings | dict(address.options)


def _who(address: Address) -> str:
    return f"Kafka at {address.servers}"
