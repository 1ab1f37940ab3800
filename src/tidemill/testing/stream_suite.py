"""What every stream store must do. Subclass `StreamSuite` in a test module and give the `open_store` fixture.

A store that several processes share subclasses `SharedStreamSuite` instead.

Example:
    ```python
    class TestFiles(SharedStreamSuite):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(open_streams, "file:", tmp_path)
    ```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.errors import InvalidArgument
from tidemill.stores.streams.protocol import StreamStore
from tidemill.testing.processes import Acknowledge, acknowledged_before_kill, run_together, together

OpenStore = Callable[[], StreamStore]
"""Opens the same store anew; for a shared store it is pickled and called in other processes too."""


def payloads_from(store: StreamStore, topic: str, partition: str, start: int = 0, step: int = 7) -> list[bytes]:
    """All messages from an offset on, read a few at a time; their offsets must follow one another."""
    found: list[bytes] = []
    while messages := store.read(topic, partition, start + len(found), step):
        assert [message.offset for message in messages] == list(
            range(start + len(found), start + len(found) + len(messages))
        )
        found += [message.payload for message in messages]
    return found


class StreamSuite:
    """The contract of `StreamStore`."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """The one fixture to override: opens the store of this test, empty at first."""
        raise AssertionError("give the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[StreamStore]:
        store = open_store()
        yield store
        store.close()

    def test_messages_come_back_in_order_by_offset(self, store: StreamStore) -> None:
        assert store.append("t", "p", [b"a", b"", b"\0" * 9]) == 3
        assert store.append("t", "p", [b"d"], sync=True) == 4
        assert store.read("t", "p", 0) == [(0, b"a"), (1, b""), (2, b"\0" * 9), (3, b"d")]
        assert store.read("t", "p", 1, 2) == [(1, b""), (2, b"\0" * 9)]
        assert store.read("t", "p", 4) == store.read("t", "p", 99) == store.read("t", "p", 0, 0) == []
        assert store.end("t", "p") == 4

    def test_no_message_is_skipped_among_large_ones(self, store: StreamStore) -> None:
        large = [bytes([number]) * 40_000 for number in range(24)]
        for payload in large:
            store.append("t", "p", [payload])
        for start in (0, 1, 7, 23):
            found = store.read("t", "p", start)
            assert [message.offset for message in found] == list(range(start, 24))
            assert [message.payload for message in found] == large[start:]

    def test_an_append_of_nothing_tells_the_end(self, store: StreamStore) -> None:
        assert store.append("t", "p", []) == 0
        store.append("t", "p", [b"a"])
        assert store.append("t", "p", []) == 1

    def test_what_does_not_exist_is_empty(self, store: StreamStore) -> None:
        assert store.read("t", "p", 0) == []
        assert store.end("t", "p") == 0
        assert store.partitions("t") == store.topics() == []
        store.trim("t", "p", 5)
        assert store.topics() == []

    def test_topics_and_partitions_are_apart(self, store: StreamStore) -> None:
        for topic, partition in [("a", "x"), ("a", "y"), ("a/x", "y"), ("b/c-d/e_f", "0")]:
            store.append(topic, partition, [f"{topic}:{partition}".encode()])
        assert store.topics() == ["a", "a/x", "b/c-d/e_f"]
        assert store.partitions("a") == ["x", "y"]
        assert store.partitions("a/x") == ["y"]
        assert store.partitions("b") == []
        assert store.read("a", "x", 0) == [(0, b"a:x")]
        assert store.read("a/x", "y", 0) == [(0, b"a/x:y")]

    @pytest.mark.parametrize(
        ("topic", "partition"),
        [("", "p"), ("a//b", "p"), ("../a", "p"), ("/a", "p"), ("A", "p"), ("a", "p/q"), ("a", "")],
    )
    def test_other_names_are_refused(self, store: StreamStore, topic: str, partition: str) -> None:
        with pytest.raises(InvalidArgument):
            store.append(topic, partition, [b"x"])
        with pytest.raises(InvalidArgument):
            store.read(topic, partition, 0)

    def test_big_messages(self, store: StreamStore) -> None:
        sizes = [0, 1, 300_000, 5, 2_000_000, 262_136, 262_137]
        store.append("t", "p", [bytes([number]) * size for number, size in enumerate(sizes)])
        assert [len(payload) for payload in payloads_from(store, "t", "p", step=2)] == sizes
        assert store.read("t", "p", 4, 1)[0].payload == b"\4" * 2_000_000

    def test_reading_from_anywhere(self, store: StreamStore) -> None:
        expected = [b"%d" % number * (number % 50) for number in range(3000)]
        for start in range(0, 3000, 100):
            store.append("t", "p", expected[start : start + 100])
        for start in (0, 1, 99, 100, 1234, 2999, 17, 2500):
            assert [message.payload for message in store.read("t", "p", start, 30)] == expected[start : start + 30]
        assert payloads_from(store, "t", "p", step=501) == expected

    def test_trim_forgets_only_what_is_before(self, store: StreamStore) -> None:
        expected = [b"%06d" % number * 100 for number in range(2000)]
        for start in range(0, 2000, 50):
            store.append("t", "p", expected[start : start + 50])
        store.trim("t", "p", 1500)
        assert store.end("t", "p") == 2000
        assert payloads_from(store, "t", "p", 1500) == expected[1500:]
        oldest = store.read("t", "p", 0, 1)[0]
        assert oldest.offset <= 1500
        assert oldest.payload == expected[oldest.offset]
        store.trim("t", "p", 10**9)
        assert store.append("t", "p", [b"new"]) == 2001

    # Every example has a topic of its own, and every subclass runs it again with its own store.
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.tuples(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 40), st.integers(0, 9)), max_size=15
        )
    )
    def test_like_a_list(self, store: StreamStore, steps: list[tuple[list[bytes], int, int]]) -> None:
        """Appends and reads in any order give what a list of messages gives."""
        topic = f"example-{len(store.topics())}"
        expected: list[bytes] = []
        for payloads, start, limit in steps:
            expected += payloads
            assert store.append(topic, "p", payloads) == len(expected) == store.end(topic, "p")
            read = [(number, expected[number]) for number in range(start, min(start + limit, len(expected)))]
            assert store.read(topic, "p", start, limit) == read

    def test_threads_append_whole_batches(self, store: StreamStore) -> None:
        threads = [threading.Thread(target=_append_batches, args=(store, number, 30)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _check_batches(payloads_from(store, "t", "p", step=1000), 6, 30)


class SharedStreamSuite(StreamSuite):
    """The contract of a store that several processes use and that outlives them."""

    def test_messages_are_there_after_opening_again(self, open_store: OpenStore) -> None:
        first = open_store()
        first.append("t", "p", [b"a", b"b"])
        first.close()
        second = open_store()
        assert second.append("t", "p", [b"c"]) == 3
        assert second.read("t", "p", 0) == [(0, b"a"), (1, b"b"), (2, b"c")]
        second.close()

    def test_a_reader_follows_writers_of_other_processes(self, store: StreamStore, open_store: OpenStore) -> None:
        found: list[bytes] = []
        with together(_open_and_append, [(open_store, number, 100) for number in range(3)]) as results:
            while len(found) < 3 * 100 * 3:
                found += [message.payload for message in store.read("t", "p", len(found))]
            results()
        _check_batches(found, 3, 100)

    def test_processes_with_partitions_of_their_own(self, store: StreamStore, open_store: OpenStore) -> None:
        run_together(_fill_partition, [(open_store, f"w{number}") for number in range(4)])
        assert store.partitions("t") == ["w0", "w1", "w2", "w3"]
        for partition in store.partitions("t"):
            expected = [f"{partition}-{n}".encode() for n in range(500)]
            assert payloads_from(store, "t", partition, step=400) == expected

    @pytest.mark.parametrize("after", [1, 150])
    def test_all_a_killed_writer_acknowledged_is_there(
        self, store: StreamStore, open_store: OpenStore, after: int
    ) -> None:
        acknowledged = acknowledged_before_kill(_append_for_ever, (open_store,), after)
        kept = payloads_from(store, "t", "p", step=100)
        assert [int(payload[:9]) for payload in kept] == list(range(len(kept)))
        assert len(kept) > max(acknowledged)
        end = store.append("t", "p", [b"after"])
        assert store.read("t", "p", end - 1) == [(end - 1, b"after")]


def _append_batches(store: StreamStore, writer: int, times: int) -> None:
    for n in range(times):
        store.append("t", "p", [f"{writer}.{n}.{part}".encode() for part in range(3)])


def _check_batches(payloads: list[bytes], writers: int, times: int) -> None:
    """Every batch is whole and together, and each writer's batches are in order."""
    parts = [tuple(map(int, payload.split(b"."))) for payload in payloads]
    assert len(parts) == writers * times * 3
    batches = [parts[start : start + 3] for start in range(0, len(parts), 3)]
    assert all(batch == [(*batch[0][:2], part) for part in range(3)] for batch in batches)
    for writer in range(writers):
        assert [batch[0][1] for batch in batches if batch[0][0] == writer] == list(range(times))


def _open_and_append(open_store: OpenStore, writer: int, times: int) -> None:
    store = open_store()
    _append_batches(store, writer, times)
    store.close()


def _fill_partition(open_store: OpenStore, partition: str) -> None:
    store = open_store()
    for n in range(500):
        store.append("t", partition, [f"{partition}-{n}".encode()])
    store.close()


def _append_for_ever(acknowledge: Acknowledge, open_store: OpenStore) -> None:
    store = open_store()
    for n in range(10**9):
        store.append("t", "p", [b"%09d" % n + bytes(n % 7 * 5000)])
        acknowledge(n)
