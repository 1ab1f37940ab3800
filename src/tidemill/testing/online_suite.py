"""What every online store must do; subclass `OnlineSuite` in a test module and give it a fixture `online`.

A store that several processes share subclasses `SharedOnlineSuite` instead, and gives a fixture `open_store`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import Conflict, InvalidArgument, InvalidData, NotFound
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.protocol import (
    NEVER_KNOWN,
    TIMES,
    Block,
    Entries,
    Entry,
    Latest,
    OnlineReader,
    OnlineStore,
    Position,
    Question,
    Range,
    Stats,
)
from tidemill.testing.processes import Acknowledge, acknowledged_before_kill, run_together, together

OpenStore = Callable[[], OnlineStore]
"""Opens the same store anew; it is pickled and called in other processes too."""

Row = tuple[bytes, tuple[int, int, int], bytes]
"""Key, times, payload."""

WIDTH = 16
TOP = 2**63 - 1


def entries(rows: Sequence[Row], *, fixed: bool) -> Entries:
    """Rows in any order as entries."""
    grouped: dict[bytes, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    flat = [row for group in grouped.values() for row in group]
    payloads: Any = [row[2] for row in flat]
    if fixed:
        payloads = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(flat), WIDTH)
    starts = np.cumsum([0, *map(len, grouped.values())], dtype=np.int64)
    return Entries(list(grouped), starts, np.array([row[1] for row in flat], np.int64).reshape(-1, 3), payloads)


def payload(number: int) -> bytes:
    """A payload of the fixed width that tells a record from others."""
    return number.to_bytes(WIDTH, "little")


def plain(block: Block) -> tuple[list[list[int]], list[bytes]]:
    """A block as comparable values."""
    return block.words.tolist(), list(block.payloads)


# Few and extreme values, so that equal and neighbouring times are common.
_times = st.integers(-30, 30) | st.sampled_from([NEVER_KNOWN, NEVER_KNOWN + 1, TOP, TOP - 1])
_keys = st.sampled_from([b"", b"\0", b"a", b"ab", b"b", b"k" * 600, b"k" * 601])
_row = st.tuples(_keys, st.tuples(_times, _times, st.integers(0, 5)), st.integers(0, 255).map(payload))
_batches = st.lists(st.lists(_row, min_size=1, max_size=80), min_size=1, max_size=4)


@dataclass
class Pair:
    """A store and the oracle, given the same calls."""

    store: OnlineStore
    fixed: bool
    view: str = "model"
    oracle: MemoryOnline = field(default_factory=MemoryOnline)

    def __post_init__(self) -> None:
        self.store.drop(self.view)
        for store in (self.store, self.oracle):
            store.declare(self.view, width=WIDTH if self.fixed else None)

    def exchange(self, row: Row) -> None:
        """Append one row to both; both must find it new or not, and its key's records after it."""
        entry = Entry(row[0], TIMES.pack(*row[1]) + row[2])

        def ask(reader: OnlineReader) -> Any:
            blocks = reader.range(self.view, [row[0], None], [NEVER_KNOWN] * 2, [TOP] * 2)
            latest = reader.latest(self.view, [row[0]], [row[1][0]])
            return list(map(plain, blocks)), latest, reader.stats(self.view), reader.position(self.view, "none")

        assert self.store.exchange(self.view, entry, ask) == self.oracle.exchange(self.view, entry, ask)

    def append(self, rows: Sequence[Row]) -> None:
        """Append to both; both must have found the same number of new records."""
        batch = entries(rows, fixed=self.fixed)
        assert self.store.append(self.view, batch) == self.oracle.append(self.view, batch)

    def trim(self, before: int) -> None:
        assert self.store.trim(self.view, before) == self.oracle.trim(self.view, before)

    def check(self, points: Sequence[int]) -> None:
        """Both give the same answers at and between the points."""
        keys: list[bytes | None] = [None, b"absent", b"", b"\0", b"a", b"ab", b"b", b"k" * 600, b"k" * 601]
        with self.store.read() as mine, self.oracle.read() as theirs:
            assert mine.stats(self.view) == theirs.stats(self.view)
            for at in points:
                for known in (False, True):
                    ats = [at] * len(keys)
                    assert mine.latest(self.view, keys, ats, known=known) == theirs.latest(
                        self.view, keys, ats, known=known
                    )
            for low, high in zip(points, sorted(points), strict=True):
                bounds = [low] * len(keys), [high] * len(keys)
                got, expected = mine.range(self.view, keys, *bounds), theirs.range(self.view, keys, *bounds)
                assert list(map(plain, got)) == list(map(plain, expected))


