"""A platform with a past, and one without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from litestar.testing import TestClient
from tests.ui.seeding import DAY, START, capture, make_project, opened, seed

from tidemill.api.app import create_app
from tidemill.core.clock import ManualClock
from tidemill.platform import Platform


@pytest.fixture(scope="module")
def seeded_clock() -> ManualClock:
    return ManualClock(START - DAY)


@pytest.fixture(scope="module")
def seeded_platform(tmp_path_factory: pytest.TempPathFactory, seeded_clock: ManualClock) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("flights")
    make_project(folder)
    with opened(folder, seeded_clock) as platform:
        seed(platform, seeded_clock)
        capture(platform, seeded_clock)
        yield platform


@pytest.fixture(scope="module")
def client(seeded_platform: Platform) -> Iterator[TestClient]:
    with TestClient(create_app(seeded_platform)) as client:
        yield client


@pytest.fixture
def empty_client(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("nothing")
    make_project(folder, code="")
    with opened(folder, clock) as platform, TestClient(create_app(platform)) as client:
        yield client
