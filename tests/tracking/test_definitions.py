from __future__ import annotations

import types

import pytest

from tidemill.core.errors import NotFound
from tidemill.core.records.events import DefinitionVersion, Event
from tidemill.core.scope import Scope
from tidemill.core.specs.aggregates import mean
from tidemill.core.specs.definition import Definitions, collect
from tidemill.core.specs.features import FeatureService, FeatureView
from tidemill.core.specs.serving import Graph
from tidemill.core.specs.sources import Source
from tidemill.core.steps import pipeline, step
from tidemill.stores.metadata.protocol import MetadataStore
from tidemill.tracking.definitions import Catalog, Change


def hotter(rows):  # type: ignore[no-untyped-def]
    return rows.with_columns(temp=rows["temp"] + 1)


def project(over: str = "24h", *, owner: str = "ada", with_graph: bool = True) -> Definitions:
    """A small project; every call makes its definitions anew, as importing its file would."""
    module = types.ModuleType("rides")
    rides = Source("rides", time="at", id="ride", documentation={"owner": owner})
    temps = FeatureView(hotter, source=rides, keys="station", aggregates=[mean("temp", over=over)], name="temps")
    service = FeatureService([temps], name="ride_features")

    @step
    def train(rows: object) -> object:
        return rows

    @pipeline
    def nightly() -> object:
        return train(service.training_set(spine=rides))

    vars(module).update(rides=rides, temps=temps, service=service, train=train, nightly=nightly)
    if with_graph:
        vars(module)["graph"] = Graph("rides").enrich(service).model("models:/rides@champion")
    return collect([module])


@pytest.fixture
def catalog(scope: Scope, metadata: MetadataStore) -> Catalog:
    return Catalog(scope, metadata=metadata)


def actions(changes: list[Change]) -> dict[str, str]:
    return {change.subject: change.action for change in changes}


def test_the_first_apply(catalog: Catalog, metadata: MetadataStore) -> None:
    planned = catalog.plan(project())
    assert [change.subject for change in planned] == [
        "source/rides", "feature_view/temps", "feature_service/ride_features", "step/train", "pipeline/nightly",
        "graph/rides",
    ]  # fmt: skip
    assert catalog.apply(project()) == planned
    with metadata.read() as reader:
        assert [event.subject for event in reader.find(Event)] == [change.subject for change in planned]


def test_consumers_through_code_and_through_others(catalog: Catalog) -> None:
    consumers = {change.subject: change.consumers for change in catalog.plan(project())}
    assert consumers["source/rides"] == (
        "feature_view/temps", "feature_service/ride_features", "pipeline/nightly", "graph/rides",
    )  # fmt: skip
    assert consumers["step/train"] == ("pipeline/nightly",)
    assert consumers["graph/rides"] == ()


def test_applying_again_changes_nothing(catalog: Catalog, metadata: MetadataStore) -> None:
    catalog.apply(project())
    assert set(actions(catalog.apply(project())).values()) == {"same"}
    with metadata.read() as reader:
        assert reader.count(DefinitionVersion) == 6
        assert reader.count(Event) == 6


def test_a_change_reaches_what_is_built_on_it(catalog: Catalog) -> None:
    catalog.apply(project())
    changed = actions(catalog.apply(project("48h")))
    assert changed["source/rides"] == "same"
    assert changed["feature_view/temps"] == changed["feature_service/ride_features"] == "changed"
    versions = catalog.versions("feature_view", "temps")
    assert [(one.version, one.current) for one in versions] == [(2, True), (1, False)]
    assert versions[0].body != versions[1].body
    assert "temp=rows" in versions[0].source


def test_documentation_alone(catalog: Catalog) -> None:
    catalog.apply(project())
    changed = {subject for subject, action in actions(catalog.plan(project(owner="bob"))).items() if action != "same"}
    assert changed == {"source/rides"}


def test_removed_and_back_again(catalog: Catalog) -> None:
    catalog.apply(project())
    assert actions(catalog.apply(project(with_graph=False)))["graph/rides"] == "removed"
    assert [one.name for one in catalog.current("graph")] == []
    assert "graph/rides" not in actions(catalog.apply(project(with_graph=False)))
    assert actions(catalog.apply(project()))["graph/rides"] == "new"
    assert [one.version for one in catalog.versions("graph", "rides")] == [2, 1]


def test_a_plan_writes_nothing(catalog: Catalog, metadata: MetadataStore) -> None:
    catalog.plan(project())
    with metadata.read() as reader:
        assert reader.count(DefinitionVersion) == reader.count(Event) == 0


def test_a_failing_apply_writes_nothing(
    catalog: Catalog, metadata: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> dict[str, object]:
        raise RuntimeError("no description")

    definitions = project()
    monkeypatch.setattr(Graph, "describe", broken)
    with pytest.raises(RuntimeError):
        catalog.apply(definitions)
    with metadata.read() as reader:
        assert reader.count(DefinitionVersion) == 0


def test_an_unknown_definition(catalog: Catalog) -> None:
    catalog.apply(project())
    with pytest.raises(NotFound, match=r"feature view 'tempz'.*Did you mean 'temps'"):
        catalog.versions("feature_view", "tempz")
