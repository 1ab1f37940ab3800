"""A change of generation over all workers, in two phases: all have it ready, then all switch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from tidemill.serving.channel import Message
from tidemill.serving.child import Child
from tidemill.serving.runtime import Target


@dataclass
class Swap:
    """One change under way. Every worker that takes part either switches or none does.

    Args:
        target: What all shall run.
        waiting: Pids whose word is awaited.
        phase: `prepare`, then `commit`.
        failure: Why it cannot be, once that is known.
    """

    target: Target
    waiting: set[int]
    phase: str = "prepare"
    failure: str | None = None
    workers: list[Child] = field(default_factory=list)

    @classmethod
    def begin(cls, target: Target, workers: Iterable[Child]) -> Swap:
        """Ask all workers to prepare."""
        taking_part = list(workers)
        swap = cls(target, {worker.pid for worker in taking_part}, workers=taking_part)
        swap._tell_all({"do": "prepare", "target": msgspec.to_builtins(target)})
        return swap

    def heard(self, worker: Child, message: Message) -> None:
        """A worker's word about it."""
        if message.get("number") != self.target.number or worker.pid not in self.waiting:
            return
        if message["is"] == "failed":
            self.failure = message["reason"]
        self.waiting.discard(worker.pid)
        self._go_on()

    def died(self, worker: Child) -> None:
        """A worker died: before the switch that ends it, after it the others go on."""
        self.workers = [other for other in self.workers if other.pid != worker.pid]
        if worker.pid in self.waiting and self.phase == "prepare":
            self.failure = "a worker died while it was loading it"
        self.waiting.discard(worker.pid)
        self._go_on()

    def _go_on(self) -> None:
        if self.phase != "prepare" or self.waiting:
            return
        if self.failure is not None:
            self._tell_all({"do": "abort", "endpoint": self.target.endpoint, "number": self.target.number})
            return
        self.phase = "commit"
        self.waiting = {worker.pid for worker in self.workers}
        self._tell_all({"do": "commit", "endpoint": self.target.endpoint, "number": self.target.number})

    def _tell_all(self, message: Message) -> None:
        for worker in self.workers:
            worker.channel.send(message)

    @property
    def done(self) -> bool:
        """Whether every word has been heard."""
        return not self.waiting and (self.phase == "commit" or self.failure is not None)


@dataclass
class Roll:
    """All workers replaced one by one: each successor takes connections before its predecessor stops.

    Args:
        targets: What the successors run, by endpoint.
        old: Workers still to be replaced.
        replaced: How many are.
    """

    targets: dict[str, Target]
    old: list[Child]
    replaced: int = 0

    def successor_ready(self) -> None:
        """Another successor takes connections: let one predecessor go."""
        if self.old:
            leaving = self.old.pop(0)
            leaving.state = "draining"
            leaving.channel.send({"do": "drain"})
            self.replaced += 1

    def died(self, worker: Child) -> None:
        """A worker died; if it was to be replaced, it need not be any more."""
        self.old = [other for other in self.old if other.pid != worker.pid]
