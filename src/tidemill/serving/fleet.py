"""The supervisor's children: starting them, hearing them, noticing that they died."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator

from tidemill.serving.channel import Channel, Message
from tidemill.serving.child import Child, Pace, start_child

START_WITHIN = 120.0
"""Seconds a child may take to become ready."""


class Fleet:
    """Children of this process, and signals to it.

    Args:
        forget: Closes, in a child, what only the parent may hold beside the fleet's own.
    """

    def __init__(self, forget: Callable[[], None] = lambda: None) -> None:
        self.workers: list[Child] = []
        self.reconciler: Child | None = None
        self.worker_pace, self.reconciler_pace = Pace(), Pace()
        self._forget_more = forget
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    @property
    def all(self) -> list[Child]:
        """Everything that runs."""
        return [*self.workers, *([] if self.reconciler is None else [self.reconciler])]

    @property
    def staying(self) -> list[Child]:
        """Workers that are not about to leave."""
        return [worker for worker in self.workers if worker.state != "draining"]

    def wake_on_signals(self) -> None:
        """Let signals end a wait."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    # -- starting

    def start_worker(self, index: int, work: Callable[[Channel], None]) -> None:
        """Start a worker.

        Args:
            index: Its region of the board.
            work: What it does.
        """
        self.workers.append(self._start(index, work))

    def start_reconciler(self, work: Callable[[Channel], None]) -> None:
        """Start the reconciler."""
        self.reconciler = self._start(-1, work)

    def _start(self, index: int, work: Callable[[Channel], None]) -> Child:
        child = start_child(work, index=index, forget=self._forget)
        self._selector.register(child.channel.sock, selectors.EVENT_READ, child)
        return child

    def _forget(self) -> None:
        """In a child: close the parent's ends, or nobody would notice that it is gone; take signals as usual."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        for child in self.all:
            child.channel.close()
        self._forget_more()

    def free_index(self, regions: int) -> int | None:
        """A region of the board no worker uses."""
        taken = {worker.index for worker in self.workers}
        return next((index for index in range(regions) if index not in taken), None)

    # -- hearing

    def listen(self, seconds: float) -> Iterator[tuple[Child, Message]]:
        """What children say within some seconds, or until a signal comes."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                os.read(self._wake_read, 4096)
                continue
            messages = key.data.channel.receive()
            if messages is None:
                self._selector.unregister(key.data.channel.sock)
                continue
            for message in messages:
                yield key.data, message

    def patience(self) -> float:
        """Seconds until something must be done without being asked."""
        paces = (self.worker_pace.remaining, self.reconciler_pace.remaining)
        return min([1.0, *(pace for pace in paces if pace)])

    def bury(self) -> Iterator[Child]:
        """Children that have ended."""
        for child in self.all:
            pid, _ = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._remove(child)
                yield child

    def _remove(self, child: Child) -> None:
        if child.channel.sock in [key.fileobj for key in self._selector.get_map().values()]:
            self._selector.unregister(child.channel.sock)
        child.channel.close()
        if child is self.reconciler:
            self.reconciler = None
            self.reconciler_pace.died(child.age)
        else:
            self.workers = [worker for worker in self.workers if worker is not child]
            if child.state != "draining":
                self.worker_pace.died(child.age)

    def end_stuck(self) -> None:
        """Kill workers that do not become ready."""
        for worker in self.workers:
            if worker.state == "starting" and worker.age > START_WITHIN:
                worker.kill(signal.SIGKILL)

    # -- ending

    def stop(self, seconds: float) -> None:
        """End all children: kindly first, and for sure after some seconds."""
        for child in self.all:
            child.kill(signal.SIGTERM)
        until = time.monotonic() + seconds
        while self.all and time.monotonic() < until:
            list(self.listen(0.05))
            list(self.bury())
        for child in self.all:
            child.kill(signal.SIGKILL)
            os.waitpid(child.pid, 0)
