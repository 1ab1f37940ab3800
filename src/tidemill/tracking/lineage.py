"""Lineage: from a model version back to the archived bytes it was made from, and forward again.

Nothing of it is stored twice: the edges follow from the links of runs, the manifests of datasets, the arrivals of sources and
the records of model versions and generations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.data import Arrival, DatasetRecord
from tidemill.core.records.models import ModelVersion
from tidemill.core.records.runs import Link, Run
from tidemill.core.records.serving import Generation
from tidemill.stores.metadata.protocol import Reader


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a lineage."""

    uri: str
    kind: str
    label: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """`source` went into `target`."""

    source: str
    target: str
    label: str = ""


class LineageGraph(msgspec.Struct, frozen=True, kw_only=True):
    """What is connected with `root`."""

    root: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    complete: bool = True
    """False when there were more nodes than the limit."""


Neighbours: TypeAlias = Iterator[tuple[str, str]]
"""URIs of neighbours, each with the label of the edge."""


def trace(reader: Reader, project: str, uri: str, direction: str, *, limit: int = 1000) -> LineageGraph:
    """Follow the edges from `uri` in one direction, nearest things first.

    Raises:
        InvalidArgument: The URI or the direction is none.
    """
    if direction not in ("up", "down"):
        raise InvalidArgument(f"{direction!r} is no direction", known=["up", "down"])
    walk = _Walk(reader, project)
    follow = walk.up if direction == "up" else walk.down
    if uri.partition("/")[0] not in follow or not uri.partition("/")[2]:
        raise InvalidArgument(f"{uri!r} has no lineage", expected="KIND/NAME", known=sorted(follow))
    return _breadth_first(walk, follow, uri, upwards=direction == "up", limit=limit)


def _breadth_first(
    walk: _Walk, follow: dict[str, Callable[[str], Neighbours]], root: str, *, upwards: bool, limit: int
) -> LineageGraph:
    nodes, edges, queue, complete = {root: walk.node(root)}, [], [root], True
    for at in queue:
        kind, _, name = at.partition("/")
        for other, label in follow[kind](name) if kind in follow else ():
            if other not in nodes and len(nodes) >= limit:
                complete = False
                continue
            if other not in nodes:
                nodes[other] = walk.node(other)
                queue.append(other)
            edges.append(Edge(source=other if upwards else at, target=at if upwards else other, label=label))
    unique = {(edge.source, edge.target, edge.label): edge for edge in edges}
    return LineageGraph(root=root, nodes=tuple(nodes.values()), edges=tuple(unique.values()), complete=complete)


