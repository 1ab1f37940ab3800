"""What every source of events must do. Subclass the suites that fit in a test module and give their fixtures.

`ConsumerSuite` is for all, `ReplayingSuite` for brokers that keep what was read. Beside one of them, `RemoteSuite` is for
brokers behind a connection that may break, `NumberedSuite` for those whose positions are numbers, `LeasedSuite` for those
where a claim ends by time.

Example:
    ```python
    class TestStreams(ReplayingSuite):
        @pytest.fixture
        def place(self, tmp_path):
            return Place("stream:events", tmp_path)
    ```
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.errors import InvalidData, Unavailable
from tidemill.stores.consumers.open import open_consumer, open_producer
from tidemill.stores.consumers.protocol import Consumer, Event, Producer, earliest
from tidemill.testing.processes import PATIENCE, Acknowledge, acknowledged_before_kill


@dataclass(frozen=True)
class Place:
    """Where events are sent to and read from, empty at first. It is pickled and used in other processes too."""

    url: str
    home: Path
    senders: Sequence[str] = ()
    """The URLs to send to, where they differ from the one to read: each another partition."""

    def consumer(self, group: str = "mill") -> Consumer:
        """A new reader."""
        return open_consumer(self.url, self.home, group=group)

    def producer(self) -> Producer:
        """A new sender."""
        return open_producer(self.url, self.home)


class Breakable(Protocol):
    """A connection that a test breaks and restores."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


def numbered(start: int, stop: int) -> list[bytes]:
    """Payloads that are numbers."""
    return [b"%d" % number for number in range(start, stop)]


def payloads(events: Sequence[Event]) -> list[bytes]:
    """The payloads of events."""
    return [event.payload for event in events]


def settled_lag(consumer: Consumer, expected: int, patience: float = 10.0) -> int:
    """The lag over all partitions, once it is as expected; a group that was just joined may still be dividing partitions."""
    ends = time.monotonic() + patience
    while (found := sum(consumer.lag().values())) != expected and time.monotonic() < ends:
        time.sleep(0.05)
    return found


def _growing(producer: Producer) -> Iterator[int]:
    """Send ten events, and count one more for each further attempt, as long as there is patience for one."""
    producer.send(numbered(0, 10))
    ends, count = time.monotonic() + PATIENCE, 10
    while time.monotonic() < ends:
        yield count
        count += 1
    raise AssertionError("no claim lasted for one attempt")


def poll_until(consumer: Consumer, count: int, limit: int = 1000) -> list[Event]:
    """At least `count` events, polled until they are there; the consumer may first have to wait for its turn."""
    found: list[Event] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        found += consumer.poll(limit, timeout=1.0)
        assert time.monotonic() < deadline, f"only {len(found)} of {count} events came"
    return found


