"""Served feature vectors are computed again: through real captures, generations, tables and the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from litestar.testing import TestClient
from tests.cli.conftest import invoke_in
from tests.conftest import NEW_YEAR_2024
from tests.ui.seeding import make_project, opened

from tidemill import daemon as daemon_module
from tidemill.api.app import create_app
from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound, NotReady
from tidemill.core.protocols import Captured, FeatureReader, ModelRef
from tidemill.core.records.alerting import Notification
from tidemill.core.schema import Column, Signature
from tidemill.core.settings import load_settings
from tidemill.core.specs.features import FeatureService
from tidemill.core.times import format_time
from tidemill.daemon import Daemon
from tidemill.monitoring import vectors
from tidemill.monitoring.capture import StreamCapture
from tidemill.platform import Platform
from tidemill.serving.generation import compile_generation
from tidemill.serving.runtime import Target

MINUTE = 60_000_000
HOUR = 60 * MINUTE
CODE = """
import polars as pl
import tidemill as tm

visits = tm.Source("visits", time="at", id="visit")
readings = tm.Source("readings", time="seen_at")

@tm.feature_view(source=readings, keys="room")
def newest(rows):
    return rows.select("temp", "word")

recent = tm.FeatureView(source=readings, keys="room", aggregates=[tm.mean("temp", over="2h"), tm.count("temp", over="2h")])

@tm.on_demand
def asked(rows):
    return rows.select(size=pl.col("size") * 2, large=pl.col("size") > 5)

service = tm.FeatureService([newest, recent, asked])
lonely = tm.FeatureService([newest])

def filled(rows):
    return rows.drop("newest__word").with_columns(pl.col("newest__temp").fill_null(0.0))

graph = tm.Graph("rooms").enrich(service).transform(filled).model("models:/rooms@champion")
"""
SIGNATURE = Signature(
    inputs=(Column(name="newest__temp", type="float64"),), outputs=(Column(name="prediction", type="float64"),),
    request=(Column(name="visit", type="string"), Column(name="room", type="string"), Column(name="size", type="int64"),
             Column(name="at", type="time")),
    time="at", id=("visit",),
)  # fmt: skip
MEAN, COUNT = "recent__temp_mean_2h", "recent__temp_count_2h"


class Warmth:
    """A model that answers what it was given; and where it comes from."""

    signature = SIGNATURE

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(prediction=pl.col("newest__temp"))

    def resolve(self, uri: Any) -> None:
        return None

    def load(self, ref: ModelRef) -> Warmth:
        return self

    def example(self, ref: ModelRef) -> None:
        return None


class Altered:
    """Features with a fault: one value is not what the store says."""

    def __init__(self, features: FeatureReader, **wrong: Any) -> None:
        self._features, self._wrong = features, wrong

    def request_schema(self, service: FeatureService) -> tuple[Column, ...]:
        return self._features.request_schema(service)

    def enrich(self, service: FeatureService, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        found = self._features.enrich(service, rows, now)
        return found.with_columns(pl.lit(value, found.schema[name]).alias(name) for name, value in self._wrong.items())


class Rooms:
    """The project, with a server's parts in this process."""

    def __init__(self, platform: Platform, clock: ManualClock) -> None:
        self.platform, self.clock = platform, clock
        self.graph = platform.definitions.get("graph", "rooms")
        self.visits = 0

    def read(self, room: str, temp: float | None, minutes_ago: int = 0, word: str | None = None) -> None:
        seen = format_time(self.clock.now() - minutes_ago * MINUTE)
        self.platform.push("readings", [{"room": room, "temp": temp, "word": word, "seen_at": seen}])

    def deploy(self) -> int:
        staged = self.platform.serving.stage(self.graph, {"models:/rooms@champion": 1}, server="s", url="u")
        self.platform.serving.started(staged, [1])
        self.number = staged.number
        return staged.number

    def serve(self, *rows: tuple[str, int | None], features: FeatureReader | None = None, **columns: Any) -> None:
        target = Target(endpoint="rooms", number=self.number, graph="g", model=ModelRef("rooms", 1, "a"))
        generation = compile_generation(target, self.graph, models=Warmth(), features=features or self.platform.features,
                                        scope=self.platform.scope)  # fmt: skip
        sent = []
        for room, size in rows:
            self.visits += 1
            sent.append({"visit": f"v{self.visits}", "room": room, "size": size, **columns})
        now = self.clock.now()
        done = generation.run(generation.schema.from_rows(sent), now)
        kept = Captured("rooms", self.number, f"r{self.visits}", now, 5, generation.captured(done))
        StreamCapture(self.platform.streams, "worker").append(kept)

    def verify(self, **options: Any) -> dict[str, tuple[int, int, int]]:
        found = self.platform.features.verify("service", NEW_YEAR_2024, **options)
        return {one.feature: (one.equal, one.late, one.defects) for one in found.features}


