"""Errors as HTTP answers: one shape for all, whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException

from tidemill.core.errors import TidemillError, http_status

logger = logging.getLogger("tidemill.api")

Handler = Callable[[Request[Any, Any, Any], Any], Response[Any]]

_CODES = {
    400: "invalid_argument", 401: "permission_denied", 403: "permission_denied", 404: "not_found",
    405: "method_not_allowed", 413: "too_large", 415: "invalid_argument", 429: "overloaded",
}  # fmt: skip
_RETRY_SECONDS = 1


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong.

    Attributes:
        code: For programs: `not_found`, `invalid_argument`, ...
        message: For people: what was found, what was expected, what to do next.
        expected: What would have been right.
        known: Known values.
        hint: What to do next.
        request_id: Where to find it in the log.
    """

    code: str
    message: str
    expected: str | None = None
    known: tuple[str, ...] = ()
    hint: str | None = None
    request_id: str | None = None


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is an error."""

    error: ErrorDetail


def describe(error: Exception) -> tuple[int, ErrorDetail]:
    """Status and body of an error.

    Example:
        >>> from tidemill.core.errors import NotFound
        >>> describe(NotFound("there is no run 7"))[0]
        404
    """
    if isinstance(error, TidemillError):
        return http_status(error), ErrorDetail(
            code=error.code, message=str(error), expected=error.expected, known=error.known, hint=error.hint
        )
    if isinstance(error, HTTPException):
        return error.status_code, _of_framework(error)
    return 500, ErrorDetail(
        code="internal", message="Something went wrong here.", hint="The log tells more, under this request id"
    )


def _of_framework(error: HTTPException) -> ErrorDetail:
    code = _CODES.get(error.status_code, "internal" if error.status_code >= 500 else "invalid_argument")
    if isinstance(error, ValidationException):
        return ErrorDetail(code=code, message=_complaints(error), hint="See /api/tidemill/v1/openapi.json")
    if isinstance(error, NotFoundException):
        return ErrorDetail(
            code=code, message="There is nothing at this address.", hint="See /api/tidemill/v1/openapi.json"
        )
    return ErrorDetail(code=code, message=error.detail or HTTPStatus(error.status_code).phrase)


def _complaints(error: ValidationException) -> str:
    extra = error.extra if isinstance(error.extra, list) else []
    found = [
        f"{one.get('key', 'body')}: {one['message']}" for one in extra if isinstance(one, dict) and "message" in one
    ]
    return "; ".join(found) + "." if found else f"{error.detail}."


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorAnswer]:
    """The one place where errors become JSON."""
    status, detail = describe(error)
    request_id = request.scope.get("state", {}).get("request_id")
    if status >= 500 and not isinstance(error, TidemillError | HTTPException):
        logger.error("request failed", exc_info=error, extra={"request_id": request_id})
    headers = {"Retry-After": str(_RETRY_SECONDS)} if status in (429, 503) else {}
    body = ErrorAnswer(error=msgspec.structs.replace(detail, request_id=request_id))
    return Response(body, status_code=status, media_type="application/json", headers=headers)
