"""Ids, names and digests."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path

from tidemill.core.clock import Clock
from tidemill.core.errors import InvalidArgument

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
_lock = threading.Lock()


class IdSource:
    """Makes UUIDv7 ids: sortable by creation time, unique without coordination.

    Within one millisecond of one process a counter keeps the order of creation (RFC 9562, section 6.2, method 1).
    """

    def __init__(self) -> None:
        self._last = -1
        self._counter = 0
        self._pid = os.getpid()

    def next(self, millis: int) -> str:
        with _lock:
            if millis > self._last or self._pid != os.getpid():
                self._last, self._counter, self._pid = millis, int.from_bytes(os.urandom(2)) & 0x7FF, os.getpid()
            else:
                self._counter += 1
                if self._counter > 0xFFF:
                    self._last, self._counter = self._last + 1, 0
            stamp, counter = self._last, self._counter
        tail = (int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
        return f"{stamp & 0xFFFF_FFFF_FFFF:012x}7{counter:03x}{tail:016x}"


_ids = IdSource()


def new_id(clock: Clock) -> str:
    """A new UUIDv7 as 32 hex digits.

    Example:
        >>> from tidemill.core.clock import ManualClock
        >>> len(new_id(ManualClock(0)))
        32
    """
    return _ids.next(clock.now() // 1000)


def check_name(name: object, what: str = "name") -> str:
    """Return `name` if it follows the one grammar of names.

    Raises:
        InvalidArgument: It holds anything but lower-case letters, digits, `-` and `_`, or is empty or too long.

    Example:
        >>> check_name("late-flight")
        'late-flight'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} is not a {what}",
            expected="lower-case letters, digits, '-' and '_', starting with a letter or digit, at most 128",
        )
    return name


def digest_bytes(data: bytes | memoryview) -> str:
    """The sha256 of some bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_text(*parts: str) -> str:
    """One digest of several texts; their borders count.

    Example:
        >>> digest_text("a", "bc") == digest_text("ab", "c")
        False
    """
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        h.update(len(raw).to_bytes(8))
        h.update(raw)
    return h.hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
