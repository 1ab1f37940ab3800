"""The online store in Redis: one round trip for all a service asks, one transaction for all an append brings.

The records of a key are one string, in order: the newest is its end, and a window is one slice of it. Scripts in the server
(`lua/`; the first tells the layout) search it by halving, and put late records into their places.

Redis keeps what it acknowledged as well as it is configured to: `appendonly yes` for all but the last second.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from redis.exceptions import ResponseError

from tidemill.core.errors import InvalidData, unknown
from tidemill.stores.online import chunks
from tidemill.stores.online.protocol import (
    TIMES,
    Block,
    Entries,
    Entry,
    Latest,
    OnlineReader,
    Position,
    Question,
    Range,
    ReaderOfQuestions,
    Stats,
    T,
    ViewStats,
    append_then_ask,
    check_width,
    other_width,
)
from tidemill.stores.online.redis_server import Command, RedisServer, Script

PREFIX = "tidemill"
_KEYS_AT_ONCE = 2000
"""Keys in one call of a script that writes."""
_HEAP_WORDS = 4
"""Words of a record of any width: its times, and where in the heap its payload is."""
_word = struct.Struct("<q").pack

READ, APPEND, TRIM, DECLARE, DROP = map(Script, ("read", "append", "trim", "declare", "drop"))


class Asked(NamedTuple):
    """A question as the script reads it, and how its answer is understood."""

    arguments: list[Any]
    present: list[int] | None
    """The places of the keys that were sent; None when all were."""


def _asked(question: Question) -> Asked:
    if isinstance(question, Position):
        return Asked(["P", question.view, question.feed], None)
    if isinstance(question, Stats):
        return Asked(["S", question.view], None)
    keys: Sequence[Any] = question.keys
    present = None
    if None in keys:
        present = [place for place, key in enumerate(keys) if key is not None]
        keys = [keys[place] for place in present]
    if isinstance(question, Latest):
        times = _times(_chosen(question.at, present))
        return Asked(["L", question.view, len(keys), times, b"1" if question.known else b"0", *keys], present)
    bounds = [_packed(_chosen(bound, present)) for bound in (question.start, question.end)]
    return Asked(["R", question.view, len(keys), *bounds, *keys], present)


def _chosen(values: Sequence[int], places: list[int] | None) -> Sequence[int]:
    return values if places is None else [values[place] for place in places]


def _times(at: Sequence[int]) -> bytes:
    """The moments, or the one moment they all are."""
    if not at:
        return _word(0)
    return _word(at[0]) if at.count(at[0]) == len(at) else _packed(at)


def _packed(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


class RedisReader(ReaderOfQuestions):
    """Reads of a `RedisOnline`: every call is one moment."""

    unchanged: object | None = None

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._server, self._prefix = server, prefix

    def __enter__(self) -> RedisReader:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give back: every call takes a connection of its own."""

    def answer(self, questions: Sequence[Question]) -> list[Any]:
        asked = [_asked(question) for question in questions]
        try:
            found = self._server.run(READ, self._prefix, *chain.from_iterable(one.arguments for one in asked))
        except ResponseError as error:
            raise _refusal(self._server, self._prefix, questions[0].view, error) from None
        return [_understood(*parts) for parts in zip(questions, asked, found, strict=True)]

    def views(self) -> list[str]:
        return _names(self._server, self._prefix)


def _understood(question: Question, asked: Asked, found: Any) -> Any:
    if isinstance(question, Position):
        return None if found is None else int(found)
    if isinstance(question, Stats):
        rows, newest = found
        return ViewStats(rows, int.from_bytes(newest, "little", signed=True) if newest else None)
    nothing = None
    if isinstance(question, Range):
        words, *records = found
        found = [_block(one, words) for one in records]
        nothing = Block(np.empty((0, max(words, chunks.TIME_WORDS)), np.int64))
    if asked.present is None:
        return found
    result: list[Any] = [nothing] * len(question.keys)
    for place, one in zip(asked.present, found, strict=True):
        result[place] = one
    return result


