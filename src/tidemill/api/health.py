"""`GET /health`: whether the platform works, in words."""

from __future__ import annotations

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.records.events import Lease
from tidemill.platform import Platform

DAEMON_LEASE = "daemon"


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds the daemon's lease.

    Attributes:
        holder: Which process.
        age: Seconds since it last showed that it lives.
        alive: Whether its lease is still good.
    """

    holder: str
    age: float
    alive: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform is.

    Attributes:
        status: `ok` or `attention`.
        project: The project.
        now: The platform's clock, microseconds UTC; it may run faster than the wall's.
        metadata: Whether the metadata store answers.
        daemon: The daemon, null when none ever ran.
        detail: What is wrong, in words.
    """

    status: str
    project: str
    now: int
    metadata: bool
    daemon: Heartbeat | None = None
    detail: str | None = None


def examine(platform: Platform) -> Health:
    """Ask the metadata store, and look at the daemon's heartbeat."""
    scope = platform.scope
    try:
        daemon = heartbeat(platform)
    except TidemillError as error:
        return Health(status="attention", project=scope.project, now=scope.now(), metadata=False, detail=str(error))
    return Health(status="ok", project=scope.project, now=scope.now(), metadata=True, daemon=daemon)


def heartbeat(platform: Platform) -> Heartbeat | None:
    """The daemon's last sign of life."""
    with platform.metadata.read() as reader:
        lease = reader.get(Lease, name=f"{DAEMON_LEASE}/{platform.scope.project}")
    return None if lease is None else _beat(lease)


def _beat(lease: Lease) -> Heartbeat:
    now = SystemClock().now()  # leases run on real time, also where the platform's clock is accelerated
    return Heartbeat(holder=lease.holder, age=max(0, now - lease.beat_at) / 1e6, alive=now < lease.expires_at)


@get("/health", sync_to_thread=True, summary="Whether the platform works")
def health(platform: NamedDependency[Platform]) -> Response[Health]:
    """200 when the metadata store answers, 503 when it does not; the daemon's heartbeat beside it."""
    found = examine(platform)
    return Response(found, status_code=200 if found.metadata else 503, headers={"Cache-Control": "no-store"})
