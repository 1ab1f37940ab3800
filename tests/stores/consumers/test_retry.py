"""Trying again while a broker is away: until it is there, until the time is up, never in vain."""

from __future__ import annotations

import itertools

import pytest

from tidemill.core.errors import PermissionDenied, Unavailable
from tidemill.stores.consumers import retry
from tidemill.stores.consumers.retry import persist


class Clock:
    """Stands in for the module `time`: sleeping is all that takes time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    return clock


def test_it_pauses_longer_each_time_and_gives_up_when_the_time_is_up(clock: Clock) -> None:
    left: list[float] = []

    def work(seconds: float) -> None:
        left.append(seconds)
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(Unavailable, match=r"Redis at h:1 does not answer \(nobody there\)") as caught:
        persist(work, 6.0, (OSError,), "Redis at h:1")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert clock.pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 0.85])
    assert left == pytest.approx([6.0 - total for total in itertools.accumulate([0.0, *clock.pauses])])


def test_without_time_it_tries_once(clock: Clock) -> None:
    calls: list[float] = []

    def work(seconds: float) -> None:
        calls.append(seconds)
        raise TimeoutError

    with pytest.raises(Unavailable, match=r"\(TimeoutError\)"):
        persist(work, 0.0, (OSError,), "it")
    assert (calls, clock.pauses) == ([0.0], [])


def test_it_goes_on_when_the_broker_is_back(clock: Clock) -> None:
    answers = iter([OSError("away"), OSError("away"), "here"])

    def work(seconds: float) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert persist(work, 60.0, (OSError,), "it") == "here"
    assert clock.pauses == [0.05, 0.1]


@pytest.mark.parametrize("error", [PermissionDenied("refuses"), Unavailable("queue is full"), ValueError("a bug")])
def test_what_waiting_does_not_help_is_told_at_once(clock: Clock, error: Exception) -> None:
    # The first two are OSErrors too, by their other parents.
    def work(seconds: float) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        persist(work, 60.0, (OSError,), "it")
    assert clock.pauses == []
