"""One stream in this process: batches, views that follow, brokers and stores that are away, and what is said meanwhile."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from tests.streaming.skies import PATIENCE, landings, make_project, opened, payloads, send, state

from tidemill.api.streams import create_stream_app
from tidemill.core.clock import ManualClock
from tidemill.core.errors import InvalidArgument, NotFound, Unavailable
from tidemill.data.pushed import Taken
from tidemill.features.online import Online
from tidemill.platform import Platform
from tidemill.stores.consumers.protocol import Event
from tidemill.stores.consumers.stream import StreamConsumer
from tidemill.streaming.options import Options, feed_name
from tidemill.streaming.report import JsonLog, ProgressLine, summary
from tidemill.streaming.service import StreamService, rewind, sources_to_stream
from tidemill.streaming.status import Status
from tidemill.streaming.stream import Stream

DRAIN = Options(drain=True, limit=40)
ROWS = landings(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_project(tmp_path / "skies", "stream:landings")


@pytest.fixture
def platform(folder: Path) -> Iterator[Platform]:
    with opened(folder) as platform:
        yield platform


def read_all(platform: Platform, options: Options = DRAIN) -> Status:
    stream = Stream(platform, platform.definitions.get("source", "landings"), options)
    stream.run(threading.Event())
    return stream.gauge.read()


def batch_state(folder: Path, rows: list[dict[str, Any]]) -> Any:
    import polars as pl

    with opened(make_project(folder, None)) as other:
        other.data.ingest(other.definitions.get("source", "landings"), frame=pl.DataFrame(rows))
        other.features.materialize()
        return state(other)


def test_batches_are_bounded_and_nothing_is_read_twice(platform: Platform, folder: Path, tmp_path: Path) -> None:
    send("stream:landings", folder, payloads(ROWS))
    sizes: list[int] = []
    take = platform.data.take

    def watched(source: Any, events: Any, feed: Any) -> Any:
        sizes.append(len(events))
        return take(source, events, feed)

    platform.data.take = watched  # type: ignore[method-assign]
    status = read_all(platform)
    assert (status.taken.rows, max(sizes), sum(sizes)) == (120, 40, 120)
    assert (status.lag, status.behind, status.detail) == ({"main": 0}, {}, None)
    assert read_all(platform).taken == Taken()
    send("stream:landings", folder, payloads(landings(121)[120:]))
    assert read_all(platform).taken == Taken(events=1, rows=1)
    expected = batch_state(tmp_path / "batch", landings(121))
    platform.definitions  # noqa: B018 - imported again after the other project
    assert state(platform) == expected


def test_a_rewound_stream_reads_all_again_and_changes_nothing(platform: Platform, folder: Path) -> None:
    send("stream:landings", folder, payloads(ROWS))
    read_all(platform)
    before = state(platform)
    rewind(platform, platform.definitions.get("source", "landings"))
    assert read_all(platform).taken == Taken(events=120, duplicates=120)
    assert state(platform) == before


def test_views_catch_up_with_what_a_store_that_was_away_missed(
    platform: Platform, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send("stream:landings", folder, payloads(ROWS[:50]))
    read_all(platform)
    send("stream:landings", folder, payloads(ROWS[50:]))
    apply, calls = Online.apply_rows, []

    def away(self: Online, *arguments: Any) -> int:
        calls.append(1)
        if len(calls) <= 2:
            raise Unavailable("the online store does not answer")
        return apply(self, *arguments)

    monkeypatch.setattr(Online, "apply_rows", away)
    assert read_all(platform).behind == {}
    assert calls
    assert state(platform) == batch_state(tmp_path / "batch", ROWS)


def test_a_view_that_fails_keeps_nothing_else_back(
    platform: Platform, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send("stream:landings", folder, payloads(ROWS))
    materialize = Online.materialize

    def failing(self: Online, views: Any, **options: Any) -> Any:
        if views[0].name == "last":
            raise Unavailable("no room for this one")
        return materialize(self, views, **options)

    monkeypatch.setattr(Online, "materialize", failing)
    status = read_all(platform)
    assert (status.taken.rows, set(status.behind), status.well) == (120, {"last"}, False)
    assert platform.features.freshness()[0].rows == 120


def test_a_wider_column_reaches_the_views(platform: Platform, folder: Path, tmp_path: Path) -> None:
    rows = [*ROWS[:60], *({**row, "delay": row["delay"] + 0.5, "gate": "A1"} for row in ROWS[60:])]
    send("stream:landings", folder, payloads(rows[:60]))
    read_all(platform)
    send("stream:landings", folder, payloads(rows[60:]))
    assert read_all(platform).taken == Taken(events=60, rows=60)
    assert state(platform) == batch_state(tmp_path / "batch", rows)


def test_a_batch_whose_store_is_away_is_tried_again(platform: Platform, folder: Path, tmp_path: Path) -> None:
    send("stream:landings", folder, payloads(ROWS))
    take, failures = platform.data.take, iter([True, False, True, True])

    def away(source: Any, events: Any, feed: Any) -> Any:
        if next(failures, False):
            take(source, events[:10], feed)  # a part of the events is durable
            raise Unavailable("the metadata store does not answer")
        return take(source, events, feed)

    platform.data.take = away  # type: ignore[method-assign]
    assert read_all(platform).state == "reading"
    assert state(platform) == batch_state(tmp_path / "batch", ROWS)


def test_a_broker_that_was_away_is_read_on(platform: Platform, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send("stream:landings", folder, payloads(ROWS))
    poll, calls, seen = StreamConsumer.poll, [], []
    service = StreamService(platform, sources_to_stream(platform, []), DRAIN)

    def away(self: StreamConsumer, limit: int, timeout: float) -> list[Event]:
        calls.append(limit)
        seen.extend(status.state for status in service.status())
        if len(calls) in (2, 4, 5):
            raise Unavailable("the broker does not answer")
        return poll(self, limit, timeout)

    monkeypatch.setattr(StreamConsumer, "poll", away)
    service.run(lambda statuses: None)
    assert service.status()[0].taken == Taken(events=120, rows=120)
    assert {"starting", "reading", "away"} <= set(seen)


def test_a_broker_that_stays_away_ends_the_service(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    folder = make_project(tmp_path / "skies", "redis://127.0.0.1:1/0?stream=landings")
    with opened(folder) as platform:
        service = StreamService(platform, sources_to_stream(platform, []), Options(patience=0.2))
        with TestClient(create_stream_app(platform, service)) as client:
            assert client.get("/health").status_code == 200
            with pytest.raises(Unavailable, match="Redis at"):
                service.run(lambda statuses: None, every=0.05)
            answer = client.get("/health")
            assert answer.status_code == 503
            (stream,) = answer.json()["streams"]
            assert (stream["state"], answer.json()["status"]) == ("failed", "attention")
            assert "Redis at" in stream["detail"]


def test_health_and_metrics_tell_how_far_it_is(platform: Platform, folder: Path) -> None:
    send("stream:landings", folder, [*payloads(ROWS), b"{poison"])
    service = StreamService(platform, sources_to_stream(platform, ["landings"]), DRAIN)
    service.run(lambda statuses: None)
    with TestClient(create_stream_app(platform, service)) as client:
        (stream,) = client.get("/health").json()["streams"]
        assert (stream["state"], stream["taken"]["rows"], stream["lag"]) == ("stopped", 120, {"main": 0})
        text = client.get("/metrics").text
    assert 'tidemill_stream_events_total{outcome="rows",project="skies",source="landings"} 120.0' in text
    assert 'tidemill_stream_events_total{outcome="dead",project="skies",source="landings"} 1.0' in text
    assert 'tidemill_stream_lag{partition="main",project="skies",source="landings"} 0.0' in text


def test_a_stop_ends_with_the_batch_at_hand(platform: Platform, folder: Path) -> None:
    send("stream:landings", folder, payloads(ROWS))
    service = StreamService(platform, sources_to_stream(platform, []), Options(limit=40))
    take = platform.data.take

    def stopping(source: Any, events: Any, feed: Any) -> Any:
        service.stop()
        return take(source, events, feed)

    platform.data.take = stopping  # type: ignore[method-assign]
    service.run(lambda statuses: None)
    (status,) = service.status()
    assert (status.state, status.taken.rows) == ("stopped", 40)
    assert len(state(platform)[0]) == 40


def test_sources_without_a_broker_are_not_streamed(tmp_path: Path) -> None:
    with opened(make_project(tmp_path / "skies", None)) as platform:
        with pytest.raises(InvalidArgument, match="no source of the project is read from a broker"):
            sources_to_stream(platform, [])
        with pytest.raises(NotFound, match="landing"):
            sources_to_stream(platform, ["landing"])
        with pytest.raises(InvalidArgument, match="not read from a broker"):
            StreamService(platform, sources_to_stream(platform, ["landings"]), DRAIN)
    with pytest.raises(InvalidArgument, match="at least 1"):
        Options(limit=0)


def test_two_processes_share_the_partitions(folder: Path, tmp_path: Path) -> None:
    """Two threads here, with stores of their own: what they share is the home, as two processes do."""
    for number in range(4):
        send(f"stream:landings?partition=p{number}", folder, payloads(ROWS[number::4][:-3]))
    stop = threading.Event()
    with opened(folder) as one, opened(folder) as two:
        streams = [Stream(p, p.definitions.get("source", "landings"), Options(limit=20)) for p in (one, two)]
        threads = [threading.Thread(target=stream.run, args=[stop]) for stream in streams]
        for thread in threads:
            thread.start()
        _await(streams, 108)
        for number in range(4):  # now that both are there, each has its share
            send(f"stream:landings?partition=p{number}", folder, payloads(ROWS[number::4][-3:]))
        _await(streams, 120)
        assert sorted([*streams[0].gauge.lag, *streams[1].gauge.lag]) == ["p0", "p1", "p2", "p3"]
        stop.set()
        for thread in threads:
            thread.join()
        assert (
            sum(stream.gauge.read().taken.events - stream.gauge.read().taken.redelivered for stream in streams) == 120
        )
        assert state(one) == batch_state(tmp_path / "batch", ROWS)


def _await(streams: list[Stream], rows: int) -> None:
    """Wait until both hold two partitions and have accepted so many rows together."""
    ends = time.monotonic() + PATIENCE
    while [len(stream.gauge.lag) for stream in streams] != [2, 2] or _rows(streams) < rows:
        assert time.monotonic() < ends, [stream.gauge.read() for stream in streams]
        time.sleep(0.02)


def _rows(streams: list[Stream]) -> int:
    return sum(stream.gauge.read().taken.rows for stream in streams)


# -- what it says ------------------------------------------------------------------------------------------------------

STATUS = Status(
    source="landings", state="reading", taken=Taken(events=1250, rows=1200, quarantined=3, dead=2, redelivered=45),
    rate=1234.5, lag={"0": 5, "1": 7}, checkpoint=8_000_000, positions={"0": "9"}, behind={"lateness": "away"}, detail=None,
)  # fmt: skip


def test_a_line_on_a_terminal() -> None:
    said = "landings reading, 1,200 rows, 3 quarantined, 2 dead, 45 again, 1,234/s, lag 12, checkpoint 2 s ago"
    assert summary(STATUS, 10_000_000) == f"{said}, lateness is behind"
    out = io.StringIO()
    line = ProgressLine(out, ManualClock(10_000_000))
    line([STATUS])
    line.close()
    assert out.getvalue() == f"\r\033[2K{said}, lateness is behind\n"


def test_the_log_speaks_when_something_changes() -> None:
    import msgspec

    out = io.StringIO()
    log = JsonLog(out, ManualClock(0))
    for now in ("reading", "reading", "away"):
        log([msgspec.structs.replace(STATUS, state=now, detail="gone" if now == "away" else None)])
    log.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["state"], line["message"], line["level"]) for line in lines] == [
        ("reading", "reading", "warning"), ("away", "gone", "warning")
    ]  # fmt: skip
    assert lines[0]["taken"]["rows"] == 1200


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("kafka://ann:secret@h1:9092,h2/trips?security.protocol=SASL_SSL", "kafka://h1:9092,h2/trips"),
        ("redis://:pw@h/0?stream=trips&lease=1", "redis://h/0?stream=trips"),
        ("stream:trips", "stream:trips"),
        ("amqp://h/v?queue=q", "amqp://h/v?queue=q"),
    ],
)
def test_a_feed_is_named_without_passwords(url: str, name: str) -> None:
    assert feed_name(url) == name
