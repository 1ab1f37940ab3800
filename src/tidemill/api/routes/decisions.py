"""`/decisions`: what was decided, and why."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.records.alerting import Decision
from tidemill.platform import Platform


@get("/decisions", sync_to_thread=True, summary="Decisions, newest first")
def decisions(
    platform: NamedDependency[Platform], subject: FromQuery[str | None] = None, action: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_LIMIT, offset: Offset = 0,
) -> Page[Decision]:  # fmt: skip
    """The audit trail of the closed loop."""
    return find_page(platform, Decision, {"subject": subject, "action": action}, ["-created_at"], limit, offset)


HANDLERS = [decisions]
