"""Killed in the middle of a replay, through real brokers: the final state is that of a batch, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.streaming.skies import await_inbox, kill, landings, make_project, opened, payloads, send, serving, state

ROWS = landings(2000)
WRONG = {**ROWS[7], "flight_id": "wrong", "delay": 9999}
POISON = [b"{broken", b'"text"', b'{"flight_id": "poor", "carrier": "UA"}']

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """What a batch of the same rows comes to."""
    folder = make_project(tmp_path_factory.mktemp("skies") / "batch", None)
    with opened(folder) as platform:
        platform.data.ingest(platform.definitions.get("source", "landings"), frame=_frame())
        platform.features.materialize()
        return state(platform)


def _frame() -> Any:
    import polars as pl

    return pl.DataFrame(ROWS)


def replay(url: str, folder: Path, batch: tuple[list[Any], list[Any]]) -> None:
    """Send everything, some of it twice and some of it poisoned; kill the worker in the middle; compare."""
    make_project(folder, url)
    events = payloads(ROWS)
    send(url, folder, [*events[:1000], *POISON, *payloads([WRONG]), *events[200:300], *events[1000:]])
    with serving(folder, "landings", "--limit", "100", "--drain") as service:
        await_inbox(folder, 3)
        (first,) = service.pids()
        kill(first)
        assert service.await_end() == 0
        pids, last = service.pids(), service.lines()[-1]
    assert len(pids) == 2
    assert last["lag"]
    assert not any(last["lag"].values())
    with opened(folder) as platform:
        source = platform.definitions.get("source", "landings")
        assert state(platform) == batch
        quarantine = platform.data.quarantine(source)
        assert (quarantine["id"].to_list(), quarantine["reason"].to_list()) == (
            ["wrong"],
            ["delay.between(-100, 2000)"],
        )
        assert platform.data.dead_letters(source)["payload"].to_list() == POISON
        assert (
            platform.features.offline(  # and offline says what online says
                "service", _spine(platform), "at"
            )
            .select("lateness__late_count_24h")
            .to_series()
            .sum()
            > 0
        )


def _spine(platform: Any) -> Any:
    import polars as pl

    return pl.DataFrame({"carrier": ["UA"], "at": [pl.datetime(2024, 1, 3, time_zone="UTC")]}).with_columns(
        at=pl.datetime(2024, 1, 3, time_zone="UTC")
    )


def test_redis_streams(tmp_path: Path, redis_stream: str, batch: Any) -> None:
    replay(redis_stream, tmp_path / "skies", batch)


def test_nats(tmp_path: Path, nats_subject: str, batch: Any) -> None:
    replay(nats_subject, tmp_path / "skies", batch)


def test_kafka(tmp_path: Path, kafka_topic: Callable[[int], str], batch: Any) -> None:
    replay(kafka_topic(1), tmp_path / "skies", batch)


def test_supervisor_and_worker_killed_together(tmp_path: Path, batch: Any) -> None:
    folder = make_project(tmp_path / "skies", "stream:landings")
    send("stream:landings", folder, payloads(ROWS))
    with serving(folder, "--limit", "100") as service:
        await_inbox(folder, 3)
        kill(service.process.pid)
        kill(service.pids()[0])
    with serving(folder, "--alone", "--drain") as service:
        assert service.await_end() == 0
        last = service.lines()[-1]["taken"]
    assert (last["redelivered"], last["duplicates"]) == (0, 0)
    with opened(folder) as platform:
        assert state(platform) == batch
