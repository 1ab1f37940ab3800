"""Events of brokers: durable with their positions, each once, and what is no row is a dead letter."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.changes import Changes
from tidemill.core.specs.checks import check
from tidemill.core.specs.sources import Source
from tidemill.data.parcels import Parcel, latest, unpack
from tidemill.data.pushed import Feed, Taken
from tidemill.data.service import Data
from tidemill.stores.consumers.protocol import Event

MakeData = Callable[[], Data]
FEED = Feed("kafka://host:9092/weather", replays=True)
ONCE = Feed("amqp://host:5672/?queue=weather", replays=False)
weather = Source("weather", time="at", id="id", checks=[check("temp").between(-50, 50)])


def row(id: str, temp: Any = 1.0, at: str = "2023-12-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"at": at, "id": id, "temp": temp, **more}


def events(*contents: Any, start: int = 1, partition: str = "0") -> list[Event]:
    return [
        Event(partition, f"{start + n:05d}", one if isinstance(one, bytes) else json.dumps(one).encode())
        for n, one in enumerate(contents)
    ]


def ids(data: Data, source: Source = weather) -> list[str]:
    return sorted(data.scan(source).collect()["id"].to_list())


def test_events_are_rows_dead_letters_or_in_quarantine(data: Data, make_data: MakeData) -> None:
    sent = events(
        row("a"), b"{no", row("b", 99), [1], {"id": "c", "temp": 1}, row("d"), {**row("e"), "event_ts": 1}, {}
    )
    frames, taken = data.take(weather, sent, FEED)
    assert taken == Taken(events=8, rows=2, quarantined=1, dead=5)
    assert pl.concat(frames).select("id", "ingest_seq").rows() == [("a", 1), ("d", 2)]
    other = make_data()
    assert ids(other) == ["a", "d"]
    assert other.quarantine(weather)["id"].to_list() == ["b"]
    dead = other.dead_letters(weather)
    assert dead["position"].to_list() == ["00002", "00004", "00005", "00007", "00008"]
    assert dead["payload"].to_list()[:2] == [b"{no", b"[1]"]
    assert [reason.split(";")[0] for reason in dead["reason"]] == [
        "the payload is no JSON: object keys must be strings (byte 1)",
        "the payload is a list, not an object of columns",
        "the event lacks the column at",
        "the event has the reserved columns event_ts",
        "the event has no columns",
    ]
    assert other.positions(weather, FEED.name) == {"0": "00008"}


@pytest.mark.parametrize("flush", [False, True])
def test_events_at_or_before_a_durable_position_are_left_out(data: Data, make_data: MakeData, flush: bool) -> None:
    plain = Source("plain", time="at")
    sent = events(*(row(f"{n}") for n in range(10)))
    data.take(plain, sent[:6], FEED)
    if flush:
        data.flush()
    other = make_data()
    _, taken = other.take(plain, sent[2:], FEED)
    assert (taken.redelivered, taken.rows) == (4, 4)
    _, taken = data.take(plain, sent, FEED)  # this process held them meanwhile
    assert (taken.redelivered, taken.rows) == (10, 0)
    assert ids(data, plain) == [f"{n}" for n in range(10)]
    assert make_data().positions(plain, FEED.name) == {"0": "00010"}


def test_partitions_and_feeds_have_positions_of_their_own(data: Data) -> None:
    data.take(weather, [*events(row("a"), start=7), *events(row("b"), start=3, partition="1")], FEED)
    data.take(weather, events(row("c"), start=1), Feed("kafka://other/weather", replays=True))
    data.take(weather, events(row("d"), start=9), ONCE)
    data.flush()
    assert data.positions(weather, FEED.name) == {"0": "00007", "1": "00003"}
    assert data.positions(weather, "kafka://other/weather") == {"0": "00001"}
    assert data.positions(weather, ONCE.name) == {}
    assert ids(data) == ["a", "b", "c", "d"]


def test_positions_are_forgotten_for_all_processes(data: Data, make_data: MakeData) -> None:
    other = make_data()
    data.take(weather, events(row("a"), row("b")), FEED)
    assert other.positions(weather, FEED.name) == {"0": "00002"}
    make_data().forget_positions(weather, FEED.name)
    assert (other.positions(weather, FEED.name), data.positions(weather, FEED.name)) == ({}, {})
    assert data.take(weather, events(row("a"), row("b")), FEED)[1] == Taken(events=2, duplicates=2)
    assert other.positions(weather, FEED.name) == {"0": "00002"}


@pytest.mark.parametrize("flush", [False, True])
def test_rows_that_come_again_are_duplicates_and_changed_ones_are_quarantined(data: Data, flush: bool) -> None:
    data.take(weather, events(row("a", tags=[1, 2]), row("b", None)), ONCE)
    data.take(weather, events(row("c", 2.5, tags=[1])), ONCE)
    if flush:
        data.flush()
    again = events(row("c", 2.5, tags=[1]), row("c", 2.0, tags=[1]), row("d"), row("d"), row("d", 3.0))
    _, taken = data.take(weather, again, ONCE)
    assert taken == Taken(events=5, rows=1, quarantined=2, duplicates=2)
    assert data.quarantine(weather).select("id", "reason").rows() == [("c", "repeated id"), ("d", "repeated id")]


def test_pushes_that_may_come_again_are_idempotent(data: Data) -> None:
    assert data.push(weather, [row("a"), row("b")], again=True).duplicates == 0
    pushed = data.push(weather, [row("a"), row("b", 2.0), row("c")], again=True)
    assert (pushed.rows, pushed.duplicates, pushed.reasons) == (1, 1, {"repeated id": 1})
    assert data.push(weather, [row("a")]).reasons == {"repeated id": 1}


def test_events_that_spoil_a_batch_are_found(data: Data) -> None:
    """One value that `clean` cannot take refuses all: only the events at fault become dead letters."""
    cleaned = Source("cleaned", id="id", clean=_strict)
    sent = events(*({"id": f"{n}", "x": "bad" if n in (3, 11) else "1"} for n in range(16)))
    frames, taken = data.take(cleaned, sent, FEED)
    assert taken == Taken(events=16, rows=14, dead=2)
    assert sum(frame.height for frame in frames) == 14
    dead = data.dead_letters(cleaned)
    assert dead["position"].to_list() == ["00004", "00012"]
    assert "clean= of source 'cleaned' raised" in dead["reason"][0]
    assert data.positions(cleaned, FEED.name) == {"0": "00016"}


def _strict(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(pl.col("x").cast(pl.Int64))


def test_columns_change_in_the_middle_of_a_stream(data: Data, make_data: MakeData) -> None:
    data.take(weather, events(row("a", 1), row("b", 2)), FEED)
    _, taken = data.take(weather, events(row("c", 2.5, note="new"), row("d", "warm"), row("e", True), start=3), FEED)
    assert (taken.rows, taken.quarantined) == (1, 2)
    other = make_data()
    other.take(weather, events(row("f", 7, note=3), row("g", 8), start=6), FEED)
    rows = data.scan(weather).sort("id").collect()
    assert rows.select("id", "temp", "note").rows() == [
        ("a", 1.0, None), ("b", 2.0, None), ("c", 2.5, "new"), ("g", 8.0, None)
    ]  # fmt: skip
    assert sorted(data.quarantine(weather)["id"]) == ["d", "e", "f"]


def test_numbers_that_cannot_be_widened_and_declared_types_stay(data: Data) -> None:
    declared = Source("declared", id="id", types={"temp": "int64"})
    for source, first in ((declared, 1), (Source("large", id="id"), 2**60 + 1)):
        data.take(source, events({"id": "a", "temp": first}), FEED)
        _, taken = data.take(source, events({"id": "b", "temp": 0.5}, start=2), FEED)
        assert (taken.rows, taken.quarantined) == (0, 1)
        assert data.scan(source).collect()["temp"].to_list() == [first]


def test_changes_come_as_events(data: Data) -> None:
    log = Source("log", time="at", created="changed", id="lsn", changes=Changes(before="before", after="after"))
    at = "2023-12-01T00:00:00Z"
    sent = [
        {"op": "c", "lsn": 1, "changed": at, "after": {"at": at, "key": "k", "x": 1}},
        {"op": "u", "lsn": 2, "changed": at, "before": {"at": at, "key": "k", "x": 1}, "after": {"at": at, "key": "k", "x": 2}},
        {"lsn": 3},
    ]  # fmt: skip
    assert data.take(log, events(*sent), FEED)[1] == Taken(events=3, rows=3, dead=1)
    half = {"at": at, "key": "k", "x": 2.5}
    more = [sent[1], {"op": "u", "lsn": 4, "changed": at, "before": sent[1]["after"], "after": half}]
    assert data.take(log, events(*more, start=4), FEED)[1] == Taken(events=2, rows=2, duplicates=2)
    rows = data.scan(log).sort("ingest_seq").collect()
    assert rows.select("lsn", "op", "x").rows() == [
        (1, "+", 1.0),
        (2, "-", 1.0),
        (2, "+", 2.0),
        (4, "-", 2.0),
        (4, "+", 2.5),
    ]


def test_msgpack_and_arrow_events(data: Data) -> None:
    packed = Source("packed", time="at", id="id", format="msgpack")
    sent = [msgspec.msgpack.encode(row("a")), b"\xc1", msgspec.msgpack.encode({1: 2}), msgspec.msgpack.encode(row("b"))]
    assert data.take(packed, events(*sent), FEED)[1] == Taken(events=4, rows=2, dead=2)
    arrows = Source("arrows", time="at", id="id", format="arrow")
    sent = [_arrow([row("a"), row("b")]), b"ARROW", _arrow([{"id": "x"}]), _arrow([row("c", 3)])]
    assert data.take(arrows, events(*sent), FEED)[1] == Taken(events=4, rows=3, dead=2)
    assert (ids(data, packed), ids(data, arrows)) == (["a", "b"], ["a", "b", "c"])
    with pytest.raises(InvalidArgument, match="Known: json, msgpack, arrow"):
        Source("x", format="xml")


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(buffer)
    return buffer.getvalue()


def test_a_source_with_a_broker_is_not_ingested(data: Data) -> None:
    with pytest.raises(InvalidArgument, match="Run: tidemill features stream trips"):
        data.ingest(Source("trips", "kafka://host/trips"))


# -- what a message of the inbox holds ---------------------------------------------------------------------------------


def test_a_parcel_comes_back_and_rows_alone_are_an_arrow_stream() -> None:
    rows = pl.DataFrame({"x": [1]})
    assert Parcel(rows).pack().startswith(b"\xff\xff\xff\xff")
    parcel = unpack(Parcel(None, rows, rows.clear(), {"f": {"0": "1"}}).pack())
    assert (parcel.rows, parcel.dead, parcel.positions) == (None, None, {"f": {"0": "1"}})
    assert parcel.rejected is not None


positions = st.dictionaries(st.sampled_from("fg"), st.dictionaries(st.sampled_from("01"), st.sampled_from("123")))


@given(positions, positions)
def test_the_latest_positions_do_not_depend_on_the_order(one: Any, other: Any) -> None:
    assert latest(one, other) == latest(other, one)
    assert latest(one, one) == one


# -- killed anywhere ---------------------------------------------------------------------------------------------------


class Death(BaseException):
    """Ends the work. From then on no store changes any more, as after kill -9, whatever is tried on the way out."""


def deadly(data: Data, number: int) -> None:
    """Die after the n-th call that changes a store, which is before the next one."""
    calls = 0

    def armed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > number:
                raise Death
            result = original(*args, **kwargs)
            if calls == number:
                raise Death
            return result

        return call

    for store, names in (
        (data.tables, ("append",)), (data.streams, ("append", "trim")), (data.artifacts, ("put", "delete")),
        (data._ledger.metadata, ("write",)),
    ):  # fmt: skip
        for name in names:
            setattr(store, name, armed(getattr(store, name)))


STREAM = events(
    *(row(f"{n}", 99 if n == 3 else n / 2) if n % 5 else b"{poison" for n in range(11)), row("1", 0.5), row("2", 1.0)
)


def run(data: Data) -> None:
    """What the service does: go on after the durable position, in batches, and compact now and then."""
    known = data.positions(weather, FEED.name).get("0", "")
    waiting = [event for event in STREAM if event.position > known]
    for start in range(0, len(waiting), 5):
        data.take(weather, waiting[start : start + 5], FEED)
        if start == 5:
            data.flush(weather)
    data.flush(weather)


def final(data: Data) -> tuple[Any, ...]:
    return (
        ids(data), sorted(data.quarantine(weather)["id"].to_list()), data.dead_letters(weather)["position"].to_list(),
        data.positions(weather, FEED.name), sum(arrival.rows for arrival in data.arrivals(weather)),
    )  # fmt: skip


def test_a_death_at_any_point_loses_and_doubles_nothing(make_data: MakeData, tmp_path: Path) -> None:
    run(data := make_data())
    expected = final(data)
    assert (len(expected[0]), len(expected[1]), len(expected[2])) == (7, 1, 3)
    for number in range(1, 100):
        subprocess.run(["rm", "-rf", str(tmp_path / ".tidemill")], check=True)
        victim = make_data()
        deadly(victim, number)
        try:
            run(victim)
        except Death:
            run(successor := make_data())
            assert final(successor) == expected, f"after a death at call {number}"
        else:
            break
    assert number > 15
