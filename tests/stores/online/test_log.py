"""The log of the embedded store: seen by every process as of one moment, merged without loss, mended after a power failure."""

from __future__ import annotations

import copy
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.errors import FormatTooNew, Unavailable
from tidemill.stores.online import lmdb_append, lmdb_views, tail
from tidemill.stores.online.lmdb import LmdbOnline
from tidemill.stores.online.log import HEADER, Log
from tidemill.stores.online.memory import MemoryOnline
from tidemill.stores.online.protocol import NEVER_KNOWN, TIMES, Latest, OnlineStore, Position, Question, Range, Stats
from tidemill.stores.online.tail import Tail
from tidemill.testing.online_suite import TOP, WIDTH, Row, entries, payload, plain

KEYS = [b"", b"a", b"ab", b"k" * 600]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbOnline]:
    opened = LmdbOnline(tmp_path / "online", log_size=HEADER + 1_500)
    yield opened
    opened.close()


def as_another_process(store: LmdbOnline) -> LmdbOnline:
    """The same file as a process sees it that knows nothing of the log yet."""
    twin = copy.copy(store)
    twin._environment = copy.copy(store._env)
    twin._environment.tail = Tail(store._path)
    return twin


def records(*times: int, key: bytes = b"a") -> list[Row]:
    return [(key, (time, time, time), payload(abs(time) % 1000)) for time in times]


def answers(store: OnlineStore, views: Sequence[str], points: Sequence[int]) -> list[Any]:
    """All a store has to tell, in one read."""
    found: list[Any] = []
    with store.read() as reader:
        known = sorted(reader.views())
        for view in [view for view in views if view in known]:
            found += [view, reader.stats(view), reader.position(view, "table")]
            for at in points:
                found += [reader.latest(view, [*KEYS, None], [at] * 5, known=flag) for flag in (False, True)]
                found += [plain(block) for block in reader.range(view, [*KEYS, None], [at] * 5, [TOP] * 5)]
                found += [plain(block) for block in reader.range(view, [b"a"], [-(2**63)], [at])]
    return found


# -- against the oracle ----------------------------------------------------------------------------

_times = st.integers(-30, 30) | st.sampled_from([NEVER_KNOWN, TOP])
_row = st.tuples(st.sampled_from(KEYS), st.tuples(_times, _times, st.integers(0, 2)), st.integers(0, 9).map(payload))
_rising = st.lists(st.integers(0, 3), min_size=1, max_size=40)
_step = st.one_of(
    st.tuples(st.just("append"), st.lists(_row, min_size=0, max_size=30)),
    st.tuples(st.just("append"), st.lists(_row, min_size=1, max_size=1)),
    st.tuples(st.just("stream"), _rising),
    st.tuples(st.just("directly"), st.lists(_row, min_size=1, max_size=30)),
    st.tuples(st.just("trim"), _times),
    st.tuples(st.just("drop"), st.none()),
    st.tuples(st.just("merge"), st.none()),
)
_steps = st.lists(st.tuples(_step, st.integers(0, 1), st.integers(0, 1), st.booleans()), min_size=1, max_size=10)


class Writers:
    """Two processes that write to one file, and the oracle."""

    def __init__(self, store: LmdbOnline) -> None:
        self.processes = [store, as_another_process(store)]
        self.oracle = MemoryOnline()
        self.views = {"fixed": WIDTH, "texts": None}
        self.clock = 0
        for view in self.views:
            store.drop(view)
            self.declare(store, view)

    def declare(self, store: LmdbOnline, view: str) -> None:
        for one in (store, self.oracle):
            one.declare(view, width=self.views[view])

    def do(self, kind: str, value: Any, view: str, process: LmdbOnline) -> None:
        if kind == "stream":
            self.clock += 50
            times = [self.clock + step for step in np.cumsum(value).tolist()]
            kind, value = "append", [row for t in times for row in records(t, key=KEYS[t % 4])]
        if kind in ("append", "directly"):
            self.append(value, view, process, directly=kind == "directly")
        elif kind == "trim":
            assert process.trim(view, value) == self.oracle.trim(view, value)
        elif kind == "drop":
            for one in (process, self.oracle):
                one.drop(view)
            self.declare(process, view)
        else:
            process._env.write(lambda transaction: lmdb_append.merge(transaction, process._env.tail))

    def append(self, rows: list[Row], view: str, process: LmdbOnline, *, directly: bool) -> None:
        batch = entries(rows, fixed=self.views[view] is not None)
        positions = {"table": len(rows)} if len(rows) % 2 else {}
        expected = self.oracle.append(view, batch, positions=positions)
        if directly:
            found = process._write(
                lambda transaction, known: lmdb_append.add_directly(transaction, known, view, batch, positions)
            )
        else:
            found = process.append(view, batch, positions=positions)
        assert found == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(steps=_steps, points=st.lists(_times, min_size=1, max_size=3))
