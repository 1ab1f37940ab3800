"""Opening the online store a URL names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.stores.online.buffered import BufferedOnline
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.pending import Pending
from tidemill.stores.online.protocol import OnlineStore

PREFIX = "tidemill"
AWAY = ("error", "null", "second")


class Remote(NamedTuple):
    """A store on a server."""

    open: Callable[[str, str], OnlineStore]
    """Called with the URL and the prefix of all names."""
    needs: str
    """The module of its driver."""
    extra: str
    """The extra that installs it."""


def open_online(url: str, home: Path) -> OnlineStore:
    """The online store a URL names.

    Args:
        url: `lmdb:` (the folder `online` in the home), `lmdb:FOLDER` (relative to the home), `memory:` (gone with the
            process), `redis://HOST:PORT/DB`, `postgresql://USER:PASSWORD@HOST/DATABASE`, or
            `mysql://USER:PASSWORD@HOST/DATABASE`. A server's takes options: `prefix=NAME` (for several projects in one
            database), and `away=error|null|second` with `second=URL`: what reads do while the server is away.
        home: The project's home folder.

    Raises:
        InvalidArgument: The URL is wrong.
        MissingExtra: The driver is not installed.

    Example:
        >>> with open_online("memory:", Path(".")).read() as reader:
        ...     reader.views()
        []
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lmdb":
        return LmdbOnline(home / (rest.removeprefix("//") or "online"))
    if scheme == "memory":
        return MemoryOnline()
    if scheme in REMOTE:
        return _remote(REMOTE[scheme], url, home)
    raise InvalidArgument(f"the online store cannot be {scheme!r}", known=SCHEMES)


def _remote(remote: Remote, url: str, home: Path) -> OnlineStore:
    if importlib.util.find_spec(remote.needs) is None:
        raise MissingExtra(f"the online store {url.partition(':')[0]}", remote.extra)
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    prefix, away, second = options.pop("prefix", PREFIX), options.pop("away", "error"), options.pop("second", "")
    if away not in AWAY:
        raise InvalidArgument(f"away={away} says nothing about reads while the server is away", known=AWAY)
    if (away == "second") != bool(second):
        raise InvalidArgument(
            "the second store and away=second come together", expected="away=second&second=lmdb:second"
        )
    store = remote.open(urlunsplit(parts._replace(query=urlencode(options))), prefix)
    # What is kept for a server is told from what is kept for another by where and how it would get there.
    address = sha256(f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}#{prefix}".encode()).hexdigest()[:16]
    return BufferedOnline(
        store, Pending(home / "online-pending", address),
        nulls=away == "null", second=open_online(second, home) if second else None,
    )  # fmt: skip


def _redis(url: str, prefix: str) -> OnlineStore:
    from tidemill.stores.online.redis import RedisOnline

    return RedisOnline(url, prefix=prefix)


def _sql(url: str, prefix: str) -> OnlineStore:
    from tidemill.stores.online.sql import SqlOnline

    return SqlOnline(url, prefix=prefix)


REMOTE = {
    **{scheme: Remote(_redis, "redis", "redis") for scheme in ("redis", "rediss")},
    **{scheme: Remote(_sql, "psycopg", "postgres") for scheme in ("postgresql", "postgresql+psycopg")},
    **{scheme: Remote(_sql, "pymysql", "mysql") for scheme in ("mysql", "mysql+pymysql")},
}
SCHEMES = ("lmdb", "memory", *REMOTE)
