"""The HTTP application of a worker: a bare ASGI callable."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tidemill.core.errors import InvalidArgument, NotFound, http_status
from tidemill.core.ids import new_id
from tidemill.core.scope import Scope as Acting
from tidemill.serving.board import Board
from tidemill.serving.codecs import oip
from tidemill.serving.codecs.oip import OipCodec
from tidemill.serving.codecs.protocol import Codec, Decoded
from tidemill.serving.codecs.rows import RowsCodec
from tidemill.serving.generation import Generation
from tidemill.serving.http import (
    TEXT,
    MethodNotAllowed,
    Receive,
    Reply,
    Scope,
    Send,
    TooLarge,
    UnsupportedMedia,
    given_request_id,
    header,
    read_body,
    respond,
)
from tidemill.serving.metrics import exposition
from tidemill.serving.plane import Plane

MAX_BODY = 32 << 20
RETRY_AFTER = 1

_log = logging.getLogger("tidemill.serving.access")
_json = msgspec.json.Encoder()

Handler = Callable[["Exchange"], Awaitable[Reply]]


class Exchange:
    """One request while it is being answered."""

    def __init__(self, scope: Scope, receive: Receive, request_id: str, codec: Codec) -> None:
        self.scope, self.receive, self.request_id, self.codec = scope, receive, request_id, codec
        self.method: str = scope["method"]
        self.parts: list[str] = [part for part in scope["path"].split("/") if part]
        self.endpoint: str | None = None

    def allow(self, *methods: str) -> None:
        """Refuse other methods.

        Raises:
            MethodNotAllowed: The request's method is none of them.
        """
        if self.method not in methods:
            raise MethodNotAllowed(f"{self.method} {self.scope['path']}", allowed=", ".join(methods))


class App:
    """Routes requests to the data plane.

    Args:
        plane: Answers them.
        acting: Project, principal and clock.
        board: Numbers of all workers, for `/metrics`.
        worker: Number shown by `/health`.
        version: Of the program.
    """

    def __init__(self, plane: Plane, *, acting: Acting, board: Board, worker: int, version: str) -> None:
        self._plane, self._acting, self._board = plane, acting, board
        self._worker, self._version = worker, version
        self._rows, self._oip = RowsCodec(), OipCodec()
        self.draining = False
        self._routes: dict[str, Handler] = {
            "predict": self._predict, "v2": self._v2, "health": self._health, "ready": self._ready,
            "metrics": self._metrics,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request_id = given_request_id(scope) or new_id(self._acting.clock)
        exchange = Exchange(scope, receive, request_id, self._oip if scope["path"].startswith("/v2") else self._rows)
        try:
            reply = await self._answer(exchange)
        except ConnectionResetError:
            return  # nobody is left to be answered
        await respond(send, reply, head=exchange.method == "HEAD", request_id=request_id, closing=self.draining)
        self._tell(exchange, reply, time.perf_counter() - started)

    async def _answer(self, exchange: Exchange) -> Reply:
        try:
            return await self._route(exchange)
        except ConnectionResetError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, the caller is told
            return self._failure(exchange, error)

    async def _route(self, exchange: Exchange) -> Reply:
        handler = self._routes.get(exchange.parts[0]) if exchange.parts else self._index
        if handler is None:
            raise NotFound(f"nothing is at {exchange.scope['path']}",
                           known=["/predict/ENDPOINT", "/v2", "/health", "/ready", "/metrics"])  # fmt: skip
        return await handler(exchange)

    def _failure(self, exchange: Exchange, error: Exception) -> Reply:
        status = _status(error)
        if status >= 500 and status not in (503, 504):
            _log.error("%s", error, exc_info=error, extra={"request_id": exchange.request_id})
        reply = Reply(status, exchange.codec.error(error, exchange.request_id))
        if status in (429, 503):
            reply.headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        if isinstance(error, MethodNotAllowed):
            reply.headers.append((b"allow", error.allowed.encode()))
        return reply

    def _tell(self, exchange: Exchange, reply: Reply, seconds: float) -> None:
        if _log.isEnabledFor(logging.INFO):
            facts = {"request_id": exchange.request_id, "endpoint": exchange.endpoint, "status": reply.status,
                     "duration_ms": round(seconds * 1e3, 3)}  # fmt: skip
            _log.info("%s %s", exchange.method, exchange.scope["path"], extra=facts)

    # -- routes

    async def _index(self, exchange: Exchange) -> Reply:
        exchange.allow("GET", "HEAD")
        endpoints = {name: f"/predict/{name}" for name in self._plane.slots}
        return _ok({"name": "tidemill", "version": self._version, "project": self._plane.project,
                    "endpoints": endpoints})  # fmt: skip

    async def _predict(self, exchange: Exchange) -> Reply:
        if len(exchange.parts) != 2:
            raise NotFound(f"nothing is at {exchange.scope['path']}", expected="/predict/ENDPOINT")
        exchange.allow("POST")
        return await self._infer(exchange, exchange.parts[1], None)

    async def _infer(self, exchange: Exchange, endpoint: str, version: str | None) -> Reply:
        exchange.endpoint = endpoint
        codec = exchange.codec
        body = await read_body(exchange.scope, exchange.receive, MAX_BODY)

        def decode(generation: Generation) -> Decoded:
            if version is not None:
                oip.check_version(endpoint, generation, version)
            return codec.decode(body, generation)

        return Reply(200, await self._plane.infer(endpoint, codec.name, exchange.request_id, decode, codec.encode))

    async def _health(self, exchange: Exchange) -> Reply:
        exchange.allow("GET", "HEAD")
        if exchange.parts[1:] == ["ready"]:
            return await self._ready(exchange)
        if exchange.parts[1:] not in ([], ["live"]):
            raise NotFound(
                f"nothing is at {exchange.scope['path']}", known=["/health", "/health/live", "/health/ready"]
            )
        return _ok({"status": "ok", **self._state()})

    async def _ready(self, exchange: Exchange) -> Reply:
        exchange.allow("GET", "HEAD")
        for endpoint in self._plane.slots:
            self._plane.live(endpoint)
        return _ok({"status": "ready", **self._state()})

    def _state(self) -> dict[str, Any]:
        endpoints = {
            name: None if slot.live is None else {
                "generation": slot.live.target.number, "model_version": slot.live.target.model.version,
            }
            for name, slot in self._plane.slots.items()
        }  # fmt: skip
        ready = all(endpoints.values()) and not self.draining
        return {"ready": ready, "worker": self._worker, "endpoints": endpoints}

    async def _metrics(self, exchange: Exchange) -> Reply:
        exchange.allow("GET", "HEAD")
        numbers = {name: s.live.target.number for name, s in self._plane.slots.items() if s.live is not None}
        return Reply(200, exposition(self._board, numbers, self._plane.project).encode(), TEXT)

    # -- Open Inference Protocol

    async def _v2(self, exchange: Exchange) -> Reply:
        match exchange.parts[1:]:
            case []:
                exchange.allow("GET", "HEAD")
                return _ok({"name": "tidemill", "version": self._version, "extensions": []})
            case ["health", "live"]:
                exchange.allow("GET", "HEAD")
                return _ok({"live": True})
            case ["health", "ready"]:
                await self._ready(exchange)
                return _ok({"ready": True})
            case ["models"]:
                exchange.allow("GET", "HEAD")
                return _ok({"models": list(self._plane.slots)})
            case ["models", name, *rest]:
                return await self._v2_model(exchange, name, rest)
        raise NotFound(f"nothing is at {exchange.scope['path']}")

    async def _v2_model(self, exchange: Exchange, name: str, rest: list[str]) -> Reply:
        version, rest = (rest[1], rest[2:]) if len(rest) >= 2 and rest[0] == "versions" else (None, rest)
        if rest == ["infer"]:
            exchange.allow("POST")
            _refuse_binary(exchange.scope)
            return await self._infer(exchange, name, version)
        if rest not in ([], ["ready"]):
            raise NotFound(f"nothing is at {exchange.scope['path']}")
        exchange.allow("GET", "HEAD")
        generation = self._plane.live(name)
        if version is not None:
            oip.check_version(name, generation, version)
        return _ok({"name": name, "ready": True} if rest else oip.model_metadata(name, generation))


def _ok(body: Any) -> Reply:
    return Reply(200, _json.encode(body))


def _status(error: Exception) -> int:
    if isinstance(error, TooLarge):
        return 413
    if isinstance(error, MethodNotAllowed):
        return 405
    return 415 if isinstance(error, UnsupportedMedia) else http_status(error)


def _refuse_binary(scope: Scope) -> None:
    if header(scope, b"inference-header-content-length") is not None:
        raise InvalidArgument("the request holds binary tensors", expected="tensors as JSON",
                              hint="With tritonclient: set_data_from_numpy(..., binary_data=False)")  # fmt: skip
