"""A log of appends beside the LMDB file: what was appended since its records were last moved into chunks.

A log is a file of blocks. Its first page says how far it is written, so that a reader knows with two looks at memory whether
there is news; whatever lies beyond was never acknowledged, and the next writer overwrites it. A block has a checksum, which
only matters after a power failure. Each merge of the log into the chunks begins a new log with the next number.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from tidemill.core.errors import Unavailable
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import TIMES, Block, Entry

HEADER = 4096
_LENGTH, _TRANSACTION = 1, 2
_MAGIC = b"TIDELOG1"
_FRAME = struct.Struct("<II")
"""Bytes of the block after this, and their checksum."""
_BLOCK = struct.Struct("<IIIIi")
"""View number, keys, bytes of all keys, bytes of the positions, width of the view or -1."""

_ONE = struct.Struct("<IIIIiII")
"""The same, then length of the key and number of records."""


class Appended(NamedTuple):
    """New records of one view, ordered by key and times, none of which is in the store yet.

    Args:
        view: The view's number.
        width: Of its payloads; None when they differ.
        keys: Every key once.
        counts: How many records each key has.
        records: The records, key after key.
        positions: Positions of feeds that are set with it.
    """

    view: int
    width: int | None
    keys: list[bytes]
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]
    records: Block
    positions: Mapping[str, int]


class Log:
    """One log file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: It is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        if os.pread(self._fd, len(_MAGIC), 0) != _MAGIC:
            raise Unavailable(f"{path} is no log of an online store")
        self._head = memoryview(mmap.mmap(self._fd, HEADER)).cast("Q")

    @classmethod
    def create(cls, path: Path) -> Log:
        """A new log without blocks, in the place of whatever is there."""
        beside = path.with_suffix(".new")
        head = _MAGIC + struct.pack("<QQ", HEADER, 0)
        beside.write_bytes(head + bytes(HEADER - len(head)))
        os.replace(beside, path)
        log = cls(path)
        os.fsync(log._fd)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # or a power failure could take the file and leave what counts on it
        finally:
            os.close(folder)
        return log

    @property
    def length(self) -> int:
        """How far it is written, in bytes."""
        return self._head[_LENGTH]

    def state(self) -> tuple[int, int]:
        """The length, and the newest transaction of the LMDB file that came before a block, read in this order."""
        return self._head[_LENGTH], self._head[_TRANSACTION]

    def append(self, block: bytes, transaction: int) -> int:
        """Write a block; only for who holds the store's lock for writing.

        Returns:
            The length of the log now.

        Raises:
            OSError: There is no room; nothing was changed.
        """
        length = self._head[_LENGTH]
        written = os.pwrite(self._fd, block, length)
        while written < len(block):  # a full disk takes what fits at first, and says so at the next attempt
            written += os.pwrite(self._fd, block[written:], length + written)
        self._head[_TRANSACTION] = transaction
        self._head[_LENGTH] = length + len(block)
        return length + len(block)

    def sync(self) -> None:
        """Wait for the disk."""
        os.fdatasync(self._fd)

    def blocks(self, start: int, end: int) -> tuple[list[Appended], bool]:
        """The blocks between two lengths, and whether all are whole; only those before a damaged one.

        A power failure damages: the first page may have reached the disk before what it counts.
        """
        raw = os.pread(self._fd, end - start, start)
        place, found = 0, []
        while place + _FRAME.size <= len(raw):
            size, checksum = _FRAME.unpack_from(raw, place)
            body = raw[place + _FRAME.size : place + _FRAME.size + size]
            if size < _BLOCK.size or len(body) < size or zlib.crc32(body) != checksum:
                break
            found.append(_decode(body))
            place += _FRAME.size + size
        return found, place == len(raw) == end - start


def encode(block: Appended) -> bytes:
    """The bytes of a block."""
    positions = msgspec.msgpack.encode(dict(block.positions)) if block.positions else b""
    keys = b"".join(block.keys)
    lengths = np.fromiter(map(len, block.keys), np.uint32, len(block.keys))
    head = _BLOCK.pack(block.view, len(lengths), len(keys), len(positions), -1 if block.width is None else block.width)
    parts = [head, lengths.tobytes(), block.counts.astype(np.uint32).tobytes(), keys, positions]
    count = len(block.records.words)
    if count:
        parts += chunks.layout_of(block.width).encode(block.records, [0, count])
    return _framed(b"".join(parts))


def encode_one(view: int, entry: Entry) -> bytes:
    """The bytes of a block of one record of fixed width, many times as quick."""
    key, record = entry
    size = len(key)
    return _framed(_ONE.pack(view, 1, size, 0, len(record) - TIMES.size, size, 1) + key + record)


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _decode(body: bytes) -> Appended:
    view, count, key_bytes, position_bytes, width = _BLOCK.unpack_from(body)
    lengths = np.frombuffer(body, np.uint32, count, _BLOCK.size)
    counts = np.frombuffer(body, np.uint32, count, _BLOCK.size + 4 * count).astype(np.int64)
    place = _BLOCK.size + 8 * count
    ends = (place + np.cumsum(lengths, dtype=np.int64)).tolist()
    keys = [body[a:b] for a, b in zip([place, *ends], ends, strict=False)]
    place += key_bytes
    positions = msgspec.msgpack.decode(body[place : place + position_bytes]) if position_bytes else {}
    rest = body[place + position_bytes :]
    records = chunks.layout_of(None if width < 0 else width).decode([rest] if rest else [])
    return Appended(view, None if width < 0 else width, keys, counts, records, positions)
