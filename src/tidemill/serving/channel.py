"""Messages between the supervisor and its children: JSON lines over a socket pair."""

from __future__ import annotations

import json
import select
import socket
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of a socket pair.

    Args:
        sock: The end; blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    @staticmethod
    def pair() -> tuple[Channel, Channel]:
        """Two connected ends."""
        ours, theirs = socket.socketpair()
        return Channel(ours), Channel(theirs)

    def send(self, message: Message) -> bool:
        """Send a message; False if the other side is gone."""
        try:
            self.sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Messages that have arrived, waiting for bytes if there are none; None once the other side is gone."""
        try:
            data = self.sock.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def wait(self, seconds: float | None) -> bool:
        """Wait until something has arrived, at most so long."""
        return bool(select.select([self.sock], [], [], seconds)[0])

    def close(self) -> None:
        """Close this end."""
        self.sock.close()
