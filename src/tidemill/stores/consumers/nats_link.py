"""One connection to NATS, used from ordinary code: the library's event loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from nats.aio.client import Client
from nats.errors import (
    AuthorizationError,
    ConnectionClosedError,
    Error,
    FlushTimeoutError,
    InvalidUserCredentialsError,
    NoRespondersError,
    NoServersError,
    OutboundBufferLimitError,
    StaleConnectionError,
    UnexpectedEOF,
)
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from tidemill.core.errors import PermissionDenied, TidemillError
from tidemill.stores.consumers.address import Address
from tidemill.stores.consumers.retry import unavailable

AWAY = (
    ConnectionClosedError,
    FlushTimeoutError,
    NoRespondersError,
    NoServersError,
    OutboundBufferLimitError,
    OSError,  # with all errors of time
    ServiceUnavailableError,
    StaleConnectionError,
    UnexpectedEOF,
)
"""The errors that mean that the server is not there now."""

_CONNECT = 3
_ANSWER = 5.0
"""Seconds to connect, and until an answer counts as missing."""

T = TypeVar("T")


class NatsLink:
    """A connection that is made when it is needed and made again after it broke.

    Args:
        address: The server.
    """

    def __init__(self, address: Address) -> None:
        self.who = f"NATS at {address.servers}"
        self.session = 0
        """Counts the connections: what belonged to an earlier one is gone."""
        scheme = "tls" if address.scheme == "tls" else "nats"
        self._servers = [f"{scheme}://{server}" for server in address.servers.split(",")]
        self._user, self._password = address.user, address.password
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None

    def run(self, work: Callable[[JetStreamContext], Awaitable[T]], wait: float = 0.0) -> T:
        """What `work` returns when it is awaited in the thread.

        Args:
            work: Called with the JetStream of the connection.
            wait: Seconds it may take beyond those for an answer.

        Raises:
            PermissionDenied: The server refuses the user.
        """
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
            self._thread.start()
        future = asyncio.run_coroutine_threadsafe(self._work(work, wait), self._loop)
        try:
            return future.result()
        except (AuthorizationError, InvalidUserCredentialsError) as error:
            raise PermissionDenied(
                f"{self.who} refuses ({error})", hint="Check user and password in the URL"
            ) from error

    @contextmanager
    def once(self) -> Iterator[None]:
        """A server that is away is `Unavailable` at once."""
        try:
            yield
        except TidemillError:  # some are errors of the system too
            raise
        except AWAY as error:
            raise unavailable(self.who, error) from error

    def close(self, farewell: Callable[[], None] = lambda: None) -> None:
        """Close the connection and end the thread.

        Args:
            farewell: What to do before, as far as the server is there.
        """
        if self._loop is None or self._thread is None:
            return
        if self._client is not None and not self._client.is_closed:
            with suppress(*AWAY):
                farewell()
            asyncio.run_coroutine_threadsafe(_close(self._client), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = self._client = None

    async def _work(self, work: Callable[[JetStreamContext], Awaitable[T]], wait: float) -> T:
        async with asyncio.timeout(wait + _ANSWER):
            if self._client is None or self._client.is_closed:
                self._client = await self._connect()
                self.session += 1
            return await work(self._client.jetstream(timeout=_ANSWER))

    async def _connect(self) -> Client:
        # The library's own reconnecting is off: it would keep the place of a reader that no longer exists.
        client = Client()
        try:
            await client.connect(
                self._servers,
                user=self._user,
                password=self._password,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # also of the first connection; 0 would be without end
                reconnect_time_wait=0,
                connect_timeout=_CONNECT,
                error_cb=_nothing,
            )
        except BaseException as error:
            await _close(client)
            # What the server says before a connection stands comes as an error of no kind of its own.
            if "authorization" in str(error).lower():
                raise AuthorizationError from error
            if type(error) is Error:
                raise ConnectionError(str(error)) from error
            raise
        return client


async def _nothing(error: Exception) -> None:
    """Errors come as exceptions of the calls; the library would print them besides."""


async def _close(client: Client) -> None:
    with suppress(*AWAY):
        await client.close()
