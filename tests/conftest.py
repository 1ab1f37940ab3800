"""What every test shares: a clock that stands still, and the fixtures by what they are of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tidemill.core.clock import ManualClock

pytest_plugins = [
    "tests.fixtures.stores",
    "tests.fixtures.servers",
    "tests.fixtures.chromium",
    "tests.fixtures.loopback",
]

NEW_YEAR_2024 = 1_704_067_200_000_000  # 2024-01-01T00:00Z in microseconds

# -- hypothesis: TIDEMILL_HYPOTHESIS=dev|ci|thorough -----------------------------------------------

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TIDEMILL_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "dev"))


# -- order -----------------------------------------------------------------------------------------

LONG = ("system", "test_second_domain.py", "docs/test_docs.py", "streaming", "engines", "data/test_crashes.py")
"""Where single tests take long: they go first, so that at the end no process is left alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = tuple(str(Path(__file__).parent / place) for place in LONG)
    items.sort(key=lambda item: not str(item.path).startswith(places))


# -- time ------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    """A clock at 2024-01-01T00:00Z that moves only when told to."""
    return ManualClock(NEW_YEAR_2024)
