"""Clients of the prediction server, the way they come: several at once, each with a handful of rows."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

BROKEN = 0
"""In place of a status: there was no answer."""


@dataclass(frozen=True)
class Answer:
    """What one request gave."""

    rows: int
    ok: bool
    seconds: float
    version: int | None
    retried: bool = False
    """Whether the connection broke, or the server was not ready, and the rows were asked for again."""
    error: str | None = None


class Clients:
    """A few keep-alive connections that ask at the same time.

    Args:
        host: Of the server.
        port: Of the server.
        path: Where to post rows.
        connections: How many ask at once.
        patience: For so many seconds a request is asked again while its connection breaks, or the server is not ready:
            predicting is idempotent, and clients retry.
    """

    def __init__(self, host: str, port: int, path: str, *, connections: int = 4, patience: float = 60.0) -> None:
        self._patience = patience
        self._address = (host, port)
        self._path = path
        self._closing = threading.Event()
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="client")

    def ask(self, batches: Sequence[Sequence[dict[str, Any]]]) -> list[Future[Answer]]:
        """Send one request per batch of rows; the answers come as futures."""
        return [self._pool.submit(self._ask, batch) for batch in batches]

    def close(self) -> None:
        """End the connections, once the requests under way are answered."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
        for connection in self._opened:
            connection.close()

    def _ask(self, rows: Sequence[dict[str, Any]]) -> Answer:
        body = msgspec.json.encode({"rows": rows})
        started, attempts = time.perf_counter(), 1
        status, payload = self._try(body)
        while status in (BROKEN, 503) and time.perf_counter() - started < self._patience:
            if self._closing.wait(0.25):
                break
            attempts += 1
            status, payload = self._try(body)
        seconds, retried = time.perf_counter() - started, attempts > 1
        if status != 200:
            return Answer(len(rows), False, seconds, None, retried, payload.decode(errors="replace")[:300])
        answer = msgspec.json.decode(payload)
        complete = len(answer["predictions"]) == len(rows)
        return Answer(len(rows), complete, seconds, answer["model_version"], retried)

    def _try(self, body: bytes) -> tuple[int, bytes]:
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection().close()  # the next request opens it again
            return BROKEN, str(error).encode()

    def _post(self, body: bytes) -> tuple[int, bytes]:
        connection = self._connection()
        connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        """The one of this thread."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection(*self._address, timeout=60)
            self._opened.append(connection)
        return connection
