"""How records of one key are laid out in chunks of about half a page, and cut, joined and merged.

A chunk of a view of fixed width is its records one after the other: any run of chunks is one matrix of words. A chunk of a view
of any width is a count, all times, the end of each payload, and the payloads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import InvalidData
from tidemill.stores.online.protocol import NEVER_KNOWN, TIMES, Block, Blocks, Entries

CHUNK_BYTES = 1920
"""Two chunks, with their keys, share a page of 4 KiB; a larger value would go to pages of its own."""

TIME_WORDS = 3
_COUNT = struct.Struct("<q")
_END = struct.Struct("<I")
Words = NDArray[np.int64]


class Layout(Protocol):
    """Turns records into the bytes of a chunk and back."""

    def block(self, entries: Entries) -> Block:
        """The records of all keys, in the order given.

        Raises:
            InvalidData: Payloads do not fit the view.
        """
        ...

    def sizes(self, block: Block) -> NDArray[np.int64]:
        """Bytes each record takes in a chunk."""
        ...

    def encode(self, block: Block, heads: Sequence[int]) -> Iterator[bytes]:
        """The chunks that begin at the records `heads`; the last entry of `heads` is the end."""
        ...

    def decode(self, values: Sequence[bytes]) -> Block:
        """The records of chunks, joined."""
        ...

    def last(self, value: bytes) -> bytes:
        """The last record of a chunk."""
        ...

    def record(self, block: Block, index: int) -> bytes: ...

    def count(self, value: bytes) -> int:
        """How many records a chunk has."""
        ...

    def lengthened(self, value: bytes, block: Block) -> list[tuple[int, bytes]] | None:
        """A chunk with records behind its own, and what does not fit into it as further chunks; None when it is not simple.

        Each with the place in the block of its first record, which is -1 for the chunk itself.
        """
        ...


class FixedLayout:
    """Records of one width."""

    def __init__(self, width: int) -> None:
        self.record_bytes = TIMES.size + width
        self._words = self.record_bytes // 8

    def block(self, entries: Entries) -> Block:
        payloads = entries.payloads
        width = self.record_bytes - TIMES.size
        if not isinstance(payloads, np.ndarray) or payloads.shape != (len(entries.times), width):
            raise InvalidData(f"payloads are not {len(entries.times)} rows of {width} bytes",
                              expected="an array of bytes as wide as the view was declared")  # fmt: skip
        words = np.empty((len(payloads), self._words), np.int64)
        words[:, :TIME_WORDS] = entries.times
        words[:, TIME_WORDS:] = np.ascontiguousarray(payloads).view(np.int64)
        return Block(words)

    def sizes(self, block: Block) -> NDArray[np.int64]:
        return np.full(len(block.words), self.record_bytes, np.int64)

    def encode(self, block: Block, heads: Sequence[int]) -> Iterator[bytes]:
        raw, width = block.words.tobytes(), self.record_bytes
        for low, high in pairwise(heads):
            yield raw[low * width : high * width]

    def decode(self, values: Sequence[bytes]) -> Block:
        raw = values[0] if len(values) == 1 else b"".join(values)
        return Block(np.frombuffer(raw, np.int64).reshape(-1, self._words))

    def last(self, value: bytes) -> bytes:
        return value[-self.record_bytes :]

    def record(self, block: Block, index: int) -> bytes:
        record: bytes = block.words[index].tobytes()
        return record

    def count(self, value: bytes) -> int:
        return len(value) // self.record_bytes

    def lengthened(self, value: bytes, block: Block) -> list[tuple[int, bytes]] | None:
        raw, width = block.words.tobytes(), self.record_bytes
        full = max(CHUNK_BYTES // width, 1)
        head = min(max(full - len(value) // width, 0), len(block.words))
        result = [(-1, value + raw[: head * width])] if head and value else []
        heads = range(head if value else 0, len(block.words), full)
        return result + [(place, raw[place * width : (place + full) * width]) for place in heads]


class VariableLayout:
    """Records with payloads of any length."""

    def block(self, entries: Entries) -> Block:
        payloads = entries.payloads
        if isinstance(payloads, np.ndarray) or len(payloads) != len(entries.times):
            raise InvalidData(f"payloads are not a list of {len(entries.times)} byte strings")
        return Block(np.array(entries.times, order="C"), list(payloads))  # the caller may change its own

    def sizes(self, block: Block) -> NDArray[np.int64]:
        lengths = np.fromiter(map(len, block.payloads), np.int64, len(block.payloads))
        return lengths + (TIMES.size + _END.size)

    def encode(self, block: Block, heads: Sequence[int]) -> Iterator[bytes]:
        for low, high in pairwise(heads):
            payloads = block.payloads[low:high]
            ends = np.cumsum([len(payload) for payload in payloads], dtype=np.uint32)
            times = block.words[low:high].tobytes()
            yield b"".join((_COUNT.pack(high - low), times, ends.tobytes(), *payloads))

    def decode(self, values: Sequence[bytes]) -> Block:
        times, payloads = [np.empty((0, TIME_WORDS), np.int64)], list[bytes]()
        for value in values:
            count, base = self._shape(value)
            times.append(np.frombuffer(value, np.int64, count * TIME_WORDS, _COUNT.size).reshape(-1, TIME_WORDS))
            ends = np.frombuffer(value, np.uint32, count, base - count * _END.size).tolist()
            payloads += [value[base + a : base + b] for a, b in zip([0, *ends], ends, strict=False)]
        return Block(np.concatenate(times), payloads)

    def last(self, value: bytes) -> bytes:
        count, base = self._shape(value)
        begin = 0 if count == 1 else _END.unpack_from(value, base - 2 * _END.size)[0]
        time = _COUNT.size + (count - 1) * TIMES.size
        return value[time : time + TIMES.size] + value[base + begin :]

    def record(self, block: Block, index: int) -> bytes:
        times: bytes = block.words[index].tobytes()
        return times + block.payloads[index]

    def count(self, value: bytes) -> int:
        return self._shape(value)[0]

    def lengthened(self, value: bytes, block: Block) -> list[tuple[int, bytes]] | None:
        return None

    @staticmethod
    def _shape(value: bytes) -> tuple[int, int]:
        count: int = _COUNT.unpack_from(value)[0]
        return count, _COUNT.size + count * (TIMES.size + _END.size)


@cache
def layout_of(width: int | None) -> Layout:
    """The layout of a view."""
    return VariableLayout() if width is None else FixedLayout(width)


def take(block: Block, index: NDArray[np.int64]) -> Block:
    """Some records of a block, in the order of the index."""
    payloads = [block.payloads[i] for i in index.tolist()] if block.payloads else ()
    return Block(block.words[index], payloads)


def cut(block: Block, low: int, high: int) -> Block:
    """The records from `low` to `high`."""
    return Block(block.words[low:high], block.payloads[low:high])


def join(first: Block, second: Block) -> Block:
    """The records of two blocks."""
    return Block(np.concatenate([first.words, second.words]), [*first.payloads, *second.payloads])


def joined(blocks: Sequence[Block]) -> Blocks:
    """Blocks, of which there is one at least, as one."""
    if isinstance(blocks, Blocks):
        return blocks
    starts = np.zeros(len(blocks) + 1, np.int64)
    np.cumsum([len(block.words) for block in blocks], out=starts[1:])
    payloads = [payload for block in blocks for payload in block.payloads]
    return Blocks(Block(np.concatenate([block.words for block in blocks]), payloads), starts)


class Order(NamedTuple):
    """How records are ordered by group and times."""

    first: NDArray[np.int64]
    """The records in order, without those that are equal in both to one before."""
    again: NDArray[np.int64]
    """These."""


def order(words: Words, groups: NDArray[np.int64]) -> Order:
    """Order records by group and times; of equal ones the first given comes first."""
    index = np.lexsort((words[:, 2], words[:, 1], words[:, 0], groups))
    fresh = np.append(np.ones(len(index[:1]), bool), _rises(words[index], groups[index]))
    return Order(index[fresh], index[~fresh])


def ordered(block: Block, groups: NDArray[np.int64]) -> tuple[Block, NDArray[np.int64]]:
    """Order records by group and times, and keep the first of those that are equal in both."""
    if _rises(block.words, groups).all():
        return block, groups
    index = order(block.words, groups).first
    return take(block, index), groups[index]


def _rises(words: Words, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each record but the first: whether it comes strictly after the one before it."""
    event, known, seq, group = words[:, 0], words[:, 1], words[:, 2], groups
    rises = seq[1:] > seq[:-1]
    for column in (known, event, group):
        rises = (column[1:] > column[:-1]) | ((column[1:] == column[:-1]) & rises)
    return rises


