"""`/features`: what features exist, their values by key, and whether those served were right."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tidemill.api.bodies import JSON, QueryOperation, as_frame, media_type, read_json, read_rows, some_rows, write_rows
from tidemill.core.errors import InvalidArgument
from tidemill.core.records.verifications import ServiceVerification
from tidemill.core.times import parse_moment, to_micros
from tidemill.features.catalog import ServiceInfo, ViewInfo
from tidemill.features.consistency import Verification
from tidemill.features.inventory import Detail, Entry, FeatureChange
from tidemill.platform import Platform

EARLIEST, LATEST = to_micros("0001-01-01"), to_micros("9999-12-31T23:59:59")


class FeatureQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys, and what on-demand features read; `at` is ISO text or microseconds, now when absent."""

    rows: list[dict[str, Any]]
    at: int | str | None = None


class FeatureCatalog(msgspec.Struct, frozen=True, kw_only=True):
    """Feature views and services."""

    views: list[ViewInfo]
    services: list[ServiceInfo]


@get("/features", sync_to_thread=True, summary="Feature views and services")
def catalog(platform: NamedDependency[Platform]) -> FeatureCatalog:
    """What features exist and who uses them."""
    return FeatureCatalog(views=platform.features.views(), services=platform.features.services())


@post(
    "/features/{service:str}", status_code=200, summary="Feature vectors by key", operation_class=QueryOperation
)  # fmt: skip
async def vectors(
    request: Request[Any, Any, Any], platform: NamedDependency[Platform], service: FromPath[str],
    at: FromQuery[str | None] = None,
) -> Response[Any]:  # fmt: skip
    """The features of each row as of one moment, in the order of the rows.

    Rows come as JSON, NDJSON or an Arrow IPC stream, by their content type, and go in the form that Accept asks for. `at` is
    ISO text or microseconds, in the address or beside JSON rows; without it, each row's own time counts, or the clock.
    """
    kind, body = request.headers.get("content-type", ""), await request.body()
    frame = await sync_to_thread(_vectors, platform, service, kind, body, at)
    return write_rows(request, frame)


def _vectors(platform: Platform, service: str, kind: str, body: bytes, at: str | None) -> pl.DataFrame:
    rows, beside = _asked(kind, body)
    if at is not None and beside is not None:
        raise InvalidArgument("at is given in the address and in the body", expected="one of them")
    return platform.features.online(service, as_frame(rows), _moment(beside if at is None else at))


def _asked(kind: str, body: bytes) -> tuple[pl.DataFrame | list[dict[str, Any]], int | str | None]:
    if media_type(kind) != JSON:
        return read_rows(kind, body), None
    query = read_json(body, FeatureQuery, '{"rows": [{"key": value}], "at": "2024-05-01T12:00:00Z"}')
    return some_rows(query.rows), query.at


def _moment(at: int | str | None) -> int | None:
    """Microseconds, as a number or its digits, or ISO text."""
    if at is None:
        return None
    micros = int(at) if isinstance(at, int) or at.removeprefix("-").isdecimal() else to_micros(at)
    if not EARLIEST <= micros <= LATEST:
        raise InvalidArgument(f"at={at} is no time", expected="microseconds since 1970, or ISO text")
    return micros


@get("/features/{service:str}/verification", sync_to_thread=True, summary="Served vectors, computed again")
def verification(
    platform: NamedDependency[Platform], service: FromPath[str], since: FromQuery[str],
    until: FromQuery[str | None] = None, sample: FromQuery[float] = 1.0, lag: FromQuery[str] = "1m",
) -> Verification:  # fmt: skip
    """How many served values are equal to the offline ones, late data, or defects; times are ISO text, or how long ago."""
    now = platform.scope.now()
    end = None if until is None else parse_moment(until, now)
    return platform.features.verify(service, parse_moment(since, now), end, sample=sample, lag=lag)


@get("/feature-catalog/plan", sync_to_thread=True, summary="What an apply would change in features")
def plan(platform: NamedDependency[Platform]) -> list[FeatureChange]:
    """New, changed, unchanged and removed definitions, what of them changed, whom it touches, and the rows to backfill."""
    return platform.inventory.plan()


@get("/feature-catalog", sync_to_thread=True, summary="Find feature views and services")
def search(
    platform: NamedDependency[Platform], q: FromQuery[str] = "", tag: FromQuery[list[str] | None] = None
) -> list[Entry]:
    """Those that have every word in their name, description, owner, tags or columns, and all of the tags."""
    return platform.inventory.entries(q, tag or ())


@get("/feature-views/{name:str}", sync_to_thread=True, summary="A feature view with all that is known of it")
def view(platform: NamedDependency[Platform], name: FromPath[str]) -> Detail:
    """Columns, versions, consumers, statistics."""
    return platform.inventory.show(name, "feature_view")


@get("/feature-services/{name:str}", sync_to_thread=True, summary="A feature service with all that is known of it")
def service(platform: NamedDependency[Platform], name: FromPath[str]) -> Detail:
    """Columns, versions, consumers, statistics."""
    return platform.inventory.show(name, "feature_service")


@get("/feature-services/{name:str}/verifications", sync_to_thread=True, summary="What verifications of a service found")
def verifications(
    platform: NamedDependency[Platform], name: FromPath[str], limit: FromQuery[int] = 30
) -> list[ServiceVerification]:
    """Those the daemon made of what endpoints served, newest first, with what became of each feature."""
    platform.definitions.get("feature_service", name)
    return platform.verifications.past(name, limit)


HANDLERS: list[Any] = [catalog, vectors, verification, plan, search, view, service, verifications]
