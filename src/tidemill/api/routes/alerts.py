"""`/alerts`: what fired."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from tidemill.api.paging import DEFAULT_LIMIT, Limit, Offset, Page, find_page
from tidemill.core.errors import NotFound
from tidemill.core.records.alerting import Alert, Notification
from tidemill.platform import Platform

State = Annotated[str | None, QueryParameter(name="state", description="Only those in this state.")]


@get("/alerts", sync_to_thread=True, summary="Alerts, newest first")
def alerts(
    platform: NamedDependency[Platform], of_state: State = None, name: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_LIMIT, offset: Offset = 0,
) -> Page[Alert]:  # fmt: skip
    """Alerts, each from its first firing to its end."""
    return find_page(platform, Alert, {"state": of_state, "name": name}, ["-created_at"], limit, offset)


@get("/alerts/{alert_id:str}", sync_to_thread=True, summary="One alert")
def alert(platform: NamedDependency[Platform], alert_id: FromPath[str]) -> Alert:
    """An alert with its evidence."""
    with platform.metadata.read() as reader:
        found = reader.get(Alert, id=alert_id)
    if found is None or found.project != platform.scope.project:
        raise NotFound(f"there is no alert {alert_id!r}", hint="List them at /api/tidemill/v1/alerts")
    return found


@get("/notifications", sync_to_thread=True, summary="The outbox")
def notifications(
    platform: NamedDependency[Platform], of_state: State = None, limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> Page[Notification]:  # fmt: skip
    """Notifications that wait, were sent or were given up, newest first."""
    return find_page(platform, Notification, {"state": of_state}, ["-created_at"], limit, offset)


HANDLERS = [alerts, alert, notifications]
