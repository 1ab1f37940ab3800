from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.protocols import Captured
from tidemill.monitoring.capture import Captures, StreamCapture, decode, encode, fitted
from tidemill.stores.streams.open import open_streams
from tidemill.stores.tables.open import open_tables
from tidemill.testing.processes import acknowledged_before_kill, run_together


def request(number: int, rows: pl.DataFrame | None = None, endpoint: str = "late") -> Captured:
    frame = pl.DataFrame({"row_id": [f"r{number}"], "prediction_time": [number * 10], "temp": [number / 2]})
    return Captured(endpoint, 3, f"q{number}", 1_000 + number, 7, frame if rows is None else rows)


def test_a_request_comes_back_with_what_is_stamped_on_it():
    rows = decode([encode(request(4))])
    assert rows.to_dicts() == [
        {"row_id": "r4", "prediction_time": 40, "temp": 2.0, "request_id": "q4", "generation": 3, "received_at": 1_004,
         "duration_us": 7}
    ]  # fmt: skip


def test_a_row_without_prediction_time_counts_at_its_arrival():
    rows = decode([encode(request(1, pl.DataFrame({"row_id": ["a", "b"], "prediction_time": [None, 5]})))])
    assert rows["prediction_time"].to_list() == [1_001, 5]


def test_categories_and_small_numbers_are_kept_plain():
    frame = pl.DataFrame(
        {"row_id": [1], "carrier": pl.Series(["AA"], dtype=pl.Enum(["AA"])), "n": pl.Series([1], dtype=pl.Int8)}
    )
    assert decode([encode(request(1, frame))]).schema["carrier"] == pl.String
    assert decode([encode(request(1, frame))]).schema["n"] == pl.Int64
    assert decode([encode(request(1, frame))])["row_id"].to_list() == ["1"]


def test_requests_are_decoded_together_each_with_its_own_stamp():
    kinds = [pl.Series("kind", [name], dtype=pl.Enum([name])) for name in ("a", "b")]
    frames = [pl.DataFrame({"row_id": [str(n)] * 2, "kind": kinds[n].extend(kinds[n])}) for n in range(2)]
    rows = decode([encode(request(n, frames[n])) for n in range(2)])
    assert rows.select("row_id", "kind", "request_id", "prediction_time").rows() == [
        ("0", "a", "q0", 1_000), ("0", "a", "q0", 1_000), ("1", "b", "q1", 1_001), ("1", "b", "q1", 1_001)
    ]  # fmt: skip


def test_every_acknowledged_request_is_read_once(streams, captures):
    sinks = [StreamCapture(streams, worker) for worker in ("w0", "w1")]
    for number in range(20):
        sinks[number % 2].append(request(number))
        if number % 7 == 0:
            captures.compact("late")
    assert captures.compact("late") == 5
    assert captures.compact("late") == 0
    rows = captures.read("late", 0, 1_000)
    assert rows["row_id"].to_list() == [f"r{number}" for number in range(20)]


def test_a_window_holds_its_start_and_not_its_end(streams, captures):
    for number in range(5):
        StreamCapture(streams, "w").append(request(number))
    captures.compact("late")
    assert captures.read("late", 10, 30)["row_id"].to_list() == ["r1", "r2"]
    assert captures.times("late", pl.col("row_id") == "r3").to_list() == [30]
    assert captures.read("late").height == 5


def test_nothing_captured_is_an_empty_frame(captures):
    assert captures.compact("late") == 0
    assert captures.read("late", 0, 10).is_empty()
    assert captures.ids("late").is_empty()


