"""What an engine does: bring rows with equal keys together, and call a function on each such part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import polars as pl


@dataclass(frozen=True)
class Keyed:
    """Rows that come batch by batch, and the columns that say which of them belong together.

    Args:
        schema: The columns of every batch.
        keys: The key columns; all inputs of one call name as many, and the n-th of each means the same.
        batches: The rows. They are read once.
    """

    schema: pl.Schema
    keys: tuple[str, ...]
    batches: Iterable[pl.DataFrame]

    @classmethod
    def of(cls, frame: pl.DataFrame, keys: Sequence[str]) -> Keyed:
        """The rows of a frame.

        Example:
            >>> Keyed.of(pl.DataFrame({"place": ["a"], "x": [1]}), ["place"]).keys
            ('place',)
        """
        return cls(frame.schema, tuple(keys), (frame,))


PartitionFunction: TypeAlias = Callable[..., pl.DataFrame]
"""Called with one frame per input: all rows of the partition. It may run in another process: it has to be picklable, pure,
and it must need no code beside Tidemill's own and what is installed where it runs."""


class Engine(Protocol):
    """Runs functions on partitions of rows.

    Attributes:
        name: The scheme of its URL, for messages.
        in_process: Whether functions run in the process that calls: what is answered while rows are read is not divided then.
    """

    name: str
    in_process: bool

    def map_partitions(
        self, inputs: Sequence[Keyed], function: PartitionFunction, partitions: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Divide rows by a hash of their keys, and call a function on each part.

        Rows of all inputs with equal keys meet in one call; in which one depends on the values only (see
        `tidemill.engines.keys.key_hashes`). Rows with a null in their key meet in the first partition. A partition in which
        no input has rows is left out, an input without rows in a partition is an empty frame with its columns.

        Args:
            inputs: The rows.
            function: What to do with a partition.
            partitions: Into how many to divide; the engine's own choice when absent.

        Returns:
            What the function returned, in any order.

        Raises:
            UserCodeError: The function raised anything but an error of Tidemill, which passes as it is.
            Unavailable: The engine does not answer, or lost a worker.
        """
        ...

    def close(self) -> None:
        """Let go of what the engine holds. A cluster that somebody else started keeps running."""
        ...
