"""A server that can be gone: a TCP proxy in front of it that is closed and opened again."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    """Forwards connections to an address while it is open; its own address stays the same."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start()

    def close(self) -> None:
        """End every connection and refuse new ones."""
        self._listener.close()
        self._accepting.join()
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def reopen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start()

    def _start(self) -> None:
        self._threads: list[threading.Thread] = []
        self._listener.settimeout(0.05)  # so that closing is noticed
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        listener = self._listener
        while listener.fileno() >= 0:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.settimeout(None)
            server = socket.create_connection(self._target)
            for one, other in ((client, server), (server, client)):
                thread = threading.Thread(target=self._forward, args=(one, other))
                self._threads.append(thread)
                thread.start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        self._sockets.add(one)
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        self._sockets.discard(one)
        one.close()


@contextmanager
def proxy_of(url: str) -> Iterator[Proxy]:
    """A proxy in front of the server of a URL that names host and port."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    proxy = Proxy((place.hostname, place.port))
    yield proxy
    proxy.close()


@contextmanager
def own_prefix(redis_url: str) -> Iterator[str]:
    """A prefix in a Redis that nobody else has; what it leaves goes."""
    from tidemill.stores.online.redis_server import RedisServer

    prefix = f"tm-{uuid.uuid4().hex[:12]}"
    yield prefix
    server = RedisServer(redis_url)
    for key in server.ask("KEYS", f"{prefix}:*"):
        server.ask("DEL", key)
    server.close()
