"""Dask: futures that divide batches, futures that work on partitions, and the workers' memory in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from distributed import Client, KilledWorker, LocalCluster, as_completed, get_client
from distributed.comm.core import CommClosedError

from tidemill.core.errors import Unavailable
from tidemill.engines.address import parse_address
from tidemill.engines.keys import split
from tidemill.engines.partition import Failure, Work, checked
from tidemill.engines.protocol import Keyed, PartitionFunction

ANSWER_WITHIN = 10
"""Seconds a scheduler may take to answer."""


class DaskEngine:
    """Runs on Dask. It joins the client this process has, else a scheduler, else starts a cluster on this machine.

    The workers are the shuffle: each divided batch stays where it was made, and the worker of a partition fetches its pieces
    from the others. Workers write to disk what does not fit.

    Args:
        host: `host:port` of a scheduler; empty for this machine.
        workers: Worker processes of a cluster that is started; one for each processor when absent.
        processes: Whether they are processes of their own; else they are threads of this one.
    """

    name = "dask"
    in_process = False

    def __init__(self, host: str = "", *, workers: int | None = None, processes: bool = True) -> None:
        self._cluster: LocalCluster | None = None
        found = None if host else _running()
        self._own = found is None
        try:
            self._client = found or self._connected(host, workers, processes)
        except OSError as error:
            raise Unavailable(f"Dask at {host or 'this machine'} does not answer: {error}") from error

    def _connected(self, host: str, workers: int | None, processes: bool) -> Client:
        if not host:
            self._cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=processes, dashboard_address=None,
                host="127.0.0.1" if processes else None,
            )  # fmt: skip
        return Client(self._cluster or f"tcp://{host}", timeout=ANSWER_WITHIN)

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        count = partitions or max(2 * sum(self._client.nthreads().values()), 2)
        try:
            yield from self._mapped(inputs, Work.on(inputs, function), count)
        except (KilledWorker, CommClosedError, TimeoutError) as error:
            raise Unavailable(f"engine 'dask' lost its work: {type(error).__name__}: {error}") from error

    def _mapped(self, inputs: Sequence[Keyed], work: Work, count: int) -> Iterator[pl.DataFrame]:
        submit = self._client.submit
        pieces: list[list[Any]] = [[] for _ in range(count)]
        owners: list[int] = []
        for number, keyed in enumerate(inputs):
            for batch in keyed.batches:
                divided = submit(_divided, self._client.scatter(batch, hash=False), keyed.keys, count, pure=False)
                owners.append(number)
                for place in range(count):
                    pieces[place].append(submit(_piece, divided, place, pure=False))
        if not owners:
            return
        pending = [submit(_answered, work, owners, pieces[place], pure=False) for place in range(count)]
        pieces.clear()  # a result lives as long as somebody holds its future
        for future in as_completed(pending):
            found = future.result()
            pending.remove(future)
            if found is not None:
                yield checked(found, self.name)

    def close(self) -> None:
        if self._own:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def open_dask(url: str) -> DaskEngine:
    """Open `dask:`, `dask:?workers=2&processes=no`, `dask://host:port`."""
    address = parse_address(url, ("workers", "processes"))
    return DaskEngine(address.host, workers=address.count("workers"), processes=address.flag("processes", default=True))


def _running() -> Client | None:
    """The client this process has."""
    try:
        return get_client()
    except ValueError:
        return None


def _divided(batch: pl.DataFrame, keys: tuple[str, ...], count: int) -> dict[int, pl.DataFrame]:
    return split(batch, keys, count)


def _piece(parts: dict[int, pl.DataFrame], place: int) -> pl.DataFrame | None:
    return parts.get(place)


def _answered(
    work: Work, owners: list[int], pieces: list[pl.DataFrame | None]
) -> pl.DataFrame | Failure | None:  # fmt: skip
    parts: list[list[pl.DataFrame]] = [[] for _ in work.schemas]
    for owner, piece in zip(owners, pieces, strict=True):
        if piece is not None:
            parts[owner].append(piece)
    return work(parts) if any(parts) else None