class ConsumerSuite:
    """The contract of `Consumer` and `Producer`."""

    keeps_keys = True
    """Whether the broker has a place for keys."""

    @pytest.fixture
    def place(self) -> Place:
        """The one fixture to override: an empty place with one partition."""
        raise AssertionError("give the fixture place")

    @pytest.fixture
    def consumer(self, place: Place) -> Iterator[Consumer]:
        with closing(place.consumer()) as consumer:
            yield consumer

    @pytest.fixture
    def producer(self, place: Place) -> Iterator[Producer]:
        with closing(place.producer()) as producer:
            yield producer

    def test_events_come_whole_and_in_order(self, consumer: Consumer, producer: Producer) -> None:
        expected = [b"a", b"", b"\0\xff\n" * 3, b"x" * 300_000, "é".encode()]
        producer.send(expected)
        events = poll_until(consumer, 5)
        assert payloads(events) == expected
        assert len({event.partition for event in events}) == 1
        assert [event.key for event in events] == [None] * 5
        assert not any(event.redelivered for event in events)

    def test_keys_and_times(self, consumer: Consumer, producer: Producer) -> None:
        producer.send([b"1", b"2", b"3"], keys=[b"ann", b"\xff\0", None])
        events = sorted(poll_until(consumer, 3), key=lambda event: event.payload)
        assert [event.key for event in events] == ([b"ann", b"\xff\0", None] if self.keeps_keys else [None] * 3)
        assert all(event.published is None or event.published > 1_700_000_000_000_000 for event in events)

    def test_no_more_than_the_limit(self, consumer: Consumer, producer: Producer) -> None:
        assert consumer.poll(10, timeout=0.0) == []
        producer.send(numbered(0, 20))
        found: list[Event] = []
        while len(found) < 20:
            events = consumer.poll(7, timeout=1.0)
            assert len(events) <= 7
            found += events
        assert payloads(found) == numbered(0, 20)
        assert consumer.poll(7, timeout=0.0) == []

    def test_it_wakes_up_for_what_comes_late(self, consumer: Consumer, producer: Producer) -> None:
        consumer.poll(10, timeout=0.0)
        sender = threading.Thread(target=producer.send, args=([b"late"],))
        sender.start()
        assert payloads(poll_until(consumer, 1)) == [b"late"]
        sender.join()

    def test_what_was_not_covered_comes_again(self, place: Place, producer: Producer) -> None:
        producer.send(numbered(0, 10))
        with closing(place.consumer()) as first:
            assert payloads(poll_until(first, 10)) == numbered(0, 10)
        with closing(place.consumer()) as second:
            assert payloads(poll_until(second, 10)) == numbered(0, 10)

    def test_what_was_covered_does_not(self, place: Place, producer: Producer) -> None:
        producer.send(numbered(0, 10))
        with closing(place.consumer()) as first:
            last = poll_until(first, 4, limit=4)[-1]
            checkpoint = {last.partition: last.position}
            first.commit(checkpoint)
        with closing(place.consumer()) as second:
            second.seek(checkpoint.get)
            assert payloads(poll_until(second, 6)) == numbered(4, 10)

    def test_nothing_is_lost_with_a_killed_process(self, place: Place, producer: Producer) -> None:
        producer.send(numbered(0, 300))
        acknowledged = acknowledged_before_kill(_commit_some, (place,), 10)
        again: list[int] = []
        with closing(place.consumer()) as second:
            while not again or again[-1] < 299:
                again += map(int, payloads(poll_until(second, 1)))
        assert again == sorted(again)
        # One more batch of four may have been begun before the process died.
        assert set(again) >= set(range(max(acknowledged) + 5, 300))
        if second.replays:
            assert again == list(range(300))

    def test_lag_counts_what_is_not_polled(self, consumer: Consumer, producer: Producer) -> None:
        producer.send(numbered(0, 12))
        assert len(poll_until(consumer, 5, limit=5)) == 5
        assert settled_lag(consumer, 7) == 7
        poll_until(consumer, 7)
        assert settled_lag(consumer, 0) == 0

    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(steps=st.lists(st.tuples(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 5)), max_size=6))
    def test_like_a_list(self, consumer: Consumer, producer: Producer, steps: list[tuple[list[bytes], int]]) -> None:
        """Sent and polled in any portions, the events are the list of what was sent."""
        sent: list[bytes] = []
        found: list[Event] = []
        for portion, limit in steps:
            producer.send(portion)
            sent += portion
            found += consumer.poll(limit, timeout=0.0)
        found += poll_until(consumer, len(sent) - len(found), limit=3)
        assert payloads(found) == sent
        if found:
            consumer.commit({found[-1].partition: found[-1].position})


