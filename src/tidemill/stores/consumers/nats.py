"""Events in NATS JetStream: `nats://USER:PASSWORD@HOST:PORT/SUBJECT`, or `tls:` with TLS.

The subject may have wildcards (`orders.>`); the JetStream stream that has it must exist. Options: `stream=NAME` where
several streams have the subject; `lease=10` is the seconds for which the stream stays with a process that died.

The stream under the subject is one partition, since JetStream numbers its messages in one line: one process of a group
reads, the others stand by. Give each process a subject of its own to divide the work. The stream must keep what was read
(retention `limits`); messages that its limits removed before they were read are gone. Nothing is fetched ahead, and there
is nothing to acknowledge, so `commit` tells nobody. The key is the header `Tidemill-Key`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NoStreamResponseError, NotFoundError

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.stores.consumers.address import parse_address
from tidemill.stores.consumers.nats_claims import NatsClaims
from tidemill.stores.consumers.nats_link import AWAY, NatsLink
from tidemill.stores.consumers.nats_reader import NatsReader
from tidemill.stores.consumers.protocol import Checkpoint, Event
from tidemill.stores.consumers.retry import persist
from tidemill.stores.consumers.sharing import LEASE, Sharing

_KEY = "Tidemill-Key"
_BLOCK = 1.0
"""Seconds that one request waits for messages, so that a broken connection is noticed."""

_PORTION = 500
"""Events that are sent before their acceptance is awaited."""

_PATIENCE = 10.0
"""Seconds for which a producer tries again."""


class NatsBroker:
    """One subject; see `Broker`."""

    def __init__(self, url: str, home: Path) -> None:
        self._address = parse_address(url, 4222, options=("stream", "lease"))
        self._lease = self._address.number("lease", LEASE)
        self._subject = self._address.path
        if not self._subject or any(sign.isspace() for sign in self._subject):
            raise InvalidArgument("the URL of nats names no subject", expected="nats://HOST:PORT/SUBJECT")

    def consumer(self, group: str) -> NatsConsumer:
        stream = self._address.options.get("stream")
        return NatsConsumer(NatsLink(self._address), self._subject, stream, group, self._lease)

    def producer(self) -> NatsProducer:
        if {"*", ">"} & set(self._subject.split(".")):
            raise InvalidArgument(f"events cannot be sent to the wildcard {self._subject!r}", expected="one subject")
        return NatsProducer(NatsLink(self._address), self._subject)


class NatsConsumer:
    """Reads a subject by the sequence numbers of its stream; see `Consumer`."""

    replays = True

    def __init__(self, link: NatsLink, subject: str, stream: str | None, group: str, lease: float) -> None:
        self._link = link
        self._subject = subject
        self._stream = stream
        me = uuid.uuid4().hex
        self._sharing = Sharing(NatsClaims(link, f"{group}\n{subject}", me, lease), me, lease, self._partitions)
        self._readers: dict[tuple[str, str | None], NatsReader] = {}

    def poll(self, limit: int, timeout: float) -> list[Event]:
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            events = persist(lambda wait: self._look(limit, wait), left, AWAY, self._link.who)
            if events or time.monotonic() >= deadline:
                return events

    def seek(self, checkpoint: Checkpoint) -> None:
        self._sharing.seek(checkpoint)
        self._readers.clear()

    def commit(self, positions: Mapping[str, str]) -> None:
        """Nobody is told: the stream keeps its messages by its own limits."""

    def lag(self) -> dict[str, int]:
        with self._link.once(), self._known():
            self._sharing.refresh()
            return {stream: self._reader(stream).pending() for stream in self._sharing.places}

    def close(self) -> None:
        self._link.close(self._sharing.leave)

    def _partitions(self) -> list[str]:
        if self._stream is None:
            self._stream = self._link.run(lambda js: js.find_stream_name_by_subject(self._subject))
        return [self._stream]

    def _look(self, limit: int, wait: float) -> list[Event]:
        with self._known():
            self._sharing.refresh()
            wait = min(wait, self._sharing.wait, _BLOCK)
            for stream in self._sharing.places:
                return self._read(stream, limit, wait)
        time.sleep(wait)
        return []

    def _read(self, stream: str, limit: int, wait: float) -> list[Event]:
        reader = self._reader(stream)
        self._readers.clear()  # it is kept only if it read to its end
        events = [_event(stream, message) for message in reader.read(limit, wait)]
        if events:
            self._sharing.places[stream] = events[-1].position
        self._readers[stream, self._sharing.places[stream]] = reader
        return events

    def _reader(self, stream: str) -> NatsReader:
        place = self._sharing.places[stream]
        if (stream, place) not in self._readers:
            reader = NatsReader(self._link, stream, self._subject, 0 if place is None else int(place))
            self._readers = {(stream, place): reader}
        return self._readers[stream, place]

    @contextmanager
    def _known(self) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            self._readers.clear()
            raise _no_stream(self._link.who, self._subject) from error


class NatsProducer:
    """Publishes to one subject, and waits for the stream; see `Producer`."""

    def __init__(self, link: NatsLink, subject: str) -> None:
        self._link = link
        self._subject = subject

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        pairs = list(zip(payloads, keys or [None] * len(payloads), strict=True))
        persist(lambda _: self._link.run(_nothing), _PATIENCE, AWAY, self._link.who)
        try:
            with self._link.once():
                for start in range(0, len(pairs), _PORTION):
                    self._publish(pairs[start : start + _PORTION])
        except NoStreamResponseError as error:
            raise _no_stream(self._link.who, self._subject) from error

    def close(self) -> None:
        self._link.close()

    def _publish(self, pairs: Sequence[tuple[bytes, bytes | None]]) -> None:
        async def publish(js: JetStreamContext) -> None:
            taken = []
            for payload, key in pairs:
                headers = None if key is None else {_KEY: quote_from_bytes(key)}
                taken.append(await js.publish_async(self._subject, payload, headers=headers))
            await asyncio.gather(*taken)

        self._link.run(publish, _PATIENCE)


async def _nothing(js: JetStreamContext) -> None:
    """Only the connection is wanted."""


def _event(stream: str, message: Msg) -> Event:
    data = message.metadata
    key = (message.headers or {}).get(_KEY)
    return Event(
        stream,
        f"{data.sequence.stream:020d}",
        message.data,
        None if key is None else unquote_to_bytes(key),
        int(data.timestamp.timestamp() * 1_000_000),
    )


def _no_stream(who: str, subject: str) -> NotFound:
    return NotFound(f"{who} has no JetStream stream with {subject!r}", hint="Create it, or correct the URL")
