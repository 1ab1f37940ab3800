"""The way of features: source, table, view, service, dataset, model, endpoint."""

from __future__ import annotations

from tidemill.core.records.data import DatasetRecord
from tidemill.core.records.models import ModelVersion
from tidemill.core.specs.definition import Definitions
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.serving import Graph
from tidemill.stores.metadata.protocol import Reader
from tidemill.tracking.lineage import Edge, LineageGraph, Node


def feature_lineage(reader: Reader, project: str, definitions: Definitions, kind: str, name: str) -> LineageGraph:
    """What a view or a service is made of, and what is made of it.

    Of each model the newest version is shown, with the dataset it was fitted on.

    Args:
        reader: Where datasets and versions are recorded.
        project: The project.
        definitions: Its definitions.
        kind: `feature_view` or `feature_service`.
        name: Which one.
    """
    drawing = _Drawing(f"{kind}/{name}")
    services: dict[str, FeatureService] = definitions.of_kind("feature_service")
    if kind == "feature_view":
        chosen = definitions.get(kind, name)
        drawing.view(chosen)
        services = {key: one for key, one in services.items() if any(use.view is chosen for use in one.uses)}
        shown = [chosen]
    else:
        services = {name: services[name]}
        shown = [use.view for use in services[name].uses]
    for service in services.values():
        drawing.service(service, shown)
    models = _newest(reader, project, services)
    graphs: dict[str, Graph] = definitions.of_kind("graph")
    for version in models:
        drawing.model(version, _dataset(reader, project, version))
    for graph in graphs.values():
        drawing.endpoint(graph, set(services), {version.model: version.version for version in models})
    return drawing.done()


def _newest(reader: Reader, project: str, services: dict[str, FeatureService]) -> list[ModelVersion]:
    if not services:
        return []
    where = {"project": project, "service": sorted(services)}
    found = reader.find(ModelVersion, where, order=["model", "version"])
    return list({version.model: version for version in found}.values())


def _dataset(reader: Reader, project: str, version: ModelVersion) -> DatasetRecord | None:
    return None if version.dataset is None else reader.get(DatasetRecord, project=project, digest=version.dataset)


class _Drawing:
    """Collects nodes and edges, each once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str], Edge] = {}

    def done(self) -> LineageGraph:
        return LineageGraph(root=self._root, nodes=tuple(self._nodes.values()), edges=tuple(self._edges.values()))

    def _node(self, kind: str, name: str, label: str | None = None) -> str:
        uri = f"{kind}/{name}"
        self._nodes.setdefault(uri, Node(uri=uri, kind=kind, label=label or name))
        return uri

    def _edge(self, source: str, target: str) -> None:
        self._edges.setdefault((source, target), Edge(source=source, target=target))

    def view(self, view: FeatureView) -> str:
        source = self._node("source", view.source.name)
        table = self._node("table", f"sources/{view.source.name}")
        found = self._node("feature_view", view.name)
        self._edge(source, table)
        self._edge(table, found)
        return found

    def service(self, service: FeatureService, views: list[FeatureView]) -> None:
        uri = self._node("feature_service", service.name)
        for view in views:
            self._edge(self.view(view), uri)

    def model(self, version: ModelVersion, dataset: DatasetRecord | None) -> None:
        service = f"feature_service/{version.service}"
        model = self._node("model", f"{version.model}/{version.version}", f"{version.model} v{version.version}")
        if dataset is None:
            self._edge(service, model)
            return
        data = self._node("dataset", dataset.digest, dataset.name)
        self._edge(service, data)
        self._edge(data, model)

    def endpoint(self, graph: Graph, services: set[str], models: dict[str, int]) -> None:
        steps = [step.describe() for step in graph.steps]
        enriched = [step[1] for step in steps if step[0] == "enrich" and step[1] in services]
        asked = {str(uri).removeprefix("models:/").partition("@")[0].partition("/")[0]
                 for step in steps if step[0] == "model" for uri in step[1:] if uri}  # fmt: skip
        used = [f"model/{name}/{version}" for name, version in models.items() if name in asked]
        for origin in used or [f"feature_service/{name}" for name in enriched]:
            self._edge(origin, self._node("endpoint", graph.name))
