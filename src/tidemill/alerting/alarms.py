"""From alarms to alerts: one alert from its first alarm to its end, however many alarms come in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from tidemill.alerting.lifecycle import Rule, RuleState, step
from tidemill.alerting.messages import notification
from tidemill.alerting.retrains import Retrains
from tidemill.core.ids import digest_text
from tidemill.core.records.alerting import Alert, Decision
from tidemill.core.records.events import Event, Position
from tidemill.core.reports import Alarm, WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.monitoring import Monitor, Notify
from tidemill.stores.metadata.protocol import MetadataStore, Writer

NAMES = {"drift": "DriftDetected", "performance": "PerformanceDropped"}

SEVERITIES = {"drift": "warning", "performance": "critical"}
"""Inputs that moved may not matter; answers that are wrong do."""

KEEP_WINDOWS = 7
"""Windows without an alarm until an alert is resolved. The evidence starts at zero after each alarm, so silence for a few
windows is no sign that the cause is gone."""

_KINDS = ["window.closed", "window.alarm"]


@dataclass
class AlarmHandler:
    """Handles the reports of one monitor in order.

    Args:
        scope: Project, principal and clock.
        metadata: Where alerts are kept.
        monitor: The monitor.
    """

    scope: Scope
    metadata: MetadataStore
    monitor: Monitor

    def handle(self, reports: Sequence[WindowReport], retrains: Retrains) -> list[Decision]:
        """Take in what the event log holds, then what it does not hold; each report is one transaction."""
        logged, seen = self._logged(), set[tuple[int, int, tuple[str, ...]]]()
        decisions: list[Decision] = []
        for event in logged:
            report = msgspec.convert(event.body, WindowReport)
            seen.add(_key(report))
            decisions += self._take(report, retrains, event)
        for report in reports:
            if report.alarms and _key(report) not in seen and not self._known(report):
                decisions += self._take(report, retrains, None)
        return decisions

    def _logged(self) -> list[Event]:
        where = {"project": self.scope.project, "subject": self._subject, "kind": _KINDS}
        with self.metadata.read() as reader:
            position = reader.get(Position, consumer=self._consumer, feed="events")
            after = 0 if position is None else position.position
            return reader.find(Event, {**where, "seq": (">", after)}, order=["seq"])

    def _known(self, report: WindowReport) -> bool:
        """Whether the alarms of a report are in the part of the event log that was handled before."""
        with self.metadata.read() as reader:
            where = {"project": self.scope.project, "subject": self._subject, "kind": _KINDS}
            events = reader.find(Event, where)
        told = {(event.body["start"], alarm["kind"]) for event in events for alarm in event.body["alarms"]}
        return all((report.start, alarm.kind) in told for alarm in report.alarms)

    def _take(self, report: WindowReport, retrains: Retrains, event: Event | None) -> list[Decision]:
        decisions: list[Decision] = []
        with self.metadata.write() as writer:
            firing = self._firing(writer)
            alarms = {alarm.kind: alarm for alarm in report.alarms}
            if event is not None and event.kind == "window.closed":
                for alert in firing:
                    if alert.name not in {NAMES[kind] for kind in alarms}:
                        self._quiet(writer, report, alert)
            # What is worse comes first, so that it is what a retrain is attributed to.
            for alarm in sorted(alarms.values(), key=lambda one: SEVERITIES[one.kind]):
                alert = self._fire(writer, report, alarm, firing)
                decisions += retrains.decide(writer, alert, report, alarm)
            if event is not None:
                writer.put(Position(**self.scope.stamp(), consumer=self._consumer, feed="events", position=event.seq))
        return decisions

    def _firing(self, writer: Writer) -> list[Alert]:
        found = writer.find(Alert, {"project": self.scope.project, "state": "firing"}, order=["created_at", "id"])
        return [alert for alert in found if alert.labels.get("monitor") == self.monitor.name]

    def _fire(self, writer: Writer, report: WindowReport, alarm: Alarm, firing: Sequence[Alert]) -> Alert:
        labels = self._labels(report, alarm)
        fingerprint = fingerprint_of(labels)
        for other in firing:
            if other.name == NAMES[alarm.kind] and other.fingerprint != fingerprint:
                resolve(self.scope, writer, other, "another version answers", self._channels)
        before = next((alert for alert in firing if alert.fingerprint == fingerprint), None)
        content: dict[str, Any] = {
            "summary": alarm.summary,
            "window_at": alarm.window,
            "evidence": _evidence(alarm, RuleState("firing")),
        }
        if before is not None:
            alert = structs.replace(before, **content)
            writer.put(alert)
            return alert
        alert = Alert(**self.scope.stamp(), id=self.scope.new_id(), name=NAMES[alarm.kind], fingerprint=fingerprint,
                      labels=labels, state="firing", severity=SEVERITIES[alarm.kind], **content)  # fmt: skip
        writer.add(alert)
        writer.emit(Event(**self.scope.stamp(), kind="alert.firing", subject=f"alert/{alert.id}",
                          body={"name": alert.name, "labels": labels, "summary": alert.summary}))  # fmt: skip
        for channel in self._channels:
            writer.add(notification(self.scope, alert, channel, "firing", alarm.summary))
        return alert

    def _quiet(self, writer: Writer, report: WindowReport, alert: Alert) -> None:
        """A window without the alert's alarm."""
        version = alert.labels.get("version")
        if report.version is not None and version is not None and str(report.version) != version:
            resolve(self.scope, writer, alert, f"version {report.version} answers now", self._channels)
            return
        before = msgspec.convert(alert.evidence["rule"], RuleState)
        after = step(Rule(keep=KEEP_WINDOWS * self.monitor.every_micros), before, report.start, condition=False)
        if after.state == "inactive":
            resolve(self.scope, writer, alert, f"no alarm for {KEEP_WINDOWS} windows", self._channels)
        elif after != before:
            writer.put(structs.replace(alert, evidence={**alert.evidence, "rule": msgspec.to_builtins(after)}))

    def _labels(self, report: WindowReport, alarm: Alarm) -> dict[str, str]:
        labels = {"alertname": NAMES[alarm.kind], "project": self.scope.project, "monitor": self.monitor.name,
                  "endpoint": report.endpoint, "severity": SEVERITIES[alarm.kind]}  # fmt: skip
        return labels if alarm.model_version is None else {**labels, "version": str(alarm.model_version)}

    @property
    def _channels(self) -> list[str]:
        return channels_of(self.monitor)

    @property
    def _subject(self) -> str:
        return f"monitor/{self.monitor.name}"

    @property
    def _consumer(self) -> str:
        return f"alerting/{self.scope.project}/{self.monitor.name}"