@pytest.fixture
def rooms(tmp_path: Path, clock: ManualClock) -> Iterator[Rooms]:
    make_project(tmp_path / "rooms", code=CODE, name="rooms")
    with (tmp_path / "rooms" / "tidemill.toml").open("a") as settings:
        settings.write("[verify]\nsample = 1.0\n")
    with opened(tmp_path / "rooms", clock) as platform:
        platform.push("visits", [{"visit": "v0", "room": "a", "size": 1, "at": format_time(clock.now())}])
        found = Rooms(platform, clock)
        found.read("a", 20.0, 30, "warm")
        found.read("b", 10.0, 90)
        platform.features.materialize()
        found.deploy()
        clock.advance(5 * MINUTE)
        yield found


def test_vectors_that_are_right_are_equal_whatever_the_graph_made_of_them(rooms: Rooms) -> None:
    rooms.serve(("a", 3), ("b", 9), ("nowhere", None))
    rooms.clock.advance(HOUR)
    rooms.read("a", 22.0)
    rooms.read("a", 23.0, 5)
    rooms.serve(("a", 3), ("a", 4))
    rooms.serve(("a", 1), at=format_time(rooms.clock.now() - HOUR))  # a moment of the past, with what is known now
    assert rooms.verify(lag=0) == dict.fromkeys(
        ["newest__temp", "newest__word", MEAN, COUNT, "size", "large"], (6, 0, 0)
    )
    found = rooms.platform.features.verify("service", NEW_YEAR_2024 + HOUR)
    assert (found.rows, found.skipped, found.endpoints, found.defects) == (3, 0, ("rooms",), 0)


def test_a_late_batch_is_named_as_late_data(rooms: Rooms) -> None:
    rooms.serve(("a", 3), ("b", 3))
    rooms.clock.advance(2 * HOUR)
    rooms.read("a", 30.0, 125, "hot")  # five minutes before that request
    rooms.serve(("a", 3))
    found = rooms.platform.features.verify("service", NEW_YEAR_2024)
    checks = {one.feature: one for one in found.features}
    assert {name: (one.equal, one.late, one.defects) for name, one in checks.items()} == {
        "newest__temp": (2, 1, 0), "newest__word": (2, 1, 0), MEAN: (2, 1, 0), COUNT: (2, 1, 0), "size": (3, 0, 0),
        "large": (3, 0, 0),
    }  # fmt: skip
    (example,) = checks[MEAN].examples
    assert (example.kind, example.keys, example.endpoint) == ("late data", {"room": "a"}, "rooms")
    assert (example.online, example.converged, example.known_at) == (20.0, 25.0, 20.0)
    assert (example.time, example.received_at) == (NEW_YEAR_2024 + 5 * MINUTE, NEW_YEAR_2024 + 5 * MINUTE)


