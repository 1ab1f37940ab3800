"""The project's own streams as a source of events: the contract, partitions and URLs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument
from tidemill.stores.consumers.open import open_consumer
from tidemill.stores.streams.open import open_streams
from tidemill.testing.consumer_suite import NumberedSuite, Place, ReplayingSuite, numbered, payloads, poll_until


class TestStreams(ReplayingSuite, NumberedSuite):
    keeps_keys = False

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Place("stream:events", tmp_path)

    @pytest.fixture
    def divided(self, tmp_path: Path) -> Place:
        return Place("stream:many/events", tmp_path, [f"stream:many/events?partition=p{n}" for n in range(4)])


def test_what_the_platform_appended_is_read(tmp_path: Path) -> None:
    streams = open_streams("file:", tmp_path)
    streams.append("a/b", "w1", numbered(0, 5))
    streams.append("a/b", "w2", numbered(5, 9))
    with closing(open_consumer("stream:a/b", tmp_path, group="g")) as consumer:
        assert sorted(payloads(poll_until(consumer, 9, limit=2))) == numbered(0, 9)
        assert consumer.lag() == {"w1": 0, "w2": 0}
    with closing(open_consumer("stream:a/b?partition=w2", tmp_path, group="g")) as consumer:
        assert payloads(poll_until(consumer, 4)) == numbered(5, 9)
    streams.close()


def test_a_busy_partition_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    streams = open_streams("file:", tmp_path)
    for partition in ("busy", "quiet"):
        streams.append("t", partition, numbered(0, 100 if partition == "busy" else 1))
    with closing(open_consumer("stream:t", tmp_path, group="g")) as consumer:
        seen = [event.partition for _ in range(2) for event in consumer.poll(10, timeout=0.0)]
    assert "quiet" in seen
    streams.close()


@pytest.mark.parametrize("url", ["stream:", "stream:../x", "stream:t?partition=A/b", "stream:t?lease=3"])
def test_wrong_urls(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        open_consumer(url, tmp_path, group="g")
