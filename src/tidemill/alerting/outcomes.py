"""How started retrains ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from tidemill.alerting.alarms import resolve
from tidemill.alerting.messages import notification
from tidemill.core.protocols import PipelineStarter
from tidemill.core.records.alerting import Alert, Decision
from tidemill.core.scope import Scope
from tidemill.stores.metadata.protocol import MetadataStore, Writer

REASONS = {"promote": "promoted", "refuse": "refused"}


@dataclass
class FollowUp:
    """Looks at retrains whose end was not taken in yet.

    Args:
        scope: Project, principal and clock.
        metadata: Where decisions are kept.
        starter: Knows how runs ended.
    """

    scope: Scope
    metadata: MetadataStore
    starter: PipelineStarter

    def run(self) -> list[Decision]:
        """Take in every retrain that ended; returns the promotions and refusals among them."""
        found: list[Decision] = []
        for decision in self._open():
            ended = self.starter.outcome(str(decision.run_id))
            if ended["status"] != "running":
                found += self._take(decision, ended)
        return found

    def _open(self) -> list[Decision]:
        where = {"project": self.scope.project, "action": "retrain", "run_id": ("!=", "")}
        with self.metadata.read() as reader:
            found = reader.find(Decision, where, order=["created_at", "id"])
        return [one for one in found if "outcome" not in one.detail]

    def _take(self, decision: Decision, ended: Mapping[str, Any]) -> list[Decision]:
        where = {"project": self.scope.project, "run_id": decision.run_id, "action": list(REASONS)}
        with self.metadata.write() as writer:
            gates = writer.find(Decision, where, order=["created_at", "id"])
            writer.put(structs.replace(decision, detail={**decision.detail, "outcome": _outcome(ended, gates)}))
            alert = None if decision.alert_id is None else writer.get(Alert, id=decision.alert_id)
            if alert is not None:
                self._tell(writer, alert, decision, ended, gates)
        return gates

    def _tell(
        self, writer: Writer, alert: Alert, decision: Decision, ended: Mapping[str, Any], gates: list[Decision]
    ) -> None:
        channels = decision.detail["channels"]
        said = [(REASONS[gate.action], gate.reason) for gate in gates]
        if ended["status"] in ("failed", "killed"):
            error = ended.get("error") or "without saying why"
            said = [("failed", f"{decision.detail['pipeline']} {ended['status']}: {error}")]
        for reason, text in said:
            for channel in channels:
                writer.add(notification(self.scope, alert, channel, reason, text))
        if alert.state == "firing" and any(gate.action == "promote" for gate in gates):
            resolve(self.scope, writer, alert, f"retrained: {gates[-1].reason}", channels)


def _outcome(ended: Mapping[str, Any], gates: list[Decision]) -> str:
    if ended["status"] in ("failed", "killed"):
        return str(ended["status"])
    return REASONS[gates[-1].action] if gates else "finished"
