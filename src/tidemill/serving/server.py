"""`serve`: what the command line and the demo call."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tidemill.core.errors import InvalidArgument
from tidemill.core.settings import Settings
from tidemill.serving.listener import bind
from tidemill.serving.runtime import MakeRuntime
from tidemill.serving.supervisor import Supervisor


def serve(settings: Settings, make_runtime: MakeRuntime, *, listening: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Call it in the main thread of a process that did nothing heavy before.

    Args:
        settings: Where to listen and with how many workers.
        make_runtime: Builds what a worker needs; called in each worker.
        listening: Called with the URL once requests are taken.

    Raises:
        Conflict: The port is in use.
        PermissionDenied: The address can be reached from other machines.
        TidemillError: No worker could be built.
    """
    given = settings.serve
    if given.workers < 1:
        raise InvalidArgument(f"serve.workers is {given.workers}", expected="at least 1")
    sock = bind(given.host, given.port)
    url = _url(sock)
    supervisor = Supervisor(
        sock, url=url, workers=given.workers, make_runtime=make_runtime, log_level=settings.log_level
    )
    try:
        supervisor.run(None if listening is None else lambda: listening(url))
    finally:
        sock.close()


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
