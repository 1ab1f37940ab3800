"""Sources at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidemill.core.records.data import Arrival


class SourceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a source stands."""

    name: str
    rows: int
    quarantined: int
    arrivals: int
    last_arrival: int | None
    """When the last rows came, microseconds."""
    table_version: int | None
    watermark: int | None
    """The newest event time, microseconds."""
    dead_letters: int = 0
    """Events of its broker that are no rows."""


def summarize(
    name: str, arrivals: Sequence[Arrival], table_version: int | None, quarantined: int, dead: int
) -> SourceSummary:
    """Sum up the arrivals of a source, oldest first."""
    return SourceSummary(
        name=name,
        rows=sum(arrival.rows for arrival in arrivals),
        quarantined=quarantined,
        arrivals=len(arrivals),
        last_arrival=arrivals[-1].created_at if arrivals else None,
        table_version=table_version,
        watermark=max((arrival.last_ts for arrival in arrivals if arrival.last_ts is not None), default=None),
        dead_letters=dead,
    )