def test_a_column_that_changes_its_type_is_kept(streams, captures):
    sink = StreamCapture(streams, "w")
    kinds = [pl.Series([1]), pl.Series([2.5]), pl.Series(["three"]), pl.Series([None]), pl.Series([True])]
    for number, values in enumerate(kinds):
        frame = pl.DataFrame({"row_id": [str(number)], "prediction_time": [number], "x": values})
        sink.append(request(number, frame))
        captures.compact("late")
    rows = captures.read("late", 0, 10)
    assert rows["x"].to_list() == ["1", "2.5", "three", None, "true"]
    numbers = captures.read("late", 0, 2)
    assert numbers["row_id"].to_list() == ["0", "1"]


def test_numbers_that_become_decimals_stay_numbers(streams, captures):
    sink = StreamCapture(streams, "w")
    for number, value in enumerate([1, 2.5]):
        sink.append(request(number, pl.DataFrame({"row_id": [str(number)], "prediction_time": [number], "x": [value]})))
        captures.compact("late")
    assert captures.read("late", 0, 10)["x"].to_list() == [1.0, 2.5]


def test_columns_come_and_go(streams, captures):
    sink = StreamCapture(streams, "w")
    for number, name in enumerate(["a", "b", "a"]):
        sink.append(
            request(number, pl.DataFrame({"row_id": [str(number)], "prediction_time": [number], name: [number]}))
        )
        captures.compact("late")
    assert captures.read("late", 0, 10).select("a", "b").rows() == [(0, None), (None, 1), (2, None)]


def test_a_value_of_another_type_goes_beside():
    rows = fitted(pl.DataFrame({"x": ["text"], "n": [1]}), pl.Schema({"x": pl.Float64, "n": pl.Float64}))
    assert rows.schema == pl.Schema({"x@string": pl.String, "n": pl.Float64})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(plan=st.lists(st.sampled_from(["w0", "w1", "compact"]), max_size=25))
def test_any_order_of_appending_and_compacting_keeps_each_request_once(tmp_path_factory, plan):
    home = tmp_path_factory.mktemp("home")
    streams, tables = open_streams("file:", home), open_tables("delta:", home)
    captures, sent = Captures(streams, tables), []
    for number, action in enumerate(plan):
        if action == "compact":
            captures.compact("late")
        else:
            StreamCapture(streams, action).append(request(number))
            sent.append(f"r{number}")
    captures.compact("late")
    assert captures.read("late", 0, 10_000)["row_id"].to_list() == sent


# -- killed processes ------------------------------------------------------------------------------


def append_forever(acknowledge: Callable[[int], None], home: Path) -> None:
    sink, number = StreamCapture(open_streams("file:", home), "w"), 0
    while True:
        sink.append(request(number))
        acknowledge(number)
        number += 1


def compact_forever(acknowledge: Callable[[int], None], home: Path) -> None:
    streams, number = open_streams("file:", home), 0
    captures, sink = Captures(streams, open_tables("delta:", home)), StreamCapture(streams, "w")
    while True:
        sink.append(request(number))
        captures.compact("late")
        acknowledge(number)
        number += 1


@pytest.mark.parametrize("work", [append_forever, compact_forever])
def test_what_was_acknowledged_before_a_kill_is_there_once(tmp_path, work):
    numbers = acknowledged_before_kill(work, (tmp_path,), after=12)
    captures = Captures(open_streams("file:", tmp_path), open_tables("delta:", tmp_path))
    captures.compact("late")
    found = Counter(captures.read("late", 0, 10**9)["row_id"])
    assert set(found) >= {f"r{number}" for number in numbers}
    assert set(found.values()) == {1}


def compact_once(home: Path) -> int:
    return Captures(open_streams("file:", home), open_tables("delta:", home)).compact("late")


def test_two_processes_compact_the_same_messages_once(tmp_path):
    streams = open_streams("file:", tmp_path)
    for number in range(50):
        StreamCapture(streams, f"w{number % 3}").append(request(number))
    assert sum(run_together(compact_once, [(tmp_path,), (tmp_path,)])) == 50
    rows = Captures(streams, open_tables("delta:", tmp_path)).read("late", 0, 10**9)
    assert rows.height == 50
