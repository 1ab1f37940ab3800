"""Whether the server of a generation still lives: it renews a lease, on real time.

A server that was killed cannot record its end. So what a generation's record says of a running one holds only as long as
the lease of its server does.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidemill.core.clock import SystemClock
from tidemill.core.records.events import Lease
from tidemill.core.records.serving import LIVE, Generation
from tidemill.core.scope import Scope
from tidemill.stores.metadata.protocol import Reader, Writer

LEASE_MICROS = 10_000_000
"""A server that shows no sign of life for so long counts as gone."""

BEAT_SECONDS = 2.0
"""How often a server shows one."""

GONE = "gone"
"""The state in which a generation is shown that is recorded as running, but whose server is gone."""


def beat(writer: Writer, scope: Scope, server: str) -> None:
    """Record that a server lives."""
    now = SystemClock().now()  # real time, also where the platform's clock is accelerated
    writer.put(Lease(**scope.stamp(), name=_name(scope.project, server), holder=server,
                     expires_at=now + LEASE_MICROS, beat_at=now))  # fmt: skip


def leave(writer: Writer, scope: Scope, server: str) -> None:
    """Record that a server needs no sign of life any more: it recorded its end."""
    writer.remove(Lease, {"name": _name(scope.project, server)})


def present(reader: Reader, generations: Iterable[Generation]) -> list[Generation]:
    """Generations as they are: what is recorded as running, but whose server is gone, has the state `gone`.

    Args:
        reader: Where the leases are.
        generations: As they are recorded. One whose server never had a lease stays as it is recorded.
    """
    now, seen = SystemClock().now(), dict[str, bool]()
    return [one if one.state not in LIVE or _lives(reader, one, now, seen) else _gone(one) for one in generations]


def _lives(reader: Reader, generation: Generation, now: int, seen: dict[str, bool]) -> bool:
    name = _name(generation.project, generation.server)
    if name not in seen:
        lease = reader.get(Lease, name=name)
        seen[name] = lease is None or lease.expires_at > now
    return seen[name]


def _gone(generation: Generation) -> Generation:
    return msgspec.structs.replace(generation, state=GONE, detail="its server ended without a word")


def _name(project: str, server: str) -> str:
    return f"server/{project}/{server}"
