"""This machine: partitions on threads, or one after the other from disk where memory is capped.

Threads, not processes: Polars and NumPy release the interpreter's lock, a forked child of a process that ran Polars hangs, and
a spawned one costs a second and a copy of the rows.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import polars as pl

from tidemill.engines.address import parse_address
from tidemill.engines.keys import split
from tidemill.engines.partition import Failure, Parts, Work, checked, grouped
from tidemill.engines.protocol import Keyed, PartitionFunction
from tidemill.engines.spill import Spill

T = TypeVar("T")

ROWS_PER_PARTITION = 1_000_000
"""Fewer rows than this are not worth dividing."""


class LocalEngine:
    """Runs on this machine.

    Args:
        workers: How many partitions are worked on at once; as many as there are processors when absent.
        memory: Bytes the work may take. Rows then go through files in the temporary folder (`TMPDIR`), and as many partitions
            as fit are worked on together. A single key is never divided.
    """

    name = "local"
    in_process = True

    def __init__(self, *, workers: int | None = None, memory: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.memory = memory

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        work = Work.on(inputs, function)
        if self.memory is None:
            yield from self._worked(work, iter(self._divided(inputs, partitions)))
            return
        with Spill(inputs, self.memory, self.workers, partitions) as spill:
            yield from self._worked(lambda group: work(spill.read(group)), spill.groups())

    def _worked(self, work: Callable[[T], pl.DataFrame | Failure], tasks: Iterator[T]) -> Iterator[pl.DataFrame]:
        """Answers in the order of the tasks; no more of them are begun than there are workers."""
        pending: deque[Future[pl.DataFrame | Failure]] = deque()
        with ThreadPoolExecutor(self.workers, "tidemill-engine") as pool:
            for task in tasks:
                if len(pending) == self.workers:
                    yield checked(pending.popleft().result(), self.name)
                pending.append(pool.submit(work, task))
            while pending:
                yield checked(pending.popleft().result(), self.name)

    def close(self) -> None:
        """Nothing to let go of."""

    def _divided(self, inputs: Sequence[Keyed], partitions: int | None) -> list[Parts]:
        batches = [list(keyed.batches) for keyed in inputs]
        if partitions is None:
            rows = sum(batch.height for listed in batches for batch in listed)
            partitions = min(self.workers, 1 + rows // ROWS_PER_PARTITION)
        pieces: defaultdict[tuple[int, int], list[pl.DataFrame]] = defaultdict(list)
        for number, (keyed, listed) in enumerate(zip(inputs, batches, strict=True)):
            for batch in listed:
                for partition, part in split(batch, keyed.keys, partitions).items():
                    pieces[number, partition].append(part)
        return [grouped(pieces, len(inputs), partition) for partition in sorted({place for _, place in pieces})]


def open_local(url: str) -> LocalEngine:
    """Open `local:`, `local:?workers=2&memory=2GiB`.

    Example:
        >>> open_local("local:?memory=2GiB").memory
        2147483648
    """
    address = parse_address(url, ("workers", "memory"), cluster=False)
    return LocalEngine(workers=address.count("workers"), memory=address.size("memory"))
