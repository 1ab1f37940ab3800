"""The demo's landings through real brokers, whoever reads them killed again and again: all that a batch of them comes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.streaming.replay import Landings, Replay

from tidemill.demo.year import Year

pytestmark = pytest.mark.service

PARTITIONS = 32
"""Of Kafka: landings come out of their order, as they do where many planes tell of themselves. Fewer would not hold all."""


@pytest.fixture(params=["redis", "nats", "kafka"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of a place on each of the brokers."""
    if request.param == "kafka":
        topic: Callable[[int], str] = request.getfixturevalue("kafka_topic")
        return topic(PARTITIONS)
    url: str = request.getfixturevalue({"redis": "redis_stream", "nats": "nats_subject"}[request.param])
    return url


@pytest.fixture(scope="module")
def three_weeks(year: Year, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The first 20,000 landings of April."""
    return Replay.of(Landings(year, 20_000), tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module")
def nine_months(year: Year, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """All landings of the demo."""
    return Replay.of(Landings(year), tmp_path_factory.mktemp("batch"))


def test_three_weeks(three_weeks: Replay, broker: str, tmp_path: Path) -> None:
    three_weeks.through(broker, tmp_path / "flights", kills=2).assert_equal(three_weeks.batch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nine_months(nine_months: Replay, broker: str, tmp_path: Path) -> None:
    assert nine_months.landings.rows.height > 240_000
    nine_months.through(broker, tmp_path / "flights", kills=5).assert_equal(nine_months.batch)