class OnlineSuite:
    """The contract of `OnlineStore`.

    A subclass gives a fixture `online`: an open, empty store.
    """

    @pytest.fixture
    def examples(self) -> int:
        """How many examples the oracle is asked; a store whose answers take long may override it."""
        return settings().max_examples

    @pytest.mark.parametrize("fixed", [True, False])
    def test_answers_as_the_oracle(self, online: OnlineStore, fixed: bool, examples: int) -> None:
        @settings(max_examples=examples)
        @given(batches=_batches, points=st.lists(_times, min_size=2, max_size=8), before=_times)
        def answers(batches: list[list[Row]], points: list[int], before: int) -> None:
            pair = Pair(online, fixed)
            for batch in batches:
                pair.append(batch)
            pair.check(points)
            for row in batches[-1][:10] if fixed else []:
                pair.exchange((row[0], (row[1][0], row[1][1], row[1][2] + 3), row[2]))
            pair.trim(before)
            pair.check(points)
            pair.append(batches[0])
            pair.check(points)

        answers()

    @pytest.mark.parametrize("fixed", [True, False])
    def test_many_records_of_a_key_in_any_order(self, online: OnlineStore, fixed: bool) -> None:
        numbers = np.random.default_rng(3)
        pair = Pair(online, fixed)
        for _ in range(12):
            size = int(numbers.integers(1, 400))
            times = numbers.integers(-500, 500, (size, 3))
            pair.append([(b"a", (int(e), int(k), int(s)), payload(abs(int(e)))) for e, k, s in times])
            pair.check([-501, -250, -1, 0, 1, 250, 500])

    def test_times_in_sequence_append(self, online: OnlineStore) -> None:
        pair = Pair(online, True)
        for step in range(200):
            pair.append([(key, (step, step, step), payload(step)) for key in (b"a", b"b")])
        pair.check([-1, 0, 57, 58, 199, 200])

    def test_equal_times_beyond_a_chunk_keep_their_sequence(self, online: OnlineStore) -> None:
        pair = Pair(online, True)
        pair.append([(b"a", (7, 7, number), payload(number)) for number in range(500)])
        pair.append([(b"a", (7, 7, number), payload(0)) for number in range(250, 750)])
        with online.read() as reader:
            record = reader.latest("model", [b"a"], [7])[0]
            block = reader.range("model", [b"a"], [7], [8])[0]
        assert record is not None
        assert TIMES.unpack_from(record)[2] == 749
        assert block.words[:, 2].tolist() == list(range(750))
        assert block.words[:500, 3].tolist() == list(range(500))  # what was there stays

    def test_a_large_payload(self, online: OnlineStore) -> None:
        online.declare("texts", width=None)
        rows = [(b"a", (number, 0, number), b"x" * number * 3000) for number in range(5)]
        online.append("texts", entries(rows, fixed=False))
        with online.read() as reader:
            record = reader.latest("texts", [b"a"], [3])[0]
            assert [len(p) for p in reader.range("texts", [b"a"], [0], [9])[0].payloads] == [0, 3000, 6000, 9000, 12000]
        assert record is not None
        assert record[TIMES.size :] == b"x" * 9000

    def test_positions_are_written_with_the_entries(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        online.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True), positions={"table": 5, "push": -1})
        with online.read() as reader:
            assert (reader.position("v", "table"), reader.position("v", "push")) == (5, -1)
            assert reader.position("v", "other") is None
        with pytest.raises(InvalidData):
            online.append("v", entries([(b"a", (2, 1, 1), b"short")], fixed=False), positions={"table": 6})
        with online.read() as reader:
            assert reader.position("v", "table") == 5
            assert reader.stats("v") == (1, 1)
        online.append("v", entries([], fixed=True), positions={"table": 7})
        with online.read() as reader:
            assert reader.position("v", "table") == 7

    def test_what_is_called_unchanged_is(self, online: OnlineStore) -> None:
        def seen() -> object | None:
            with online.read() as reader:
                return reader.unchanged

        record = entries([(b"a", (1, 1, 1), payload(1))], fixed=True)
        changes: list[Callable[[], object]] = [
            lambda: online.declare("v", width=WIDTH),
            lambda: online.append("v", record, positions={"table": 1}),
            lambda: online.append("v", entries([], fixed=True), positions={"table": 2}),
            lambda: online.declare("w", width=None),
            lambda: online.drop("v"),
        ]
        known: list[object] = [seen()]
        for change in changes:
            change()
            known.append(seen())
        told = [one for one in known if one is not None]
        assert len(set(map(id, told))) == len(told)
        online.declare("v", width=WIDTH)
        for step in (1, 2, 3):
            entry = Entry(b"a", TIMES.pack(step, step, step) + payload(step))
            online.append("v", entries([], fixed=True), positions={"table": step})
            assert online.exchange("v", entry, lambda reader: reader.position("v", "table")) == (True, step)

    def test_several_questions_are_answered_as_one_by_one(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        online.declare("texts", width=None)
        rows = [(b"a", (t, t, t), payload(t)) for t in range(5)]
        online.append("v", entries(rows, fixed=True), positions={"table": 5})
        online.append("texts", entries(rows[:2], fixed=False))
        keys: list[bytes | None] = [b"a", None, b"absent", b"a"]
        questions: list[Question] = [
            Position("v", "table"), Position("v", "other"), Stats("texts"), Latest("v", keys, [3, 3, 3, 3]),
            Latest("v", keys, [3, 1, 2, 0], True), Range("texts", keys, [0, 0, 0, 1], [2, 2, 2, 2]),
            Range("v", keys, [0, 0, 0, 4], [9, 9, 9, 4]), Latest("v", [], []), Range("v", [], [], []), Stats("v"),
        ]  # fmt: skip
        with online.read() as reader:
            together: list[Any] = reader.answer(questions)
            alone: list[Any] = [question.ask(reader) for question in questions]
            assert reader.answer([]) == []
            for question, one, other in zip(questions, together, alone, strict=True):
                if isinstance(question, Range):
                    assert list(map(plain, one)) == list(map(plain, other))
                else:
                    assert one == other
            assert [len(block.words) for block in together[6]] == [5, 0, 0, 0]
            with pytest.raises(NotFound, match="nothing"):
                reader.answer([*questions, Stats("nothing")])
            with pytest.raises(NotFound, match="nothing"):
                reader.answer([Position("nothing", "table"), *questions])

    def test_blocks_without_records_have_the_columns_of_others(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        with online.read() as reader:
            blocks = reader.range("v", [b"a", None], [0, 0], [9, 9])
        assert [block.words.shape for block in blocks] == [(0, 3 + WIDTH // 8)] * 2

    def test_records_of_many_keys(self, online: OnlineStore) -> None:
        keys, pair = [b"%d" % number for number in range(5_000)], Pair(online, True)
        pair.append([(key, (1, 1, 1), payload(1)) for key in keys])
        pair.append([(key, (2, 2, 2), payload(2)) for key in keys[::2]])
        pair.trim(2)
        with online.read() as reader:
            found = reader.latest("model", keys, [9] * len(keys))
        assert [TIMES.unpack_from(record or b"")[0] for record in found] == [2, 1] * 2_500
        assert online.append("model", entries([(key, (2, 2, 2), payload(9)) for key in keys], fixed=True)) == 2_500

    def test_a_read_sees_one_moment(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        online.append("v", entries([(b"a", (1, 1, 1), payload(1))], fixed=True))
        with online.read() as reader:
            before = reader.latest("v", [b"a"], [9])
            assert reader.latest("v", [b"a"], [9]) == before
        online.append("v", entries([(b"a", (2, 2, 2), payload(2))], fixed=True))
        with online.read() as reader:
            assert reader.latest("v", [b"a"], [9]) != before

    def test_views_are_declared_once_and_dropped(self, online: OnlineStore) -> None:
        for name in ("v", "v2", "w"):
            online.declare(name, width=WIDTH)
            online.declare(name, width=WIDTH)
            online.append(name, entries([(b"a", (1, 1, 1), payload(1))], fixed=True), positions={"table": 1})
        with pytest.raises(Conflict, match="width"):
            online.declare("v", width=None)
        online.drop("v")
        online.drop("v")
        with online.read() as reader:
            assert sorted(reader.views()) == ["v2", "w"]
            assert reader.stats("v2").rows == 1
            with pytest.raises(NotFound, match="v2"):
                reader.latest("v", [b"a"], [1])
        online.declare("v", width=None)
        with online.read() as reader:
            assert reader.stats("v") == (0, None)
            assert reader.latest("v", [b"a"], [1]) == [None]
            assert reader.position("v", "table") is None

    def test_a_record_is_exchanged_for_an_answer(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        online.declare("texts", width=None)

        def events(reader: OnlineReader) -> list[list[int]]:
            return [block.words[:, 0].tolist() for block in reader.range("v", [b"a", b"b"], [0, 0], [9, 9])]

        def fails(reader: OnlineReader) -> None:
            raise ZeroDivisionError

        def entry(time: int, key: bytes = b"a") -> Entry:
            return Entry(key, TIMES.pack(time, time, 1) + payload(time))

        assert online.exchange("v", entry(3), events) == (True, [[3], []])
        assert online.exchange("v", entry(3), events) == (False, [[3], []])
        assert online.exchange("v", entry(1, b"b"), events) == (True, [[3], [1]])
        assert online.exchange("v", entry(1), events) == (True, [[1, 3], [1]])  # it comes late
        with pytest.raises(ZeroDivisionError):
            online.exchange("v", entry(5), fails)
        assert online.exchange("v", entry(5), events) == (False, [[1, 3, 5], [1]])
        for view, odd in (("v", Entry(b"a", TIMES.pack(7, 7, 7) + payload(7)[:8])), ("texts", entry(7))):
            with pytest.raises(InvalidData):
                online.exchange(view, odd, events)
        with online.read() as reader:
            assert events(reader) == [[1, 3, 5], [1]]
            assert reader.stats("texts").rows == 0

    def test_unknown_views_and_odd_widths_are_refused(self, online: OnlineStore) -> None:
        with pytest.raises(NotFound):
            online.exchange("nothing", Entry(b"a", TIMES.pack(1, 1, 1) + payload(1)), lambda reader: None)
        with pytest.raises(NotFound):
            online.append("nothing", entries([(b"a", (1, 1, 1), payload(1))], fixed=True))
        with pytest.raises(NotFound):
            online.trim("nothing", 0)
        with pytest.raises(InvalidArgument, match="multiple of 8"):
            online.declare("v", width=7)


class SharedOnlineSuite(OnlineSuite):
    """The contract of a store that several processes use and that outlives them.

    A subclass gives a fixture `open_store`; the store it opens is empty at first.
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """The one fixture to override."""
        raise AssertionError("give the fixture open_store")

    @pytest.fixture
    def online(self, open_store: OpenStore) -> Iterator[OnlineStore]:
        store = open_store()
        yield store
        store.close()

    def test_what_was_written_is_there_after_opening_again(self, open_store: OpenStore) -> None:
        first = open_store()
        first.declare("v", width=WIDTH)
        _append_step(first, 1)
        first.close()
        second = open_store()
        assert _whole(second) == 1
        _append_step(second, 2)
        assert _whole(second) == 2
        second.close()

    def test_a_process_sees_whole_appends_while_another_writes(
        self, online: OnlineStore, open_store: OpenStore
    ) -> None:
        online.declare("v", width=WIDTH)
        with together(_append_steps, [(open_store, 150)]) as results:
            while _whole(online) < 150:
                pass
            results()

    def test_of_two_processes_with_the_same_records_one_finds_each_new(
        self, online: OnlineStore, open_store: OpenStore
    ) -> None:
        online.declare("v", width=WIDTH)
        added = run_together(_append_all, [(open_store, 40), (open_store, 40)])
        with online.read() as reader:
            assert reader.stats("v").rows == sum(added) == 40 * len(_KEYS)
            blocks = reader.range("v", _KEYS, [0] * len(_KEYS), [99] * len(_KEYS))
        assert [block.words[:, 0].tolist() for block in blocks] == [list(range(40))] * len(_KEYS)

    def test_all_a_killed_writer_acknowledged_is_there(self, online: OnlineStore, open_store: OpenStore) -> None:
        online.declare("v", width=WIDTH)
        acknowledged = acknowledged_before_kill(_for_ever, (open_store, _append_step), 30)
        there = _whole(online)
        assert there >= max(acknowledged)
        _append_step(online, there + 1)
        assert _whole(online) == there + 1

    def test_all_a_killed_writer_of_single_records_acknowledged_is_there(
        self, online: OnlineStore, open_store: OpenStore
    ) -> None:
        online.declare("v", width=WIDTH)
        acknowledged = acknowledged_before_kill(_for_ever, (open_store, _exchanged), 60)
        with online.read() as reader:
            (block,) = reader.range("v", [b"a"], [0], [TOP])
        times = block.words[:, 0].tolist()
        assert times == list(range(1, len(times) + 1))
        assert len(times) >= max(acknowledged)
        assert _exchanged(online, len(times)) == (False, len(times))
        assert _exchanged(online, len(times) + 1) == (True, len(times) + 1)

    def test_of_two_processes_with_the_same_single_records_one_finds_each_new(
        self, online: OnlineStore, open_store: OpenStore
    ) -> None:
        online.declare("v", width=WIDTH)
        added = run_together(_exchange_all, [(open_store, 120), (open_store, 120)])
        assert sum(added) == 120
        assert _exchanged(online, 120) == (False, 120)

    def test_a_forked_child_uses_it_too(self, online: OnlineStore) -> None:
        online.declare("v", width=WIDTH)
        _append_step(online, 1)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _append_step(online, 2)
                code = 0 if _whole(online) == 2 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert _whole(online) == 2
        _append_step(online, 3)
        assert _whole(online) == 3


_KEYS = [b"%d" % number for number in range(20)]


def _append_step(store: OnlineStore, step: int) -> None:
    rows = [(key, (step, step, step), payload(step)) for key in _KEYS]
    store.append("v", entries(rows, fixed=True), positions={"table": step})


def _append_steps(open_store: OpenStore, steps: int) -> None:
    store = open_store()
    for step in range(1, steps + 1):
        _append_step(store, step)
    store.close()


def _append_all(open_store: OpenStore, steps: int) -> int:
    store = open_store()
    added = sum(
        store.append("v", entries([(key, (step, step, step), payload(step)) for key in _KEYS], fixed=True))
        for step in range(steps)
    )
    store.close()
    return added


def _exchanged(store: OnlineStore, step: int) -> tuple[bool, int]:
    """Append a record of one key: whether it was new, and how many there are then."""
    entry = Entry(b"a", TIMES.pack(step, step, step) + payload(step))
    return store.exchange("v", entry, lambda reader: reader.stats("v").rows)


def _exchange_all(open_store: OpenStore, steps: int) -> int:
    store = open_store()
    found = [_exchanged(store, step) for step in range(1, steps + 1)]
    store.close()
    assert all(rows >= step for step, (_, rows) in enumerate(found, 1))
    return sum(new for new, _ in found)


def _for_ever(acknowledge: Acknowledge, open_store: OpenStore, take: Callable[[OnlineStore, int], object]) -> None:
    store, step = open_store(), 0
    while True:
        step += 1
        take(store, step)
        acknowledge(step)


def _whole(store: OnlineStore) -> int:
    """The step all keys, the count and the position are at; they must agree."""
    far = 2**40
    questions: list[Question] = [
        Position("v", "table"), Stats("v"), Latest("v", _KEYS, [far] * len(_KEYS)), Range("v", _KEYS[:1], [0], [far]),
    ]  # fmt: skip
    with store.read() as reader:
        position, stats, records, (block,) = reader.answer(questions)
    step = position or 0
    assert stats.rows == step * len(_KEYS)
    assert len(set(records)) == 1
    assert block.words[:, 0].tolist() == list(range(1, step + 1))
    return step