def channels_of(monitor: Monitor) -> list[str]:
    """The channels a monitor notifies, each once."""
    return list(dict.fromkeys(action.channel for action in monitor.on_alarm if isinstance(action, Notify)))


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """What makes two alerts the same: the digest of their labels."""
    return digest_text(*(text for item in sorted(labels.items()) for text in item))


def resolve(scope: Scope, writer: Writer, alert: Alert, why: str, channels: Sequence[str]) -> Alert:
    """End an alert, and tell so; returns it as it is now."""
    ended = structs.replace(
        alert, state="resolved", resolved_at=scope.now(), evidence={**alert.evidence, "resolved": why}
    )
    writer.put(ended)
    writer.emit(Event(**scope.stamp(), kind="alert.resolved", subject=f"alert/{alert.id}",
                      body={"name": alert.name, "labels": alert.labels, "reason": why}))  # fmt: skip
    for channel in channels:
        writer.add(notification(scope, ended, channel, "resolved", f"resolved: {why}"))
    return ended


def _evidence(alarm: Alarm, rule: RuleState) -> dict[str, Any]:
    evidence: dict[str, Any] = {**msgspec.to_builtins(alarm), "rule": msgspec.to_builtins(rule)}
    return evidence


def _key(report: WindowReport) -> tuple[int, int, tuple[str, ...]]:
    return report.start, report.revision, tuple(alarm.kind for alarm in report.alarms)
