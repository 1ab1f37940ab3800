"""Run: what exactly happened, and can I trust it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidemill.core.records.runs import Link, MetricPoint, Run
from tidemill.platform import Platform
from tidemill.tracking.lineage import LineageGraph, Node
from tidemill.ui.charts.gantt import Span
from tidemill.ui.charts.graph import Box, Graph, reduced
from tidemill.ui.charts.lines import Line
from tidemill.ui.formats import number, short_id
from tidemill.ui.views.runs import STATES, took

MOST_POINTS = 600
"""Points of a curve that are sent: about two per pixel."""
MOST_CURVES = 8
MOST_NODES = 40
MOST_PARTS = 60
MOST_TRACED = 8


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over its steps."""

    name: str
    steps: list[int]
    line: Line


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        tags: Those that are plain values.
        result: What a pipeline answered.
        metrics: Latest value by name.
        curves: Metrics with more than one point.
        lineage: What it was made from and what came of it.
        parts: The run and what it started, by time.
    """

    project: str
    now: int
    run: Run
    state: str
    duration: int | None
    parent: Run | None
    tags: dict[str, object]
    result: dict[str, object]
    metrics: dict[str, float]
    curves: list[Curve]
    lineage: Graph
    parts: list[Span]
    files: list[Link]
    code: dict[str, object]
    environment: dict[str, object]
    resources: dict[str, object]


def run(platform: Platform, run_id: str) -> RunPage:
    """Read one run.

    Raises:
        NotFound: There is none of that id.
    """
    tracking = platform.tracking
    found = tracking.get(run_id)
    now = platform.scope.now()
    links = tracking.links(found.id, "output")
    result = found.tags.get("result")
    return RunPage(
        project=platform.scope.project, now=now, run=found, state=STATES.get(found.status, "idle"),
        duration=took(found),
        parent=tracking.get(found.parent) if found.parent else None,
        tags={name: value for name, value in found.tags.items() if not isinstance(value, dict)},
        result=result if isinstance(result, dict) else {},
        metrics=tracking.latest([found.id]).get(found.id, {}),
        curves=_curves(tracking.curves(found.id)),
        lineage=_lineage(found, _traced(platform, found)),
        parts=_parts(platform, found, now), files=[link for link in links if link.uri.startswith("artifact/")],
        code=dict(found.code), environment={k: v for k, v in found.environment.items() if k != "process"},
        resources=dict(found.resources),
    )  # fmt: skip


def _curves(histories: Mapping[str, Sequence[MetricPoint]]) -> list[Curve]:
    found = []
    for name, points in sorted(histories.items()):
        kept = thinned([point for point in points if point.value is not None], MOST_POINTS)
        if len({point.step for point in kept}) > 1:
            values = [point.value for point in kept]
            found.append(Curve(name=name, steps=[point.step for point in kept], line=Line(name=name, values=values)))
    return found[:MOST_CURVES]


def thinned(points: Sequence[MetricPoint], most: int) -> list[MetricPoint]:
    """At most so many points, evenly, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[index * (len(points) - 1) // (most - 1)] for index in range(most)]


def _traced(platform: Platform, run: Run) -> list[LineageGraph]:
    """What a run was made from and what came of it; of its parts, where it has none of its own, as a pipeline has not."""
    tracking = platform.tracking
    runs = [run]
    if not tracking.links(run.id):
        steps = tracking.children(run.id)
        runs = [one for step in steps for one in (step, *tracking.children(step.id)) if one.kind != "trial"] or runs
    traced = [
        tracking.lineage(f"run/{one.id}", way, limit=MOST_NODES) for one in runs[:MOST_TRACED] for way in ("up", "down")
    ]
    return [one for one in traced if len(one.nodes) > 1]


def _lineage(run: Run, traced: Sequence[LineageGraph]) -> Graph:
    root = f"run/{run.id}"
    nodes = {node.uri: node for one in traced for node in one.nodes}
    edges = dict.fromkeys((edge.source, edge.target) for one in traced for edge in one.edges)
    connected = {uri for edge in edges for uri in edge} | {root}
    kept = {uri: nodes[uri] for uri in [one for one in nodes if one in connected][:MOST_NODES]}
    boxes = [
        Box(key=node.uri, kind=_kind(node), label=_label(node.kind, node.label), title=node.uri, root=node.uri == root,
            href=f"/runs/{node.uri.partition('/')[2]}" if node.kind == "run" and node.uri != root else None)
        for node in kept.values()
    ]  # fmt: skip
    return Graph(boxes=boxes, edges=reduced(list(edges)))


def _kind(node: Node) -> str:
    """What it is; of datasets, which are often of one name, also how many rows they have."""
    rows = node.detail.get("rows") if node.kind == "dataset" else None
    return node.kind if rows is None else f"{node.kind}, {number(rows)} rows"


def _label(kind: str, label: str) -> str:
    if kind == "archive" or (kind == "artifact" and len(label) == 64):
        return short_id(label)
    if kind in ("model", "generation"):
        return label.replace("/", " v" if kind == "model" else " ")
    return label.removeprefix("sources/")


def _parts(platform: Platform, run: Run, now: int) -> list[Span]:
    """The run and what it started, two levels deep, in the order they started."""
    children = platform.tracking.children(run.id)
    if not children:
        return []
    spans = [_span(run, now, 0)]
    for child in children[:MOST_PARTS]:
        spans.append(_span(child, now, 1))
        if len(spans) < MOST_PARTS:
            spans += [_span(grandchild, now, 2) for grandchild in platform.tracking.children(child.id)]
    return spans[:MOST_PARTS]


def _span(run: Run, now: int, depth: int) -> Span:
    params = ", ".join(f"{key} {number(value)}" for key, value in run.params.items()) if run.kind == "trial" else ""
    end = max(run.ended_at or now, run.started_at + (took(run) or 0))
    return Span(
        name=f"{run.name} {params}".strip(), status=run.status, start=run.started_at, end=end,
        depth=depth, href=f"/runs/{run.id}",
    )  # fmt: skip
