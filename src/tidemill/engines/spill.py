"""Rows on disk by hash of their keys, and as many of them back at a time as memory has room for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import polars as pl

from tidemill.engines.keys import split
from tidemill.engines.partition import Parts
from tidemill.engines.protocol import Keyed

BUCKETS = 64
"""Parts on disk. They are put together again as far as they fit, and divided again if they do not."""
ROOM = 8
"""A part takes so many times its own bytes while it is worked on: its rows, their order, what is sorted, the answers."""
HELD = 8
"""One part in so many of the memory holds rows on their way to disk."""


Bucket: TypeAlias = tuple[int, ...]
"""A part: its number, and its number within each part that was divided again."""


class Spill:
    """Some inputs, divided by key hash into files.

    Args:
        inputs: The rows; they are read when the spill is entered.
        memory: Bytes that may be used.
        at_once: How many groups of parts are in memory at a time.
        partitions: How many parts to make; as many as it takes when absent.
    """

    def __init__(
        self, inputs: Sequence[Keyed], memory: int, at_once: int = 1, partitions: int | None = None
    ) -> None:  # fmt: skip
        self._inputs = inputs
        self._held_bytes = memory // HELD
        self._group_bytes = memory // (ROOM * at_once)
        self._partitions = partitions
        self._files: defaultdict[tuple[int, Bucket], list[Path]] = defaultdict(list)
        self._bytes: defaultdict[Bucket, int] = defaultdict(int)

    def __enter__(self) -> Spill:
        self._folder = TemporaryDirectory(prefix="tidemill-spill-")
        try:
            for number, keyed in enumerate(self._inputs):
                self._write(number, (), keyed.batches)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def groups(self) -> Iterator[list[Bucket]]:
        """Parts to be worked on together, as far as they fit."""
        if self._partitions is not None:
            yield from ([bucket] for bucket in sorted(self._bytes))
            return
        self._divide_again()
        group: list[Bucket] = []
        size = 0
        for bucket in sorted(self._bytes):
            if group and size + self._bytes[bucket] > self._group_bytes:
                yield group
                group, size = [], 0
            group.append(bucket)
            size += self._bytes[bucket]
        if group:
            yield group

    def read(self, group: Sequence[Bucket]) -> Parts:
        """The rows of some parts, by input. Their files are gone then."""
        return [
            [frame for bucket in group for frame in self._read(number, bucket)] for number in range(len(self._inputs))
        ]

    def _divide_again(self) -> None:
        """Divide parts that do not fit, but for those that one key may fill."""
        large = [bucket for bucket, size in self._bytes.items() if size > self._group_bytes]
        while large:
            bucket = large.pop()
            size = self._bytes.pop(bucket)
            for number in range(len(self._inputs)):
                self._write(number, bucket, self._read(number, bucket))
            made = [(other, part) for other, part in self._bytes.items() if other[:-1] == bucket]
            large += [other for other, part in made if self._group_bytes < part < size]

    def _write(self, number: int, within: Bucket, batches: Iterable[pl.DataFrame]) -> None:
        keys, count = self._inputs[number].keys, self._partitions or BUCKETS
        held: defaultdict[Bucket, list[pl.DataFrame]] = defaultdict(list)
        size = 0
        for batch in batches:
            for part, frame in split(batch, keys, count, again=len(within)).items():
                held[*within, part].append(frame)
            size += int(batch.estimated_size())
            if size > self._held_bytes:
                self._flush(number, held)
                size = 0
        self._flush(number, held)

    def _flush(self, number: int, held: defaultdict[Bucket, list[pl.DataFrame]]) -> None:
        for bucket in list(held):
            frame = pl.concat(held.pop(bucket))
            files = self._files[number, bucket]
            path = Path(self._folder.name) / f"{number}-{'-'.join(map(str, bucket))}-{len(files)}.arrow"
            frame.write_ipc(path, compression="uncompressed")
            files.append(path)
            self._bytes[bucket] += int(frame.estimated_size())

    def _read(self, number: int, bucket: Bucket) -> Iterator[pl.DataFrame]:
        for path in self._files.pop((number, bucket), ()):
            yield pl.read_ipc(path)
            path.unlink()
