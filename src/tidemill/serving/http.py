"""HTTP on bare ASGI: reading bodies within limits, and answering."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.core.errors import InvalidData, TidemillError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

JSON = b"application/json"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class TooLarge(TidemillError):
    """The body is larger than the server takes."""

    code = "invalid_data"


class MethodNotAllowed(TidemillError):
    """The address exists, but not for this method."""

    code = "invalid_argument"

    def __init__(self, found: str, *, allowed: str) -> None:
        super().__init__(found, expected=allowed)
        self.allowed = allowed


class UnsupportedMedia(TidemillError):
    """The body comes in a form the server does not read."""

    code = "invalid_argument"


@dataclass
class Reply:
    """An answer on its way out."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = field(default_factory=list)


def header(scope: Scope, name: bytes) -> str | None:
    """A request header, by its lower-case name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def given_request_id(scope: Scope) -> str | None:
    """The caller's `X-Request-ID`, if it is one."""
    value = header(scope, b"x-request-id")
    return value if value is not None and _REQUEST_ID.fullmatch(value) else None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body of a request, decompressed.

    Raises:
        TooLarge: It is larger than the limit, compressed or not.
        UnsupportedMedia: It is encoded in an unknown way.
        ConnectionResetError: The client went away.
    """
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return _decompressed(b"".join(chunks), header(scope, b"content-encoding"), limit)


def _decompressed(body: bytes, encoding: str | None, limit: int) -> bytes:
    if encoding in (None, "", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedMedia(f"Content-Encoding {encoding!r}", expected="gzip, deflate or none")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes
    try:
        data = stream.decompress(body, limit)
    except zlib.error as error:
        raise InvalidData(f"the body is not {encoding}: {error}") from None
    if stream.unconsumed_tail:
        raise _too_large(limit)
    if not stream.eof:
        raise InvalidData(f"the {encoding} body ends too early")
    return data


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", hint="Send fewer rows at once")


async def respond(send: Send, reply: Reply, *, head: bool, request_id: str, closing: bool) -> None:
    """Send an answer.

    Args:
        send: Where to.
        reply: What.
        head: Whether only the headers were asked for.
        request_id: Returned to the caller.
        closing: Whether this connection takes no further request.
    """
    headers = [
        (b"content-type", reply.kind),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-request-id", request_id.encode()),
        *reply.headers,
    ]
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})