def _block(found: Any, words: int) -> Block:
    if words > 0:
        return Block(np.frombuffer(found, np.int64).reshape(-1, words))
    records, payloads = found
    index = np.frombuffer(records, np.int64).reshape(-1, _HEAP_WORDS)
    ends = np.cumsum(index[:, 3] >> 32).tolist()
    parts = [payloads[low:high] for low, high in zip([0, *ends], ends, strict=False)]
    return Block(np.ascontiguousarray(index[:, : chunks.TIME_WORDS]), parts)


class RedisOnline:
    """The online store in one Redis database, or a server that speaks as Redis does.

    Appends wait for one another and hold reads up while they are carried out, a few microseconds for each record.

    Args:
        url: `redis://USER:PASSWORD@HOST:PORT/DB` (or `rediss:`, `unix:`).
        prefix: What all keys begin with, so that projects may share a database.
    """

    def __init__(self, url: str, *, prefix: str = PREFIX) -> None:
        self.server = RedisServer(url)
        self._prefix = prefix

    def read(self) -> RedisReader:
        return RedisReader(self.server, self._prefix)

    def declare(self, view: str, *, width: int | None) -> None:
        check_width(view, width)
        wanted = -1 if width is None else width
        found = int(self.server.run(DECLARE, self._prefix, view, wanted))
        if found != wanted:
            raise other_width(view, None if found < 0 else found, width)

    def append(self, view: str, entries: Entries, *, positions: Mapping[str, int] | None = None) -> int:
        places = positions or {}
        arguments, step = _records(entries) if len(entries.times) else ([], 2)
        width: Any = {2: _width(entries), 3: -1}[step] if arguments else b""
        newest = _word(int(entries.times[:, 0].max())) if arguments else b""
        fixed = [self._prefix, view, width, newest, len(places), *chain.from_iterable(places.items())]
        size = step * _KEYS_AT_ONCE
        with self._refusing(view):
            if len(arguments) <= size:
                return int(self.server.run(APPEND, *fixed, *arguments))
            if step == 2 and self._filled(view, width, newest, places, arguments):
                return _count(arguments, width)
            # The body goes with the first call: a script the server forgot would leave a gap in the transaction.
            calls = [APPEND.first_call, *[APPEND.call] * (len(arguments) // size)]
            starts = range(0, len(arguments), size)
            return sum(
                self.server.transaction(
                    [call(*fixed, *arguments[low : low + size]) for call, low in zip(calls, starts, strict=False)]
                )
            )

    def _filled(self, view: str, width: Any, newest: bytes, places: Mapping[str, int], arguments: list[Any]) -> bool:
        """Fill a view that is empty, without a script: no record can be there already. False when it is not empty."""
        meta = f"{self._prefix}:view:{view}"

        def commands(found: list[bytes | None]) -> list[Command] | None:
            number, wide, rows = found
            if number is None or rows != b"0" or wide != b"%d" % width:
                return None
            base = b"%s:%s:" % (self._prefix.encode(), number)
            positions = chain.from_iterable((f"p:{feed}", position) for feed, position in places.items())
            sent: list[Command] = [("HSET", meta, "rows", _count(arguments, width), "newest", newest, *positions)]
            for low in range(0, len(arguments), 2 * _KEYS_AT_ONCE):
                some = arguments[low : low + 2 * _KEYS_AT_ONCE]
                keys = some[::2]
                some[::2] = [base + b"d" + key for key in keys]
                sent += [("MSET", *some), ("SADD", base + b"k", *keys)]
            return sent

        return self.server.unless_changed(meta, ("HMGET", meta, "number", "width", "rows"), commands)

    def exchange(self, view: str, entry: Entry, ask: Callable[[OnlineReader], T]) -> tuple[bool, T]:
        return append_then_ask(self, view, entry, ask)

    def trim(self, view: str, before: int) -> int:
        with self._refusing(view):
            gone = int(self.server.run(TRIM, self._prefix, view, _word(before)))  # refuses a view that is not there
            number = self.server.ask("HGET", f"{self._prefix}:view:{view}", "number").decode()
            for keys in self._members(f"{self._prefix}:{number}:k"):
                gone += int(self.server.run(TRIM, self._prefix, view, _word(before), *keys))
            return gone

    def drop(self, view: str) -> None:
        self.server.run(DROP, self._prefix, view)
        gone = f"{self._prefix}:gone"
        for member in self.server.ask("SMEMBERS", gone):  # what an interrupted drop left, too
            base = b"%s:%s:" % (self._prefix.encode(), member.rstrip(b"h"))
            kinds = (b"d", b"h") if member.endswith(b"h") else (b"d",)
            for keys in self._members(base + b"k"):
                self.server.ask("UNLINK", *(base + kind + key for key in keys for kind in kinds))
            self.server.ask("UNLINK", base + b"k")
            self.server.ask("SREM", gone, member)

    def close(self) -> None:
        self.server.close()

    def _members(self, name: str | bytes) -> Iterator[list[bytes]]:
        """The members of a set, some at a time; those that stay all the while are met."""
        cursor = b"0"
        while True:
            cursor, members = self.server.ask("SSCAN", name, cursor, "COUNT", _KEYS_AT_ONCE)
            if members:
                yield members
            if cursor == b"0":
                return

    @contextmanager
    def _refusing(self, view: str) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            raise _refusal(self.server, self._prefix, view, error) from None


def _records(entries: Entries) -> tuple[list[Any], int]:
    """Each key with its records in order, and their heap when they have any width; how many arguments a key takes."""
    layout = chunks.layout_of(_width(entries))
    groups = np.repeat(np.arange(len(entries.keys)), np.diff(entries.starts))
    block, groups = chunks.ordered(layout.block(entries), groups)
    heads = [*np.flatnonzero(np.diff(groups, prepend=-1)).tolist(), len(groups)]
    keys = [entries.keys[owner] for owner in groups[heads[:-1]].tolist()]
    if _width(entries) is not None:
        return list(chain.from_iterable(zip(keys, layout.encode(block, heads), strict=True))), 2
    return list(chain.from_iterable(zip(keys, *_heaped(block, heads), strict=True))), 3


def _count(arguments: list[Any], width: int) -> int:
    """How many records there are among keys and records."""
    return sum(map(len, arguments[1::2])) // (TIMES.size + width)


def _width(entries: Entries) -> int | None:
    return entries.payloads.shape[1] if isinstance(entries.payloads, np.ndarray) else None


def _heaped(block: Block, heads: Sequence[int]) -> tuple[list[bytes], list[bytes]]:
    """The records of each key with the places of their payloads in its heap, and the heaps."""
    lengths = np.fromiter(map(len, block.payloads), np.int64, len(block.payloads))
    index = np.empty((len(lengths), _HEAP_WORDS), np.int64)
    index[:, : chunks.TIME_WORDS] = block.words
    ends = np.cumsum(lengths)
    starts = ends - lengths
    own = starts - np.repeat(starts[heads[:-1]], np.diff(heads))
    index[:, chunks.TIME_WORDS] = own | (lengths << 32)
    bounds = list(pairwise(heads))
    return [index[low:high].tobytes() for low, high in bounds], [b"".join(block.payloads[a:b]) for a, b in bounds]


def _refusal(server: RedisServer, prefix: str, view: str, error: ResponseError) -> Exception:
    """What a script answered, in Tidemill's words; the error itself for what means a defect."""
    kind, _, rest = str(error).partition(" ")
    if kind == "NOVIEW":
        return unknown("view in the online store", rest, _names(server, prefix), hint="Materialize it first")
    if kind == "WIDTH":
        return InvalidData(f"payloads do not fit view {view!r}",
                           expected="payloads of any length" if rest == "-1" else f"{rest} bytes each")  # fmt: skip
    return error


def _names(server: RedisServer, prefix: str) -> list[str]:
    return sorted(name.decode() for name in server.ask("SMEMBERS", f"{prefix}:views"))
