"""Alerting: alarms become alerts, notifications and decisions; retrains are started and followed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidemill.alerting.alarms import AlarmHandler
from tidemill.alerting.defects import DefectAlerts
from tidemill.alerting.outbox import Outbox
from tidemill.alerting.outcomes import FollowUp
from tidemill.alerting.retrains import Retrains
from tidemill.core.protocols import PipelineStarter
from tidemill.core.records.alerting import Alert, Decision, Notification
from tidemill.core.reports import WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.monitoring import Monitor
from tidemill.stores.metadata.protocol import MetadataStore


class Alerting:
    """Acts on what monitoring found.

    Args:
        scope: Project, principal and clock.
        metadata: Where alerts, notifications and decisions are kept.
        starter: Starts pipelines.
        channels: URLs of the notification channels by name.
        on_defects: The channels that are told when served features are found to be wrong; all of them when absent.
        write: Writes the lines of console channels; the standard error stream when absent.
    """

    def __init__(
        self, scope: Scope, *, metadata: MetadataStore, starter: PipelineStarter, channels: Mapping[str, str],
        on_defects: Sequence[str] = (), write: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._scope = scope
        self._metadata = metadata
        self._starter = starter
        self._outbox = Outbox(scope, metadata, channels, write)
        self._on_defects = on_defects or tuple(channels)

    def handle(self, monitor: Monitor, reports: Sequence[WindowReport] = (), *, wait: bool = False) -> list[Decision]:
        """Act on the alarms of windows, each once.

        Alarms are read from the event log, so that those of a process killed before it acted are not lost; handling the same
        report again does nothing.

        Args:
            monitor: The monitor.
            reports: What closing gave; those that are not in the event log yet are handled as well.
            wait: Whether to wait for a pipeline that is started.

        Returns:
            What was decided now.
        """
        handler = AlarmHandler(self._scope, self._metadata, monitor)
        retrains = Retrains(self._scope, self._metadata, self._starter, monitor)
        decisions = handler.handle(reports, retrains)
        decisions += retrains.reconsider()
        return retrains.start(decisions, wait=wait)

    def handle_verifications(self) -> list[Alert]:
        """Act on what verifications of served features found, each once; see `DefectAlerts`.

        Returns:
            The alerts that fire after those that were taken in now.
        """
        return DefectAlerts(self._scope, self._metadata, self._on_defects).handle()

    def follow_up(self) -> list[Decision]:
        """Take in how started retrains ended; returns the promotions and refusals found.

        A promotion resolves the alert that led to it; both are told to the channels of the monitor.
        """
        return FollowUp(self._scope, self._metadata, self._starter).run()

    def deliver(self) -> list[Notification]:
        """Send what is due: at least once, with the same `Idempotency-Key` should it be twice; see `Outbox`."""
        return self._outbox.deliver()

    def alerts(self, state: str | None = None, limit: int = 100) -> list[Alert]:
        """Alerts, newest first."""
        where = {"project": self._scope.project, **({} if state is None else {"state": state})}
        with self._metadata.read() as reader:
            return reader.find(Alert, where, order=["-created_at", "-id"], limit=limit)

    def decisions(self, limit: int = 100) -> list[Decision]:
        """What was decided on alarms and candidates, newest first."""
        with self._metadata.read() as reader:
            where = {"project": self._scope.project}
            return reader.find(Decision, where, order=["-created_at", "-id"], limit=limit)
