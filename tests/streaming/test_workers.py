"""Several processes read one source of the demo's landings: they divide the partitions, and what they come to is a batch's."""

from __future__ import annotations

import http.client
import json
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.streaming.replay import Landings, Replay, make_project, state, with_weather
from tests.streaming.skies import PATIENCE, Service, kill, send, serving

from tidemill.demo.year import Year

pytestmark = pytest.mark.service


PORTION = 200
"""So many landings at a time, until all who should read have something to."""


@pytest.fixture(scope="module")
def one_week(year: Year, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return Replay.of(Landings(year, 6_000), tmp_path_factory.mktemp("batch"))


def test_redis_streams_of_a_pattern(tmp_path: Path, redis_stream: str, one_week: Replay) -> None:
    streams = [redis_stream.replace("&", f".{number}&") for number in range(4)]
    read_by_two(redis_stream.replace("&", ".*&"), tmp_path / "flights", one_week, streams)


def test_partitions_of_kafka(tmp_path: Path, kafka_topic: Callable[[int], str], one_week: Replay) -> None:
    url = kafka_topic(4)
    read_by_two(url, tmp_path / "flights", one_week, [url])


def test_nats_where_one_reads_and_the_other_stands_by(tmp_path: Path, nats_subject: str, one_week: Replay) -> None:
    read_by_two(nats_subject, tmp_path / "flights", one_week, [nats_subject], readers=1)


def read_by_two(url: str, folder: Path, replay: Replay, places: Sequence[str], *, readers: int = 2) -> None:
    """Let two processes read what is sent to some places, kill one that does, stop the others, and read the rest."""
    with_weather(make_project(folder, url), replay.landings)
    sent, count = PORTION, len(replay.landings.payloads)
    send_some(places, folder, replay.landings, slice(sent))
    with serving(folder, "landings", "--workers", "2", "--port", "0", "--limit", "100") as service:
        await_processes(service, 2)
        while len(reading := busy(service)) < readers:
            assert sent < count, f"only {reading} read: {service.said.read_text()}"
            send_some(places, folder, replay.landings, slice(sent, sent + PORTION))
            sent += PORTION
            time.sleep(0.2)
        send_some(places, folder, replay.landings, slice(sent, None))
        kill(reading[0])
        await_processes(service, 3)
        service.process.terminate()
        assert service.await_end() == 0, service.said.read_text()
        stopped = {line["pid"] for line in service.lines() if line.get("state") == "stopped"}
        assert stopped == set(service.pids()) - {reading[0]}, "gently, all but the one that was killed"
    with serving(folder, "landings", "--alone", "--drain") as service:
        assert service.await_end() == 0, service.said.read_text()
    state(folder, replay.landings).assert_equal(replay.batch)


def send_some(places: Sequence[str], folder: Path, landings: Landings, part: slice) -> None:
    """Send some of the landings, each plane's to the same place."""
    landed = list(zip(landings.payloads[part], landings.planes[part], strict=True))
    for number, place in enumerate(places):
        here = [one for one in landed if zlib.crc32(one[1]) % len(places) == number]
        send(place, folder, [payload for payload, _ in here], [plane for _, plane in here])


def await_processes(service: Service, count: int) -> None:
    """Wait until so many processes have answered, counting those that do no more."""
    ends = time.monotonic() + PATIENCE
    while len(addresses(service)) < count:
        assert time.monotonic() < ends, service.said.read_text()
        time.sleep(0.02)


def busy(service: Service) -> list[int]:
    """The processes that have taken rows."""
    return [pid for pid, url in addresses(service).items() if rows_taken(url)]


def addresses(service: Service) -> dict[int, str]:
    """Where each process answers."""
    said = "Health and metrics at "
    return {
        line["pid"]: line["message"].removeprefix(said) for line in service.lines() if line["message"].startswith(said)
    }


def rows_taken(url: str) -> int:
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", "/health")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return sum(stream["taken"]["rows"] for stream in answer["streams"])
