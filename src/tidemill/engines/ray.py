"""Ray: tasks that divide batches, tasks that work on partitions, and Ray's object store in between."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import ray

from tidemill.core.errors import MissingExtra, Unavailable
from tidemill.engines.address import parse_address
from tidemill.engines.keys import split
from tidemill.engines.partition import Failure, Work, checked
from tidemill.engines.protocol import Keyed, PartitionFunction


class RayEngine:
    """Runs on Ray. It joins the Ray this process is connected to, else a cluster, else starts one on this machine.

    The object store is the shuffle: a task per batch leaves one object per partition there, a task per partition takes
    its own. Ray moves them between machines and spills them to disk.

    Args:
        host: `host:port` of a cluster's client server; empty for this machine.
        workers: Processors of a Ray that is started; all when absent.
    """

    name = "ray"
    in_process = False

    def __init__(self, host: str = "", *, workers: int | None = None) -> None:
        self._started = not ray.is_initialized()
        if not self._started:
            return
        if host and importlib.util.find_spec("grpc") is None:  # Ray's client is an extra of Ray
            raise MissingExtra(f"the engine ray at {host}", "ray")
        try:
            if host:
                ray.init(f"ray://{host}", log_to_driver=False)
            else:
                ray.init(
                    num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                )  # fmt: skip
        except (ConnectionError, ray.exceptions.RayError) as error:
            raise Unavailable(f"Ray at {host or 'this machine'} does not answer: {error}") from error

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        count = partitions or max(2 * int(ray.cluster_resources().get("CPU", 1)), 2)
        try:
            yield from self._mapped(inputs, Work.on(inputs, function), count)
        except ray.exceptions.RayError as error:
            raise Unavailable(f"engine 'ray' lost its work: {type(error).__name__}: {error}") from error

    def _mapped(self, inputs: Sequence[Keyed], work: Work, count: int) -> Iterator[pl.DataFrame]:
        divide = ray.remote(_divided).options(num_returns=count)
        answer = ray.remote(_answered)
        pieces: list[list[Any]] = [[] for _ in range(count)]
        owners: list[int] = []
        for number, keyed in enumerate(inputs):
            for batch in keyed.batches:
                made: Any = divide.remote(batch, keyed.keys, count)
                owners.append(number)
                for place, piece in enumerate(made if count > 1 else [made]):
                    pieces[place].append(piece)
        kept = ray.put(work)
        pending = [answer.remote(kept, owners, *pieces[place]) for place in range(count)] if owners else []
        pieces.clear()  # an object lives as long as somebody holds its name
        while pending:
            done, pending = ray.wait(pending)
            found = ray.get(done[0])
            if found is not None:
                yield checked(found, self.name)

    def close(self) -> None:
        if self._started and ray.is_initialized():
            ray.shutdown()


def open_ray(url: str) -> RayEngine:
    """Open `ray:`, `ray:?workers=2`, `ray://host:port`."""
    address = parse_address(url, ("workers",))
    return RayEngine(address.host, workers=address.count("workers"))


def _divided(batch: pl.DataFrame, keys: tuple[str, ...], count: int) -> Any:
    """A batch as one object per partition; None where it has no rows."""
    parts = split(batch, keys, count)
    found = [parts.get(place) for place in range(count)]
    return found if count > 1 else found[0]


def _answered(work: Work, owners: list[int], *pieces: pl.DataFrame | None) -> pl.DataFrame | Failure | None:
    parts: list[list[pl.DataFrame]] = [[] for _ in work.schemas]
    for owner, piece in zip(owners, pieces, strict=True):
        if piece is not None:
            parts[owner].append(piece)
    return work(parts) if any(parts) else None
