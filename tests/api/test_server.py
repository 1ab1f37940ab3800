"""The server behind an address: loopback only, a taken port in words, a stop that finishes what it began."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tidemill.api.server import bind, check_loopback, make_server
from tidemill.core.errors import InvalidArgument, PermissionDenied, Unavailable
from tidemill.platform import Platform


@contextmanager
def running(platform: Platform) -> Iterator[str]:
    server = make_server(platform)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_it_answers_over_http_and_stops(platform: Platform) -> None:
    with running(platform) as url:
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        page = httpx.get(f"{url}/")
        assert page.headers["content-type"].startswith("text/html")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_an_address_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(PermissionDenied, match="can be reached from other machines"):
        bind(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_is_open(host: str) -> None:
    check_loopback(host)


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"port {port} .* --port"):
            bind("127.0.0.1", port)


def test_a_port_that_is_none() -> None:
    with pytest.raises(InvalidArgument, match="70000 is not a port"):
        bind("127.0.0.1", 70000)
