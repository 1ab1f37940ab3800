"""Endpoints: is it serving well?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.core.errors import unknown
from tidemill.core.records.models import AliasMove
from tidemill.core.records.serving import Endpoint, Generation
from tidemill.platform import Platform
from tidemill.serving.presence import GONE, present
from tidemill.stores.metadata.protocol import Reader
from tidemill.ui.charts.graph import Box, Graph
from tidemill.ui.charts.lines import LineChart
from tidemill.ui.views.monitor_data import definitions
from tidemill.ui.views.traffic import Traffic, traffic

MOST_GENERATIONS = 20
STATES = {"serving": "good", "staged": "running", "failed": "broken", GONE: "broken", "retired": "idle"}


class GenerationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A generation with its state and the versions it runs."""

    generation: Generation
    state: str
    models: list[str]


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint in the list, with the generation that serves or the last one."""

    name: str
    steps: list[str]
    last: GenerationRow | None
    monitors: list[str]


class EndpointsPage(msgspec.Struct, frozen=True, kw_only=True):
    """All endpoints."""

    project: str
    now: int
    endpoints: list[EndpointRow]


class EndpointPage(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint.

    Attributes:
        graph: What happens to a request.
        current: The generation that serves, or the last one.
        traffic: What the captured requests say, null when none was captured.
        charts: Requests and latency over time.
        versions: When the aliases it follows moved.
        example: A request to try.
    """

    project: str
    now: int
    name: str
    graph: Graph
    current: GenerationRow | None
    generations: list[GenerationRow]
    traffic: Traffic | None
    charts: list[LineChart]
    versions: list[AliasMove]
    monitors: list[str]
    example: str


def endpoints(platform: Platform) -> EndpointsPage:
    """Read the list."""
    project = platform.scope.project
    with platform.metadata.read() as reader:
        watched = definitions(reader, project)
        rows = [
            EndpointRow(
                name=one.name, steps=[f"{kind} {name}" for kind, name in steps_of(one)],
                last=_current(_generations(reader, project, one.name, 1)),
                monitors=[name for name, monitor in watched.items() if monitor.endpoint == one.name],
            )
            for one in reader.find(Endpoint, {"project": project}, order=["name"])
        ]  # fmt: skip
    return EndpointsPage(project=project, now=platform.scope.now(), endpoints=rows)


def endpoint(platform: Platform, name: str) -> EndpointPage:
    """Read one endpoint.

    Raises:
        NotFound: There is none of that name.
    """
    project, now = platform.scope.project, platform.scope.now()
    with platform.metadata.read() as reader:
        known = {one.name: one for one in reader.find(Endpoint, {"project": project})}
        if name not in known:
            raise unknown("endpoint", name, known)
        rows = _generations(reader, project, name, MOST_GENERATIONS)
        moves = _moves(reader, project, known[name])
        watched = [monitor for monitor, one in definitions(reader, project).items() if one.endpoint == name]
    current = _current(rows)
    seen = traffic(platform, name, now)
    return EndpointPage(
        project=project, now=now, name=name, graph=graph_of(known[name], current), current=current, generations=rows,
        traffic=seen, charts=seen.charts if seen else [], versions=moves, monitors=watched, example=_example(name, current),
    )  # fmt: skip


def _generations(reader: Reader, project: str, name: str, limit: int) -> list[GenerationRow]:
    found = reader.find(Generation, {"project": project, "endpoint": name}, order=["-number"], limit=limit)
    return [
        GenerationRow(generation=one, state=STATES.get(one.state, "idle"), models=_models(one.models))
        for one in present(reader, found)
    ]


def _models(models: Mapping[str, Any]) -> list[str]:
    return [f"{uri.removeprefix('models:/')} → v{version}" for uri, version in models.items()]


def _current(rows: list[GenerationRow]) -> GenerationRow | None:
    serving = [row for row in rows if row.generation.state == "serving"]
    return next(iter(serving or rows), None)


def _moves(reader: Reader, project: str, endpoint: Endpoint) -> list[AliasMove]:
    """The moves of the aliases a graph follows, newest first."""
    uris = [uri for kind, uri in steps_of(endpoint) if kind in ("model", "shadow")]
    followed = {tuple(uri.removeprefix("models:/").split("@")) for uri in uris if "@" in uri}
    models = sorted({model for model, _ in followed})
    if not models:
        return []
    found = reader.find(AliasMove, {"project": project, "model": models}, order=["-created_at"], limit=MOST_GENERATIONS)
    return [move for move in found if (move.model, move.alias) in followed]


def steps_of(endpoint: Endpoint) -> list[tuple[str, str]]:
    """What happens to a request, in order: kind and name; the shadow is a step of its own."""
    found: list[tuple[str, str]] = []
    for kind, name, *rest in endpoint.graph.get("steps", ()):
        found.append((str(kind), str(name)))
        if kind == "model" and rest and rest[0]:
            found.append(("shadow", str(rest[0])))
    return found


def graph_of(endpoint: Endpoint, current: GenerationRow | None) -> Graph:
    """The graph from request to answer, the versions in service written in; the shadow answers nobody."""
    versions = {} if current is None else current.generation.models
    boxes = [Box(key="request", kind="request", label="rows")]
    edges: list[tuple[str, str]] = []
    asked = last = "request"  # what asks the model also asks its shadow
    for index, (kind, name) in enumerate(steps_of(endpoint)):
        version = versions.get(name)
        shown = f"{kind} v{version}" if version else kind
        label = name.removeprefix("models:/")
        boxes.append(Box(key=str(index), kind=shown, label=label, title=f"{shown} {name}"))
        edges.append((asked if kind == "shadow" else last, str(index)))
        if kind != "shadow":
            asked, last = last, str(index)
    boxes.append(Box(key="answer", kind="answer", label="predictions"))
    return Graph(boxes=boxes, edges=[*edges, (last, "answer")])


def _example(name: str, current: GenerationRow | None) -> str:
    url = (current.generation.url if current else "") or "http://127.0.0.1:7879"
    return f"curl {url}/predict/{name} -d '{{\"rows\": [{{...}}]}}'"
