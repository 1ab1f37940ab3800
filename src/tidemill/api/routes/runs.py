"""`/runs`: tracked executions."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, paged
from tidemill.core.records.runs import Link, MetricPoint, Run
from tidemill.platform import Platform
from tidemill.tracking.lineage import LineageGraph


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its latest metrics, its inputs and outputs, and its parts."""

    run: Run
    metrics: dict[str, float]
    links: list[Link]
    children: list[str]


@get("/runs", sync_to_thread=True, summary="Search runs")
def runs(
    platform: NamedDependency[Platform], filter: FromQuery[str | None] = None, order: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None, status: FromQuery[str | None] = None, group: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_LIMIT, offset: Offset = 0,
) -> Page[Run]:  # fmt: skip
    """Runs that match, newest first unless `order` says otherwise."""
    found = platform.tracking.find(filter, order=order or (), kind=kind, status=status, group=group, limit=None)
    return paged(found[offset : offset + limit], len(found), offset)


@get("/runs/{run_id:str}", sync_to_thread=True, summary="One run")
def run(platform: NamedDependency[Platform], run_id: FromPath[str]) -> RunDetail:
    """A run by its id, or an unambiguous part of it."""
    found = platform.tracking.get(run_id)
    return RunDetail(
        run=found,
        metrics=platform.tracking.latest([found.id]).get(found.id, {}),
        links=platform.tracking.links(found.id),
        children=[child.id for child in platform.tracking.children(found.id)],
    )


@get("/runs/{run_id:str}/metrics/{name:str}", sync_to_thread=True, summary="The history of a metric")
def metric(
    platform: NamedDependency[Platform], run_id: FromPath[str], name: FromPath[str], limit: Limit = 1000,
    offset: Offset = 0,
) -> Page[MetricPoint]:  # fmt: skip
    """The points of a metric by step and time."""
    points = platform.tracking.metrics(run_id, name)
    return paged(points[offset : offset + limit], len(points), offset)


@get("/runs/{run_id:str}/artifacts/{name:path}", sync_to_thread=True, summary="A file kept with a run")
def artifact(platform: NamedDependency[Platform], run_id: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """The bytes of a file, always as a download."""
    data = platform.tracking.artifact(run_id, name.removeprefix("/"))
    return Response(data, media_type="application/octet-stream", headers={"Content-Disposition": "attachment"})


@get("/lineage", sync_to_thread=True, summary="What something was made from")
def lineage(
    platform: NamedDependency[Platform], uri: FromQuery[str], direction: FromQuery[str] = "up", limit: Limit = 1000
) -> LineageGraph:
    """Nodes and edges from a model version, run, dataset, table or archive."""
    return platform.tracking.lineage(uri, direction, limit=limit)


HANDLERS: list[Any] = [runs, run, metric, artifact, lineage]
