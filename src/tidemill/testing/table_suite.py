"""What every table store must do. Subclass `TableStoreSuite` in a test module and give the `open_store` fixture.

Example:
    ```python
    class TestDelta(TableStoreSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(open_tables, "delta:", tmp_path)
    ```
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tidemill.core.errors import Conflict, InvalidArgument, InvalidData, NotFound
from tidemill.stores.tables.protocol import TableStore

OpenStore = Callable[[], TableStore]
"""Opens the same store anew; it is pickled and called in other processes too."""

_NOON = datetime(2024, 3, 31, 12, 0, 0, 123_456, tzinfo=UTC).replace(tzinfo=None)

VALUES: dict[str, pl.Series] = {
    "int8": pl.Series([-128, None, 127], dtype=pl.Int8),
    "int16": pl.Series([-(2**15), None, 2**15 - 1], dtype=pl.Int16),
    "int32": pl.Series([-(2**31), None, 2**31 - 1], dtype=pl.Int32),
    "int64": pl.Series([-(2**63), None, 2**63 - 1], dtype=pl.Int64),
    "int128": pl.Series([-(2**127), None, 2**127 - 1], dtype=pl.Int128),
    "uint8": pl.Series([0, None, 255], dtype=pl.UInt8),
    "uint16": pl.Series([0, None, 2**16 - 1], dtype=pl.UInt16),
    "uint32": pl.Series([0, None, 2**32 - 1], dtype=pl.UInt32),
    "uint64": pl.Series([0, None, 2**64 - 1], dtype=pl.UInt64),
    "float16": pl.Series([0.5, None, float("nan")], dtype=pl.Float16),
    "float32": pl.Series([0.1, None, float("-inf")], dtype=pl.Float32),
    "float64": pl.Series([0.1, None, float("nan"), float("inf"), float("-inf"), -0.0], dtype=pl.Float64),
    "boolean": pl.Series([True, None, False]),
    "string": pl.Series(["", None, "Zürich ☃", "a\0b"]),
    "binary": pl.Series([b"", None, b"\x00\xff"]),
    "date": pl.Series([date(1, 1, 1), None, date(2024, 2, 29)]),
    "time": pl.Series([time_of_day(0), None, time_of_day(23, 59, 59, 999_999)]),
    "datetime_us": pl.Series([_NOON, None, _NOON.replace(year=1969)], dtype=pl.Datetime("us")),
    "datetime_ms": pl.Series([_NOON.replace(microsecond=123_000), None], dtype=pl.Datetime("ms")),
    "datetime_ns": pl.Series([1_700_000_000_123_456_789, None], dtype=pl.Int64).cast(pl.Datetime("ns")),
    "datetime_us_utc": pl.Series([_NOON.replace(tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC")),
    "datetime_ms_berlin": pl.Series([1_711_846_800_123, None]).cast(pl.Datetime("ms", "Europe/Berlin")),
    "datetime_ns_new_york": pl.Series([1_700_000_000_123_456_789, None]).cast(pl.Datetime("ns", "America/New_York")),
    "duration_ms": pl.Series([timedelta(days=-1), None], dtype=pl.Duration("ms")),
    "duration_us": pl.Series([timedelta(microseconds=1), None], dtype=pl.Duration("us")),
    "duration_ns": pl.Series([1, None], dtype=pl.Int64).cast(pl.Duration("ns")),
    "decimal": pl.Series([Decimal("-12345678901234567890.123456"), None], dtype=pl.Decimal(38, 6)),
    "categorical": pl.Series(["b", None, "a", "b"], dtype=pl.Categorical()),
    "categorical_named": pl.Series(["b", None], dtype=pl.Categorical("tidemill-suite")),
    "enum": pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "middle", "high"])),
    "list": pl.Series([[1, None], None, []], dtype=pl.List(pl.Int64)),
    "list_of_list": pl.Series([[[1], None], None, [[]]], dtype=pl.List(pl.List(pl.UInt16))),
    "list_of_enum": pl.Series([["a", None], None], dtype=pl.List(pl.Enum(["a", "b"]))),
    "list_of_null": pl.Series([[None], None, []], dtype=pl.List(pl.Null)),
    "array": pl.Series([[1, 2], None, [3, None]], dtype=pl.Array(pl.UInt8, 2)),
    "array_of_array": pl.Series([[[1, 2]], None], dtype=pl.Array(pl.Array(pl.Float32, 2), 1)),
    "struct": pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": None}], dtype=pl.Struct({"a": pl.Int32, "b": pl.String})),
    "struct_of_list": pl.Series([{"a": [{"t": _NOON}]}], dtype=pl.Struct({"a": pl.List(pl.Struct({"t": pl.Datetime("us")}))})),
    "struct_of_odd": pl.Series([{"u": 1, "d": timedelta(1), "z": [1]}],
                               dtype=pl.Struct({"u": pl.UInt64, "d": pl.Duration("ns"), "z": pl.Array(pl.UInt32, 1)})),
    "null": pl.Series([None, None], dtype=pl.Null),
}  # fmt: skip
"""One column per dtype, with its borders and a null."""


class TableStoreSuite:
    """Conformance of a `TableStore`."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """How to open the store under test; subclasses override this."""
        raise TypeError("a subclass of TableStoreSuite gives the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> TableStore:
        return open_store()

    # -- dtypes ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", VALUES)
    def test_a_dtype_comes_back_exactly(self, store: TableStore, open_store: OpenStore, kind: str) -> None:
        frame = _numbered(VALUES[kind])
        store.append("t", frame)
        assert_frame_equal(_read(open_store()), frame)

    @pytest.mark.parametrize("kind", VALUES)
    def test_a_column_of_nulls_keeps_its_dtype(self, store: TableStore, kind: str) -> None:
        frame = _numbered(pl.Series([None, None], dtype=VALUES[kind].dtype))
        store.append("t", frame)
        assert_frame_equal(_read(store), frame)

    @pytest.mark.parametrize("kind", VALUES)
    def test_an_empty_frame_makes_a_table_with_its_dtype(self, store: TableStore, kind: str) -> None:
        frame = _numbered(VALUES[kind])
        store.append("t", frame.clear())
        assert_frame_equal(store.scan("t").collect(), frame.clear())
        store.append("t", frame)
        assert_frame_equal(_read(store), frame)

    def test_all_dtypes_survive_added_columns_and_compaction(self, store: TableStore) -> None:
        frames = [pl.DataFrame({name: values.head(1) for name, values in VALUES.items()}).with_columns(n=0)]
        store.append("t", frames[0].drop("struct", "enum"))
        store.append("t", frames[0].with_columns(n=1))
        store.append("t", frames[0].with_columns(n=2))
        expected = pl.concat([frames[0].with_columns(n=n) for n in range(3)])
        first = pl.col("n") == 0
        expected = expected.with_columns(pl.when(~first).then("struct"), pl.when(~first).then("enum"))
        assert_frame_equal(_read(store), expected, check_column_order=False)
        store.compact("t")
        assert_frame_equal(_read(store), expected, check_column_order=False)

    def test_a_dtype_that_cannot_be_kept_is_named(self, store: TableStore) -> None:
        with pytest.raises(InvalidData, match=r"'thing'.*Object"):
            store.append("t", pl.DataFrame({"thing": pl.Series([object()], dtype=pl.Object)}))
        assert store.version("t") is None

    def test_odd_column_names_are_kept(self, store: TableStore) -> None:
        frame = pl.DataFrame({"n": [0], "wind speed (km/h)": [1.0], "größe": ["x"], "a.b": [2], "select": [3]})
        store.append("t", frame)
        store.append("t", frame.with_columns(pl.lit(1).alias("new column"), n=pl.lit(1, pl.Int64)))
        assert _read(store).columns == [*frame.columns, "new column"]

    # -- columns -----------------------------------------------------------------------------------------------------

    def test_new_columns_are_added_and_missing_ones_null(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"n": [0], "old": ["x"]}))
        store.append("t", pl.DataFrame({"new": [1.5], "n": [1]}))
        assert _read(store).to_dict(as_series=False) == {"n": [0, 1], "old": ["x", None], "new": [None, 1.5]}
        assert store.scan("t", version=0).collect_schema().names() == ["n", "old"]

    def test_a_changed_type_is_refused_by_name(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"n": [0], "x": [1]}))
        with pytest.raises(InvalidData, match=r"'x'.*found String.*Expected Int64"):
            store.append("t", pl.DataFrame({"n": [0], "x": ["one"]}))
        assert store.version("t") == 0

    def test_a_column_is_widened_in_one_commit(self, store: TableStore, open_store: OpenStore) -> None:
        store.append("t", pl.DataFrame({"x": [1, None], "y": ["a", "b"]}), once={"c": 7})
        before = store.version("t")
        version = store.widen("t", {"x": pl.Float64()})
        store.append("t", pl.DataFrame({"x": [0.5], "y": ["c"]}))
        again = open_store()
        expected = pl.DataFrame({"x": [1.0, None, 0.5], "y": ["a", "b", "c"]})
        assert_frame_equal(again.scan("t").sort("y").collect(), expected)
        assert again.scan("t", version=before).collect_schema()["x"] == pl.Int64()
        assert (before, version, again.position("t", "c")) == (0, 1, 7)

    def test_a_column_is_widened_only_if_no_value_changes(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"x": [2**60 + 1]}))
        with pytest.raises(InvalidData, match="'x'"):
            store.widen("t", {"x": pl.Float64()})
        with pytest.raises(NotFound, match="'z'"):
            store.widen("t", {"z": pl.Float64()})
        assert store.scan("t").collect()["x"].to_list() == [2**60 + 1]

    def test_an_untyped_column_takes_the_type_it_gets_later(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"n": [0], "x": [None]}), once={"c": 1})
        store.append("t", pl.DataFrame({"n": [1], "x": [2.5]}), once={"c": 2})
        store.append("t", pl.DataFrame({"n": [2], "x": [None]}))
        assert _read(store).to_dict(as_series=False) == {"n": [0, 1, 2], "x": [None, 2.5, None]}
        assert store.scan("t", version=0).collect_schema()["x"] == pl.Null
        assert store.position("t", "c") == 2

    def test_empty_lists_take_the_type_they_get_later(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"n": [0], "x": [[]], "y": [{"a": None}]}))
        store.append("t", pl.DataFrame({"n": [1], "x": [["a"]], "y": [{"a": 1}]}))
        store.append("t", pl.DataFrame({"n": [2], "x": [[]], "y": [{"a": None}]}))
        assert _read(store)["x"].to_list() == [[], ["a"], []]
        assert _read(store)["y"].to_list() == [{"a": None}, {"a": 1}, {"a": None}]

    def test_rows_without_columns_are_refused(self, store: TableStore) -> None:
        with pytest.raises(InvalidArgument, match="no columns"):
            store.append("t", pl.DataFrame())

    # -- versions ----------------------------------------------------------------------------------------------------

    def test_a_version_never_changes(self, store: TableStore) -> None:
        versions = [store.append("t", pl.DataFrame({"n": [n]})) for n in range(25)]
        store.compact("t")
        for n, version in enumerate(versions):
            assert sorted(store.scan("t", version=version).collect()["n"]) == list(range(n + 1))

    def test_versions_are_listed_oldest_first(self, store: TableStore) -> None:
        for n in range(3):
            store.append("t", pl.DataFrame({"n": [n]}))
        listed = store.versions("t")
        assert [version for version, _ in listed] == [0, 1, 2]
        assert store.version("t") == 2
        times = [at for _, at in listed]
        assert times == sorted(times)

    def test_unknown_tables_and_versions_are_named(self, store: TableStore) -> None:
        store.append("flights", pl.DataFrame({"n": [0]}))
        with pytest.raises(NotFound, match=r"Did you mean 'flights'\?"):
            store.scan("fligths")
        with pytest.raises(NotFound, match=r"version 7.*from 0 to 0"):
            store.scan("flights", version=7)
        assert store.version("fligths") is None
        assert store.position("fligths", "c") is None

    def test_compaction_keeps_the_rows(self, store: TableStore) -> None:
        for n in range(5):
            store.append("t", pl.DataFrame({"n": [n], "x": [n / 2]}))
        before = _read(store)
        assert store.compact("t") == store.version("t")
        assert_frame_equal(_read(store), before)

    def test_vacuum_keeps_what_is_kept(self, store: TableStore) -> None:
        for n in range(4):
            store.append("t", pl.DataFrame({"n": [n]}))
        newest = store.compact("t")
        assert store.vacuum("t", [1]) > 0
        assert sorted(store.scan("t", version=1).collect()["n"]) == [0, 1]
        assert sorted(store.scan("t", version=newest).collect()["n"]) == [0, 1, 2, 3]
        with pytest.raises(NotFound, match="vacuumed"):
            store.scan("t", version=3)

    # -- names -------------------------------------------------------------------------------------------------------

    def test_names_are_listed_and_gone_once_deleted(self, store: TableStore, open_store: OpenStore) -> None:
        assert store.names() == []
        store.append("sources/flights", pl.DataFrame({"n": [0]}))
        store.append("labels/late", pl.DataFrame({"n": [0]}))
        assert store.names() == ["labels/late", "sources/flights"]
        other = open_store()
        assert other.scan("labels/late").collect().height == 1
        store.delete("labels/late")
        store.delete("labels/late")
        assert store.names() == ["sources/flights"]
        assert other.version("labels/late") is None

    def test_a_table_made_anew_is_not_mistaken_for_the_old_one(self, store: TableStore, open_store: OpenStore) -> None:
        store.append("t", pl.DataFrame({"n": [0]}), once={"c": 5})
        other = open_store()
        assert other.version("t") == 0
        store.delete("t")
        store.append("t", pl.DataFrame({"other": ["x"]}))
        assert other.scan("t").collect().to_dicts() == [{"other": "x"}]
        assert other.position("t", "c") is None

    @pytest.mark.parametrize("name", ["", "Flights", "../x", "a//b", "a/../b", "/a", ".locks"])
    def test_a_bad_name_is_refused(self, store: TableStore, name: str) -> None:
        with pytest.raises(InvalidArgument, match="is not a table name"):
            store.append(name, pl.DataFrame({"n": [0]}))

    def test_a_table_within_a_table_is_refused(self, store: TableStore) -> None:
        store.append("a/b", pl.DataFrame({"n": [0]}))
        for name in ("a", "a/b/c"):
            with pytest.raises(Conflict, match="same folder"):
                store.append(name, pl.DataFrame({"n": [0]}))

    # -- exactly once ------------------------------------------------------------------------------------------------

    def test_once_takes_a_position_once(self, store: TableStore, open_store: OpenStore) -> None:
        frame = pl.DataFrame({"n": [0]})
        assert store.position("t", "compactor") is None
        store.append("t", frame, once={"compactor": 10})
        version = store.version("t")
        for position in (10, 9):
            assert open_store().append("t", frame.with_columns(new=1), once={"compactor": position}) == version
        assert store.position("t", "compactor") == 10
        store.append("t", frame, once={"other": 3})
        store.append("t", frame, once={"compactor": 11})
        assert store.scan("t").collect().height == 3
        assert (store.position("t", "compactor"), store.position("t", "other")) == (11, 3)

    def test_positions_of_several_consumers_move_together(self, store: TableStore) -> None:
        frame = pl.DataFrame({"n": [0]})
        store.append("t", frame, once={"left": 3, "right": 5})
        assert (store.position("t", "left"), store.position("t", "right")) == (3, 5)
        version = store.version("t")
        assert store.append("t", frame, once={"left": 3, "right": 5}) == version
        with pytest.raises(Conflict, match="rows of left are in table 't' already"):
            store.append("t", frame, once={"left": 2, "right": 6})
        assert store.version("t") == version
        store.append("t", frame, once={"left": 4, "right": 6})
        assert store.scan("t").collect().height == 2

    def test_a_position_outlives_checkpoints_and_compaction(self, store: TableStore, open_store: OpenStore) -> None:
        store.append("t", pl.DataFrame({"n": [-1]}), once={"early/c": 7})
        for n in range(45):
            store.append("t", pl.DataFrame({"n": [n]}), once={"late": n})
        store.compact("t")
        store.vacuum("t", [])
        again = open_store()
        assert (again.position("t", "early/c"), again.position("t", "late")) == (7, 44)
        assert again.scan("t").collect().height == 46

    def test_a_position_can_move_without_rows(self, store: TableStore) -> None:
        store.append("t", pl.DataFrame({"n": [0]}))
        store.append("t", pl.DataFrame(schema={"n": pl.Int64}), once={"c": 4})
        assert store.position("t", "c") == 4
        assert store.scan("t").collect().height == 1

    # -- many writers ------------------------------------------------------------------------------------------------

    def test_threads_append_at_once(self, store: TableStore, open_store: OpenStore) -> None:
        stores = [store, store, open_store()]
        threads = [threading.Thread(target=_append_some, args=(s, w)) for w, s in enumerate(stores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = sorted((worker, n) for worker in range(3) for n in range(10))
        assert sorted(store.scan("t").collect().rows()) == expected

    def test_a_guard_holds_off_other_guards_but_not_appends(self, store: TableStore, open_store: OpenStore) -> None:
        entered = threading.Event()

        def enter() -> None:
            with open_store().guard("t"):
                entered.set()

        thread = threading.Thread(target=enter)
        with store.guard("t"):
            thread.start()
            store.append("t", pl.DataFrame({"n": [0]}))
            assert not entered.wait(0.2)
        thread.join()
        assert entered.is_set()

    def test_processes_append_at_once_and_are_read_meanwhile(self, store: TableStore, open_store: OpenStore) -> None:
        store.append("t", pl.DataFrame({"worker": [-1], "n": [0]}))
        workers = [_spawn(_append_until_told, open_store, worker) for worker in range(2)]
        seen = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            rows = store.scan("t").collect().height
            assert rows >= seen
            seen = rows
        acknowledged = {worker: _stop(process, pipe) for worker, (process, pipe) in enumerate(workers)}
        left = store.scan("t").collect()
        found = {worker: sorted(left.filter(pl.col("worker") == worker)["n"]) for worker in range(2)}
        assert found == {worker: list(range(count)) for worker, count in acknowledged.items()}
        assert all(acknowledged.values())

    def test_a_killed_writer_loses_nothing_acknowledged(self, store: TableStore, open_store: OpenStore) -> None:
        for worker in range(3):
            process, pipe = _spawn(_append_and_report, open_store, worker)
            count = -1
            while count < 5 + worker:
                count = pipe.recv()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            count = _last_received(pipe, count)
            numbers = sorted(store.scan("t").filter(pl.col("worker") == worker).collect()["n"])
            assert numbers[: count + 1] == list(range(count + 1))
            assert len(numbers) in (count + 1, count + 2)  # the one being appended is there whole or not at all
            store.append("t", pl.DataFrame({"worker": [-1], "n": [worker]}))
        store.vacuum("t", [])
        assert store.scan("t").filter(pl.col("worker") < 0).collect().height == 3


def _numbered(values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"n": range(len(values)), "x": values})


def _read(store: TableStore) -> pl.DataFrame:
    return store.scan("t").collect().sort("n")


def _spawn(target: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
    # Spawned, not forked: a fork of a process that used Polars hangs.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _stop(process: Any, pipe: Any) -> int:
    pipe.send("stop")
    count: int = pipe.recv()
    process.join()
    return count


def _last_received(pipe: Any, count: int) -> int:
    try:
        while True:
            count = pipe.recv()
    except EOFError:
        return count


def _append_some(store: TableStore, worker: int) -> None:
    for n in range(10):
        store.append("t", pl.DataFrame({"worker": [worker], "n": [n]}))


def _append_until_told(open_store: OpenStore, worker: int, pipe: Any) -> None:
    store, n = open_store(), 0
    while n == 0 or not pipe.poll():
        store.append("t", pl.DataFrame({"worker": [worker], "n": [n]}))
        n += 1
    pipe.send(n)


def _append_and_report(open_store: OpenStore, worker: int, pipe: Any) -> None:
    store, n = open_store(), 0
    while True:
        store.append("t", pl.DataFrame({"worker": [worker], "n": [n]}))
        pipe.send(n)
        n += 1