def test_a_value_that_was_never_right_is_a_defect(rooms: Rooms, tmp_path: Path) -> None:
    rooms.serve(("a", 3), ("b", 3))
    rooms.serve(
        ("a", 3), features=Altered(rooms.platform.features, **{MEAN: 20.1, "large": True, "newest__word": None})
    )
    assert rooms.verify() == {
        "newest__temp": (3, 0, 0), "newest__word": (2, 0, 1), MEAN: (2, 0, 1), COUNT: (3, 0, 0), "size": (3, 0, 0),
        "large": (2, 0, 1),
    }  # fmt: skip
    with TestClient(create_app(rooms.platform)) as client:
        path = "/api/tidemill/v1/features/service/verification"
        answer = client.get(path, params={"since": "2024-01-01"}).json()
        assert client.get(path).status_code == 400
        assert client.get(path, params={"since": "soon"}).status_code == 400
    (wrong,) = [example for one in answer["features"] if one["feature"] == MEAN for example in one["examples"]]
    assert (wrong["kind"], wrong["online"], wrong["converged"], wrong["known_at"]) == ("defect", 20.1, 20.0, 20.0)
    words = ("features", "verify", "service", "--since", "2024-01-01")
    shown = invoke_in(tmp_path / "rooms", *words)
    assert shown.code == 5
    assert f"defect  {MEAN}" in " ".join(shown.out.split("\n")).replace("   ", "  ")
    told = invoke_in(tmp_path / "rooms", *words, "--json")
    assert told.code == 5
    assert json.loads(told.out) == {**answer, "until": json.loads(told.out)["until"]}
    late = invoke_in(tmp_path / "rooms", *words[:3], "--since", "2024-01-02")
    assert (late.code, late.out) == (0, "rooms served no vector of service since 2024-01-02T00:00:00Z.\n")


