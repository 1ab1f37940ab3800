from __future__ import annotations

import polars as pl
import pytest

from tidemill.core.errors import InvalidArgument
from tidemill.core.records.data import Arrival
from tidemill.core.records.models import ModelVersion
from tidemill.core.records.serving import Generation
from tidemill.core.scope import Scope
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.dataset import Dataset
from tidemill.tracking.lineage import LineageGraph
from tidemill.tracking.service import Tracking


@pytest.fixture
def life(
    tracking: Tracking, scope: Scope, metadata: MetadataStore, rides: pl.DataFrame
) -> tuple[Dataset, Dataset, str]:
    """Bytes that arrived, a dataset of them, its parts, a run, a model version and what serves it."""
    stamp = scope.stamp()
    arrival = {"source": "rides", "table": "sources/rides", "rows": 6}
    with metadata.write() as writer:
        writer.add(
            Arrival(**stamp, id="a1", origin="rides.csv", archive="bytes1", table_version=1, **arrival),
            Arrival(**stamp, id="a2", origin="push", table_version=2, **arrival),
            Arrival(**stamp, id="a3", origin="push", table_version=3, **arrival),
            Arrival(**stamp, id="a9", origin="later.csv", archive="bytes9", table_version=9, **arrival),
        )
    facts = {"name": "rides", "features": ["temp"], "label": "late", "id": ["ride"], "tables": {"sources/rides": 3}}
    whole = tracking.datasets.create(rides, **facts)  # type: ignore[arg-type]
    fit, _ = tracking.datasets.divide(whole, [True] * 4 + [False] * 2, [False] * 4 + [True] * 2, {"by": "time"})
    with tracking.start("train", kind="step") as run:
        run.log_input("rows", f"dataset/{fit.digest}", fit.digest)
    version = {"model": "late", "format": "skops", "artifact": "f", "signature": {}}
    with metadata.write() as writer:
        writer.add(ModelVersion(**stamp, version=1, run_id=run.id, dataset=fit.digest, **version))
        writer.add(Generation(**stamp, endpoint="rides", number=4, models={"models:/late@champion": 1}, digest="",
                              state="serving"))  # fmt: skip
    return whole, fit, run.id


def uris(graph: LineageGraph) -> set[str]:
    return {node.uri for node in graph.nodes}


def test_from_the_model_back_to_the_bytes(tracking: Tracking, life: tuple[Dataset, Dataset, str]) -> None:
    whole, fit, run_id = life
    graph = tracking.lineage("model/late/1")
    assert uris(graph) == {
        "model/late/1", f"run/{run_id}", f"dataset/{fit.digest}", f"dataset/{whole.digest}", "table/sources/rides@3",
        "arrival/a1", "push/rides", "archive/bytes1",
    }  # fmt: skip
    edges = {(edge.source, edge.target) for edge in graph.edges}
    assert ("archive/bytes1", "arrival/a1") in edges
    assert (f"dataset/{fit.digest}", f"run/{run_id}") in edges
    assert (f"run/{run_id}", "model/late/1") in edges
    assert graph.complete


def test_from_the_bytes_to_what_serves_them(tracking: Tracking, life: tuple[Dataset, Dataset, str]) -> None:
    _, fit, run_id = life
    down = uris(tracking.lineage("archive/bytes1", "down"))
    assert {"model/late/1", f"run/{run_id}", f"dataset/{fit.digest}", "generation/rides/4"} <= down
    assert uris(tracking.lineage("archive/bytes9", "down")) == {"archive/bytes9", "arrival/a9", "table/sources/rides@9"}


def test_labels_are_for_people(tracking: Tracking, life: tuple[Dataset, Dataset, str]) -> None:
    labels = {node.uri: node.label for node in tracking.lineage("model/late/1").nodes}
    assert labels[f"run/{life[2]}"] == "train"
    assert labels["arrival/a1"] == "rides"


def test_a_large_lineage_is_cut(tracking: Tracking, life: tuple[Dataset, Dataset, str]) -> None:
    graph = tracking.lineage("model/late/1", limit=3)
    assert len(graph.nodes) == 3
    assert not graph.complete
    assert {uri for edge in graph.edges for uri in (edge.source, edge.target)} <= uris(graph)


def test_something_unknown_stands_alone(tracking: Tracking) -> None:
    assert uris(tracking.lineage("model/none/7")) == {"model/none/7"}


@pytest.mark.parametrize("uri", ["modle/late/1", "model", "", "model/"])
def test_what_has_no_lineage(tracking: Tracking, uri: str) -> None:
    with pytest.raises(InvalidArgument, match="has no lineage"):
        tracking.lineage(uri)


def test_directions(tracking: Tracking) -> None:
    with pytest.raises(InvalidArgument, match="Known: up, down"):
        tracking.lineage("model/late/1", "left")
