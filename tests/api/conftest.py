"""The REST interface of a project with a past, and of one that takes rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient
from tests.ui.seeding import DAY, START, make_project, opened, seed

from tidemill.api.app import create_app
from tidemill.core.clock import ManualClock
from tidemill.platform import Platform

LIVE_CODE = """
import polars as pl
import tidemill as tm

landings = tm.Source("landings", None, time="landed_at", id="flight_id")
lateness = tm.FeatureView(lambda rows: rows.select(late=pl.col("delay") > 15), source=landings, keys="carrier",
                          aggregates=[tm.count("late", over="24h")], name="lateness")
service = tm.FeatureService([lateness])
late = tm.Label(landings, pl.col("delay") > 15, known_at="landed_at")
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    clock = ManualClock(START - DAY)
    folder = tmp_path_factory.mktemp("flights")
    make_project(folder)
    with opened(folder, clock) as platform:
        seed(platform, clock, days=40)
        yield platform


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[TestClient]:
    with TestClient(create_app(platform)) as client:
        yield client


@pytest.fixture
def live(tmp_path: Path, clock: ManualClock) -> Iterator[tuple[Platform, TestClient]]:
    make_project(tmp_path, code=LIVE_CODE)
    with opened(tmp_path, clock) as platform, TestClient(create_app(platform)) as client:
        platform.catalog.apply(platform.definitions)
        yield platform, client
