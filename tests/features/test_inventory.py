"""What features there are, and what an apply would change in them, in a real project."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tidemill.core.clock import ManualClock
from tidemill.core.errors import NotFound
from tidemill.core.records.serving import Generation
from tidemill.core.settings import load_settings
from tidemill.features.differences import differences
from tidemill.features.statistics import statistics
from tidemill.platform import Platform

CODE = """
import polars as pl
import tidemill as tm

tolls = tm.Source("tolls", time="at", id="toll",
                  documentation={"columns": {"fee": "What was paid", "car": "The plate"}, "units": {"fee": "francs"}})

def paid(rows):
    return rows.select("fee", "lane")

last = tm.FeatureView(paid, source=tolls, keys="car", TTL, owner="ada", tags=["road", "state"],
                      description="The last toll")
sums = tm.FeatureView(source=tolls, keys="car", aggregates=[AGGREGATES])

@tm.on_demand
def asked(rows):
    return rows.select("lane")

cars = tm.FeatureService([last, sums, asked], owner="bo", tags=["road"], description="For the price")
graph = tm.Graph("price").enrich(cars).model("models:/price@champion")
"""
FIRST = {"TTL": 'ttl="1h"', "AGGREGATES": 'tm.sum("fee", over="1d")'}
Edit = Callable[..., Any]


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[Edit]:
    """`with edited(TTL='ttl="2h"') as platform`: the project, or another of its home, with something of its file replaced."""
    clock, path = ManualClock(3_600_000_000 * 24), list(sys.path)
    (tmp_path / "tidemill.toml").write_text('project = "road"\nfiles = ["road_tolls.py"]\n')

    @contextmanager
    def edit(project: str = "road", **replaced: str) -> Iterator[Platform]:
        text = CODE
        for name, code in {**FIRST, **replaced}.items():
            text = text.replace(name, code)
        (tmp_path / "road_tolls.py").write_text(text)
        sys.modules.pop("road_tolls", None)
        with Platform(load_settings(tmp_path, environ={"TIDEMILL_PROJECT": project}), clock=clock) as platform:
            yield platform

    yield edit
    sys.modules.pop("road_tolls", None)
    sys.path[:] = path


ROWS = [
    {"toll": "1", "car": "a", "at": 3_600_000_000, "fee": 2.0, "lane": "left"},
    {"toll": "2", "car": "a", "at": 7_000_000_000, "fee": 4.0, "lane": "left"},
    {"toll": "3", "car": "b", "at": 7_200_000_000, "fee": None, "lane": None},
]


def push(platform: Platform) -> None:
    frame = pl.DataFrame(ROWS).with_columns(pl.from_epoch("at", "us"))
    platform.push("tolls", frame)


def test_before_the_first_row_and_the_first_apply_everything_is_new(edited: Edit) -> None:
    with edited() as platform:
        assert [(one.name, one.version, one.features) for one in platform.inventory.entries()] == [
            ("last", None, 0), ("sums", None, 0), ("cars", None, 0)
        ]  # fmt: skip
        assert {(one.action, one.before, one.after, one.backfill) for one in platform.inventory.plan()} == {
            ("new", None, 1, None)
        }
        found = platform.inventory.show("last")
        assert (found.versions, found.statistics, found.columns, found.code) == ((), (), (), "")


def test_words_and_tags_find_views_and_services(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        found = platform.inventory

        def names(text: str = "", *tags: str) -> list[str]:
            return [one.name for one in found.entries(text, tags)]

        assert names("", "road") == ["last", "cars"]
        assert names("", "road", "state") == ["last"]
        assert names("TOLL last") == ["last"]
        assert names("price") == ["cars"]
        assert names("fee_sum") == ["sums", "cars"]  # the name of a column
        assert names("ada") == ["last"]
        assert names("moon") == []


def test_a_view_is_shown_with_what_its_values_look_like(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
        last, cars = platform.inventory.show("last"), platform.inventory.show("cars")
        assert [(one.name, one.type) for one in last.columns] == [("last__fee", "float64"), ("last__lane", "string")]
        fee, lane = last.statistics
        assert (fee.rows, fee.missing, fee.min, fee.mean, fee.max) == (3, 1 / 3, 2.0, 3.0, 4.0)
        assert lane.top == (("left", 2 / 3),)
        assert last.consumers == ("feature_service/cars", "graph/price")
        assert "def paid" in last.code
        assert [(one.version, one.current) for one in last.versions] == [(1, True)]
        total = {one.feature: one for one in cars.statistics}["sums__fee_sum_24h"]
        assert (total.rows, total.missing, total.max) == (3, 2 / 3, 2.0)  # the second toll sees the first
        assert (cars.entry.owner, cars.entry.tags, cars.entry.description) == ("bo", ("road",), "For the price")
        assert last.meanings == {"last__fee": "What was paid (francs)"}
        assert cars.meanings == {**last.meanings, "sums__fee_sum_24h": "What was paid (francs)"}
        assert [one.name for one in platform.inventory.entries("PAID francs")] == ["last", "sums", "cars"]
        with pytest.raises(NotFound, match="Did you mean 'cars'"):
            platform.inventory.show("car")
        with pytest.raises(NotFound, match="no feature service 'last'"):
            platform.inventory.show("last", "feature_service")


def test_a_plan_says_what_changed_whom_it_touches_and_what_is_read_again(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
        platform.features.materialize()
        assert {(one.action, one.before, one.after, one.backfill) for one in platform.inventory.plan()} == {
            ("same", 1, 1, None)
        }
    with edited(TTL='ttl="2h"', AGGREGATES='tm.sum("fee", over="1d"), tm.max("fee", over="7d")') as platform:
        plan = {one.name: one for one in platform.inventory.plan()}
        last, sums, cars = plan["last"], plan["sums"], plan["cars"]
        assert (last.action, last.before, last.after, last.backfill) == ("changed", 1, 2, 3)
        assert [one.text for one in last.changes] == ["ttl 1h → 2h"]
        assert [one.text for one in sums.changes] == ["aggregates + max fee 7d"]
        assert [one.text for one in cars.changes] == ["parts changed last, sums"]
        assert last.consumers == ("feature_service/cars", "graph/price")
        assert plan["tolls"].action == "same"
        assert {one.name: one.edited for one in platform.inventory.entries()} == {
            "last": True,
            "sums": True,
            "cars": True,
        }
        platform.catalog.apply(platform.definitions)
        versions = platform.inventory.show("last").versions
        assert [(one.version, one.current, [change.field for change in one.changes]) for one in versions] == [
            (2, True, ["ttl"]), (1, False, [])
        ]  # fmt: skip


def test_tags_and_owners_make_no_new_version(edited: Edit) -> None:
    with edited() as platform:
        platform.apply()
    with edited(TTL='ttl="1h", known_at=False') as platform:
        assert {one.action for one in platform.inventory.plan()} == {"same"}


def test_statistics_of_what_is_no_number() -> None:
    nan, flag, times = statistics(
        pl.DataFrame({"nan": [float("nan"), float("inf"), 1.0], "flag": [True, True, None], "times": [[1], [2], None]})
    )
    assert (nan.missing, nan.min, nan.max) == (0.0, 1.0, 1.0)
    assert flag.top == (("true", 2 / 3),)
    assert (times.missing, times.top, times.mean) == (1 / 3, (), None)
    assert statistics(pl.DataFrame(schema={"a": pl.Int64}))[0].missing is None


def test_a_difference_reads_like_what_was_done() -> None:
    before = {"transform": "aa", "checks": [["fee", "between", [0, 1]]], "keys": ["a", "b"], "target": None, "old": 1}
    after = {"transform": "bb", "checks": [["fee", "between", [0, 2]]], "keys": ("b", "a"), "target": 60_000_000}
    assert [one.text for one in differences(before, after)] == [
        "transform", "checks − fee.between(0, 1); + fee.between(0, 2)", "keys in another order", "target none → 1m",
        "old 1 → none",
    ]  # fmt: skip


# -- a changed definition is backfilled, and the one before goes once no endpoint reads it


def versions_held(platform: Platform, view: str) -> int:
    with platform.online_store.read() as reader:
        return len({name.partition("/")[0] for name in reader.views() if name.startswith(f"{view}@")})


def serve(platform: Platform) -> Generation:
    graph = platform.definitions.get("graph", "price")
    staged = platform.serving.stage(graph, {"models:/price@champion": 3}, server="here:1", url="http://127.0.0.1:1")
    platform.serving.started(staged, [1])
    return staged


def test_an_apply_backfills_what_changed_beside_what_answers(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
        assert platform.features.vector("cars", {"car": "a", "lane": "x"}, 7_100_000_000)["last__fee"] == 4.0
    with edited(TTL='ttl="2s"') as platform:
        assert platform.inventory.plan()[1].backfill == 3
        platform.apply()
        assert platform.features.vector("cars", {"car": "a", "lane": "x"}, 7_100_000_000)["last__fee"] is None
        assert versions_held(platform, "last") == 2
        assert {one.backfill for one in platform.inventory.plan()} == {None}


def test_a_past_version_stays_while_an_endpoint_reads_it_and_goes_afterwards(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
        old = serve(platform)
        assert platform.forget_superseded() == []
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
        assert platform.forget_superseded() == []
        assert versions_held(platform, "last") == 2
        platform.serving.end_all(server=old.server)
        serve(platform)
        gone = platform.forget_superseded()
        assert {name.partition("@")[0] for name in gone} == {"last"}
        assert versions_held(platform, "last") == 1
        assert platform.features.vector("cars", {"car": "a", "lane": "x"}, 7_100_000_000)["last__fee"] == 4.0
        assert platform.forget_superseded() == []


def test_nothing_goes_while_it_is_unknown_what_an_endpoint_reads(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
    with edited(TTL='ttl="3h"') as platform:
        serve(platform)  # what this runs was never applied
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
        assert platform.forget_superseded() == []
        assert versions_held(platform, "last") == 2


def test_a_process_with_older_definitions_keeps_them_and_the_newer_ones(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
    with edited() as platform:
        assert platform.forget_superseded() == []
        assert versions_held(platform, "last") == 2


def test_going_back_to_a_version_that_went_backfills_it_again(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
        assert platform.forget_superseded()
    with edited() as platform:
        plan = {one.name: one for one in platform.inventory.plan()}
        assert (plan["last"].before, plan["last"].after, plan["last"].backfill) == (2, 3, 3)
        platform.apply()
        assert platform.features.vector("cars", {"car": "a", "lane": "x"}, 7_100_000_000)["last__fee"] == 4.0
        assert {name.partition("@")[0] for name in platform.forget_superseded()} == {"last"}


def test_what_another_project_of_the_home_reads_stays(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
    with edited("other") as other:
        other.apply()
        read = serve(other)
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
        assert platform.forget_superseded() == [], "current in the other project, and read by an endpoint of it"
    with edited("other", TTL='ttl="3h"') as other:
        other.apply()
        assert other.forget_superseded() == [], "read by an endpoint"
    with edited(TTL='ttl="2h"') as platform:
        assert platform.forget_superseded() == [], "read by an endpoint of the other project"
        assert versions_held(platform, "last") == 3
    with edited("other", TTL='ttl="3h"') as other:
        other.serving.end_all(server=read.server)
        assert {name.partition("@")[0] for name in other.forget_superseded()} == {"last"}
        assert versions_held(other, "last") == 2


def test_nothing_goes_while_it_is_unknown_what_an_endpoint_of_another_project_reads(edited: Edit) -> None:
    with edited() as platform:
        push(platform)
        platform.apply()
    with edited("other", TTL='ttl="3h"') as other:
        serve(other)  # what this runs was never applied
    with edited(TTL='ttl="2h"') as platform:
        platform.apply()
        assert platform.forget_superseded() == []
