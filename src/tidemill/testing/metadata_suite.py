"""What every metadata store must do. Subclass `MetadataSuite` in a test module and give the `open_store` fixture.

Example:
    ```python
    class TestSqlite(MetadataSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(open_metadata, "sqlite:", tmp_path)
    ```
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from tidemill.core.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from tidemill.core.records.events import DefinitionVersion, Event, Lease, Pin, Position
from tidemill.core.records.monitoring import Measurement
from tidemill.core.records.record import Record
from tidemill.core.records.runs import MetricPoint, Run
from tidemill.stores.metadata.protocol import MetadataStore, Writer
from tidemill.stores.metadata.tables import KINDS
from tidemill.testing.processes import Acknowledge, acknowledged_before_kill, run_together, together
from tidemill.testing.records import bare_record, full_record, key_of
from tidemill.testing.where_oracle import matches, random_rows, random_where, sort_rows

OpenStore = Callable[[], MetadataStore]
"""Opens the same store anew; it is pickled and called in other processes too."""

STAMP: dict[str, Any] = {"project": "p", "principal": "tester", "created_at": 1}


def pin(target: object, owner: str = "o") -> Pin:
    """A small record."""
    return Pin(**STAMP, target=str(target), owner=owner)


def event(kind: str = "data.arrived", subject: str = "source/s") -> Event:
    """An event not yet in the log."""
    return Event(**STAMP, kind=kind, subject=subject)


class _Stop(Exception):
    """Ends a block from inside."""


class MetadataSuite:
    """The contract of `MetadataStore`."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """The one fixture to override: opens the store of this test, empty at first."""
        raise AssertionError("give the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[MetadataStore]:
        store = open_store()
        yield store
        store.close()

    # -- records -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_a_record_of_every_kind_comes_back_equal(self, store: MetadataStore, kind: type[Record]) -> None:
        records = [full_record(kind, 2), bare_record(kind, 1)]
        with store.write() as writer:
            writer.add(*records)
        with store.read() as reader:
            assert [reader.get(kind, **key_of(record)) for record in records] == records
            assert reader.find(kind) == records[::-1]

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
    @pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, -1e-300, 0.1, None])
    def test_numbers_are_exact(self, store: MetadataStore, number: int, value: float | None) -> None:
        point = MetricPoint(**STAMP, run_id="r", name="n", step=number, at=-number // 2, seq=0, value=value)
        with store.write() as writer:
            writer.add(point)
        with store.read() as reader:
            assert repr(reader.find(MetricPoint)) == repr([point])

    @pytest.mark.parametrize(
        "text", ["", " ", "Ünïcødé 🌊", "'; DROP TABLE pins; --", '"\\%_\n\t', "a" * 191, "A", "a", "é"]
    )
    def test_texts_are_exact(self, store: MetadataStore, text: str) -> None:
        decoy = pin(f"{text.swapcase()[:190]}x")
        with store.write() as writer:
            writer.add(pin(text, owner=text), decoy)
        with store.read() as reader:
            assert reader.find(Pin, {"target": text}) == [pin(text, owner=text)]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("value", float("nan")),
            ("value", float("inf")),
            ("value", "0.5"),
            ("step", 2**63),
            ("step", 0.5),
            ("step", None),
            ("name", "a\0b"),
            ("name", "a" * 192),
            ("name", "\ud800"),
            ("name", 7),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, store: MetadataStore, field: str, value: Any) -> None:
        fitting = MetricPoint(**STAMP, run_id="r", name="n", step=0, at=0, seq=0, value=0.5)
        with pytest.raises(InvalidArgument, match=rf"MetricPoint\.{field}"), store.write() as writer:
            writer.add(msgspec.structs.replace(fitting, **{field: value}))
        with store.read() as reader:
            assert reader.count(MetricPoint) == 0

    def test_what_is_no_json_is_refused_by_name(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidArgument, match=r"Event\.body"), store.write() as writer:
            writer.emit(msgspec.structs.replace(event(), body={"x": object()}))

    def test_an_absent_record_is_none_and_a_wrong_key_an_error(self, store: MetadataStore) -> None:
        with store.read() as reader:
            assert reader.get(Pin, target="t", owner="o") is None
            for key in ({"target": "t"}, {"target": "t", "owner": "o", "project": "p"}, {}):
                with pytest.raises(InvalidArgument, match="target, owner"):
                    reader.get(Pin, **key)

    def test_ten_thousand_points_at_once(self, store: MetadataStore) -> None:
        points = [
            MetricPoint(**STAMP, run_id="r", name="loss", step=step, at=step, seq=0, value=1 / (step + 1))
            for step in range(10_000)
        ]
        with store.write() as writer:
            writer.add(*points)
        with store.read() as reader:
            assert reader.find(MetricPoint, {"run_id": "r", "name": "loss"}, order=["step"]) == points

    # -- add, put, change, remove ------------------------------------------------------------------

    def test_adding_a_taken_key_adds_nothing_and_the_transaction_goes_on(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(pin("b"))
        with store.write() as writer:
            writer.add(pin("before"))
            with pytest.raises(AlreadyExists, match="target='b'"):
                writer.add(pin("a"), pin("b"), pin("c"))
            with pytest.raises(AlreadyExists, match="target='d'"):
                writer.add(pin("d"), pin("d"))
            writer.add(pin("after"))
        with store.read() as reader:
            assert [found.target for found in reader.find(Pin)] == ["after", "b", "before"]

    def test_records_of_several_kinds_are_added_in_one_call(self, store: MetadataStore) -> None:
        records = [pin(1), full_record(Run, 1), pin(2), full_record(Lease, 1)]
        with store.write() as writer:
            writer.add(*records)
            writer.add()
        with store.read() as reader:
            assert [reader.get(type(record), **key_of(record)) for record in records] == records

    def test_put_inserts_or_replaces_whole_records(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.put(full_record(Measurement, 1), full_record(Measurement, 2))
        replaced = msgspec.structs.replace(full_record(Measurement, 1), value=None, rows=77, principal="other")
        with store.write() as writer:
            writer.put(replaced, full_record(Measurement, 3))
        with store.read() as reader:
            assert reader.find(Measurement) == [replaced, full_record(Measurement, 2), full_record(Measurement, 3)]

    def test_change_sets_fields_of_what_matches(self, store: MetadataStore) -> None:
        runs = [msgspec.structs.replace(full_record(Run, number), status="running") for number in (1, 2, 3)]
        with store.write() as writer:
            writer.add(*runs)
            ended = {"status": "finished", "ended_at": 9, "error": None, "tags": {"a": [1]}}
            assert writer.change(Run, {"id": ["id-1", "id-3"]}, **ended) == 2
            assert writer.change(Run, {"id": "id-4"}, status="failed") == 0
        with store.read() as reader:
            after = [msgspec.structs.replace(run, **ended) for run in runs]
            assert reader.find(Run) == [after[0], runs[1], after[2]]

    @pytest.mark.parametrize("values", [{"id": "x"}, {"statos": "x"}, {}, {"status": 1}, {"status": None}])
    def test_change_refuses_keys_and_what_does_not_exist_or_fit(
        self, store: MetadataStore, values: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgument, match="Run"), store.write() as writer:
            writer.change(Run, {"id": "id-1"}, **values)

    def test_a_compare_and_set_succeeds_once(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(Lease(**STAMP, name="daemon", holder="a", expires_at=5, beat_at=0))
            free = {"name": "daemon", "expires_at": ("<", 6)}
            assert writer.change(Lease, free, holder="b", expires_at=10) == 1
            assert writer.change(Lease, free, holder="c", expires_at=10) == 0

    def test_remove_deletes_what_matches(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(*(pin(number) for number in range(5)))
            assert writer.remove(Pin, {"target": (">=", "3")}) == 2
            assert writer.remove(Pin, {"target": "9"}) == 0
            assert writer.count(Pin) == 3
            assert writer.remove(Pin, {}) == 3

    # -- questions ---------------------------------------------------------------------------------

    def test_conditions_mean_the_same_as_in_python(self, store: MetadataStore) -> None:
        chance = random.Random(7)
        rows = random_rows(chance, 150)
        with store.write() as writer:
            writer.add(*rows)
        with store.read() as reader:
            for _ in range(300):
                where = random_where(chance)
                expected = [row for row in rows if matches(row, where)]
                assert reader.find(MetricPoint, where) == sort_rows(expected, ()), where
                assert reader.count(MetricPoint, where) == len(expected), where

    @pytest.mark.parametrize(
        "order", [("value",), ("-value",), ("kind", "-step"), ("-kind", "value", "-name"), ("-run_id",)]
    )
    def test_order_is_total_and_pages_never_overlap(self, store: MetadataStore, order: tuple[str, ...]) -> None:
        rows = random_rows(random.Random(3), 60)
        with store.write() as writer:
            writer.add(*rows)
        with store.read() as reader:
            expected = sort_rows(rows, order)
            assert reader.find(MetricPoint, order=order) == expected
            pages = [reader.find(MetricPoint, order=order, limit=7, offset=start) for start in range(0, 70, 7)]
            assert [row for page in pages for row in page] == expected
            assert reader.find(MetricPoint, order=order, offset=50) == expected[50:]
            assert reader.find(MetricPoint, order=order, limit=0) == []

    def test_many_choices(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(*(pin(number) for number in range(100)))
        with store.read() as reader:
            assert reader.count(Pin, {"target": [str(number) for number in range(50, 20_000)]}) == 50
            assert reader.count(Pin, {"target": []}) == 0
            with pytest.raises(InvalidArgument, match="at most"):
                reader.count(Pin, {"target": ["x"] * 30_001})

    @pytest.mark.parametrize("where", [{"targit": "t"}, {"project_": None}])
    def test_an_unknown_field_is_named_with_the_known_ones(self, store: MetadataStore, where: dict[str, Any]) -> None:
        with store.read() as reader, pytest.raises(NotFound, match="target"):
            reader.find(Pin, where)

    @pytest.mark.parametrize(
        "where", [{"seq": ("~", 1)}, {"seq": (1, 2, 3)}, {"seq": ("<", None)}, {"seq": "one"}, {"body": {}}]
    )
    def test_a_condition_without_meaning_is_refused(self, store: MetadataStore, where: dict[str, Any]) -> None:
        with store.read() as reader, pytest.raises(InvalidArgument):
            reader.find(Event, where)

    def test_an_unknown_order_is_refused(self, store: MetadataStore) -> None:
        with store.read() as reader, pytest.raises(NotFound, match="created_at"):
            reader.find(Pin, order=["-created"])

    # -- transactions ------------------------------------------------------------------------------

    def test_a_block_that_raises_changes_nothing(self, store: MetadataStore) -> None:
        with suppress(_Stop), store.write() as writer:
            writer.add(pin("a"))
            writer.emit(event())
            writer.next("versions")
            raise _Stop
        with store.write() as writer:
            assert writer.count(Pin) == 0
            assert writer.count(Event) == 0
            assert writer.next("versions") == 1

    def test_a_writer_reads_what_it_wrote(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(pin("a"))
            assert writer.get(Pin, target="a", owner="o") == pin("a")

    def test_a_reader_sees_one_snapshot(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.add(pin("a"))
        with store.read() as before:
            assert before.count(Pin) == 1
            with store.write() as writer:
                writer.add(pin("b"))
                writer.change(Pin, {"target": "a"}, principal="changed")
                with store.read() as during:
                    assert during.count(Pin) == 1
            assert before.find(Pin) == [pin("a")]
            with store.read() as after:
                assert after.count(Pin) == 2

    def test_a_second_write_in_the_same_thread_is_refused(self, store: MetadataStore) -> None:
        with store.write() as writer:
            with pytest.raises(Conflict, match="already writes"), store.write():
                pass
            writer.add(pin("a"))
        with store.write() as writer:
            assert writer.count(Pin) == 1

    def test_what_is_committed_is_there_after_opening_again(self, open_store: OpenStore) -> None:
        first = open_store()
        with first.write() as writer:
            writer.add(pin("a"))
        second = open_store()
        with second.read() as reader:
            assert reader.count(Pin) == 1
        first.close()
        second.close()

    # -- events and counters -----------------------------------------------------------------------

    def test_events_are_numbered_from_one_without_gaps(self, store: MetadataStore) -> None:
        for number in range(3):
            with store.write() as writer:
                writer.emit(event(subject=f"first-{number}"))
                writer.emit(event(subject=f"second-{number}"))
            with suppress(_Stop), store.write() as writer:
                writer.emit(event(subject="lost"))
                raise _Stop
        with store.read() as reader:
            log = reader.find(Event, order=["seq"])
        assert [found.seq for found in log] == [1, 2, 3, 4, 5, 6]
        assert [found.subject for found in log] == [f"{which}-{n}" for n in range(3) for which in ("first", "second")]

    def test_event_numbers_are_not_given_again_after_removal(self, store: MetadataStore) -> None:
        with store.write() as writer:
            writer.emit(event())
            writer.remove(Event, {})
            writer.emit(event())
            assert [found.seq for found in writer.find(Event)] == [2]

    def test_counters_start_at_one_and_advance(self, store: MetadataStore) -> None:
        with store.write() as writer:
            assert [writer.next("a"), writer.next("a"), writer.next("b"), writer.next("a", 10)] == [1, 2, 1, 3]
            assert writer.next("a") == 13
            with pytest.raises(InvalidArgument):
                writer.next("a", 0)

    # -- many at once ------------------------------------------------------------------------------

    def test_threads(self, store: MetadataStore) -> None:
        numbers: list[int] = []
        threads = [threading.Thread(target=lambda: numbers.extend(_count(store, 20))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(1, 161))

    def test_processes_open_a_new_store_and_write_at_once(self, open_store: OpenStore) -> None:
        numbers = run_together(_open_and_count, [(open_store, 40)] * 8)
        assert sorted(number for own in numbers for number in own) == list(range(1, 321))

    def test_a_reader_of_the_event_log_misses_nothing(self, store: MetadataStore, open_store: OpenStore) -> None:
        total = 4 * 50
        seen: list[int] = []
        with together(_open_and_emit, [(open_store, writer, 50) for writer in range(4)]) as results:
            while len(seen) < total and not (seen and seen[-1] > len(seen)):
                with store.read() as reader:
                    last = seen[-1] if seen else 0
                    seen += [found.seq for found in reader.find(Event, {"seq": (">", last)}, order=["seq"])]
            results()
        assert seen == list(range(1, total + 1))
        with store.read() as reader:
            for number in range(4):
                own = reader.find(Event, {"subject": f"writer-{number}"}, order=["seq"])
                assert [found.body["n"] for found in own] == list(range(50))

    def test_all_a_killed_writer_acknowledged_is_there(self, store: MetadataStore, open_store: OpenStore) -> None:
        for after in (1, 60):
            acknowledged = acknowledged_before_kill(_write_for_ever, (open_store, after), after)
            with store.read() as reader:
                kept = {int(found.target) for found in reader.find(Pin, {"owner": str(after)})}
                events = reader.find(Event, {"subject": str(after)})
                position = reader.get(Position, consumer=str(after), feed="f")
            assert set(acknowledged) <= kept
            # Whole transactions only: the pin, its event and the position were written together.
            assert kept == set(range(len(kept))) == {found.body["n"] for found in events}
            assert position is not None
            assert position.position == len(kept) - 1
        with store.write() as writer:  # the dead writer holds nothing up
            writer.add(pin("alive"))

    def test_versions_of_a_definition_stay_in_order(self, store: MetadataStore, open_store: OpenStore) -> None:
        run_together(_new_versions, [(open_store, 15)] * 4)
        with store.read() as reader:
            versions = reader.find(DefinitionVersion, order=["version"])
        assert [found.version for found in versions] == list(range(1, 61))
        assert [found.current for found in versions] == [False] * 59 + [True]


def _count(store: MetadataStore, times: int) -> list[int]:
    numbers = []
    for _ in range(times):
        with store.write() as writer:
            number = writer.next("shared")
            writer.add(pin(number))
            numbers.append(number)
    return numbers


def _open_and_count(open_store: OpenStore, times: int) -> list[int]:
    store = open_store()
    numbers = _count(store, times)
    store.close()
    return numbers


def _open_and_emit(open_store: OpenStore, number: int, times: int) -> None:
    store = open_store()
    for n in range(times):
        with store.write() as writer:
            writer.emit(msgspec.structs.replace(event(subject=f"writer-{number}"), body={"n": n}))
    store.close()


def _write_for_ever(acknowledge: Acknowledge, open_store: OpenStore, name: int) -> None:
    store = open_store()
    for n in range(10**9):
        with store.write() as writer:
            writer.add(pin(n, owner=str(name)))
            writer.emit(msgspec.structs.replace(event(subject=str(name)), body={"n": n}))
            writer.put(Position(**STAMP, consumer=str(name), feed="f", position=n))
        acknowledge(n)


def _new_versions(open_store: OpenStore, times: int) -> None:
    # Reads and then writes what follows from it: right only if no other writer comes between.
    store = open_store()
    for _ in range(times):
        with store.write() as writer:
            _new_version(writer)
    store.close()


def _new_version(writer: Writer) -> None:
    name = {"project": "p", "kind": "source", "name": "s"}
    newest = writer.find(DefinitionVersion, name, order=["-version"], limit=1)
    writer.change(DefinitionVersion, name, current=False)
    version = newest[0].version + 1 if newest else 1
    writer.add(DefinitionVersion(**STAMP, kind="source", name="s", version=version, digest="d", body={}))
