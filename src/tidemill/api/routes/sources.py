"""`/sources`: where rows come from, and pushing them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.errors import InvalidArgument, unknown
from tidemill.core.records.data import Arrival
from tidemill.core.records.events import DefinitionVersion
from tidemill.platform import Platform


class SourceDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it was defined, with its latest arrivals, newest first."""

    definition: DefinitionVersion
    arrivals: list[Arrival]


class SourceRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows as JSON objects; times are ISO text or microseconds."""

    rows: list[dict[str, Any]]


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


@post("/sources/{name:str}/rows", sync_to_thread=True, status_code=200, summary="Push rows")
def push(platform: NamedDependency[Platform], name: FromPath[str], data: JSONBody[SourceRows]) -> Any:
    """Durable, and readable by online features, when this answers."""
    if not data.rows:
        raise InvalidArgument("rows is empty", expected="at least one row")
    return platform.push(name, data.rows)


HANDLERS: list[Any] = [sources, source, arrivals, push]
