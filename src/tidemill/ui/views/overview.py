"""Overview: what needs me now?"""

from __future__ import annotations

import msgspec

from tidemill.platform import Platform
from tidemill.ui.views.attention import Attention, attention
from tidemill.ui.views.happenings import Happening, happenings
from tidemill.ui.views.loop import Station, stations

LATEST = 25
"""Entries of the time line."""


class OverviewPage(msgspec.Struct, frozen=True, kw_only=True):
    """What needs somebody, the loop, and what happened last."""

    project: str
    now: int
    attention: list[Attention]
    stations: list[Station]
    happened: list[Happening]


def overview(platform: Platform) -> OverviewPage:
    """Read the page's content."""
    project, now = platform.scope.project, platform.scope.now()
    with platform.metadata.read() as reader:
        return OverviewPage(
            project=project, now=now,
            attention=attention(reader, project, now),
            stations=stations(reader, project),
            happened=happenings(reader, project, limit=LATEST),
        )  # fmt: skip
