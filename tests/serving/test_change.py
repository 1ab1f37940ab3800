from __future__ import annotations

from typing import Any

import pytest

from tidemill.core.protocols import ModelRef
from tidemill.serving.change import Roll, Swap
from tidemill.serving.channel import Channel
from tidemill.serving.child import Child, Pace
from tidemill.serving.runtime import Target

TARGET = Target(endpoint="fare", number=7, graph="g", model=ModelRef("fare", 2, "abc"))


class Worker:
    """A worker's end of a channel, and the child the supervisor sees."""

    def __init__(self, pid: int) -> None:
        ours, self.theirs = Channel.pair()
        self.child = Child(pid, ours, pid, state="ready")

    def heard(self) -> list[str]:
        return [m["do"] for m in (self.theirs.receive() or [])] if self.theirs.wait(0) else []

    def close(self) -> None:
        self.theirs.close()
        self.child.channel.close()


@pytest.fixture
def workers() -> Any:
    made = [Worker(1), Worker(2)]
    yield made
    for worker in made:
        worker.close()


def begin(workers: list[Worker]) -> Swap:
    swap = Swap.begin(TARGET, [worker.child for worker in workers])
    assert [worker.heard() for worker in workers] == [["prepare"], ["prepare"]]
    return swap


def test_all_switch_once_all_are_prepared(workers: list[Worker]) -> None:
    swap = begin(workers)
    swap.heard(workers[0].child, {"is": "prepared", "number": 7})
    swap.heard(workers[0].child, {"is": "prepared", "number": 7})
    swap.heard(workers[1].child, {"is": "prepared", "number": 6})
    assert [worker.heard() for worker in workers] == [[], []]
    swap.heard(workers[1].child, {"is": "prepared", "number": 7})
    assert [worker.heard() for worker in workers] == [["commit"], ["commit"]]
    assert not swap.done
    for worker in workers:
        swap.heard(worker.child, {"is": "committed", "number": 7})
    assert swap.done
    assert swap.failure is None


def test_none_switches_if_one_cannot(workers: list[Worker]) -> None:
    swap = begin(workers)
    swap.heard(workers[0].child, {"is": "failed", "number": 7, "reason": "no memory"})
    assert not swap.done
    swap.heard(workers[1].child, {"is": "prepared", "number": 7})
    assert [worker.heard() for worker in workers] == [["abort"], ["abort"]]
    assert swap.done
    assert swap.failure == "no memory"


def test_none_switches_if_one_dies_while_it_prepares(workers: list[Worker]) -> None:
    swap = begin(workers)
    swap.heard(workers[1].child, {"is": "prepared", "number": 7})
    swap.died(workers[0].child)
    assert workers[1].heard() == ["abort"]
    assert swap.done
    assert "died" in str(swap.failure)


def test_the_others_switch_if_one_dies_then(workers: list[Worker]) -> None:
    swap = begin(workers)
    for worker in workers:
        swap.heard(worker.child, {"is": "prepared", "number": 7})
    swap.died(workers[0].child)
    assert not swap.done
    swap.heard(workers[1].child, {"is": "committed", "number": 7})
    assert swap.done
    assert swap.phase == "commit"


def test_workers_leave_one_by_one_as_successors_come(workers: list[Worker]) -> None:
    roll = Roll({"fare": TARGET}, [worker.child for worker in workers])
    roll.successor_ready()
    assert [worker.heard() for worker in workers] == [["drain"], []]
    assert workers[0].child.state == "draining"
    roll.died(workers[1].child)
    assert roll.old == []
    roll.successor_ready()
    assert roll.replaced == 1


def test_a_channel_whose_other_side_is_gone(workers: list[Worker]) -> None:
    workers[0].theirs.close()
    assert workers[0].child.channel.receive() is None
    assert not workers[0].child.channel.send({"do": "drain"})


def test_the_pace_of_restarts() -> None:
    pace = Pace()
    pace.died(100.0)
    assert pace.remaining == 0
    for _ in range(8):
        pace.died(0.1)
    assert 5 < pace.remaining <= 10
    pace.died(100.0)
    assert pace.remaining == 0