class ReplayingSuite(ConsumerSuite):
    """The contract of a broker that keeps what was read."""

    @pytest.fixture
    def divided(self, place: Place) -> Place:
        """A place with several partitions, if the broker has them."""
        return place

    def test_positions_are_ordered_and_the_same_for_all(self, place: Place, producer: Producer) -> None:
        producer.send(numbered(0, 120))
        with closing(place.consumer("one")) as one, closing(place.consumer("two")) as two:
            assert one.replays
            first, second = poll_until(one, 120, limit=50), poll_until(two, 120)
        assert first == second
        positions = [event.position for event in first]
        assert positions == sorted(set(positions))

    def test_seeking(self, consumer: Consumer, producer: Producer) -> None:
        producer.send(numbered(0, 30))
        events = poll_until(consumer, 30)
        partition = events[0].partition
        for after in (9, 28, 0, 15):
            consumer.seek({partition: events[after].position}.get)
            assert poll_until(consumer, 29 - after, limit=10) == events[after + 1 :]
        consumer.seek(earliest)
        assert poll_until(consumer, 30) == events
        consumer.seek({partition: events[29].position}.get)
        assert consumer.poll(10, timeout=0.0) == []
        producer.send([b"new"])
        assert payloads(poll_until(consumer, 1)) == [b"new"]

    def test_a_checkpoint_that_cannot_be_read_stops_nothing_for_ever(
        self, consumer: Consumer, producer: Producer
    ) -> None:
        producer.send(numbered(0, 5))
        asked: list[str] = []

        def checkpoint(partition: str) -> None:
            asked.append(partition)
            if len(asked) < 3:
                raise KeyError("the database is away")

        consumer.seek(checkpoint)
        with pytest.raises(KeyError, match="the database is away"):
            poll_until(consumer, 1)
        while True:
            try:
                assert payloads(poll_until(consumer, 5)) == numbered(0, 5)
            except KeyError:
                continue
            break
        assert len(asked) >= 3

    def test_processes_divide_the_partitions(self, divided: Place) -> None:
        """Two readers that keep one checkpoint read everything once; when one leaves, the other goes on for it."""
        senders = divided.senders or [divided.url]
        reading = _Reading()
        with ExitStack() as stack:
            producers = [stack.enter_context(closing(open_producer(url, divided.home))) for url in senders]
            one = stack.enter_context(closing(divided.consumer()))
            two = divided.consumer()
            for consumer in (one, two):
                consumer.seek(reading.checkpoint.get)
            _send_round(producers, 0)
            reading.read([one, two], 4 * 25)
            # They settle: what comes now falls to both, where there is more than one partition to divide.
            for turn in range(1, 1000):
                reading.owners.clear()
                _send_round(producers, turn)
                reading.read([one, two], (turn + 1) * 4 * 25)
                if len(set(reading.owners.values())) == min(2, len(reading.owners)):
                    break
            two.close()
            _send_round(producers, turn + 1)
            reading.read([one], (turn + 2) * 4 * 25)
        assert len(reading.payloads) == len(set(reading.payloads)) == (turn + 2) * 4 * 25


class NumberedSuite:
    """The contract of a broker that numbers the events of a partition from its start; beside `ReplayingSuite`."""

    def test_a_partition_made_anew_is_told(self, consumer: Consumer, producer: Producer) -> None:
        producer.send(numbered(0, 3))
        event = poll_until(consumer, 3)[2]
        beyond = f"{int(event.position) + 1000:020d}"
        consumer.seek({event.partition: beyond}.get)
        with pytest.raises(InvalidData, match="made anew"):
            poll_until(consumer, 1)
        consumer.seek(earliest)
        assert payloads(poll_until(consumer, 3)) == numbered(0, 3)


class LeasedSuite:
    """The contract of a broker where a claim ends when its process does not poll; beside `ReplayingSuite`."""

    def test_a_slow_process_goes_on_after_what_another_one_stored(self, place: Place, producer: Producer) -> None:
        checkpoint: dict[str, str] = {}
        producer.send(numbered(0, 10))
        with closing(place.consumer()) as slow:
            slow.seek(checkpoint.get)
            poll_until(slow, 10)
            with closing(place.consumer()) as other:
                other.seek(checkpoint.get)
                event = poll_until(other, 10)[6]
                checkpoint[event.partition] = event.position
                found, lag = slow.poll(10, timeout=0.0), slow.lag()
                if other.lag():  # its claim did not end meanwhile: the machine was not too slow for it
                    assert (found, lag) == ([], {})
            assert payloads(found + poll_until(slow, 3 - len(found))) == numbered(7, 10)

    def test_a_process_that_ends_late_takes_nothing_from_another_one(self, place: Place, producer: Producer) -> None:
        for count in _growing(producer):
            late = place.consumer()
            poll_until(late, count)
            with closing(place.consumer()) as other:
                poll_until(other, count)
                late.close()
                with closing(place.consumer()) as third:
                    taken = third.poll(10, timeout=0.0)
                producer.send([b"new"])
                went_on = payloads(poll_until(other, 1))
            # Where this took longer than the other one's own claim lasts, time ended it: that says nothing of the late one.
            if went_on == [b"new"]:
                break
        assert taken == []


