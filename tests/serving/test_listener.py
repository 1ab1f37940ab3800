from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from tidemill.core.errors import Conflict, InvalidArgument, PermissionDenied
from tidemill.serving.board import Board
from tidemill.serving.listener import Acceptor, bind


class Remembering(asyncio.Protocol):
    """Keeps the socket it was given."""

    def __init__(self, made: asyncio.Queue[socket.socket]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._made.put_nowait(transport.get_extra_info("socket"))


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_accepted_sockets_send_at_once(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    # Without TCP_NODELAY an answer waits some 40 ms for the client's acknowledgement of the one before.
    async def connect() -> None:
        board, made = Board(2), asyncio.Queue[socket.socket]()
        listening = bind("127.0.0.1", 0)
        address = listening.getsockname()
        acceptor = Acceptor(
            asyncio.get_running_loop(), listening, lambda: Remembering(made), board=board, region=board.regions[0]
        )
        acceptor.start()
        assert board.regions[0].accepting
        _, writer = await asyncio.open_connection(*address)
        accepted = await made.get()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert board.regions[0].connections == 1
        board.regions[1].accepting = True  # the other has none, but takes none either: after a moment this one does
        _, other = await asyncio.open_connection(*address)
        await made.get()
        assert board.regions[0].connections == 2
        writer.close()
        other.close()
        acceptor.stop()
        assert not board.regions[0].accepting
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(connect())


def test_addresses_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.serving.listener._RETRY_BIND", 0.0)
    with bind("127.0.0.1", 0) as taken, pytest.raises(Conflict, match="is in use"):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(PermissionDenied, match="there are no accounts yet"):
        bind("0.0.0.0", 0)
    with pytest.raises(InvalidArgument, match="is no address"):
        bind("example", 0)
    with bind("localhost", 0) as named:
        assert named.proto == socket.IPPROTO_TCP
