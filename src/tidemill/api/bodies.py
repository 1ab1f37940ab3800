"""Rows as the bodies of requests and answers: JSON, NDJSON and Arrow."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import polars as pl
from litestar import Request, Response
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from tidemill.core.errors import InvalidArgument

T = TypeVar("T")
R = TypeVar("R", pl.DataFrame, list[dict[str, Any]])

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"


class SourceRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows as JSON objects; times are ISO text."""

    rows: list[dict[str, Any]]


def read_rows(content_type: str, body: bytes) -> pl.DataFrame | list[dict[str, Any]]:
    r"""The rows of a body.

    Args:
        content_type: What the request says that it is; JSON where it says nothing.
        body: The body.

    Raises:
        InvalidArgument: It is something else, or broken; the message says where.

    Example:
        >>> read_rows("application/x-ndjson", b'{"x": 1}\n{"x": 2}\n')
        [{'x': 1}, {'x': 2}]
    """
    kind = media_type(content_type)
    if kind not in _READERS:
        raise InvalidArgument(f"rows cannot be read from {kind!r}", known=_READERS)
    rows: pl.DataFrame | list[dict[str, Any]] = some_rows(_READERS[kind](body))
    return rows


def media_type(content_type: str) -> str:
    """What a request says that its body is; JSON where it says nothing."""
    return content_type.partition(";")[0].strip().lower() or JSON


def some_rows(rows: R) -> R:
    """The rows, if there are any.

    Raises:
        InvalidArgument: There are none.
    """
    if not len(rows):
        raise InvalidArgument("there are no rows in the body", expected="at least one row")
    return rows


def as_frame(rows: pl.DataFrame | list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a table.

    Raises:
        InvalidArgument: A column has values of several types, or one that no table holds.
    """
    if isinstance(rows, pl.DataFrame):
        return rows
    try:
        return pl.DataFrame(rows, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidArgument(
            f"the rows are no table: {reason}", expected="values of one type in each column"
        ) from None


def read_json(body: bytes, kind: type[T], expected: str) -> T:
    """A JSON body.

    Raises:
        InvalidArgument: It is no JSON, or something else; the message says where.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body is not right: {error}", expected=expected) from None


def _from_json(body: bytes) -> list[dict[str, Any]]:
    return read_json(body, SourceRows, '{"rows": [{"column": value}]}').rows


def _from_ndjson(body: bytes) -> list[dict[str, Any]]:
    return [_from_line(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]


def _from_line(number: int, line: bytes) -> dict[str, Any]:
    try:
        return _line.decode(line)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"line {number} is no JSON object: {error}", hint="No row was taken") from None


def _from_arrow(body: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(body)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidArgument(f"the body is no Arrow IPC stream: {error}") from None


def write_rows(request: Request[Any, Any, Any], frame: pl.DataFrame) -> Response[Any]:
    """Rows as the answer to a request, in the form its Accept header asks for: JSON where it takes any.

    Raises:
        InvalidArgument: It takes none of those there are.
    """
    kind = request.accept.best_match([*_WRITERS])
    if kind is None:
        raise InvalidArgument(f"rows cannot be answered as {request.headers.get('accept')!r}", known=_WRITERS)
    return Response(_WRITERS[kind](frame), media_type=kind)


def _to_arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    # The oldest layout: texts as every reader of Arrow knows them.
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def _to_ndjson(frame: pl.DataFrame) -> bytes:
    return b"".join(_encoder.encode(row) + b"\n" for row in frame.iter_rows(named=True))


_encoder = msgspec.json.Encoder()
_WRITERS: Mapping[str, Callable[[pl.DataFrame], bytes]] = {
    JSON: lambda frame: _encoder.encode(frame.to_dicts()), NDJSON: _to_ndjson, ARROW: _to_arrow,
}  # fmt: skip
_line = msgspec.json.Decoder(dict[str, Any])
_READERS: Mapping[str, Callable[[bytes], Any]] = {JSON: _from_json, NDJSON: _from_ndjson, ARROW: _from_arrow}


_ROW = Schema(type=OpenAPIType.OBJECT, description="A row, by column; times are ISO text.")
_ROWS = Schema(type=OpenAPIType.ARRAY, items=_ROW)
_OTHERS = {
    NDJSON: OpenAPIMediaType(Schema(type=OpenAPIType.STRING, description="A JSON object on each line.")),
    ARROW: OpenAPIMediaType(Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)),
}


@dataclass
class RowsOperation(Operation):
    """Describes the body of a request that is read by `read_rows`."""

    def __post_init__(self) -> None:
        content = OpenAPIMediaType(
            Schema(type=OpenAPIType.OBJECT, properties={"rows": _ROWS, **self.more()}, required=["rows"])
        )
        self.request_body = RequestBody(required=True, content={JSON: content, **_OTHERS})

    def more(self) -> dict[str, Schema]:
        """What a JSON body may have besides its rows."""
        return {}


@dataclass
class AnsweredOperation(RowsOperation):
    """Describes rows that are answered by `write_rows`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        content = {JSON: OpenAPIMediaType(_ROWS), **_OTHERS}
        self.responses = {
            **(self.responses or {}),
            "200": OpenAPIResponse("One row for each row, in order.", content=content),
        }


@dataclass
class QueryOperation(AnsweredOperation):
    """Describes rows that come with a moment."""

    def more(self) -> dict[str, Schema]:
        return {"at": Schema(description="As of when: ISO text, or microseconds.")}
