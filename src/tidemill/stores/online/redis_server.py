"""Connections to a Redis server, and the scripts it runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.connection import Connection, parse_url
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ExecAbortError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from tidemill.core.errors import InvalidArgument, PermissionDenied, StorageFull, TidemillError, Unavailable

_LUA = Path(__file__).parent / "lua"
_OPTIONS = {"socket_connect_timeout": 2.0, "socket_timeout": 30.0, "socket_read_size": 1 << 17}
"""Seconds to wait for a connection and for an answer, and bytes to read at once, unless the URL says otherwise."""

Command = Sequence[Any]
T = TypeVar("T")


class Script:
    """A script of the server.

    Args:
        name: Its file, without the ending.
    """

    def __init__(self, name: str) -> None:
        self.body = (_LUA / "common.lua").read_bytes() + (_LUA / f"{name}.lua").read_bytes()
        self.digest = sha1(self.body, usedforsecurity=False).hexdigest()

    def call(self, *arguments: Any) -> Command:
        """The command that runs it where the server has seen it before."""
        return ("EVALSHA", self.digest, 0, *arguments)

    def first_call(self, *arguments: Any) -> Command:
        """The command that runs it anywhere."""
        return ("EVAL", self.body, 0, *arguments)


class RedisServer:
    """Connections to one server, kept open and shared by the threads of a process; a forked child opens its own.

    A command may be carried out twice, when the server went away between doing it and saying so: use it for those of which
    the second changes nothing.

    Args:
        url: A URL as redis-py reads it.

    Raises:
        InvalidArgument: The URL is wrong.
    """

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise InvalidArgument(f"the URL of the Redis server is wrong: {error}",
                                  expected="redis://USER:PASSWORD@HOST:PORT/DB") from None  # fmt: skip
        self._kind: Any = options.pop("connection_class", Connection)
        # The second protocol is enough, and saves the negotiation of what comes with the third.
        self._options = {**_OPTIONS, **options, "protocol": 2}
        place = urlsplit(url)
        self.name = f"Redis at {place.hostname}:{place.port or 6379}" if place.hostname else f"Redis at {place.path}"
        self._own()

    def _own(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Any] = deque()

    def run(self, script: Script, *arguments: Any) -> Any:
        """Run a script; its answer.

        Raises:
            Unavailable: The server does not answer.
            StorageFull: It has no memory left.
            PermissionDenied: It refuses this user.
            ResponseError: The script refused its arguments.
        """
        try:
            return self.ask(*script.call(*arguments))
        except NoScriptError:
            return self.ask(*script.first_call(*arguments))

    def ask(self, *command: Any) -> Any:
        """Send one command; its answer."""
        with self._translated():
            return self._exchange(lambda connection: _sent(connection, [command]))[0]

    def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that are carried out together, or not at all; their answers."""
        with self._translated():
            answers: list[Any] = self._exchange(lambda connection: _sent(connection, together(commands)))[-1]
            return _checked(answers)

    def unless_changed(self, key: str, look: Command, then: Callable[[Any], Sequence[Command] | None]) -> bool:
        """Send one command, and those that follow from its answer together; whether they were carried out.

        Args:
            key: If anybody changes it in between, nothing is done.
            look: The first command.
            then: Makes the others from the answer; None for nothing.
        """

        def talk(connection: Any) -> bool:
            commands = then(_sent(connection, [("WATCH", key), look])[1])
            if commands is None:
                _sent(connection, [("UNWATCH",)])
                return False
            answers = _sent(connection, together(commands))[-1]
            return answers is not None and bool(_checked(answers))

        with self._translated():
            return self._exchange(talk)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            connection = self._idle.pop()
            if self._pid == os.getpid():
                connection.disconnect()

    def _exchange(self, talk: Callable[[Any], T]) -> T:
        if self._pid != os.getpid():  # after a fork: the parent's sockets are not ours
            self._own()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._talked(self._kind(**self._options), talk)
        try:
            return self._talked(connection, talk)
        except (ConnectionError, OSError):  # closed while it was idle, as all others may be
            self.close()
            return self._talked(self._kind(**self._options), talk)

    def _talked(self, connection: Any, talk: Callable[[Any], T]) -> T:
        try:
            answer = talk(connection)
        except NoScriptError:  # in answer to a single command: nothing else is on its way
            self._idle.append(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            known = self._named(error)
            if known is None:
                raise
            raise known from error

    def _named(self, error: RedisError) -> TidemillError | None:
        if isinstance(error, AuthenticationError | NoPermissionError):
            return PermissionDenied(f"{self.name} refuses this user: {error}", hint="Check the URL's user and password")
        if isinstance(error, OutOfMemoryError) or (isinstance(error, ExecAbortError) and "OOM" in str(error)):
            return StorageFull(f"no room left in {self.name}", hint="Give it more memory (maxmemory), and try again")
        if str(error).startswith("MISCONF"):
            return StorageFull(f"{self.name} cannot write to its disk: {error}", hint="Check the disk of the server")
        if isinstance(error, ResponseError) and not isinstance(error, ExecAbortError | MasterDownError | ReadOnlyError):
            return None
        return Unavailable(f"{self.name} does not answer: {error}", hint="Check that the server runs")


def together(commands: Sequence[Command]) -> list[Command]:
    """Commands as one transaction; the last answer is the list of theirs."""
    return [("MULTI",), *commands, ("EXEC",)]


def _checked(answers: list[Any]) -> list[Any]:
    """The answers of a transaction, of which none may be an error."""
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers


def _sent(connection: Any, commands: Sequence[Command]) -> list[Any]:
    for command in commands:
        connection.send_command(*command)
    return [connection.read_response() for _ in commands]