class RemoteSuite:
    """The contract of a broker behind a connection; beside `ConsumerSuite`."""

    @pytest.fixture
    def connection(self) -> Breakable:
        """A fixture to override: breaks the way to `remote`."""
        raise AssertionError("give the fixture connection")

    @pytest.fixture
    def remote(self, connection: Breakable) -> Place:
        """A fixture to override: an empty place behind the connection, with one partition."""
        raise AssertionError("give the fixture remote")

    def test_it_goes_on_after_the_broker_was_away(self, connection: Breakable, remote: Place) -> None:
        with closing(remote.consumer()) as consumer, closing(remote.producer()) as producer:
            producer.send(numbered(0, 10))
            first = poll_until(consumer, 5, limit=5)
            connection.stop()
            first += poll_until_unavailable(consumer, timeout=0.3)
            first += poll_until_unavailable(consumer, timeout=0.0)
            connection.start()
            producer.send(numbered(10, 12))
            rest = poll_through(consumer, 12 - len(first) if consumer.replays else 12)
        if consumer.replays:
            assert payloads(first + rest) == numbered(0, 12)
        else:
            assert payloads(rest) == numbered(0, 12)
            assert all(event.redelivered for event in rest[:5])

    def test_it_starts_before_the_broker(self, connection: Breakable, remote: Place) -> None:
        connection.stop()
        with closing(remote.consumer()) as consumer, closing(remote.producer()) as producer:
            poll_until_unavailable(consumer, timeout=0.0)
            sender = threading.Thread(target=producer.send, args=([b"early"],))
            sender.start()
            connection.start()
            assert payloads(poll_through(consumer, 1)) == [b"early"]
            sender.join()


def poll_through(consumer: Consumer, count: int) -> list[Event]:
    """At least `count` events, whatever the connection does meanwhile."""
    found: list[Event] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        try:
            found += consumer.poll(count, timeout=1.0)
        except Unavailable:
            assert time.monotonic() < deadline, f"the broker did not come back; {len(found)} of {count} events"
    return found


def poll_until_unavailable(consumer: Consumer, timeout: float) -> list[Event]:
    """What had been fetched ahead; after that, the broker's absence is told."""
    found: list[Event] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            found += consumer.poll(5, timeout)
        except Unavailable:
            return found
    raise AssertionError("the broker's absence was not noticed")


class _Reading:
    """Readers that share a checkpoint, and what they read."""

    def __init__(self) -> None:
        self.checkpoint: dict[str, str] = {}
        self.owners: dict[str, int] = {}
        self.payloads: list[bytes] = []

    def read(self, consumers: Sequence[Consumer], count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.payloads) < count:
            assert time.monotonic() < deadline, f"only {len(self.payloads)} of {count} events came"
            for number, consumer in enumerate(consumers):
                for event in consumer.poll(40, timeout=0.05):
                    assert event.position > self.checkpoint.get(event.partition, ""), "read twice"
                    self.checkpoint[event.partition] = event.position
                    self.owners[event.partition] = number
                    self.payloads.append(event.payload)


def _send_round(producers: Sequence[Producer], turn: int) -> None:
    """A hundred events, evenly to all partitions: by sender, or by key."""
    for number in range(4):
        events = [b"%d.%d.%d" % (turn, number, n) for n in range(25)]
        producers[number % len(producers)].send(events, keys=[b"key-%d" % (n % 16) for n in range(25)])


def _commit_some(acknowledge: Acknowledge, place: Place) -> None:
    """Acknowledges numbers of events once they are committed; it has always polled more."""
    consumer = place.consumer()
    while True:
        for event in consumer.poll(4, timeout=1.0)[:1]:
            consumer.commit({event.partition: event.position})
            acknowledge(int(event.payload))
