"""Brokers of the tests, and places in them of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tidemill.testing.proxy import Proxy


@pytest.fixture
def name() -> str:
    """A name that nobody else on the broker has."""
    return f"tm{uuid.uuid4().hex[:12]}"


@pytest.fixture
def proxied() -> Iterator[Callable[[str], tuple[Proxy, str]]]:
    """`proxied(url)`: a way to the server of the URL that can be cut, and the URL of that way."""
    proxies: list[Proxy] = []

    def way(url: str) -> tuple[Proxy, str]:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        proxy = Proxy((parts.hostname, parts.port))
        proxies.append(proxy)
        login = parts.netloc.rpartition("@")[0]
        netloc = f"{login}@" * bool(login) + f"127.0.0.1:{proxy.address[1]}"
        return proxy, parts._replace(netloc=netloc).geturl()

    yield way
    for proxy in proxies:
        proxy.stop()
