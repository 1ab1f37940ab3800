from __future__ import annotations

import pytest
from serving_harness import Home

from tidemill.core.errors import NotFound
from tidemill.core.records.events import Event
from tidemill.core.specs.serving import Graph

GRAPH = Graph("fare").model("models:/fare@champion")
HERE = {"server": "host:1", "url": "http://127.0.0.1:1"}


def test_deploying_is_idempotent_and_follows_the_graph(home: Home) -> None:
    serving = home.serving
    first = serving.deploy(GRAPH)
    assert serving.deploy(GRAPH) == first
    changed = serving.deploy(GRAPH.post(lambda rows: rows))
    assert changed.digest != first.digest
    assert serving.endpoints() == [changed]
    with pytest.raises(NotFound, match="Did you mean 'fare'"):
        serving.status("fair")
    with pytest.raises(NotFound):
        serving.generations("fair")


def test_the_life_of_generations(home: Home) -> None:
    serving = home.serving
    serving.deploy(GRAPH)
    assert serving.status("fare").serving == ()
    first = serving.stage(GRAPH, {"models:/fare@champion": 1}, **HERE)
    serving.started(first, [11, 12])
    second = serving.stage(GRAPH, {"models:/fare@champion": 2}, **HERE)
    serving.failed(second, "no memory")
    assert [g.number for g in serving.status("fare").serving] == [1]
    third = serving.stage(GRAPH, {"models:/fare@champion": 3}, **HERE)
    elsewhere = serving.stage(GRAPH, {"models:/fare@champion": 3}, server="host:2", url="http://127.0.0.1:2")
    serving.started(elsewhere, [])
    serving.started(third, [11])
    states = {g.number: (g.state, g.detail) for g in serving.generations("fare")}
    assert states == {1: ("retired", ""), 2: ("failed", "no memory"), 3: ("serving", ""), 4: ("serving", "")}
    assert first.digest != second.digest
    assert serving.status("fare").serving[1].workers == {"0": 11}
    serving.end_others(url=HERE["url"], server="host:9")
    serving.end_all(server="host:2")
    assert {g.number: g.detail for g in serving.generations("fare", limit=2)} == {
        3: "its server ended", 4: "its server stopped",
    }  # fmt: skip
    with home.metadata.read() as reader:
        told = [event.body["state"] for event in reader.find(Event, {"kind": "generation.changed"}, order=["seq"])]
    assert told == ["serving", "failed", "serving", "serving"]


def test_changes_are_followed_by_sequence_number(home: Home) -> None:
    assert home.serving.latest_change(0) == 0
    from serving_project import Times

    home.promote(home.register(Times(2.0)))
    seen = home.serving.latest_change(0)
    assert seen > 0
    assert home.serving.latest_change(seen) == seen
    home.register(Times(3.0))  # a version nobody points at changes nothing
    assert home.serving.latest_change(seen) == seen