def test_two_processes_answer_as_the_oracle(store: LmdbOnline, steps: list[Any], points: list[int]) -> None:
    writers = Writers(store)
    points = [*points, 100, TOP]
    for (kind, value), which, process, look in steps:
        writers.do(kind, value, ["fixed", "texts"][which], writers.processes[process])
        if look:  # the other one has some of it in memory from now on
            assert answers(writers.processes[1 - process], list(writers.views), points) == answers(
                writers.oracle, list(writers.views), points
            )
    expected = answers(writers.oracle, list(writers.views), points)
    for one in [*writers.processes, as_another_process(store)]:
        assert answers(one, list(writers.views), points) == expected


class Life:
    """A long life of a file with chunks of many records, with questions so few that most is not in memory."""

    def __init__(self, store: LmdbOnline, seed: int) -> None:
        self.writers, self.draw, self.now = Writers(store), np.random.default_rng(seed), 0

    def step(self) -> None:
        kind = self.draw.choice(["append", "append", "append", "directly", "trim", "drop", "one"],
                                p=[0.3, 0.2, 0.2, 0.1, 0.08, 0.02, 0.1])  # fmt: skip
        view, process = str(self.draw.choice(["fixed", "texts"])), self.writers.processes[self.draw.integers(2)]
        if kind == "trim":
            self.writers.do("trim", self.now - int(self.draw.integers(0, 400)), view, process)
        elif kind == "drop":
            self.writers.do("drop", None, view, process)
        else:
            self.writers.append(self.rows(1 if kind == "one" else 60), view, process, directly=kind == "directly")

    def rows(self, count: int) -> list[Row]:
        late = self.draw.integers(0, 300, count) * (self.draw.random(count) < 0.1)
        times = (self.now + np.arange(count) - late).tolist()
        self.now += count // 2  # half of the times come twice, some with the same sequence
        keys = [KEYS[place] for place in self.draw.integers(0, 3, count).tolist()]
        known = (np.array(times) + self.draw.integers(0, 50, count)).tolist()
        return [
            (key, (time, soon if time % 3 else time, time % 5), payload(time % 100))
            for key, time, soon in zip(keys, times, known, strict=True)
        ]

    def ask(self) -> None:
        view, process = str(self.draw.choice(["fixed", "texts"])), self.writers.processes[self.draw.integers(2)]
        keys: list[bytes | None] = [
            [*KEYS, None][place] for place in self.draw.integers(0, 5, self.draw.integers(1, 6))
        ]
        low = (self.now - self.draw.integers(-20, 700, len(keys))).tolist()
        high = (np.array(low) + self.draw.integers(0, 200, len(keys))).tolist()
        known = bool(self.draw.integers(2))
        with process.read() as mine, self.writers.oracle.read() as theirs:
            assert mine.stats(view) == theirs.stats(view)
            if self.draw.integers(2):
                assert mine.latest(view, keys, low, known=known) == theirs.latest(view, keys, low, known=known)
            else:
                assert [*map(plain, mine.range(view, keys, low, high))] == [
                    *map(plain, theirs.range(view, keys, low, high))
                ]
            assert mine.position(view, "table") == theirs.position(view, "table")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("log_size", [HEADER + 4_000, HEADER + 40_000])
def test_a_long_life_is_answered_as_by_the_oracle(tmp_path: Path, seed: int, log_size: int) -> None:
    store = LmdbOnline(tmp_path, log_size=log_size)
    life = Life(store, seed)
    for _ in range(120):
        life.step()
        life.ask()
        life.ask()
    assert answers(store, ["fixed", "texts"], [0, life.now]) == answers(
        life.writers.oracle, ["fixed", "texts"], [0, life.now]
    )
    store.close()


