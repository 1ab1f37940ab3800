"""A worker: one process that takes connections from the shared socket and answers them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.serving.board import Board
from tidemill.serving.channel import Channel, Message
from tidemill.serving.runtime import MakeRuntime, Runtime, Target

if TYPE_CHECKING:
    from tidemill.serving.plane import Plane

KEEP_ALIVE = 75
"""Seconds an idle connection stays open."""

DRAIN_IDLE = 5.0
"""Seconds a worker that is being replaced waits for its idle connections to be used once more."""

STOP_WITHIN = 30
"""Seconds requests may take to finish once the server stops."""

_log = logging.getLogger(__name__)


def run_worker(
    sock: socket.socket, channel: Channel, board: Board, index: int, targets: list[Target], make_runtime: MakeRuntime,
    log_level: str,
) -> None:  # fmt: skip
    """Be a worker until told to stop. Called in a fresh child process.

    Args:
        sock: The listening socket.
        channel: To the supervisor.
        board: The shared numbers.
        index: Which region of the board is this worker's.
        targets: Generations to have ready before the first connection.
        make_runtime: Builds what the worker needs.
        log_level: The lowest level that is logged.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says what happens
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    board.regions[index].open()
    try:
        runtime = make_runtime()
    except TidemillError as error:
        channel.send({"is": "broken", "code": error.code, "message": str(error)})
        raise SystemExit(1) from None
    from tidemill.serving.logs import log_json

    log_json(runtime.scope.clock, log_level)
    try:
        Worker(sock, channel, board, index, runtime).run(targets)
    finally:
        runtime.close()


class Worker:
    """See `run_worker`."""

    def __init__(self, sock: socket.socket, channel: Channel, board: Board, index: int, runtime: Runtime) -> None:
        import tidemill
        from tidemill.serving.app import App
        from tidemill.serving.lane import Lane
        from tidemill.serving.plane import Plane

        self._sock, self._channel, self._board = sock, channel, board
        self._region = board.regions[index]
        self._lane = Lane()
        self._plane: Plane = Plane(runtime, region=self._region, lane=self._lane)
        self._app = App(
            self._plane, acting=runtime.scope, board=board, worker=os.getpid(), version=tidemill.__version__
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, targets: list[Target]) -> None:
        """Serve until told to stop."""
        import uvicorn

        config = uvicorn.Config(
            self._app, loop="auto", http="auto", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=STOP_WITHIN,
        )  # fmt: skip
        config.load()
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(self._serve(_server(config), targets))
        self._lane.close()

    async def _serve(self, server: Any, targets: list[Target]) -> None:
        from tidemill.serving.listener import Acceptor

        loop = asyncio.get_running_loop()
        self._server, self._loop = server, loop
        for target in targets:
            await self._plane.stage(target)
            self._plane.commit(target.endpoint, target.number)
        self._acceptor = Acceptor(loop, self._sock, self._protocol, board=self._board, region=self._region)
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_reader(self._channel.sock.fileno(), self._told)
        gc.collect()
        gc.freeze()  # what was loaded so far stays: no use in looking at it again and again
        serving = loop.create_task(server.serve(sockets=[]))
        while not server.started:
            await asyncio.sleep(0.005)
        self._acceptor.start()
        self._channel.send({"is": "ready"})
        await serving

    def _protocol(self) -> asyncio.Protocol:
        server = self._server
        protocol = server.config.http_protocol_class(
            config=server.config, server_state=server.server_state, app_state={}, _loop=self._loop
        )
        # The number of open connections is what workers share them out by.
        lost = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            self._region.connections -= 1
            lost(error)

        protocol.connection_lost = connection_lost
        return protocol  # type: ignore[no-any-return]

    # -- what the supervisor says

    def _told(self) -> None:
        messages = self._channel.receive()
        if messages is None:  # the supervisor is gone: without it nobody replaces or stops this process
            self._loop.remove_reader(self._channel.sock.fileno())
            self._stop()
            return
        for message in messages:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        match message["do"]:
            case "prepare":
                self._start(self._prepare(message))
            case "commit":
                self._plane.commit(message["endpoint"], message["number"])
                self._channel.send({"is": "committed", "number": message["number"]})
            case "abort":
                self._plane.abort(message["endpoint"], message["number"])
            case "drain":
                self._start(self._drain())

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _prepare(self, message: Message) -> None:
        target = msgspec.convert(message["target"], Target)
        try:
            await self._plane.stage(target)
        except Exception as error:  # noqa: BLE001 - a model may fail in any way; the one that answers must not
            _log.warning("generation %s of %s cannot run", target.number, target.endpoint, exc_info=error)
            reason = str(error) if isinstance(error, TidemillError) else f"{type(error).__name__}: {error}"
            self._channel.send({"is": "failed", "number": target.number, "reason": reason})
        else:
            self._channel.send({"is": "prepared", "number": target.number})

    def _stop(self) -> None:
        if not self._server.should_exit:
            self._end_accepting()
            self._server.should_exit = True

    def _end_accepting(self) -> None:
        if not self._app.draining:
            self._app.draining = True
            self._acceptor.stop()

    async def _drain(self) -> None:
        """Leave without breaking a connection: each is closed after its next answer, or when it stays idle."""
        self._end_accepting()
        until = self._loop.time() + DRAIN_IDLE
        while self._server.server_state.connections and self._loop.time() < until:
            await asyncio.sleep(0.02)
        self._server.should_exit = True


def _server(config: Any) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to the worker."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)
