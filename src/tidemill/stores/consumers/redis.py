"""Events in Redis Streams: `redis://USER:PASSWORD@HOST:PORT/DB?stream=NAME`, or `rediss:` with TLS.

Options: `stream=` names the stream, or several by a pattern (`orders.*`), each of which is a partition; `field=payload` is
the field of an entry that holds the event, beside its `key`; an entry without that field is read as a JSON object of all
its fields. `lease=10` is the seconds for which a stream stays with a process that died.

Nothing is fetched ahead. `commit` sets the position of the consumer group of the group's name, so that `XINFO GROUPS`
shows it. Entries that were trimmed before they were read are gone: reading goes on with the oldest there is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, ResponseError, TimeoutError
from redis.retry import Retry

from tidemill.core.errors import InvalidArgument, PermissionDenied
from tidemill.stores.consumers.address import Address, parse_address
from tidemill.stores.consumers.protocol import Checkpoint, Event
from tidemill.stores.consumers.redis_claims import RedisClaims
from tidemill.stores.consumers.retry import persist, unavailable
from tidemill.stores.consumers.sharing import LEASE, Sharing

_AWAY = (ConnectionError, TimeoutError)
_CONNECT = 3.0
_ANSWER = 5.0
_BLOCK = 1.0
"""Seconds to connect, until an answer counts as missing, and that one command waits for entries."""

_PATIENCE = 10.0
"""Seconds for which a producer tries again."""

_PAGE = 10_000
_FOLLOW = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
return {#found, #found > 0 and found[#found][1] or ''}
"""


class RedisBroker:
    """One stream of a Redis database, or several; see `Broker`."""

    def __init__(self, url: str, home: Path) -> None:
        self._address = parse_address(url, 6379, options=("stream", "field", "lease"))
        self._stream = self._address.options.get("stream", "")
        self._field = self._address.options.get("field", "payload").encode()
        self._lease = self._address.number("lease", LEASE)
        if not self._stream:
            raise InvalidArgument("the URL of redis names no stream", expected="redis://HOST:PORT/DB?stream=NAME")

    def consumer(self, group: str) -> RedisConsumer:
        return RedisConsumer(RedisLink(self._address), self._stream, self._field, group, self._lease)

    def producer(self) -> RedisProducer:
        if is_pattern(self._stream):
            raise InvalidArgument(f"events cannot be sent to the pattern {self._stream!r}", expected="one stream")
        return RedisProducer(RedisLink(self._address), self._stream, self._field)


class RedisLink:
    """A connection that comes back by itself, and its errors in words."""

    def __init__(self, address: Address) -> None:
        self.who = f"Redis at {address.servers}"
        if not (address.path or "0").isdecimal():
            raise InvalidArgument(
                f"{address.path!r} is no database of Redis", expected="a number, as in redis://HOST/0"
            )
        connection = redis.SSLConnection if address.scheme == "rediss" else redis.Connection
        pool = redis.ConnectionPool(
            connection_class=connection,
            host=address.host,
            port=address.port,
            db=int(address.path or "0"),
            username=address.user,
            password=address.password,
            socket_connect_timeout=_CONNECT,
            socket_timeout=_ANSWER,
            retry=Retry(NoBackoff(), 0),  # `persist` does it, within the time of the caller
            protocol=2,
        )
        self.client: Any = redis.Redis(connection_pool=pool)

    @contextmanager
    def errors(self, stream: str) -> Iterator[None]:
        """Turns what will not get better by waiting into errors of Tidemill."""
        try:
            yield
        except (AuthenticationError, NoPermissionError) as error:
            raise PermissionDenied(
                f"{self.who} refuses ({error})", hint="Check user and password in the URL"
            ) from error
        except ResponseError as error:
            raise InvalidArgument(f"{self.who} cannot use {stream!r} as a stream ({error})") from error

    @contextmanager
    def once(self, stream: str) -> Iterator[None]:
        """As `errors`; a broker that is away is `Unavailable` at once."""
        try:
            with self.errors(stream):
                yield
        except _AWAY as error:
            raise unavailable(self.who, error) from error

    def close(self) -> None:
        self.client.connection_pool.disconnect()


