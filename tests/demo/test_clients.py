from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tidemill.demo.clients import Answer, Clients

ROWS = [{"flight_id": f"f{number}"} for number in range(9)]


class Small(BaseHTTPRequestHandler):
    """Answers one prediction per row; the server object says how it misbehaves."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.client_address, self.path, len(body["rows"])))
        if self.server.breaks:
            self.server.breaks -= 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        answers = [{"prediction": True}] * (len(body["rows"]) - self.server.missing)
        self.reply(
            self.server.statuses.pop(0) if self.server.statuses else 200, {"predictions": answers, "model_version": 7}
        )

    def reply(self, status: int, value: Any) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def small_server(*, breaks: int = 0, missing: int = 0, statuses: Sequence[int] = ()) -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Small) as server:
        server.daemon_threads = True
        server.seen, server.breaks, server.missing, server.statuses = [], breaks, missing, list(statuses)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Any, batches: int = 1, connections: int = 1) -> list[Answer]:
    clients = Clients("127.0.0.1", server.server_port, "/predict/late", connections=connections)
    try:
        return [future.result() for future in clients.ask([ROWS] * batches)]
    finally:
        clients.close()


def test_requests_share_a_connection_that_is_kept() -> None:
    with small_server() as server:
        answers = ask(server, batches=5)
    assert [(one.ok, one.rows, one.version, one.retried) for one in answers] == [(True, 9, 7, False)] * 5
    assert {path for _, path, _ in server.seen} == {"/predict/late"}
    assert len({address for address, _, _ in server.seen}) == 1


def test_several_connections_ask_at_once() -> None:
    with small_server() as server:
        answers = ask(server, batches=40, connections=4)
    assert all(one.ok for one in answers)
    assert len(server.seen) == 40
    assert 1 < len({address for address, _, _ in server.seen}) <= 4


@pytest.mark.parametrize("breaks", [1, 3])
def test_a_broken_connection_is_asked_again_and_counted(breaks: int) -> None:
    with small_server(breaks=breaks) as server:
        first, second = ask(server, batches=2)
    assert (first.ok, first.retried) == (True, True)
    assert (second.ok, second.retried) == (True, False)
    assert len(server.seen) == 2 + breaks


def test_a_server_that_is_not_ready_yet_is_asked_again() -> None:
    with small_server(statuses=[503, 503]) as server:
        (answer,) = ask(server)
    assert (answer.ok, answer.retried) == (True, True)
    assert len(server.seen) == 3


def test_a_server_that_stays_away_is_a_failed_request_with_its_reason() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clients = Clients("127.0.0.1", port, "/predict/late", connections=1, patience=0.3)
    (answer,) = [future.result() for future in clients.ask([ROWS])]
    clients.close()
    assert (answer.ok, answer.version, answer.retried) == (False, None, True)
    assert "refused" in (answer.error or "")


@pytest.mark.parametrize("status", [400, 429, 500])
def test_another_error_is_not_asked_again(status: int) -> None:
    with small_server(statuses=[status]) as server:
        (answer,) = ask(server)
    assert (answer.ok, answer.retried) == (False, False)
    assert "predictions" in (answer.error or "")
    assert len(server.seen) == 1


def test_an_answer_that_lacks_a_row_is_a_failure() -> None:
    with small_server(missing=1) as server:
        (answer,) = ask(server)
    assert not answer.ok
