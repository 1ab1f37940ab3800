"""The supervisor: one socket, several workers, and a reconciler that tells them what to run.

It never runs Polars, NumPy, SQLite or anything else with threads or locks of its own: children are forked from it at any
time, and a child of a process that did would hang.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import msgspec

from tidemill.core.errors import EXIT_CODE, TidemillError
from tidemill.serving.board import Board
from tidemill.serving.change import Roll, Swap
from tidemill.serving.channel import Channel, Message
from tidemill.serving.child import Child
from tidemill.serving.fleet import Fleet
from tidemill.serving.runtime import MakeRuntime, Target

STOP_WITHIN = 35.0
"""Seconds all may take to stop."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


class StartFailed(TidemillError):
    """No worker could be built.

    Args:
        code: The code of the error in the worker.
        message: Its message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code if code in EXIT_CODE else "internal"  # type: ignore[misc]

    def __str__(self) -> str:
        return self.found


class Supervisor:
    """Keeps workers running until told to stop.

    Args:
        sock: The listening socket.
        url: Where it listens, for the records.
        workers: How many workers.
        make_runtime: Builds what a child needs, in the child.
        log_level: The lowest level children log.
    """

    def __init__(
        self, sock: socket.socket, *, url: str, workers: int, make_runtime: MakeRuntime, log_level: str = "warning"
    ) -> None:  # fmt: skip
        self._sock, self._url, self._count = sock, url, workers
        self._make_runtime, self._log_level = make_runtime, log_level
        self._board = Board(2 * workers)  # a worker that leaves keeps its region while its successor has another
        self._fleet = Fleet()
        self._current: dict[str, Target] = {}
        self._asked: Target | None = None
        self._swap: Swap | None = None
        self._roll: Roll | None = None
        self._renew = self._stopping = self._was_ready = False
        self._broken: StartFailed | None = None
        self._listening: Callable[[], None] | None = None

    def run(self, listening: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP replaces all workers, one by one.

        Args:
            listening: Called when the first worker takes connections.

        Raises:
            StartFailed: No worker could be built.
        """
        self._listening = listening
        self._fleet.wake_on_signals()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGHUP, self._asked_to_renew)
        try:
            while not self._stopping:
                self._keep_up()
                for child, message in self._fleet.listen(self._fleet.patience()):
                    self._hear(child, message)
                for child in self._fleet.bury():
                    self._lost(child)
        finally:
            self._fleet.stop(STOP_WITHIN)
        if self._broken is not None:
            raise self._broken

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:  # asked twice: no more patience
            for child in self._fleet.all:
                child.kill(signal.SIGKILL)
        self._stopping = True

    def _asked_to_renew(self, number: int, frame: FrameType | None) -> None:
        self._begin_renewal()

    def _begin_renewal(self) -> None:
        # A new reconciler reads the project anew and says what all workers shall be replaced by.
        self._renew = True
        if self._fleet.reconciler is not None:
            self._fleet.reconciler.kill(signal.SIGKILL)

    # -- what is to be done

    def _keep_up(self) -> None:
        self._fleet.end_stuck()
        if self._swap is None:  # who starts during a change would not know of it
            self._start_missing()
            self._begin_swap()

    def _start_missing(self) -> None:
        fleet = self._fleet
        wanted = self._count + (1 if self._roll is not None else 0)
        while len(fleet.staying) < wanted and not fleet.worker_pace.remaining:
            index = fleet.free_index(len(self._board.regions))
            if index is None:
                break
            fleet.start_worker(index, self._worker(index))
        # One that is gone asked for what is under way: its successor begins when that has ended, and asks anew.
        if fleet.reconciler is None and self._roll is None and not fleet.reconciler_pace.remaining:
            self._asked = None
            fleet.start_reconciler(self._reconciler())
            self._renew = False

    def _worker(self, index: int) -> Callable[[Channel], None]:
        targets = list((self._current if self._roll is None else self._roll.targets).values())

        def work(channel: Channel) -> None:
            _share_cores(self._count)
            from tidemill.serving.worker import run_worker

            run_worker(self._sock, channel, self._board, index, targets, self._make_runtime, self._log_level)

        return work

    def _reconciler(self) -> Callable[[Channel], None]:
        current, fresh = dict(self._current), self._renew
        server = f"{socket.gethostname()}:{os.getpid()}"

        def work(channel: Channel) -> None:
            self._sock.close()
            _share_cores(os.cpu_count() or 1)
            from tidemill.serving.reconciler import run_reconciler

            run_reconciler(channel, current, self._make_runtime, server=server, url=self._url, fresh=fresh,
                           log_level=self._log_level)  # fmt: skip

        return work

    def _begin_swap(self) -> None:
        workers = self._fleet.staying
        if self._asked is None or not workers or any(worker.state != "ready" for worker in workers):
            return
        self._swap, self._asked = Swap.begin(self._asked, workers), None

    # -- what children say

    def _hear(self, child: Child, message: Message) -> None:
        if child is self._fleet.reconciler:
            self._obey(message)
        elif message.get("is") == "ready":
            self._ready(child)
        elif message.get("is") == "broken":
            self._give_up(message)
        elif self._swap is not None:
            self._swap.heard(child, message)
            self._end_swap()

    def _obey(self, message: Message) -> None:
        match message["do"]:
            case "swap":
                self._asked = msgspec.convert(message["target"], Target)
            case "roll":
                targets = msgspec.convert(message["targets"], list[Target])
                self._roll = Roll({target.endpoint: target for target in targets}, list(self._fleet.staying))
            case "renew":
                self._begin_renewal()

    def _ready(self, worker: Child) -> None:
        worker.state = "ready"
        if not self._was_ready and self._listening is not None:
            self._listening()
        self._was_ready = True
        if self._roll is not None and worker not in self._roll.old:
            self._roll.successor_ready()
            self._end_roll()

    def _give_up(self, message: Message) -> None:
        # A worker that cannot even be built will not be the next time either, unless one could before.
        if not self._was_ready:
            self._broken = StartFailed(message["code"], message["message"])
            self._stopping = True

    def _lost(self, child: Child) -> None:
        if child.index >= 0:
            self._board.regions[child.index].open()
        if self._swap is not None:
            self._swap.died(child)
            self._end_swap()
        if self._roll is not None:
            self._roll_lost(self._roll, child)

    def _roll_lost(self, roll: Roll, child: Child) -> None:
        roll.died(child)
        if child.state == "starting" and child.index >= 0 and not roll.replaced:
            self._roll = None
            self._reply({"is": "failed", "reason": "the first new worker did not become ready", "again": False})
        else:
            self._end_roll()

    # -- ends

    def _end_swap(self) -> None:
        swap = self._swap
        if swap is None or not swap.done:
            return
        self._swap = None
        if swap.phase == "commit":
            self._current[swap.target.endpoint] = swap.target
            self._reply({"is": "done"})
        else:
            self._reply({"is": "failed", "reason": swap.failure, "again": "died" in (swap.failure or "")})

    def _end_roll(self) -> None:
        roll = self._roll
        if roll is not None and not roll.old and all(w.state == "ready" for w in self._fleet.staying):
            self._current, self._roll = roll.targets, None
            self._reply({"is": "done"})
            self._drop_surplus()

    def _drop_surplus(self) -> None:
        for worker in self._fleet.staying[self._count :]:
            worker.state = "draining"
            worker.channel.send({"do": "drain"})

    def _reply(self, message: Message) -> None:
        if self._fleet.reconciler is not None:
            pids = [worker.pid for worker in self._fleet.staying]
            self._fleet.reconciler.channel.send({**message, "workers": pids})


def _share_cores(processes: int) -> None:
    """Give each process its share of the cores: too many threads are slower than too few. What the user set stays."""
    share = max(1, (os.cpu_count() or 1) // processes)
    for name in _THREADS:
        os.environ.setdefault(name, str(share))
