"""Rows as the bodies of requests: JSON, NDJSON and Arrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from tidemill.core.errors import InvalidArgument

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
    kind = content_type.partition(";")[0].strip().lower() or JSON
    if kind not in _READERS:
        raise InvalidArgument(f"rows cannot be read from {kind!r}", known=_READERS)
    rows: pl.DataFrame | list[dict[str, Any]] = _READERS[kind](body)
    if not len(rows):
        raise InvalidArgument("there are no rows in the body", expected="at least one row")
    return rows


def _from_json(body: bytes) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(body, type=SourceRows).rows
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body is not right: {error}", expected='{"rows": [{"column": value}]}') from None


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


_line = msgspec.json.Decoder(dict[str, Any])
_READERS: Mapping[str, Callable[[bytes], Any]] = {JSON: _from_json, NDJSON: _from_ndjson, ARROW: _from_arrow}


@dataclass
class RowsOperation(Operation):
    """Describes the body of a request that is read by `read_rows`."""

    def __post_init__(self) -> None:
        row = Schema(type=OpenAPIType.OBJECT, description="A row, by column; times are ISO text.")
        rows = Schema(type=OpenAPIType.ARRAY, items=row)
        self.request_body = RequestBody(
            required=True,
            content={
                JSON: OpenAPIMediaType(Schema(type=OpenAPIType.OBJECT, properties={"rows": rows}, required=["rows"])),
                NDJSON: OpenAPIMediaType(Schema(type=OpenAPIType.STRING, description="A JSON object on each line.")),
                ARROW: OpenAPIMediaType(Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)),
            },
        )
