"""What goes over the wire: rows to a request, an answer back to rows or an error. No connection is made here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tidemill.core import errors
from tidemill.core.errors import InvalidArgument, TidemillError
from tidemill.core.times import to_micros

if TYPE_CHECKING:
    import polars as pl

PREFIX = "/api/tidemill/v1"
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"

Rows = Sequence[Mapping[str, Any]]
Moment = str | int | datetime


@dataclass(frozen=True)
class Asked:
    """A request. Rows travel as JSON; frames as Arrow, so that types survive.

    Args:
        path: The address on the server.
        query: What stands behind the question mark.
        body: The rows.
        kind: Their media type, and that of the answer.
    """

    path: str
    query: Mapping[str, str]
    body: bytes
    kind: str

    @property
    def headers(self) -> dict[str, str]:
        """What the server has to know of the body, and of the answer that is wanted."""
        return {"Content-Type": self.kind, "Accept": self.kind}


def ask_features(service: str, rows: Any, at: Moment | None) -> Asked:
    """The request for the features of a service.

    Raises:
        InvalidArgument: The rows are neither mappings nor a frame, or `at` is no time.
    """
    query = {} if at is None else {"at": str(to_micros(at))}
    kind, body = _packed(rows)
    return Asked(f"{PREFIX}/features/{quote(service, safe='')}", query, body, kind)


def ask_answers(source: str, rows: Any, service: str) -> Asked:
    """The request to take rows of a source, and to answer them with the features of a service.

    Raises:
        InvalidArgument: The rows are neither mappings nor a frame.
    """
    kind, body = _packed(rows)
    return Asked(f"{PREFIX}/sources/{quote(source, safe='')}/answers/{quote(service, safe='')}", {}, body, kind)


def _packed(rows: Any) -> tuple[str, bytes]:
    if hasattr(rows, "__arrow_c_stream__"):
        return ARROW, _arrow(rows)
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        return JSON, msgspec.json.encode({"rows": [dict(row) for row in rows]})
    raise InvalidArgument(f"{type(rows).__name__} is neither rows nor a frame",
                          expected="a list of dicts, or a frame of Polars, pandas or pyarrow")  # fmt: skip


def _arrow(frame: Any) -> bytes:
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame(frame).write_ipc_stream(buffer)
    return buffer.getvalue()


def read_rows(kind: str, status: int, body: bytes) -> list[dict[str, Any]] | pl.DataFrame:
    """The rows of an answer, in the form they were asked for.

    Args:
        kind: The media type of the request.
        status: The HTTP status.
        body: The answer.

    Raises:
        TidemillError: The one that the server raised.
    """
    if status != 200:
        raise read_error(status, body)
    if kind == ARROW:
        import polars as pl

        return pl.read_ipc_stream(body)
    rows: list[dict[str, Any]] = msgspec.json.decode(body)
    return rows


class _Told(msgspec.Struct):
    code: str
    message: str
    expected: str | None = None
    known: tuple[str, ...] = ()
    hint: str | None = None


class _Answer(msgspec.Struct):
    error: _Told


_KINDS: dict[str, type[TidemillError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TidemillError) and kind is not errors.MissingExtra
}


def read_error(status: int, body: bytes) -> TidemillError:
    """The error an answer tells of, of the class it had on the server.

    Example:
        >>> told = b'{"error": {"code": "not_found", "message": "There is no feature service x."}}'
        >>> type(read_error(404, told)).__name__
        'NotFound'
    """
    try:
        told = msgspec.json.decode(body, type=_Answer).error
    except msgspec.DecodeError:
        return errors.Unavailable(f"the server answered {status} with something else than Tidemill's errors",
                                  hint="Check that the address is that of a `tidemill up`")  # fmt: skip
    kind = _KINDS.get(told.code, TidemillError)
    parts: dict[str, Any] = {"expected": told.expected, "known": told.known, "hint": told.hint}
    # The message says the parts again, at its end.
    said_again = str(kind("", **parts)).removeprefix(".")
    return kind(told.message.removesuffix(said_again), **parts)
