"""How a stream is read."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.sources import Source
from tidemill.stores.consumers.open import is_broker


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How streams are read and kept. Durations in seconds."""

    limit: int = 1000
    """The most events in memory at once, of one source; what the broker's library fetches ahead comes on top."""
    linger: float = 0.1
    """How long a batch that is not full waits for more events."""
    patience: float = 300.0
    """How long a broker or a store may be away before the service gives up."""
    compact_rows: int = 50_000
    """Rows after which they are moved from the inbox to the table."""
    compact_every: float = 30.0
    """Time after which they are moved, however few."""
    drain: bool = False
    """Whether to end when everything there is has been read."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidArgument(f"a batch of {self.limit} events", expected="at least 1")


def broker_of(source: Source) -> str:
    """The URL of a source's broker.

    Raises:
        InvalidArgument: The source is not read from a broker.
    """
    if source.url is None or not is_broker(source.url):
        raise InvalidArgument(
            f"source {source.name!r} is not read from a broker",
            expected="a source whose URL names one, such as tm.Source(name, 'kafka://HOST:PORT/TOPIC')",
        )
    return source.url


def feed_name(url: str) -> str:
    """The name under which positions of a broker are remembered: its URL without login and without settings of time.

    Another name means another feed, which is read from its earliest event.

    Example:
        >>> feed_name("redis://mill:s3cret@localhost:6379/2?stream=trips&lease=3")
        'redis://localhost:6379/2?stream=trips'
    """
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name != "lease" and "." not in name]
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}" + (f"?{urlencode(sorted(kept))}" if kept else "")
    return f"{parts.scheme}://{place}" if parts.netloc else f"{parts.scheme}:{place}"
