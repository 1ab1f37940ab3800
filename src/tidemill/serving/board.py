"""Numbers every serving process of one server shares: counters and open connections, in memory made before the fork."""

from __future__ import annotations

import mmap
import struct

_VALUE = struct.Struct("<d")
_LENGTH = struct.Struct("<H")
_START = 64
REGION_SIZE = 1 << 19


class Board:
    """Regions of shared memory, each written by one process and read by all.

    A process that dies leaves its counters behind; the one that takes over its region counts on.

    Args:
        regions: How many.
    """

    def __init__(self, regions: int) -> None:
        self._memory = mmap.mmap(-1, regions * REGION_SIZE)
        self.regions = [Region(self._memory, index * REGION_SIZE) for index in range(regions)]

    def totals(self) -> dict[str, float]:
        """Every sample summed over all regions."""
        totals: dict[str, float] = {}
        for region in self.regions:
            for key, value in region.samples().items():
                totals[key] = totals.get(key, 0.0) + value
        return totals

    def fewest_connections(self, own: Region) -> int:
        """The smallest number of open connections of the other processes that accept; a large number if there is none."""
        return min((r.connections for r in self.regions if r is not own and r.accepting), default=1 << 30)


class Region:
    """One process's part of the board: a growing table of `(value, name)`.

    Args:
        memory: The shared memory.
        offset: Where the part starts.
    """

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset
        self._places: dict[str, int] = {}

    def open(self) -> None:
        """Take the region over: nothing is open, the counters stay."""
        self.connections = 0
        self.accepting = False
        self._places = {key: place for place, key in self._entries()}
        for key in self._places:
            if key.startswith("tidemill_requests_in_progress"):
                self.set(key, 0.0)

    @property
    def connections(self) -> int:
        """Open connections."""
        return int(struct.unpack_from("<i", self._memory, self._offset + 4)[0])

    @connections.setter
    def connections(self, count: int) -> None:
        struct.pack_into("<i", self._memory, self._offset + 4, count)

    @property
    def accepting(self) -> bool:
        """Whether its process accepts connections."""
        return bool(struct.unpack_from("<I", self._memory, self._offset + 8)[0])

    @accepting.setter
    def accepting(self, value: bool) -> None:
        struct.pack_into("<I", self._memory, self._offset + 8, int(value))

    def add(self, key: str, amount: float = 1.0) -> None:
        """Add to a sample."""
        place = self._place(key)
        if place is not None:
            _VALUE.pack_into(self._memory, place, _VALUE.unpack_from(self._memory, place)[0] + amount)

    def set(self, key: str, value: float) -> None:
        """Set a sample."""
        place = self._place(key)
        if place is not None:
            _VALUE.pack_into(self._memory, place, value)

    def samples(self) -> dict[str, float]:
        """All samples by name with labels."""
        return {key: _VALUE.unpack_from(self._memory, place)[0] for place, key in self._entries()}

    def _place(self, key: str) -> int | None:
        place = self._places.get(key)
        return self._append(key) if place is None else place

    def _append(self, key: str) -> int | None:
        raw = key.encode()
        used = self._used
        size = _entry_size(len(raw))
        if _START + used + size > REGION_SIZE:
            return None  # thousands of names: what is new is not counted, what is there counts on
        place = self._offset + _START + used
        _VALUE.pack_into(self._memory, place, 0.0)
        _LENGTH.pack_into(self._memory, place + 8, len(raw))
        self._memory[place + 10 : place + 10 + len(raw)] = raw
        # The length goes last: a reader in another process sees whole entries only.
        struct.pack_into("<I", self._memory, self._offset, used + size)
        self._places[key] = place
        return place

    @property
    def _used(self) -> int:
        return int(struct.unpack_from("<I", self._memory, self._offset)[0])

    def _entries(self) -> list[tuple[int, str]]:
        found = []
        at, end = self._offset + _START, self._offset + _START + self._used
        while at < end:
            length = _LENGTH.unpack_from(self._memory, at + 8)[0]
            found.append((at, self._memory[at + 10 : at + 10 + length].decode()))
            at += _entry_size(length)
        return found


def _entry_size(name: int) -> int:
    return (10 + name + 7) // 8 * 8
