"""Work done by several processes at once, and processes that are killed in the middle of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")

PATIENCE = 120.0
"""Seconds until a process that does not end counts as hanging."""

Acknowledge = Callable[[int], None]


def run_together(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call `work(*job)` once per job, each in a process of its own, all started together; returns their results.

    Raises:
        AssertionError: One raised or did not end.
    """
    with together(work, jobs) as results:
        return results()


@contextmanager
def together(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Callable[[], list[Any]]]:
    """As `run_together`, but the block runs meanwhile, and calls what it is given for the results."""
    gate = _spawn.Barrier(len(jobs))
    pipes = [_spawn.Pipe(duplex=False) for _ in jobs]
    processes = [
        _spawn.Process(target=_work, args=(gate, sender, work, job))
        for (_, sender), job in zip(pipes, jobs, strict=True)
    ]
    for process, (_, sender) in zip(processes, pipes, strict=True):
        process.start()
        sender.close()
    try:
        yield lambda: [_result(receiver) for receiver, _ in pipes]
    finally:
        for process, (receiver, _) in zip(processes, pipes, strict=True):
            receiver.close()
            _end(process)


def acknowledged_before_kill(work: Callable[..., Any], job: tuple[Any, ...], after: int) -> list[int]:
    """Call `work(acknowledge, *job)` in a process and kill -9 it once it has acknowledged `after` numbers.

    Returns:
        All numbers it acknowledged before it died.
    """
    receiver, sender = _spawn.Pipe(duplex=False)
    process = _spawn.Process(target=_acknowledging, args=(sender, work, job))
    process.start()
    sender.close()
    numbers: list[int] = []
    try:
        while True:
            if not receiver.poll(PATIENCE):
                raise AssertionError(f"nothing acknowledged for {PATIENCE} seconds")
            numbers.append(receiver.recv())
            if len(numbers) == after and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
    except EOFError:
        return numbers
    finally:
        receiver.close()
        process.kill()
        _end(process)


def _work(gate: Any, sender: Connection, work: Callable[..., Any], job: tuple[Any, ...]) -> None:
    gate.wait(PATIENCE)
    try:
        sender.send((work(*job), None))
    except Exception as error:
        sender.send((None, f"{type(error).__name__}: {error}"))
        raise


def _acknowledging(sender: Connection, work: Callable[..., Any], job: tuple[Any, ...]) -> None:
    work(sender.send, *job)


def _result(receiver: Connection) -> Any:
    if not receiver.poll(PATIENCE):
        raise AssertionError(f"a process did not answer within {PATIENCE} seconds")
    result, error = receiver.recv()
    if error is not None:
        raise AssertionError(f"a process failed: {error}")
    return result


def _end(process: Any) -> None:
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()
