"""Events in a queue of RabbitMQ: `amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=NAME`, or `amqps:` with TLS.

Options: `queue=` names the queue, which must exist; `prefetch=1000` is how many messages this process holds that are not
committed, polled or not: once so many are, `poll` returns nothing until `commit`.

A queue has no positions: a message is gone once it is acknowledged, which is what `commit` does. What was not, comes again
to this process or another one, after a break of the connection too, with `redelivered`. Processes of all groups compete
for the messages, so each has a share, in order unless messages were redelivered. The key is the header `key`.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ChannelClosedByBroker,
    ChannelWrongStateError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied, TidemillError, Unavailable
from tidemill.stores.consumers.address import Address, parse_address
from tidemill.stores.consumers.protocol import Checkpoint, Event
from tidemill.stores.consumers.retry import persist, unavailable

_AWAY = (AMQPConnectionError, ChannelWrongStateError, OSError)
_CONNECT = 3.0
_ANSWER = 5.0
_PATIENCE = 10.0
"""Seconds for which a producer tries again."""

_TRANSACTION = 1000
_PREFETCH = 1000
_MOST_PREFETCH = 65535
_PORTS = {"amqp": 5672, "amqps": 5671}


class RabbitBroker:
    """One queue; see `Broker`."""

    def __init__(self, url: str, home: Path) -> None:
        scheme = url.partition(":")[0]
        address = parse_address(url, _PORTS[scheme], options=("queue", "prefetch"))
        queue = address.options.get("queue")
        if not queue:
            raise InvalidArgument("the URL of amqp names no queue", expected="amqp://HOST:PORT/VHOST?queue=NAME")
        self._link = RabbitLink(address, queue)
        self._prefetch = int(min(address.number("prefetch", _PREFETCH), _MOST_PREFETCH)) or 1

    def consumer(self, group: str) -> RabbitConsumer:
        """A reader; groups do not matter: whoever reads the queue takes from it."""
        return RabbitConsumer(self._link, self._prefetch)

    def producer(self) -> RabbitProducer:
        return RabbitProducer(self._link)


class RabbitLink:
    """Opens channels to one queue, and puts its errors in words."""

    def __init__(self, address: Address, queue: str) -> None:
        # It reports every failed attempt several times over, with traces; what matters comes as an exception.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self.who = f"RabbitMQ at {address.servers}"
        self.queue = queue
        self._parameters = [
            pika.ConnectionParameters(
                host=host,
                port=port,
                virtual_host=address.path or "/",
                credentials=pika.PlainCredentials(address.user or "guest", address.password or "guest"),
                socket_timeout=_CONNECT,
                stack_timeout=_ANSWER,
                blocked_connection_timeout=_ANSWER,
                ssl_options=pika.SSLOptions(ssl.create_default_context(), host) if address.scheme == "amqps" else None,
            )
            for host, port in address.hosts
        ]

    def open(self) -> Any:
        """A channel on a connection of its own."""
        with self.errors():
            return pika.BlockingConnection(self._parameters).channel()

    def ready(self, channel: Any) -> int:
        """The messages that wait in the queue.

        Raises:
            NotFound: There is no such queue.
        """
        with self.errors():
            return int(channel.queue_declare(self.queue, passive=True).method.message_count)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what will not get better by waiting into errors of Tidemill."""
        try:
            yield
        except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
            raise PermissionDenied(
                f"{self.who} refuses the connection", hint="Check user, password and virtual host in the URL"
            ) from error
        except ChannelClosedByBroker as error:
            if error.reply_code != 404:
                raise Unavailable(f"{self.who} closed the channel ({error.reply_text})") from error
            raise self.no_queue() from error

    @contextmanager
    def once(self) -> Iterator[None]:
        """As `errors`; a broker that is away is `Unavailable` at once."""
        try:
            with self.errors():
                yield
        except TidemillError:  # some are errors of the system too
            raise
        except _AWAY as error:
            raise unavailable(self.who, error) from error

    def no_queue(self) -> NotFound:
        """The error for a queue that does not exist."""
        return NotFound(f"{self.who} has no queue {self.queue!r}", hint="Declare it, durable, or correct ?queue=")