def test_a_long_log_is_verified_in_parts(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        rooms.serve(("a", 3), ("b", number), features=Altered(rooms.platform.features, large=number == 4))
        rooms.clock.advance(MINUTE)
    rooms.read("a", 21.0, 4, "late")
    rooms.clock.advance(1)
    whole = rooms.platform.features.verify("service", NEW_YEAR_2024, lag=0)
    monkeypatch.setattr(vectors, "AT_ONCE", 3)
    log = rooms.platform._vectors(rooms.platform.definitions.get("feature_service", "service"), 0, rooms.clock.now())
    assert [part.rows.height for part in log] == [2, 4, 2, 2]
    assert rooms.platform.features.verify("service", NEW_YEAR_2024, lag=0) == whole
    assert {one.feature: (one.rows, one.late, one.defects) for one in whole.features if one.equal < 10} == {
        "newest__temp": (10, 4, 0), "newest__word": (10, 4, 0), MEAN: (10, 3, 0), COUNT: (10, 3, 0), "large": (10, 0, 2),
    }  # fmt: skip


def test_sums_of_floats_may_differ_in_the_last_digits_and_nothing_else_may(rooms: Rooms) -> None:
    close = Altered(rooms.platform.features, **{MEAN: 20.0 + 1e-9, "newest__temp": 20.0 + 1e-9})
    rooms.serve(("a", 3), features=close)
    found = rooms.verify()
    assert (found[MEAN], found["newest__temp"]) == ((1, 0, 0), (0, 0, 1))


def test_a_row_on_its_way_into_the_store_is_no_defect(rooms: Rooms) -> None:
    stale = Altered(rooms.platform.features, **{MEAN: 20.0, COUNT: 1, "newest__temp": 20.0, "newest__word": "warm"})
    rooms.read("a", 30.0, 1, "hot")
    rooms.clock.advance(MINUTE // 2)
    rooms.read("a", 31.0, 0, "hotter")
    rooms.serve(("a", 3), features=stale)  # as if neither had reached the store yet
    assert rooms.verify(lag="1m")[COUNT] == (0, 1, 0)
    assert rooms.verify(lag="10s")[COUNT] == (0, 0, 1)
    halfway = Altered(rooms.platform.features, **{"newest__temp": 30.0, "newest__word": "hot"})
    rooms.serve(("a", 3), features=halfway)  # as if one of them had; a window does not hold what happens at its end
    found = rooms.verify(lag="1m")
    assert (found["newest__temp"], found["newest__word"]) == ((0, 2, 0), (0, 2, 0))
    assert (found[MEAN], found[COUNT]) == ((1, 1, 0), (1, 1, 0))
    found = rooms.verify(lag="10s")  # half a minute is too long now, but the other has just come
    assert (found["newest__temp"], found[COUNT]) == ((0, 1, 1), (1, 0, 1))


def test_vectors_of_other_definitions_are_left_out(rooms: Rooms) -> None:
    rooms.serve(("a", 3))
    rooms.graph = rooms.graph.post(lambda outputs: outputs)
    rooms.deploy()
    rooms.serve(("a", 3), ("b", 3))
    found = rooms.platform.features.verify("service", NEW_YEAR_2024)
    assert (found.rows, found.skipped) == (1, 2)


def test_a_sample_takes_all_vectors_of_a_key_or_none(rooms: Rooms) -> None:
    names = [f"room{n}" for n in range(40)]
    rooms.serve(*((name, 1) for name in names for _ in range(3)))
    counts = {
        share: rooms.platform.features.verify("service", NEW_YEAR_2024, sample=share).rows for share in (0.2, 0.5, 1.0)
    }
    assert counts[1.0] == 120
    assert 0 < counts[0.2] < counts[0.5] < 120
    assert all(count % 3 == 0 for count in counts.values())
    with pytest.raises(InvalidArgument, match="no share"):
        rooms.verify(sample=1.5)


def test_what_cannot_be_verified_is_said(rooms: Rooms, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no graph enriches with feature service 'lonely'"):
        rooms.platform.features.verify("lonely", NEW_YEAR_2024)
    with pytest.raises(InvalidArgument, match="there is no time"):
        rooms.platform.features.verify("service", rooms.clock.now() + HOUR)
    make_project(tmp_path / "empty", code=CODE)
    with opened(tmp_path / "empty", rooms.clock) as platform, pytest.raises(NotReady):
        platform.features.verify("service", NEW_YEAR_2024)


# -- at intervals


def wrong(rooms: Rooms, **values: Any) -> Altered:
    return Altered(rooms.platform.features, **values)


def told(platform: Platform) -> list[tuple[str, str]]:
    """The notifications sent, oldest first: why, and what they say."""
    with platform.metadata.read() as reader:
        found = reader.find(Notification, order=["created_at", "id"])
    return [(one.reason, one.payload["data"]["text"]) for one in found]


def test_what_is_served_is_verified_once_a_day(rooms: Rooms) -> None:
    daemon = Daemon(rooms.platform, every=None)
    assert daemon.verify() == [], "nothing was served, so nothing is kept"
    rooms.serve(("a", 3), ("b", 9))
    rooms.clock.advance(23 * HOUR)
    assert daemon.verify() == []
    rooms.serve(("a", 4))
    rooms.clock.advance(HOUR)
    (found,) = daemon.verify()
    assert (found.service, found.rows, found.late, found.defects) == ("service", 3, 0, 0)
    assert (found.since_at, found.until_at) == (rooms.clock.now() - 24 * HOUR, rooms.clock.now())
    assert daemon.verify() == []
    rooms.clock.advance(40 * 24 * HOUR)
    rooms.serve(("a", 4))
    rooms.clock.advance(1)
    (found,) = daemon.verify()
    assert (found.rows, found.until_at - found.since_at) == (1, 7 * 24 * HOUR), "a long pause is not made up for"
    assert rooms.platform.verifications.past("service") == [found, rooms.platform.verifications.past("service")[1]]
    assert rooms.platform.alerting.alerts() == []


def test_a_defect_is_one_alert_until_a_verification_finds_none(rooms: Rooms, tmp_path: Path) -> None:
    daemon, day = Daemon(rooms.platform, every=None), 24 * HOUR
    rooms.serve(("a", 3), ("b", 3), features=wrong(rooms, **{MEAN: 20.1}))
    rooms.clock.advance(1)
    (found,) = daemon.verify()
    assert (found.defects, {one.feature: one.defects for one in found.features if one.defects}) == (2, {MEAN: 2})
    (alert,) = rooms.platform.alerting.alerts("firing")
    assert (alert.name, alert.severity, alert.labels["service"]) == ("FeatureDefect", "critical", "service")
    assert alert.summary == f"service served 2 of 12 values wrong, in {MEAN}"
    rooms.serve(("a", 3), features=wrong(rooms, large=True))
    rooms.clock.advance(day)
    daemon.verify()
    (same,) = rooms.platform.alerting.alerts("firing")
    assert (same.id, same.summary) == (alert.id, "service served 1 of 6 values wrong, in large")
    rooms.clock.advance(day)
    assert daemon.verify() == [], "of nothing served, nothing is concluded"
    assert rooms.platform.alerting.alerts("firing") == [same]
    assert_shown(rooms)
    rooms.serve(("a", 3))
    rooms.clock.advance(day)
    daemon.verify()
    assert rooms.platform.alerting.alerts("firing") == []
    resolved = "resolved: a later verification found no defect"
    assert told(rooms.platform) == [("firing", alert.summary), ("resolved", resolved)]
    daemon.tick()
    daemon.verify()
    assert len(told(rooms.platform)) == 2


def assert_shown(rooms: Rooms) -> None:
    with TestClient(create_app(rooms.platform)) as client:
        page = client.get("/features/services/service").text
        assert "Served, and verified" in page
        assert "defect: room a at" in page
        assert "FeatureDefect: service served 1 of 6 values wrong, in large" in client.get("/").text
        assert 'href="/features/services/service"' in client.get("/").text
        stations = {one["name"]: one["word"] for one in client.get("/overview.json").json()["stations"]}
        assert (stations["Features"], stations["Monitors"]) == ("defects", "empty")
        shown = client.get("/features/services/service.json").json()["verifications"]
        assert [(one["rows"], one["defects"]) for one in shown] == [(1, 1), (2, 2)]
        assert client.get("/api/tidemill/v1/feature-services/service/verifications").json() == shown
        assert client.get("/api/tidemill/v1/feature-services/service/verifications?limit=1").json() == shown[:1]
        assert client.get("/api/tidemill/v1/feature-services/nothing/verifications").status_code == 404


def test_a_daemon_killed_before_it_told_tells_later(rooms: Rooms) -> None:
    rooms.serve(("a", 3), features=wrong(rooms, large=True))
    rooms.clock.advance(1)
    assert rooms.platform.verifications.run("service")  # and there it was killed
    assert rooms.platform.alerting.alerts() == []
    assert Daemon(rooms.platform, every=None).verify() == []
    assert [alert.name for alert in rooms.platform.alerting.alerts("firing")] == ["FeatureDefect"]


def test_the_daemon_verifies_by_itself(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "VERIFY_SECONDS", 0.01)
    rooms.serve(("a", 3))
    rooms.clock.advance(1)
    with Daemon(rooms.platform, every=60.0):
        ends = time.monotonic() + 60
        while not rooms.platform.verifications.past("service"):
            assert time.monotonic() < ends
            time.sleep(0.01)


def test_verification_can_be_turned_off(rooms: Rooms, clock: ManualClock) -> None:
    rooms.serve(("a", 3))
    rooms.clock.advance(1)
    off = load_settings(rooms.platform.settings.folder, overrides={"verify": {"every": "off"}})
    with Platform(off, clock=clock) as platform:
        assert Daemon(platform, every=None).verify() == []
