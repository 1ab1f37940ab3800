"""Partitions divided among processes: fairly, never one to two, whoever comes, goes, is slow or dies."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.stores.consumers import sharing
from tidemill.stores.consumers.sharing import Sharing, share

LEASE = 9.0
NAMES = st.lists(st.text("abc", min_size=1, max_size=3), unique=True, max_size=6)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Table:
    """All that the processes know of each other: until when each lives, and who holds what until when."""

    clock: Clock
    living: dict[str, float] = field(default_factory=dict)
    held: dict[str, tuple[str, float]] = field(default_factory=dict)


class TableClaims:
    def __init__(self, table: Table, me: str) -> None:
        self.table = table
        self.me = me

    def members(self) -> list[str]:
        now = self.table.clock.now
        self.table.living[self.me] = now + LEASE
        return sorted(name for name, until in self.table.living.items() if until > now)

    def take(self, partition: str) -> bool:
        _, until = self.table.held.get(partition, ("", -1.0))
        if until > self.table.clock.now:
            return False
        self.table.held[partition] = (self.me, self.table.clock.now + LEASE)
        return True

    def keep(self, partition: str) -> bool:
        if not self.holds(partition):
            return False
        self.table.held[partition] = (self.me, self.table.clock.now + LEASE)
        return True

    def give(self, partition: str) -> None:
        if self.holds(partition):
            del self.table.held[partition]

    def leave(self) -> None:
        self.table.living.pop(self.me, None)

    def holds(self, partition: str) -> bool:
        owner, until = self.table.held.get(partition, ("", -1.0))
        return owner == self.me and until > self.table.clock.now


@given(partitions=NAMES, members=NAMES)
def test_shares_are_fair_and_cover_everything(partitions: list[str], members: list[str]) -> None:
    shares = [share(partitions, members, me) for me in members]
    if members:
        assert sorted(name for one in shares for name in one) == sorted(partitions)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert share(partitions, members, "stranger") == []


STEPS = st.lists(
    st.tuples(st.sampled_from(["look", "leave", "die"]), st.integers(0, 3), st.integers(0, 12)), max_size=30
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_partition_is_read_by_two(steps: list[tuple[str, int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that look, leave or die at any times; after each look, what one reads is claimed by nobody else."""
    clock = Clock()
    monkeypatch.setattr(sharing, "time", clock)
    table = Table(clock)
    partitions = [f"p{number}" for number in range(5)]
    processes: dict[str, Sharing] = {}
    for count, (what, number, pause) in enumerate(steps):
        clock.now += pause
        name = next((one for one in processes if one.startswith(f"{number}.")), f"{number}.{count}")
        process = processes.setdefault(name, Sharing(TableClaims(table, name), name, LEASE, lambda: partitions))
        if what == "look":
            process.refresh()
            fresh = clock.now
            assert all(table.held[partition] == (name, table.held[partition][1]) for partition in process.places)
            assert all(table.held[partition][1] > fresh for partition in process.places)
        else:
            if what == "leave":
                process.leave()
            del processes[name]
    # Left alone, those that remain share everything once the claims of the dead have ended.
    for _ in range(3):
        clock.now += LEASE / 3
        for process in processes.values():
            process.refresh()
    for _ in range(6):
        clock.now += LEASE / 3
        for process in processes.values():
            process.refresh()
    if processes:
        held = [partition for process in processes.values() for partition in process.places]
        assert sorted(held) == partitions
        sizes = [len(process.places) for process in processes.values()]
        assert max(sizes) - min(sizes) <= 1


def test_the_checkpoint_is_asked_for_what_is_gained_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(sharing, "time", clock)
    table = Table(clock)
    asked: list[str] = []

    def checkpoint(partition: str) -> str:
        asked.append(partition)
        return f"{partition}-{len(asked)}"

    one = Sharing(TableClaims(table, "one"), "one", LEASE, lambda: ["p", "q"])
    one.seek(checkpoint)
    one.refresh()
    assert one.places == {"p": "p-1", "q": "q-2"}
    one.places["p"] = "p-read"
    clock.now += LEASE / 3
    one.refresh()
    assert one.places == {"p": "p-read", "q": "q-2"}
    clock.now += LEASE + 1  # slow: another one may have read on meanwhile
    one.refresh()
    assert one.places == {"p": "p-3", "q": "q-4"}
    one.seek({"q": "q-sought"}.get)
    assert one.places == {"p": None, "q": "q-sought"}
