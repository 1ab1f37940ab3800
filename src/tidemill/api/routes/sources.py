"""`/sources`: where rows come from, and pushing them."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath

from tidemill.api.bodies import AnsweredOperation, RowsOperation, read_rows, write_rows
from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.errors import Overloaded, unknown
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import DefinitionVersion
from tidemill.data.pushed import Push
from tidemill.platform import Platform


class SourceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it was defined, with its latest arrivals, newest first."""

    definition: DefinitionVersion
    arrivals: list[Arrival]


@get("/sources", sync_to_thread=True, summary="Sources")
def sources(platform: NamedDependency[Platform]) -> list[DefinitionVersion]:
    """The sources in force, as they were defined."""
    return platform.catalog.current("source")


@get("/sources/{name:str}", sync_to_thread=True, summary="One source")
def source(platform: NamedDependency[Platform], name: FromPath[str]) -> SourceDetail:
    """A source and what arrived last."""
    known = {one.name: one for one in platform.catalog.current("source")}
    if name not in known:
        raise unknown("source", name, known)
    latest = find_page(platform, Arrival, {"source": name}, ["-created_at"], 20, 0)
    return SourceDetail(definition=known[name], arrivals=latest.items)


@get("/sources/{name:str}/arrivals", sync_to_thread=True, summary="Deliveries of a source")
def arrivals(
    platform: NamedDependency[Platform], name: FromPath[str], limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> Page[Arrival]:
    """Deliveries, newest first."""
    return find_page(platform, Arrival, {"source": name}, ["-created_at"], limit, offset)


@post("/sources/{name:str}/rows", status_code=200, summary="Push rows", operation_class=RowsOperation)
async def push(request: Request[Any, Any, Any], platform: NamedDependency[Platform], name: FromPath[str]) -> Push:
    """Durable, and readable by online features, when this answers.

    Rows come as JSON, NDJSON or an Arrow IPC stream, by their content type. Those that are there already, with the same id
    and values, are counted as duplicates: a request that was not answered may be sent again. 429 when too many pushes wait
    to be moved into the table.
    """
    kind, body = request.headers.get("content-type", ""), await request.body()
    return await sync_to_thread(_push, platform, name, kind, body)


def _push(platform: Platform, name: str, kind: str, body: bytes) -> Push:
    return platform.push(name, _admitted(platform, name, kind, body), again=True)


@post(
    "/sources/{name:str}/answers/{service:str}", status_code=200, summary="Push rows, and be answered with features",
    operation_class=AnsweredOperation,
)  # fmt: skip
async def respond(
    request: Request[Any, Any, Any], platform: NamedDependency[Platform], name: FromPath[str], service: FromPath[str]
) -> Response[Any]:
    """The features of each row as of its own time, in the order of the rows, which are durable when this answers.

    Rows come and go as for `POST /features/{service}`. All of them are taken, or none: 400 when one fails a check. A request
    that was not answered may be sent again, and is answered then. 429 as for pushed rows.
    """
    kind, body = request.headers.get("content-type", ""), await request.body()
    return write_rows(request, await sync_to_thread(_respond, platform, name, service, kind, body))


def _respond(platform: Platform, name: str, service: str, kind: str, body: bytes) -> pl.DataFrame:
    platform.definitions.get("feature_service", service)
    return platform.respond(name, _admitted(platform, name, kind, body), service)


def _admitted(platform: Platform, name: str, kind: str, body: bytes) -> pl.DataFrame | list[dict[str, Any]]:
    """The rows of a body, if there is room for them."""
    platform.definitions.get("source", name)
    rows = read_rows(kind, body)
    waiting, most = platform.data.waiting(name), platform.settings.up.backlog
    if waiting >= most:
        raise Overloaded(
            f"{waiting} pushes of source {name!r} wait to be moved into its table",
            expected=f"fewer than {most}", hint="Send the same rows again later, more of them in one request",
        )  # fmt: skip
    return rows


HANDLERS: list[Any] = [sources, source, arrivals, push, respond]