class RedisConsumer:
    """Reads streams by the ids of their entries; see `Consumer`."""

    replays = True

    def __init__(self, link: RedisLink, stream: str, field: bytes, group: str, lease: float) -> None:
        self._link = link
        self._stream = stream
        self._field = field
        self._group = group
        me = uuid.uuid4().hex
        self._sharing = Sharing(
            RedisClaims(link.client, f"tidemill:{group}:{stream}", me, lease), me, lease, self._partitions
        )
        self._turn = 0

    def poll(self, limit: int, timeout: float) -> list[Event]:
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            events = persist(lambda wait: self._look(limit, wait), left, _AWAY, self._link.who)
            if events or time.monotonic() >= deadline:
                return events

    def seek(self, checkpoint: Checkpoint) -> None:
        self._sharing.seek(checkpoint)

    def commit(self, positions: Mapping[str, str]) -> None:
        with self._link.once(self._stream):
            for stream, position in positions.items():
                self._show(stream, _id(position))

    def lag(self) -> dict[str, int]:
        """Counted by the server in pages; about a second for a million entries."""
        with self._link.once(self._stream):
            self._sharing.refresh()
            return {stream: self._count(stream, place) for stream, place in self._sharing.places.items()}

    def close(self) -> None:
        with suppress(redis.RedisError):  # what is not given back now ends by itself
            self._sharing.leave()
        self._link.close()

    def _partitions(self) -> list[str]:
        if not is_pattern(self._stream):
            return [self._stream]
        return [name.decode() for name in self._link.client.scan_iter(self._stream, count=1000, _type="stream")]

    def _look(self, limit: int, wait: float) -> list[Event]:
        with self._link.errors(self._stream):
            self._sharing.refresh()
            wait = min(wait, self._sharing.wait, _BLOCK)
            if self._sharing.places:
                return self._read(limit, wait)
        time.sleep(wait)
        return []

    def _read(self, limit: int, wait: float) -> list[Event]:
        places = self._sharing.places
        names = sorted(places)
        self._turn = (self._turn + 1) % len(names)  # so that each stream comes first in its turn
        names = (names[self._turn :] + names[: self._turn])[:limit]
        found = self._link.client.xread(
            {name: _id(places[name]) for name in names},
            count=limit // len(names),
            block=int(wait * 1000) or None,  # 0 would be for ever
        )
        events = []
        for name, entries in found:
            events += [self._event(name.decode(), number, fields) for number, fields in entries]
        for event in events:
            places[event.partition] = event.position
        return events

    def _event(self, stream: str, number: bytes, fields: dict[bytes, bytes] | None) -> Event:
        millis, _, serial = number.decode().partition("-")
        payload, key = _content(fields or {}, self._field)
        return Event(stream, f"{int(millis):020d}-{int(serial):020d}", payload, key, int(millis) * 1000)

    def _show(self, stream: str, number: str) -> None:
        try:
            self._link.client.xgroup_setid(stream, self._group, number)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._link.client.xgroup_create(stream, self._group, number)

    def _count(self, stream: str, place: str | None) -> int:
        total, last = 0, _id(place)
        while True:
            found, last_found = self._link.client.eval(_FOLLOW, 1, stream, f"({last}", _PAGE)
            total += found
            if found < _PAGE:
                return int(total)
            last = last_found.decode()


class RedisProducer:
    """Adds entries to one stream; see `Producer`."""

    def __init__(self, link: RedisLink, stream: str, field: bytes) -> None:
        self._link = link
        self._stream = stream
        self._field = field

    def send(self, payloads: Sequence[bytes], keys: Sequence[bytes | None] | None = None) -> None:
        """Add the events in one transaction: all of them or, with an error, none or all."""
        entries = [
            {self._field: payload} if key is None else {self._field: payload, b"key": key}
            for payload, key in zip(payloads, keys or [None] * len(payloads), strict=True)
        ]
        persist(lambda _: self._link.client.ping(), _PATIENCE, _AWAY, self._link.who)
        with self._link.once(self._stream):
            pipeline = self._link.client.pipeline(transaction=True)
            for entry in entries:
                pipeline.xadd(self._stream, entry)
            pipeline.execute()

    def close(self) -> None:
        self._link.close()


def is_pattern(stream: str) -> bool:
    """Whether the name of a stream stands for several.

    Example:
        >>> (is_pattern("orders"), is_pattern("orders.*"))
        (False, True)
    """
    return any(sign in stream for sign in "*?[")


def _id(place: str | None) -> str:
    if place is None:
        return "0-0"
    millis, _, serial = place.partition("-")
    return f"{int(millis)}-{int(serial)}"


def _content(fields: dict[bytes, bytes], field: bytes) -> tuple[bytes, bytes | None]:
    if field in fields:
        return fields[field], fields.get(b"key")
    try:
        return msgspec.json.encode({name.decode(): value.decode() for name, value in fields.items()}), None
    except UnicodeDecodeError:
        return msgspec.msgpack.encode(fields), None  # bytes of another kind: whole, for who can make sense of them
