"""Opening the broker a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tidemill.core.errors import InvalidArgument
from tidemill.stores.consumers.address import check_group
from tidemill.stores.consumers.protocol import Broker, Consumer, Producer
from tidemill.stores.registry import backends, open_store

KIND = "broker"
"""The kind of the brokers in the table of stores; another package adds one by the entry point `broker.SCHEME`."""


def is_broker(url: str) -> bool:
    """Whether a URL names a broker, by its scheme.

    Example:
        >>> (is_broker("kafka://localhost/orders"), is_broker("data/orders.csv"))
        (True, False)
    """
    scheme, colon, _ = url.partition(":")
    return bool(colon) and scheme in schemes()


def schemes() -> list[str]:
    """The schemes of all known brokers."""
    return [backend.scheme for backend in backends() if backend.kind == KIND]


def open_consumer(url: str, home: Path, *, group: str) -> Consumer:
    """Open a reader of events.

    | URL | a partition is | a position is | processes of one group | is remembered |
    |---|---|---|---|---|
    | `stream:TOPIC` | a partition of the topic in the home's streams | its offset | divide the partitions | while kept |
    | `redis://HOST:PORT/DB?stream=NAME` | a stream; `NAME` may be a pattern such as `orders.*` | the entry's id | divide \
the streams | until trimmed |
    | `kafka://HOST:PORT/TOPIC` | a partition of the topic | its offset | divide the partitions (Kafka's own groups) | \
until the topic's retention |
    | `nats://HOST:PORT/SUBJECT` | the JetStream stream under the subject | its sequence number | one reads, the others \
stand by | until the stream's limits |
    | `amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=NAME` | the queue | nothing lasting | compete: RabbitMQ deals the \
messages out, and order holds in each process only | until acknowledged |

    `rediss:`, `tls:` (NATS) and `amqps:` are the same over TLS. A group that has just lost a process with kill -9 waits
    for its claim to end: the option `lease` of Redis and NATS (10 seconds), `session.timeout.ms` of Kafka (10 seconds);
    `stream:` and RabbitMQ notice at once.

    Args:
        url: The URL; the modules `redis`, `kafka`, `nats`, `rabbitmq` and `stream` of this package name their options.
        home: The project's home folder.
        group: The processes that share the work, such as `PROJECT.SOURCE`.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: The broker's package is not installed.

    Example:
        >>> import tempfile
        >>> consumer = open_consumer("stream:orders", Path(tempfile.mkdtemp()), group="shop.orders")
        >>> consumer.poll(10, timeout=0.0)
        []
        >>> consumer.close()
    """
    return _broker(url, home).consumer(check_group(group))


def open_producer(url: str, home: Path) -> Producer:
    """Open a sender of events; the URL is that of `open_consumer`, without patterns.

    Args:
        url: The URL.
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: The broker's package is not installed.

    Example:
        >>> import tempfile
        >>> producer = open_producer("stream:orders", Path(tempfile.mkdtemp()))
        >>> producer.send([b"one"], keys=[b"ann"])
        >>> producer.close()
    """
    return _broker(url, home).producer()


def _broker(url: str, home: Path) -> Broker:
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in schemes():
        # Only the scheme is repeated: the rest may hold a password.
        found = f"events cannot be read from {scheme!r}" if colon else "the URL of the events has no scheme"
        raise InvalidArgument(found, expected="SCHEME://HOST:PORT/...", known=[f"{name}:" for name in schemes()])
    return cast(Broker, open_store(KIND, url, home))
