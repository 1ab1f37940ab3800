"""Rows on disk by hash of their keys, and as many of them back at a time as memory has room for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from tidemill.engines.keys import split
from tidemill.engines.partition import Parts
from tidemill.engines.protocol import Keyed

BUCKETS = 64
"""Parts on disk; parts are put together again as far as they fit."""
ROOM = 8
"""A part takes so many times its own bytes while it is worked on: its rows, their order, what is sorted, the answers."""
HELD = 8
"""One part in so many of the memory holds rows on their way to disk."""


class Spill:
    """Some inputs, divided by key hash into files.

    Args:
        inputs: The rows; they are read when the spill is entered.
        memory: Bytes that may be used.
        at_once: How many groups of parts are in memory at a time.
        partitions: How many parts to make; `BUCKETS` when absent.
    """

    def __init__(self, inputs: Sequence[Keyed], memory: int, at_once: int = 1, partitions: int | None = None) -> None:
        self._inputs = inputs
        self._memory = memory
        self._group_bytes = memory // (ROOM * at_once)
        self._buckets = partitions or BUCKETS
        self._divided = partitions is not None
        self._files: defaultdict[tuple[int, int], list[Path]] = defaultdict(list)
        self._bytes: defaultdict[int, int] = defaultdict(int)

    def __enter__(self) -> Spill:
        self._folder = TemporaryDirectory(prefix="tidemill-spill-")
        try:
            for number, keyed in enumerate(self._inputs):
                self._write(number, keyed)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def groups(self) -> Iterator[list[int]]:
        """Parts to be worked on together, as far as they fit."""
        group: list[int] = []
        size = 0
        for bucket in sorted(self._bytes):
            if group and (self._divided or size + self._bytes[bucket] > self._group_bytes):
                yield group
                group, size = [], 0
            group.append(bucket)
            size += self._bytes[bucket]
        if group:
            yield group

    def read(self, group: Sequence[int]) -> Parts:
        """The rows of some parts, by input. Their files are gone then."""
        return [
            [frame for bucket in group for frame in self._read(number, bucket)] for number in range(len(self._inputs))
        ]

    def _write(self, number: int, keyed: Keyed) -> None:
        held: defaultdict[int, list[pl.DataFrame]] = defaultdict(list)
        size = 0
        for batch in keyed.batches:
            for bucket, part in split(batch, keyed.keys, self._buckets).items():
                held[bucket].append(part)
            size += int(batch.estimated_size())
            if size * HELD > self._memory:
                self._flush(number, held)
                size = 0
        self._flush(number, held)

    def _flush(self, number: int, held: defaultdict[int, list[pl.DataFrame]]) -> None:
        for bucket in list(held):
            frame = pl.concat(held.pop(bucket))
            files = self._files[number, bucket]
            path = Path(self._folder.name) / f"{number}-{bucket}-{len(files)}.arrow"
            frame.write_ipc(path, compression="uncompressed")
            files.append(path)
            self._bytes[bucket] += int(frame.estimated_size())

    def _read(self, number: int, bucket: int) -> list[pl.DataFrame]:
        frames = []
        for path in self._files.get((number, bucket), ()):
            frames.append(pl.read_ipc(path))
            path.unlink()
        return frames
