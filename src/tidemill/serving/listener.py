"""The listening socket all workers share, and how a worker takes connections from it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from collections.abc import Callable

from tidemill.core.errors import Conflict, InvalidArgument, PermissionDenied
from tidemill.serving.board import Board, Region

BACKLOG = 2048
PATIENCE = 0.005
"""Seconds a busier worker leaves a new connection to one with fewer."""

_RETRY_BIND = 3.0


def bind(host: str, port: int) -> socket.socket:
    """The listening socket; made before any worker, so that an address that cannot be used is told at once.

    Raises:
        PermissionDenied: The address can be reached from other machines, and there are no accounts yet.
        Conflict: The port is in use.
        InvalidArgument: The host is no address of this machine.
    """
    _require_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named on purpose: asyncio sets TCP_NODELAY only where it is; accepted sockets set it again.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _bind(sock, host, port)
    except BaseException:
        sock.close()
        raise
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _bind(sock: socket.socket, host: str, port: int) -> None:
    give_up = time.monotonic() + _RETRY_BIND
    while True:
        try:
            return sock.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < give_up:
                time.sleep(0.1)  # workers of a server that was killed let go of it within moments
                continue
            raise _refused(host, port, error) from None


def _refused(host: str, port: int, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} of {host} is in use", hint="Stop what listens there, or choose another with --port"
        )
    if error.errno == errno.EACCES:
        return PermissionDenied(f"port {port} may not be used", hint="Choose one above 1023 with --port")
    return InvalidArgument(f"cannot listen on {host}:{port}: {error.strerror}", hint="Choose another with --host")


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InvalidArgument(f"{host!r} is no address", expected="127.0.0.1, ::1 or localhost") from None
    if not loopback:
        raise PermissionDenied(
            f"{host} can be reached from other machines, and there are no accounts yet",
            expected="127.0.0.1, ::1 or localhost",
        )


class Acceptor:
    """Takes connections for one worker, and leaves them to workers that have fewer.

    Clients keep connections for long, so a worker that took four of four would do all the work while the others idle.

    Args:
        loop: The worker's event loop.
        sock: The shared socket; closed by `stop`.
        protocol: Makes the protocol of a connection.
        board: Where all workers tell how many connections they have.
        region: This worker's part of it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], *,
        board: Board, region: Region,
    ) -> None:  # fmt: skip
        self._loop, self._sock, self._protocol = loop, sock, protocol
        self._board, self._region = board, region
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Take connections from now on."""
        self._region.accepting = True
        self._listen()

    def stop(self) -> None:
        """Take no more; what waits in the socket is left to the others."""
        self._region.accepting = False
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _listen(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock.fileno(), self._arrived)

    def _arrived(self) -> None:
        if self._region.connections > self._board.fewest_connections(self._region):
            # A worker that is stuck must not keep the client waiting: after a moment this one takes it all the same.
            self._loop.remove_reader(self._sock.fileno())
            self._timer = self._loop.call_later(PATIENCE, self._late)
        else:
            self._accept()

    def _late(self) -> None:
        self._accept()
        self._listen()

    def _accept(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client gave up
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._region.connections += 1
        task: asyncio.Task[object] = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            self._region.connections -= 1
            connection.close()