# -- moments ---------------------------------------------------------------------------------------


def test_an_open_read_stays_at_its_moment_while_the_log_goes_on(store: LmdbOnline) -> None:
    other = as_another_process(store)
    store.declare("v", width=WIDTH)
    store.append("v", entries(records(1, 2, 3), fixed=True), positions={"table": 3})
    for process in (store, other):
        with process.read() as first, process.read() as second, process.read() as untouched:
            before = [first.latest("v", [b"a"], [TOP]), second.stats("v")]
            for step in range(4, 300):  # over several merges
                store.append("v", entries(records(step + process_rows(store)), fixed=True), positions={"table": step})
            assert first.latest("v", [b"a"], [TOP]) == before[0]
            assert second.stats("v") == before[1]
            assert len(second.range("v", [b"a"], [0], [TOP])[0].words) == before[1].rows
            assert second.position("v", "table") == first.position("v", "table")
            assert untouched.stats("v").rows >= before[1].rows


def process_rows(store: LmdbOnline) -> int:
    with store.read() as reader:
        return reader.stats("v").rows


def test_a_read_that_asked_nothing_yet_goes_on_to_a_log_just_begun(store: LmdbOnline) -> None:
    store.declare("v", width=WIDTH)
    store.append("v", entries(records(1), fixed=True))
    with store.read() as reader, store.read() as named:
        assert named.views() == ["v"]
        store.append("v", entries(records(2), fixed=True))
        store._env.write(lambda transaction: lmdb_append.merge(transaction, store._env.tail))
        for _ in range(2):
            assert process_rows(store) == 2  # the log is empty, and known to be
        assert reader.stats("v").rows == 2
        assert reader.position("v", "table") is None
        assert len(reader.range("v", [b"a", b"b"], [0, 0], [9, 9])[0].words) == 2
        assert named.stats("v").rows == 1


def test_several_questions_are_of_one_moment(store: LmdbOnline) -> None:
    store.declare("v", width=WIDTH)
    other = as_another_process(store)
    for step in range(1, 120):
        store.append("v", entries(records(step), fixed=True), positions={"table": step})
        with (other if step % 3 else store).read() as reader:
            position, stats, blocks = reader.answer(
                [Position("v", "table"), Stats("v"), Range("v", [b"a", b"b"], [0, 0], [TOP, TOP])]
            )
        assert position == stats.rows == len(blocks[0].words) == step


