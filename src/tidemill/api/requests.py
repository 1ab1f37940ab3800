"""What happens around every request: an id, safe headers, and one line in the log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("tidemill.access")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS = {
    # Pages use their own scripts and styles only; nothing inline, nothing from elsewhere.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


async def around(scope: Scope, receive: Receive, send: Send, app: ASGIApp, new_id: Callable[[], str]) -> None:
    """Give a request its id, the answer its headers, and the log one JSON line.

    Args:
        scope: Of the request.
        receive: Of the request.
        send: Of the request.
        app: What answers.
        new_id: Makes an id for a request that brings none.
    """
    request_id = _id_of(scope) or new_id()
    scope.setdefault("state", {})["request_id"] = request_id
    started = time.perf_counter()
    status = 500

    async def send_with_headers(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = MutableScopeHeaders.from_message(message)
            headers["X-Request-ID"] = request_id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    try:
        await app(scope, receive, send_with_headers)
    finally:
        _log(scope, request_id, status, time.perf_counter() - started)


def _id_of(scope: Scope) -> str | None:
    """The id a request brings, if it is one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _ID.fullmatch(given) else None


def _log(scope: Any, request_id: str, status: int, seconds: float) -> None:
    line = {"request_id": request_id, "method": scope["method"], "path": scope["path"], "status": status,
            "ms": round(seconds * 1000, 3)}  # fmt: skip
    logger.info(msgspec.json.encode(line).decode())
