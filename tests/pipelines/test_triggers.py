from __future__ import annotations

from tests.pipelines.conftest import Open, Write

from tidemill.core.records.events import Event
from tidemill.pipelines.triggers import Firing, fired
from tidemill.tracking.definitions import Catalog

MILL = """
    import tidemill as tm

    rides = tm.Source("rides", "rides.csv", time="at", id="ride")
    waits = tm.FeatureView(source=rides, keys="city", aggregates=[tm.mean("wait", over="{over}")])

    @tm.pipeline(triggers=[tm.on_change(waits)])
    def retrain():
        pass
"""


def test_every_change_of_a_view_fires_once_even_back_to_an_earlier_form(write: Write, opened: Open) -> None:
    seen: list[Firing] = []
    for over in ("1h", "1h", "2h", "1h", "2h"):
        write(mill=MILL.format(over=over))
        platform = opened()
        with platform.metadata.read() as reader:
            before = reader.count(Event)
        Catalog(platform.scope, metadata=platform.metadata).apply(platform.definitions)
        with platform.metadata.read() as reader:
            events = reader.find(Event, order=["seq"])[before:]
        seen += fired(events, platform.definitions)
    assert [one.pipeline for one in seen] == ["retrain"] * 3
    assert len({one.fingerprint for one in seen}) == 3
    assert seen[0].reason == "feature_view/waits has version 2"


def test_a_fired_pipeline_starts_once(write: Write, opened: Open) -> None:
    write(mill=MILL.format(over="1h"))
    platform = opened()
    firing = Firing("retrain", "r", "feature_view/waits@2")
    ids = {
        platform.pipelines.start(firing.pipeline, arguments={}, reason=firing.reason, fingerprint=firing.fingerprint)
        for _ in range(2)
    }
    assert len(ids) == 1