class _Walk:
    """Finds neighbours and labels, by the kind of thing."""

    def __init__(self, reader: Reader, project: str) -> None:
        self._reader = reader
        self._project = project
        self._datasets: list[DatasetRecord] | None = None
        self.up: dict[str, Callable[[str], Neighbours]] = {
            "model": self._model_up, "run": self._run_up, "dataset": self._dataset_up, "table": self._table_up,
            "arrival": self._arrival_up, "artifact": self._artifact_up, "archive": self._nothing,
        }  # fmt: skip
        self.down: dict[str, Callable[[str], Neighbours]] = {
            "archive": self._archive_down, "arrival": self._arrival_down, "table": self._table_down,
            "dataset": self._dataset_down, "run": self._run_down, "model": self._model_down,
            "artifact": self._artifact_down,
        }  # fmt: skip

    # -- up

    def _model_up(self, name: str) -> Neighbours:
        uri = f"model/{name}"
        yield from self._producers(uri)
        version = self._version(name)
        if version is not None and version.run_id:
            yield f"run/{version.run_id}", "made"
        if version is not None and version.dataset:
            yield f"dataset/{version.dataset}", "fitted on"

    def _run_up(self, name: str) -> Neighbours:
        for link in self._reader.find(Link, {"run_id": name, "direction": "input"}):
            yield link.uri, link.name

    def _dataset_up(self, name: str) -> Neighbours:
        yield from self._producers(f"dataset/{name}")
        record = self._dataset(name)
        if record is None:
            return
        if parent := record.manifest.get("parent"):
            yield f"dataset/{parent}", str((record.manifest.get("split") or {}).get("part", "part"))
        for table, version in record.manifest.get("tables", {}).items():
            yield f"table/{table}@{version}", "read"

    def _table_up(self, name: str) -> Neighbours:
        table, _, version = name.rpartition("@")
        where = {"project": self._project, "table": table, "table_version": ("<=", int(version))}
        pushed = False
        for arrival in self._reader.find(Arrival, where, order=["created_at"]):
            if arrival.archive:
                yield f"arrival/{arrival.id}", "arrived"
            elif not pushed:
                # Hundreds of small pushes have no archived bytes; one node says so for all of them.
                pushed = True
                yield f"push/{arrival.source}", "pushed"

    def _arrival_up(self, name: str) -> Neighbours:
        arrival = self._reader.get(Arrival, id=name)
        if arrival is not None and arrival.archive:
            yield f"archive/{arrival.archive}", "archived"

    def _artifact_up(self, name: str) -> Neighbours:
        yield from self._producers(f"artifact/{name}")

    def _producers(self, uri: str) -> Neighbours:
        for link in self._links(uri, "output"):
            yield f"run/{link.run_id}", link.name

    def _nothing(self, name: str) -> Neighbours:
        yield from ()

    # -- down

    def _archive_down(self, name: str) -> Neighbours:
        for arrival in self._reader.find(Arrival, {"project": self._project, "archive": name}):
            yield f"arrival/{arrival.id}", "archived"

    def _arrival_down(self, name: str) -> Neighbours:
        arrival = self._reader.get(Arrival, id=name)
        if arrival is not None:
            yield f"table/{arrival.table}@{arrival.table_version}", "arrived"

    def _table_down(self, name: str) -> Neighbours:
        table, _, version = name.rpartition("@")
        for record in self._all_datasets():
            if record.manifest.get("tables", {}).get(table, -1) >= int(version):
                yield f"dataset/{record.digest}", "read"

    def _dataset_down(self, name: str) -> Neighbours:
        uri = f"dataset/{name}"
        for record in self._all_datasets():
            if record.manifest.get("parent") == name:
                yield f"dataset/{record.digest}", str((record.manifest.get("split") or {}).get("part", "part"))
        yield from self._consumers(uri)
        for version in self._reader.find(ModelVersion, {"project": self._project, "dataset": name}):
            yield f"model/{version.model}/{version.version}", "fitted on"

    def _run_down(self, name: str) -> Neighbours:
        for link in self._reader.find(Link, {"run_id": name, "direction": "output"}):
            yield link.uri, link.name
        for version in self._reader.find(ModelVersion, {"project": self._project, "run_id": name}):
            yield f"model/{version.model}/{version.version}", "made"

    def _model_down(self, name: str) -> Neighbours:
        yield from self._consumers(f"model/{name}")
        model, _, version = name.rpartition("/")
        for generation in self._reader.find(Generation, {"project": self._project}):
            if any(uri.startswith((f"models:/{model}@", f"models:/{model}/")) and str(used) == version
                   for uri, used in generation.models.items()):  # fmt: skip
                yield f"generation/{generation.endpoint}/{generation.number}", "served by"

    def _artifact_down(self, name: str) -> Neighbours:
        yield from self._consumers(f"artifact/{name}")

    def _consumers(self, uri: str) -> Neighbours:
        for link in self._links(uri, "input"):
            yield f"run/{link.run_id}", link.name

    # -- look-ups

    def _links(self, uri: str, direction: str) -> list[Link]:
        return self._reader.find(Link, {"project": self._project, "uri": uri, "direction": direction})

    def _version(self, name: str) -> ModelVersion | None:
        model, _, version = name.rpartition("/")
        if not version.isdigit():
            return None
        return self._reader.get(ModelVersion, project=self._project, model=model, version=int(version))

    def _dataset(self, digest: str) -> DatasetRecord | None:
        return self._reader.get(DatasetRecord, project=self._project, digest=digest)

    def _all_datasets(self) -> list[DatasetRecord]:
        if self._datasets is None:
            self._datasets = self._reader.find(DatasetRecord, {"project": self._project})
        return self._datasets

    def node(self, uri: str) -> Node:
        """The thing with a label to show."""
        kind, _, name = uri.partition("/")
        label, detail = name, {}
        if kind == "run" and (run := self._reader.get(Run, id=name)) is not None:
            label, detail = run.name, {"kind": run.kind, "status": run.status, "started_at": run.started_at}
        elif kind == "dataset" and (record := self._dataset(name)) is not None:
            label, detail = record.name, {"rows": record.rows, "digest": name}
        elif kind == "arrival" and (arrival := self._reader.get(Arrival, id=name)) is not None:
            label, detail = arrival.source, {"origin": arrival.origin, "rows": arrival.rows, "at": arrival.created_at}
        return Node(uri=uri, kind=kind, label=label, detail=detail)
