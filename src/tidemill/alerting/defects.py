"""From verifications of served features to alerts: one from the first that finds a defect to the first that finds none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from tidemill.alerting.alarms import fingerprint_of, resolve
from tidemill.alerting.messages import notification
from tidemill.core.records.alerting import Alert
from tidemill.core.records.events import Event, Position
from tidemill.core.scope import Scope
from tidemill.stores.metadata.protocol import MetadataStore, Writer

NAME, SEVERITY = "FeatureDefect", "critical"

_KIND = "features.verified"


@dataclass(frozen=True)
class DefectAlerts:
    """Follows the event log.

    Args:
        scope: Project, principal and clock.
        metadata: Where alerts are kept.
        channels: Names of the channels that are told.
    """

    scope: Scope
    metadata: MetadataStore
    channels: Sequence[str]

    def handle(self) -> list[Alert]:
        """Take in verifications that were not yet, each in one transaction; returns the alerts that fire after them."""
        fires: dict[str, Alert] = {}
        for event in self._events():
            with self.metadata.write() as writer:
                alert = self._take(writer, event)
                writer.put(Position(**self.scope.stamp(), consumer=self._consumer, feed="events", position=event.seq))
            if alert is not None:
                fires[alert.id] = alert
        return [alert for alert in fires.values() if alert.state == "firing"]

    def _events(self) -> list[Event]:
        with self.metadata.read() as reader:
            position = reader.get(Position, consumer=self._consumer, feed="events")
            after = 0 if position is None else position.position
            where = {"project": self.scope.project, "kind": _KIND, "seq": (">", after)}
            return reader.find(Event, where, order=["seq"])

    def _take(self, writer: Writer, event: Event) -> Alert | None:
        labels = self._labels(event.subject.partition("/")[2])
        before = self._firing(writer, labels)
        if event.body["defects"]:
            return self._fire(writer, event.body, labels, before)
        if before is not None and event.body["rows"]:
            return resolve(self.scope, writer, before, "a later verification found no defect", self.channels)
        return None

    def _firing(self, writer: Writer, labels: Mapping[str, str]) -> Alert | None:
        where = {"project": self.scope.project, "state": "firing", "fingerprint": fingerprint_of(labels)}
        return next(iter(writer.find(Alert, where)), None)

    def _fire(self, writer: Writer, body: Mapping[str, Any], labels: dict[str, str], before: Alert | None) -> Alert:
        summary = _summary(labels["service"], body)
        if before is not None:
            alert = structs.replace(before, summary=summary, evidence=dict(body), window_at=body["since"])
            writer.put(alert)
            return alert
        alert = Alert(**self.scope.stamp(), id=self.scope.new_id(), name=NAME, fingerprint=fingerprint_of(labels),
                      labels=labels, state="firing", severity=SEVERITY, summary=summary, evidence=dict(body),
                      window_at=body["since"])  # fmt: skip
        writer.add(alert)
        writer.emit(Event(**self.scope.stamp(), kind="alert.firing", subject=f"alert/{alert.id}",
                          body={"name": NAME, "labels": labels, "summary": summary}))  # fmt: skip
        for channel in self.channels:
            writer.add(notification(self.scope, alert, channel, "firing", summary))
        return alert

    def _labels(self, service: str) -> dict[str, str]:
        return {"alertname": NAME, "project": self.scope.project, "service": service, "severity": SEVERITY}

    @property
    def _consumer(self) -> str:
        return f"alerting/{self.scope.project}/verifications"


def _summary(service: str, body: Mapping[str, Any]) -> str:
    wrong = ", ".join(body["features"])
    return f"{service} served {body['defects']:,} of {body['values']:,} values wrong, in {wrong}"
