"""Alerts, notifications and decisions."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tidemill.core.records.record import Json, Record


class Alert(Record, frozen=True, kw_only=True):
    """One alert from its first firing to its end."""

    TABLE: ClassVar[str] = "alerts"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "state", "created_at"), ("fingerprint",))

    id: str
    name: str
    """`DriftDetected`, `PerformanceDropped`, ..."""
    fingerprint: str
    """Digest of its labels: what makes it the same alert."""
    labels: Json
    state: str
    """`pending`, `firing` or `resolved`."""
    severity: str
    summary: str
    evidence: Json = msgspec.field(default_factory=dict)
    window_at: int | None = None
    """Start of the window that raised it."""
    resolved_at: int | None = None


class Notification(Record, frozen=True, kw_only=True):
    """The outbox: written with the alert, sent afterwards, exactly once per alert, channel and reason."""

    TABLE: ClassVar[str] = "notifications"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("state", "due_at"),)

    id: str
    alert_id: str
    channel: str
    reason: str
    """`firing`, `resolved`, `retrain`, `promoted`, `refused`."""
    payload: Json
    state: str
    """`waiting`, `sent` or `dead`."""
    attempts: int = 0
    due_at: int
    sent_at: int | None = None
    error: str | None = None


class Decision(Record, frozen=True, kw_only=True):
    """What was decided on an alert, and why: the audit trail of the closed loop."""

    TABLE: ClassVar[str] = "decisions"
    INDEXES: ClassVar[tuple[tuple[str, ...], ...]] = (("project", "subject", "created_at"), ("run_id",))

    id: str
    subject: str
    """`monitor/NAME` or `model/NAME`."""
    action: str
    """`retrain`, `skip`, `defer`, `promote`, `refuse`, `refit`."""
    reason: str
    alert_id: str | None = None
    run_id: str | None = None
    detail: Json = msgspec.field(default_factory=dict)
