"""The one table of stores: which kinds and URL schemes there are, who opens them, and what to install.

Another package adds stores by entry points of the group `tidemill.stores`, named `KIND.SCHEME`; each is an opener,
`opener(url: str, home: Path) -> store`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import InvalidArgument, MissingExtra

GROUP = "tidemill.stores"
KINDS = ("metadata", "artifacts", "tables", "online", "streams")


class Backend(msgspec.Struct, frozen=True):
    """One way to keep one kind of thing."""

    kind: str
    scheme: str
    opener: str
    """`module:function`, called with the URL and the home."""
    needs: str | None = None
    """A module that must be installed."""
    extra: str | None = None
    """The extra that installs it."""

    @property
    def installed(self) -> bool:
        """Whether it can be opened as far as packages go."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    @property
    def install(self) -> str:
        """What to type when it is not installed; empty when nothing is needed."""
        return f"pip install 'tidemill[{self.extra}]'" if self.extra else ""

    def open(self, url: str, home: Path) -> Any:
        """Open the store a URL names.

        Raises:
            MissingExtra: A package is not installed.
        """
        if not self.installed and self.extra:
            raise MissingExtra(f"the {self.kind} store {self.scheme}", self.extra)
        module, _, function = self.opener.partition(":")
        return getattr(importlib.import_module(module), function)(url, home)


_METADATA = "tidemill.stores.metadata.open:open_metadata"
_ARTIFACTS = "tidemill.stores.artifacts.open:open_artifacts"
_TABLES = "tidemill.stores.tables.open:open_tables"
_ONLINE = "tidemill.stores.online.open:open_online"
_STREAMS = "tidemill.stores.streams.open:open_streams"
_REDIS_BROKER = "tidemill.stores.consumers.redis:RedisBroker"
_NATS_BROKER = "tidemill.stores.consumers.nats:NatsBroker"
_RABBITMQ_BROKER = "tidemill.stores.consumers.rabbitmq:RabbitBroker"

BUILT_IN = (
    Backend("metadata", "sqlite", _METADATA),
    Backend("metadata", "postgresql", _METADATA, "psycopg", "postgres"),
    Backend("metadata", "postgresql+psycopg", _METADATA, "psycopg", "postgres"),
    Backend("metadata", "mysql", _METADATA, "pymysql", "mysql"),
    Backend("metadata", "mysql+pymysql", _METADATA, "pymysql", "mysql"),
    Backend("metadata", "mariadb", _METADATA, "pymysql", "mysql"),
    Backend("metadata", "mariadb+pymysql", _METADATA, "pymysql", "mysql"),
    Backend("artifacts", "file", _ARTIFACTS),
    Backend("artifacts", "memory", _ARTIFACTS),
    Backend("artifacts", "s3", _ARTIFACTS, "s3fs", "s3"),
    Backend("tables", "delta", _TABLES),
    Backend("tables", "s3", _TABLES, "s3fs", "s3"),
    Backend("online", "lmdb", _ONLINE),
    Backend("online", "memory", _ONLINE),
    Backend("online", "redis", _ONLINE, "redis", "redis"),
    Backend("online", "rediss", _ONLINE, "redis", "redis"),
    Backend("online", "postgresql", _ONLINE, "psycopg", "postgres"),
    Backend("online", "postgresql+psycopg", _ONLINE, "psycopg", "postgres"),
    Backend("online", "mysql", _ONLINE, "pymysql", "mysql"),
    Backend("online", "mysql+pymysql", _ONLINE, "pymysql", "mysql"),
    Backend("streams", "file", _STREAMS),
    Backend("streams", "memory", _STREAMS),
    Backend("broker", "stream", "tidemill.stores.consumers.stream:StreamBroker"),
    Backend("broker", "redis", _REDIS_BROKER, "redis", "redis"),
    Backend("broker", "rediss", _REDIS_BROKER, "redis", "redis"),
    Backend("broker", "kafka", "tidemill.stores.consumers.kafka:KafkaBroker", "confluent_kafka", "kafka"),
    Backend("broker", "nats", _NATS_BROKER, "nats", "nats"),
    Backend("broker", "tls", _NATS_BROKER, "nats", "nats"),
    Backend("broker", "amqp", _RABBITMQ_BROKER, "pika", "rabbitmq"),
    Backend("broker", "amqps", _RABBITMQ_BROKER, "pika", "rabbitmq"),
)


@functools.cache
def backends() -> tuple[Backend, ...]:
    """All known backends; one of another package wins over a built-in one of the same kind and scheme."""
    table = {(backend.kind, backend.scheme): backend for backend in (*BUILT_IN, *_outside())}
    return tuple(table.values())


def open_store(kind: str, url: str, home: Path) -> Any:
    """Open a store.

    Args:
        kind: One of `KINDS`.
        url: `SCHEME:` and what the backend makes of the rest.
        home: The project's home folder.

    Raises:
        InvalidArgument: No backend of this kind has the scheme.
        MissingExtra: Its package is not installed.

    Example:
        >>> open_store("streams", "memory:", Path(".")).topics()
        []
    """
    return find_backend(kind, url).open(url, home)


def find_backend(kind: str, url: str) -> Backend:
    """The backend a URL names.

    Raises:
        InvalidArgument: There is none.
    """
    scheme, colon, _ = url.partition(":")
    known = {backend.scheme: backend for backend in backends() if backend.kind == kind}
    if not known:
        raise InvalidArgument(f"{kind!r} is no kind of store", known=KINDS)
    if not colon or scheme not in known:
        # Only the scheme is repeated: the rest may hold a password.
        raise InvalidArgument(
            f"the {kind} store cannot be {scheme!r}" if colon else f"the URL of the {kind} store has no scheme",
            expected="SCHEME: and an address",
            known=[f"{name}:" for name in known],
        )
    return known[scheme]


def _outside() -> list[Backend]:
    found = []
    for point in entry_points(group=GROUP):
        kind, _, scheme = point.name.partition(".")
        found.append(Backend(kind, scheme, f"{point.module}:{point.attr}"))
    return found