class RabbitConsumer:
    """Takes messages from a queue; see `Consumer`."""

    replays = False

    def __init__(self, link: RabbitLink, prefetch: int) -> None:
        self._link = link
        self._prefetch = prefetch
        self._channel: Any = None
        self._session = 0
        self._came: deque[Event] = deque()

    def poll(self, limit: int, timeout: float) -> list[Event]:
        persist(lambda wait: self._receive(wait), timeout, _AWAY, self._link.who)
        return [self._came.popleft() for _ in range(min(limit, len(self._came)))]

    def seek(self, checkpoint: Checkpoint) -> None:
        """Put back what is not committed; the queue has no positions to go to."""
        self._drop()

    def commit(self, positions: Mapping[str, str]) -> None:
        """Acknowledge up to these positions; those from before a break of the connection come again."""
        for position in positions.values():
            session, _, tag = position.partition("-")
            if self._channel is not None and int(session) == self._session:
                with self._link.once():
                    self._channel.basic_ack(int(tag), multiple=True)
                    self._channel.connection.process_data_events(time_limit=0)

    def lag(self) -> dict[str, int]:
        """The messages that wait in the queue, those fetched ahead included."""
        with self._link.once():
            channel = self._open()
            return {self._link.queue: self._link.ready(channel) + len(self._came)}

    def close(self) -> None:
        self._drop()

    def _receive(self, wait: float) -> None:
        deadline = time.monotonic() + wait
        try:
            channel = self._open()
            while not self._came:
                left = max(deadline - time.monotonic(), 0.0)
                with self._link.errors():
                    channel.connection.process_data_events(time_limit=left)
                if left == 0:
                    return
        except (*_AWAY, TidemillError):
            self._drop()
            raise

    def _open(self) -> Any:
        if self._channel is None:
            channel = self._link.open()
            try:
                self._link.ready(channel)
                channel.basic_qos(prefetch_count=self._prefetch)
                channel.basic_consume(self._link.queue, self._take)
            except BaseException:
                _close(channel)
                self._came.clear()
                raise
            self._session += 1
            self._channel = channel
        return self._channel

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        session = self._session + (self._channel is None)  # the first messages may come before `_open` returns
        position = f"{session:020d}-{method.delivery_tag:020d}"
        published = None if properties.timestamp is None else properties.timestamp * 1_000_000
        key = _bytes((properties.headers or {}).get("key"))
        self._came.append(Event(self._link.queue, position, body, key, published, method.redelivered))

    def _drop(self) -> None:
        if self._channel is not None:
            _close(self._channel)
        self._channel = None
        self._came.clear()


class RabbitProducer:
    """Publishes to a queue, persistent messages in transactions; see `Producer`."""

    def __init__(self, link: RabbitLink) -> None:
        self._link = link
        self._channel: Any = None
        self._returned = False

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        pairs = list(zip(payloads, keys or [None] * len(payloads), strict=True))
        channel = persist(lambda _: self._open(), _PATIENCE, _AWAY, self._link.who)
        try:
            with self._link.once():
                for start in range(0, len(pairs), _TRANSACTION):
                    self._publish(channel, pairs[start : start + _TRANSACTION])
        except TidemillError:
            self.close()
            raise

    def close(self) -> None:
        if self._channel is not None:
            _close(self._channel)
        self._channel = None

    def _publish(self, channel: Any, pairs: Sequence[tuple[bytes, bytes | None]]) -> None:
        for payload, key in pairs:
            properties = pika.BasicProperties(delivery_mode=2, headers=None if key is None else {"key": key})
            channel.basic_publish("", self._link.queue, payload, properties, mandatory=True)
        channel.tx_commit()
        channel.connection.process_data_events(time_limit=0)
        if self._returned:
            raise self._link.no_queue()

    def _refused(self, *details: object) -> None:
        self._returned = True

    def _open(self) -> Any:
        if self._channel is None:
            self._channel = self._link.open()
            self._channel.add_on_return_callback(self._refused)
            # A transaction is flushed to the disk once; a confirmation would be awaited for each message.
            self._channel.tx_select()
            self._returned = False
        # A connection that broke while nothing was sent is noticed here, before anything is lost with it.
        try:
            self._channel.connection.process_data_events(time_limit=0)
        except _AWAY:
            self.close()
            raise
        return self._channel


def _close(channel: Any) -> None:
    with suppress(AMQPError, OSError):
        channel.connection.close()


def _bytes(key: object) -> bytes | None:
    if isinstance(key, bytes):
        return key
    return key.encode() if isinstance(key, str) else None
