"""A partition: a folder of segment files, appended to under a lock."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tidemill.core.errors import InvalidData
from tidemill.stores.disk import disk_errors, storage_full, sync_folder
from tidemill.stores.locks import FileLock
from tidemill.stores.streams.frames import pack
from tidemill.stores.streams.protocol import Message
from tidemill.stores.streams.segment import Segment

LOCK_NAME = "lock"


class Partition:
    """Reads and appends; any number of threads and processes.

    A writer holds the partition's lock for one append only, so a second process may append too: it first sees what the
    other wrote. What a killed writer left unfinished is cut off by the next one and kept in a file beside.

    Args:
        root: The store's folder.
        folder: The partition's folder below it.
        segment_bytes: A segment of at least this size gets a successor.
    """

    def __init__(self, root: Path, folder: Path, segment_bytes: int) -> None:
        self._root = root
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._seen: dict[int, Segment] = {}
        self._index = threading.RLock()
        self._lock: FileLock | None = None
        self._active: Segment | None = None
        self._fd = -1
        self._durable_names = False

    def append(self, payloads: Sequence[bytes], *, sync: bool) -> int:
        """Add messages with one system call; returns the offset after the last."""
        data = pack(payloads)
        with disk_errors(f"the stream in {self._folder}"), self._writer_lock(), self._index:
            active = self._writable()
            if data:
                self._write(active, data)
                active.saw(active.end + len(payloads), active.size + len(data))
            if sync:
                self._sync()
            return active.end

    def read(self, start: int, limit: int) -> list[Message]:
        """Up to `limit` messages from an offset on; from the oldest kept when that one is forgotten."""
        with self._index:
            while True:
                try:
                    return self._read(start, limit)
                except FileNotFoundError:  # trimmed between listing and opening: list again
                    continue

    def end(self) -> int:
        """The offset the next message will get."""
        with self._index:
            firsts = self._firsts()
            if not firsts:
                return 0
            last = self._segment(firsts[-1])
            last.advance()
            return last.end

    def trim(self, before: int) -> None:
        """Remove segments whose messages are all below `before`, but never the last."""
        if not self._folder.is_dir():
            return
        with disk_errors(f"the stream in {self._folder}"), self._writer_lock(), self._index:
            firsts = self._firsts()
            for first, following in pairwise(firsts):
                if following <= before:
                    self._segment(first).path.unlink(missing_ok=True)
                    self._seen.pop(first, None)

    def close(self) -> None:
        """Close the files."""
        with self._index:
            self._deactivate()
            if self._lock is not None:
                self._lock.close()

    def _read(self, start: int, limit: int) -> list[Message]:
        firsts = self._firsts()
        found: list[Message] = []
        number = max(bisect_right(firsts, start) - 1, 0)
        while number < len(firsts) and len(found) < limit:
            segment = self._segment(firsts[number])
            found += segment.read(start, limit - len(found))
            number += 1
            if len(found) < limit:
                segment.check_end(firsts[number] if number < len(firsts) else None)
        if found and found[-1].offset - found[0].offset != len(found) - 1:
            raise InvalidData(f"messages are missing in {self._folder} after {found[0].offset}",
                              hint="Restore the folder from a backup")  # fmt: skip
        return found

    def _firsts(self) -> list[int]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(name[:-4]) for name in names if name.endswith(".log"))

    def _segment(self, first: int) -> Segment:
        if first not in self._seen:
            self._seen[first] = Segment(self._folder, first)
        return self._seen[first]

    def _writer_lock(self) -> FileLock:
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._folder / LOCK_NAME)
        return self._lock

    def _writable(self) -> Segment:
        active = self._active
        if active is None or self._changed(active):
            active = self._recover()
        if active.size >= self._segment_bytes:
            os.fdatasync(self._fd)  # so that a power cut never leaves a hole before the next segment
            active = self._activate(active.end)
        return active

    def _changed(self, active: Segment) -> bool:
        if os.fstat(self._fd).st_size != active.size:
            return True
        return active.end > active.first and self._segment(active.end).path.exists()

    def _recover(self) -> Segment:
        firsts = self._firsts()
        active = self._activate(firsts[-1] if firsts else 0)
        active.advance()
        size = os.fstat(self._fd).st_size
        if size > active.size:
            active.check_end(None)
            self._cut(active)
        return active

    def _cut(self, active: Segment) -> None:
        with active.path.open("rb") as file:
            file.seek(active.size)
            active.path.with_suffix(f".torn-{active.size}").write_bytes(file.read())
        os.ftruncate(self._fd, active.size)

    def _activate(self, first: int) -> Segment:
        self._deactivate()
        active = self._segment(first)
        self._fd = os.open(active.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._active = active
        self._durable_names = False
        return active

    def _deactivate(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._active = -1, None

    def _write(self, active: Segment, data: bytes) -> None:
        if os.write(self._fd, data) != len(data):
            os.ftruncate(self._fd, active.size)
            raise storage_full(f"the stream in {self._folder}")

    def _sync(self) -> None:
        os.fdatasync(self._fd)
        if not self._durable_names:
            folder = self._folder
            while folder != self._root.parent:
                sync_folder(folder)
                folder = folder.parent
            self._durable_names = True
