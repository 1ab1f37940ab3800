"""Which versions of views nobody reads any more."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.core.records.events import DefinitionVersion
from tidemill.core.records.serving import LIVE, Generation, generation_digest
from tidemill.core.specs.definition import Definitions
from tidemill.stores.metadata.protocol import Reader

VersionKey = tuple[str, str]
"""Name and digest."""


def superseded(reader: Reader, project: str, own: Definitions) -> list[VersionKey]:
    """The applied versions of a project's views that are neither current nor read by an endpoint.

    One home may hold several projects, whose equal views share what is kept online: what any of them reads counts.

    What a running generation reads follows from the records: its digest names a version of its graph, that names versions of
    services, and those name versions of views. Where one of these was never applied, nothing is known of what the generation
    reads, and nothing is superseded. A version that was never applied is not either.

    Args:
        reader: Where definitions and generations are recorded.
        project: The project.
        own: The definitions this process works by, applied or not; their views are kept.
    """
    found = reader.find(DefinitionVersion, {"kind": ["feature_view", "feature_service", "graph"]})
    views = [one for one in found if one.kind == "feature_view"]
    read = _read_by_endpoints(reader, found)
    if read is None:
        return []
    # By digest, not by number: back and forth is two versions that keep the same.
    current = {(one.name, one.digest) for one in views if one.current}
    kept = read | current | {(name, view.digest()) for name, view in own.of_kind("feature_view").items()}
    return sorted({(one.name, one.digest) for one in views if one.project == project} - kept)


def _read_by_endpoints(reader: Reader, found: Iterable[DefinitionVersion]) -> set[VersionKey] | None:
    graphs = [one for one in found if one.kind == "graph"]
    services = {(one.project, one.name, one.digest): one for one in found if one.kind == "feature_service"}
    read: set[VersionKey] = set()
    for generation in reader.find(Generation, {"state": list(LIVE)}):
        graph = next((one for one in graphs if _runs(generation, one)), None)
        if graph is None:
            return None
        for step in graph.body["steps"]:
            if step[0] != "enrich":
                continue
            service = services.get((generation.project, step[1], step[2]))
            if service is None:
                return None
            read |= {(part[1], part[2]) for part in service.body["parts"] if part[0] == "view"}
    return read


def _runs(generation: Generation, graph: DefinitionVersion) -> bool:
    own = graph.project == generation.project and graph.name == generation.endpoint
    return own and generation.digest == generation_digest(graph.digest, generation.models)
