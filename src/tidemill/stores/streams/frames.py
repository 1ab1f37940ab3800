"""Messages as bytes: length, checksum, payload. The checksum covers the length, so a stretch of zeros is no message."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from tidemill.core.errors import InvalidArgument

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")

HEAD_BYTES = _HEAD.size

MOST_BYTES = 1 << 30
"""Bytes in one append: what one system call surely writes."""


def pack(payloads: Sequence[bytes]) -> bytes:
    """The bytes of messages, one after the other.

    Raises:
        InvalidArgument: They are more than `MOST_BYTES`.
    """
    size = sum(map(len, payloads)) + HEAD_BYTES * len(payloads)
    if size > MOST_BYTES:
        raise InvalidArgument(f"{size} bytes in one append", expected=f"at most {MOST_BYTES}; divide them")
    parts: list[bytes] = []
    for payload in payloads:
        parts += (_HEAD.pack(len(payload), _checksum(payload)), payload)
    return b"".join(parts)


def unpack(data: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The messages from a position on, each with the position after it; stops at one that is torn or damaged."""
    view = memoryview(data)
    position = start
    while position + HEAD_BYTES <= len(view):
        length, checksum = _HEAD.unpack_from(view, position)
        end = position + HEAD_BYTES + length
        if end > len(view):
            return
        payload = bytes(view[position + HEAD_BYTES : end])
        if _checksum(payload) != checksum:
            return
        yield end, payload
        position = end


def message_length(data: bytes | memoryview, position: int) -> int | None:
    """The bytes the message at a position takes by its own account; None when its head is not whole."""
    if position + HEAD_BYTES > len(data):
        return None
    length: int = _LENGTH.unpack_from(data, position)[0]
    return HEAD_BYTES + length


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))
