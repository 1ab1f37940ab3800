"""A way to a server that can be cut and restored."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes connections on to a server of this machine, on a port of its own, until it is stopped.

    Args:
        target: Host and port of the server.

    Example:
        >>> server = socket.create_server(("127.0.0.1", 0))
        >>> proxy = Proxy(server.getsockname())
        >>> client = socket.create_connection(proxy.address)
        >>> accepted, _ = server.accept()
        >>> proxy.stop()
        >>> client.recv(1)
        b''
        >>> for one in (client, accepted, server):
        ...     one.close()
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = _listen(0)
        self.address: tuple[str, int] = self._listener.getsockname()
        """Host and port to connect to."""
        self._accept()

    def stop(self) -> None:
        """Break all connections and refuse new ones."""
        with self._lock:
            _shut(self._listener)
            for one in self._sockets:
                _shut(one)
            self._sockets.clear()
        self._thread.join()

    def start(self) -> None:
        """Take connections again, on the same port."""
        self._listener = _listen(self.address[1])
        self._accept()

    def _accept(self) -> None:
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._join(listener, client, socket.create_connection(self._target))

    def _join(self, listener: socket.socket, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            if listener.fileno() < 0:
                _shut(client)
                _shut(server)
                return
            self._sockets |= {client, server}
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with self._lock:
            for one in (source, sink):
                _shut(one)
                self._sockets.discard(one)


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