def merged(old: Block, new: Block) -> Block:
    """The records of two blocks of one key in order; where both hold a record, the old one stays."""
    both = join(old, new)
    return ordered(both, np.zeros(len(both.words), np.int64))[0]


def full_heads(sizes: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where chunks begin when each is filled before the next starts; a group starts a chunk. Ends with the count."""
    total = np.cumsum(sizes)
    begins = np.concatenate([[True], groups[1:] != groups[:-1]])
    base = np.maximum.accumulate(np.where(begins, total - sizes, 0))
    room = CHUNK_BYTES - min(int(sizes.max(initial=0)), CHUNK_BYTES // 2)  # a record that begins in it also fits
    number = (total - sizes - base) // room
    begins[1:] |= number[1:] != number[:-1]
    return np.append(np.flatnonzero(begins), len(sizes))


def even_heads(sizes: NDArray[np.int64]) -> list[int]:
    """Where chunks of one key begin when all are about equally full, so that later inserts find room."""
    count = -(-int(sizes.sum()) // CHUNK_BYTES)
    number = (np.cumsum(sizes) - sizes) * count // int(sizes.sum())
    return [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(sizes)]


def newest_at(layout: Layout, value: bytes, at: int, known: bool) -> bytes | None:
    """The last record of a chunk with event time (and known time, when `known`) at or before `at`."""
    block = layout.decode([value])
    fits = block.words[:, 0] <= at
    if known:
        fits &= (block.words[:, 1] <= at) & (block.words[:, 1] != NEVER_KNOWN)
    index = np.flatnonzero(fits)
    return layout.record(block, int(index[-1])) if len(index) else None


def within(block: Block, start: int, end: int) -> Block:
    """The records of an ordered block with start <= event time < end."""
    low, high = np.searchsorted(block.words[:, 0], (start, end))
    if low == 0 and high == len(block.words):
        return block
    return cut(block, int(low), int(high))


def search(event: NDArray[np.int64], first: Words, last: Words, times: Words) -> Words:
    """In each of many ordered stretches the first place whose time is not before a given one: a binary search for all.

    Args:
        event: The event times of all stretches, one after the other.
        first: Where each stretch begins.
        last: Where it ends.
        times: A time for each, or several rows of them.
    """
    low, high = np.broadcast_to(first, times.shape), np.broadcast_to(last, times.shape)
    for _ in range(int((last - first).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        before = (event[np.minimum(middle, len(event) - 1)] < times) & (low < high)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low