def test_threads_read_whole_steps_while_another_appends_and_merges(store: LmdbOnline) -> None:
    store.declare("v", width=WIDTH)
    keys: list[bytes | None] = [b"a", b"b", b"c"]
    done, seen = threading.Event(), list[tuple[int, ...]]()

    def read() -> None:
        while not done.is_set():
            with store.read() as reader:
                position, stats, blocks = reader.answer(
                    [Position("v", "table"), Stats("v"), Range("v", keys, [0] * 3, [TOP] * 3)]
                )
                again = reader.range("v", keys[:1], [0], [TOP])[0]
            seen.append((position or 0, stats.rows // 3, *(len(block.words) for block in blocks), len(again.words)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(1, 150):
        rows = [row for key in (b"a", b"b", b"c") for row in records(step, key=key)]
        store.append("v", entries(rows, fixed=True), positions={"table": step})
    done.set()
    for thread in threads:
        thread.join()
    assert all(len(set(counts)) == 1 for counts in seen)
    assert len(seen) >= 3


def test_a_block_newer_than_a_transaction_is_not_seen_with_it(store: LmdbOnline) -> None:
    for view in ("first", "second"):
        store.declare(view, width=WIDTH)
    store.append("first", entries(records(1), fixed=True))
    old = store._env.begin()
    batch = entries(records(1), fixed=True)
    store._write(lambda transaction, known: lmdb_append.add_directly(transaction, known, "second", batch, {}))
    store.append("first", entries(records(2), fixed=True))  # who sees this has to see the one before
    assert store._env.tail.moment(old) is None
    store._env.end(old)


def test_what_is_asked_of_an_absent_key_is_not_kept_from_later_records(store: LmdbOnline) -> None:
    store.declare("v", width=WIDTH)
    store.append("v", entries(records(1), fixed=True))
    with store.read() as reader:
        assert [len(block.words) for block in reader.range("v", [b"a", b"new"], [0, 0], [9, 9])] == [1, 0]
    as_another_process(store).append("v", entries(records(2, key=b"new"), fixed=True))
    with store.read() as reader:
        assert [len(block.words) for block in reader.range("v", [b"a", b"new"], [0, 0], [9, 9])] == [1, 1]


def test_memory_is_given_back(store: LmdbOnline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "HOT_RECORDS", 200)
    store.declare("v", width=WIDTH)
    for step in range(50):
        rows = [row for number in range(20) for row in records(step, key=b"%d" % (number + step))]
        assert store.append("v", entries(rows, fixed=True)) == 20
        assert store.append("v", entries(rows, fixed=True)) == 0
    with store.read() as reader:
        assert reader.stats("v").rows == 1000
        assert len(reader.range("v", [b"49", b"30"], [0, 0], [99, 99])[0].words) == 20
    store.drop("v")
    store.declare("w", width=WIDTH)
    for step in range(200):
        store.append("w", entries(records(step), fixed=True))
    with store.read() as reader:
        reader.stats("w")
    assert len(store._env.tail._hot) == 1


# -- homes of before, and damage --------------------------------------------------------------------


def test_a_file_of_before_there_was_a_log_is_read_and_goes_on(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    store.declare("v", width=WIDTH)
    store._write(lambda t, known: lmdb_append.add_directly(t, known, "v", entries(records(1, 2), fixed=True), {}))
    number = struct.pack("<IiQq", 1, WIDTH, 2, 2)

    with store._env._lmdb.begin(write=True) as transaction:
        transaction.put(lmdb_views._VIEWS + b"v", number)
        transaction.pop(lmdb_views.STATE)
        transaction.pop(lmdb_views._FORMAT)
    store.close()
    for log in tmp_path.glob("tail-*"):
        log.unlink()
    store = LmdbOnline(tmp_path, log_size=HEADER)
    with store.read() as reader:
        assert reader.stats("v") == (2, 2)
        assert len(reader.range("v", [b"a"], [0], [9])[0].words) == 2
    assert store.append("v", entries(records(2, 3), fixed=True)) == 1
    assert store.append("v", entries(records(3, 4), fixed=True)) == 1
    store.close()
    store = LmdbOnline(tmp_path)
    with store.read() as reader:
        assert reader.stats("v") == (4, 4)
    store.close()


def test_a_file_of_before_there_was_a_state_is_read_and_goes_on(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path, log_size=HEADER)
    store.declare("v", width=WIDTH)
    for step in range(1, 6):
        store.append("v", entries(records(step), fixed=True), positions={"table": step})
    with store._env._lmdb.begin(write=True) as transaction:
        log = transaction.get(lmdb_views.STATE)[:8]
        transaction.put(lmdb_views.STATE, log)
        transaction.put(lmdb_views._FORMAT, (2).to_bytes(4, "little"))
    store.close()
    assert int.from_bytes(log, "little") > 0
    for step in range(6, 10):
        store = LmdbOnline(tmp_path, log_size=HEADER)
        with store.read() as reader:
            assert reader.stats("v") == (step - 1, step - 1)
        store.append("v", entries(records(step), fixed=True), positions={"table": step})
        with store.read() as reader:
            assert reader.position("v", "table") == step
            assert reader.range("v", [b"a"], [0], [99])[0].words[:, 0].tolist() == list(range(1, step + 1))
        store.close()


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    store._env.write(lambda t: t.put(lmdb_views._FORMAT, (lmdb_views.FORMAT + 1).to_bytes(4, "little")))
    store.close()
    with pytest.raises(FormatTooNew, match="format 4"):
        LmdbOnline(tmp_path)
    assert not store._environment.users


# -- what LMDB says of a transaction ----------------------------------------------------------------


class Misnumbered:
    """A transaction that saw what is there now, and has the number of one of before.

    So it is when a reader is held up within LMDB while others commit twice: it looks up the number first, and then what goes
    with it in one of two places, which the second of the commits has written anew.
    """

    def __init__(self, transaction: Any, number: int) -> None:
        self._transaction, self._number = transaction, number

    def id(self) -> int:
        return self._number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)


@pytest.mark.parametrize("commits", [0, 2, 4])
def test_a_read_does_not_believe_the_number_of_its_transaction(
    store: LmdbOnline, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, keys = as_another_process(store), [b"a", b"b", b"c"]
    store.declare("v", width=WIDTH)

    def append(step: int) -> None:
        rows = [row for key in keys for row in records(step, key=key)]
        store.append("v", entries(rows, fixed=True), positions={"table": step})

    def numbers() -> int:
        transaction = other._env.begin()
        found: int = transaction.id()
        other._env.end(transaction)
        return found

    def steps() -> list[Any]:
        questions: list[Question] = [
            Position("v", "table"), Stats("v"), Latest("v", keys, [99] * 3), Range("v", keys[:1], [0], [99]),
        ]  # fmt: skip
        with other.read() as reader:
            position, stats, records, (block,) = reader.answer(questions)
        return [position, stats.rows // 3, *(TIMES.unpack_from(record)[0] for record in records), len(block.words)]

    append(1)
    step, before = 1, numbers()
    assert steps() == [1] * 6
    while numbers() < before + commits:
        step += 1
        append(step)
    begin = other._env.begin
    monkeypatch.setattr(other._env, "begin", lambda: Misnumbered(begin(), before))
    assert steps() == [step] * 6
    append(step + 1)
    assert steps() == [step + 1] * 6


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tail-0.log").write_bytes(b"x" * 9000)
    with pytest.raises(Unavailable, match="no log"):
        Log(tmp_path / "tail-0.log")


def test_a_log_left_by_a_file_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    for _ in range(2):
        store = LmdbOnline(tmp_path)
        with store.read() as reader:
            assert reader.views() == []
        for view in ("v", "w", "x"):
            store.declare(view, width=WIDTH)
        assert store.append("v", entries(records(1), fixed=True)) == 1
        with store.read() as reader:
            assert reader.stats("v") == (1, 1)
        store.close()
        for name in ("data.mdb", "lock.mdb"):
            (tmp_path / name).unlink()


def test_a_log_that_is_gone_is_told(tmp_path: Path) -> None:
    store = LmdbOnline(tmp_path)
    store.declare("v", width=WIDTH)
    store.append("v", entries(records(1), fixed=True))
    store.close()
    (tmp_path / "tail-0.log").unlink()
    store = LmdbOnline(tmp_path)
    with pytest.raises(Unavailable, match=r"tail-0\.log is not there"), store.read():
        pass
    with pytest.raises(Unavailable, match=r"tail-0\.log is not there"):
        store.append("v", entries(records(2), fixed=True))
    with pytest.raises(Unavailable, match=r"tail-0\.log is not there"):
        store.drop("v")
    assert not store._env._reading
    store.close()


@pytest.mark.parametrize("damage", ["zeros", "bit", "short"])
def test_after_a_power_failure_whole_blocks_are_there_and_it_goes_on(tmp_path: Path, damage: str) -> None:
    store = LmdbOnline(tmp_path)
    store.declare("v", width=WIDTH)
    for step in range(1, 11):
        store.append("v", entries(records(step), fixed=True), positions={"table": step})
    lengths = store._env.tail.length
    store.close()
    log = tmp_path / "tail-0.log"
    raw = bytearray(log.read_bytes())
    at = HEADER + (lengths - HEADER) * 7 // 10 + 20  # within the eighth block
    if damage == "zeros":
        raw[at:] = bytes(len(raw) - at)
    elif damage == "bit":
        raw[at] ^= 4
    else:
        del raw[at:]
    log.write_bytes(raw)
    store = LmdbOnline(tmp_path)
    with store.read() as reader:
        assert (reader.stats("v").rows, reader.position("v", "table")) == (7, 7)
    other = as_another_process(store)
    assert store.append("v", entries(records(8), fixed=True), positions={"table": 8}) == 1
    for process in (store, other):
        assert process.append("v", entries(records(8), fixed=True)) == 0
        with process.read() as reader:
            assert (reader.stats("v").rows, reader.position("v", "table")) == (8, 8)
    store.close()
