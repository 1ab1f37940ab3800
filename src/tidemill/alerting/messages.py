"""Notifications as CloudEvents."""

from __future__ import annotations

from typing import Any

from tidemill.core.records.alerting import Alert, Notification
from tidemill.core.scope import Scope
from tidemill.core.times import format_time

TYPES = {
    "firing": "io.tidemill.alert.firing.v1",
    "resolved": "io.tidemill.alert.resolved.v1",
    "retrain": "io.tidemill.retrain.started.v1",
    "promoted": "io.tidemill.model.promoted.v1",
    "refused": "io.tidemill.model.refused.v1",
    "failed": "io.tidemill.retrain.failed.v1",
}
"""Reason of a notification -> type of the event."""


def notification(scope: Scope, alert: Alert, channel: str, reason: str, text: str) -> Notification:
    """A notification to be sent; its id is the event's, so a receiver can tell a repeated delivery.

    Args:
        scope: Project, principal and clock.
        alert: What it is about.
        channel: Name of the channel.
        reason: One of `TYPES`.
        text: One sentence.
    """
    identity = scope.new_id()
    return Notification(
        **scope.stamp(), id=identity, alert_id=alert.id, channel=channel, reason=reason, state="waiting",
        due_at=scope.now(), payload=_event(scope, alert, identity, reason, text),
    )  # fmt: skip


def _what(alert: Alert) -> str:
    """What an alert is about."""
    service = alert.labels.get("service")
    return f"monitors/{alert.labels['monitor']}" if service is None else f"feature-services/{service}"


def _event(scope: Scope, alert: Alert, identity: str, reason: str, text: str) -> dict[str, Any]:
    data = {
        "reason": reason, "text": text, "alert": alert.name, "state": alert.state, "severity": alert.severity,
        "summary": alert.summary, "labels": alert.labels, "alert_id": alert.id, "started_at": format_time(alert.created_at),
    }  # fmt: skip
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"/projects/{scope.project}/{_what(alert)}",
        "type": TYPES[reason],
        "subject": f"alert/{alert.id}",
        "time": format_time(scope.now()),
        "datacontenttype": "application/json",
        "data": data,
    }
