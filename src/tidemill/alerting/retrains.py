"""Retrains: decided by the policy in the transaction of the alert, started afterwards, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from tidemill.alerting.messages import notification
from tidemill.alerting.policy import Code, Policy, action_of, decide, needed_labels, reason_of
from tidemill.core.ids import digest_text
from tidemill.core.protocols import PipelineStarter
from tidemill.core.records.alerting import Alert, Decision
from tidemill.core.records.events import Event
from tidemill.core.records.monitoring import MonitorWindow
from tidemill.core.reports import Alarm, AlarmKind, WindowReport
from tidemill.core.scope import Scope
from tidemill.core.specs.monitoring import Monitor, Notify, Retrain
from tidemill.stores.metadata.protocol import MetadataStore, Reader, Writer


@dataclass
class Retrains:
    """The retrains of one monitor.

    Args:
        scope: Project, principal and clock.
        metadata: Where decisions are kept.
        starter: Starts pipelines.
        monitor: The monitor.
    """

    scope: Scope
    metadata: MetadataStore
    starter: PipelineStarter
    monitor: Monitor

    def decide(self, writer: Writer, alert: Alert, report: WindowReport, alarm: Alarm) -> list[Decision]:
        """Decide on an alarm, for every pipeline its monitor may start; within the transaction of the alert."""
        actions = [action for action in self.monitor.on_alarm if isinstance(action, Retrain)]
        return [self._decide(writer, action, alert, alarm.kind, alarm.window, report.trained_on) for action in actions]

    def reconsider(self) -> list[Decision]:
        """Decide again on what was deferred while its alert still fires; only a retrain is recorded."""
        decisions: list[Decision] = []
        with self.metadata.write() as writer:
            for before in self._deferred(writer):
                alert = writer.get(Alert, id=before.alert_id)
                action = self._action(before.detail["pipeline"])
                if alert is None or alert.state != "firing" or action is None:
                    continue
                detail = before.detail
                code, _, _ = self._code(writer, action, detail["kind"], detail["trained_on"])
                if code == "retrain":
                    decisions.append(
                        self._decide(writer, action, alert, detail["kind"], detail["window"], detail["trained_on"])
                    )
        return decisions

    def start(self, decisions: Sequence[Decision], *, wait: bool) -> list[Decision]:
        """Start what was decided and not started yet, also by a process that was killed; returns the decisions with runs."""
        where = {"project": self.scope.project, "subject": self._subject, "action": "retrain", "run_id": None}
        with self.metadata.read() as reader:
            due = reader.find(Decision, where, order=["created_at", "id"])
        started: dict[str, Decision] = {}
        for decision in due:
            run = self.starter.start(
                decision.detail["pipeline"], arguments={}, reason=decision.reason,
                fingerprint=decision.detail["fingerprint"], wait=wait,
            )  # fmt: skip
            with self.metadata.write() as writer:
                writer.change(Decision, {"id": decision.id}, run_id=run)
            started[decision.id] = structs.replace(decision, run_id=run)
        decided = [started.pop(decision.id, decision) for decision in decisions]
        return [*started.values(), *decided]

    def _decide(
        self, writer: Writer, action: Retrain, alert: Alert, kind: AlarmKind, window: int, trained_on: int | None
    ) -> Decision:
        code, policy, new_labels = self._code(writer, action, kind, trained_on)
        started = self._started(writer, action)
        why = f"{alert.name}: {reason_of(code, policy, new_labels, started)}"
        decision = Decision(
            **self.scope.stamp(), id=self.scope.new_id(), subject=self._subject, action=action_of(code), reason=why,
            alert_id=alert.id, detail={
                "code": code, "kind": kind, "window": window, "trained_on": trained_on, "pipeline": action.pipeline.name,
                "new_labels": new_labels, "needed_labels": policy.min_new_labels, "cooldown": policy.cooldown,
                "max_per_7d": policy.max_per_7d, "channels": self._channels, "summary": alert.summary,
                "fingerprint": digest_text(alert.fingerprint, alert.id, str(window), action.pipeline.name),
            },
        )  # fmt: skip
        writer.add(decision)
        writer.emit(Event(**self.scope.stamp(), kind="decision.made", subject=self._subject,
                          body={"action": decision.action, "reason": why, "alert_id": alert.id}))  # fmt: skip
        if decision.action == "retrain":
            for channel in self._channels:
                writer.add(
                    notification(self.scope, alert, channel, "retrain", f"starting {action.pipeline.name}; {why}")
                )
        return decision

    def _code(
        self, reader: Reader, action: Retrain, kind: AlarmKind, trained_on: int | None
    ) -> tuple[Code, Policy, int]:
        """What the policy says, the policy, and the number of new labels it saw."""
        started = self._started(reader, action)
        policy = Policy(cooldown=action.cooldown, min_new_labels=needed_labels(kind, trained_on))
        until = self.scope.now() - self._test_span(reader)
        new_labels = self._new_labels(reader, max(started, default=-(2**63)), until)
        return decide(policy, self.scope.now(), new_labels, started), policy, new_labels

    def _started(self, reader: Reader, action: Retrain) -> list[int]:
        where = {"project": self.scope.project, "subject": self._subject, "action": "retrain"}
        found = reader.find(Decision, where, order=["created_at"])
        return [one.created_at for one in found if one.detail["pipeline"] == action.pipeline.name]

    def _test_span(self, reader: Reader) -> int:
        """How far back the rows reach that the gate tests with: a candidate does not learn from them."""
        step = self.monitor.graph.predict_step
        if step is None:
            return 0
        where = {"project": self.scope.project, "subject": f"model/{step.model.name}", "action": ["promote", "refuse"]}
        newest = reader.find(Decision, where, order=["-created_at"], limit=1)
        span: int = newest[0].detail.get("test_span", 0) if newest else 0
        return span

    def _new_labels(self, reader: Reader, since: int, until: int) -> int:
        """Labelled rows of the windows of a time; a monitor without labels counts the rows themselves."""
        where = {"project": self.scope.project, "monitor": self.monitor.name, "start_at": (">=", since)}
        windows = [one for one in reader.find(MonitorWindow, where) if one.end_at <= until]
        return sum(one.rows if self.monitor.label is None else one.labelled for one in windows)

    def _deferred(self, reader: Reader) -> list[Decision]:
        """The newest decision of each firing alert and pipeline, where that is to wait."""
        where = {"project": self.scope.project, "subject": self._subject}
        newest = {
            (one.alert_id, one.detail["pipeline"]): one
            for one in reader.find(Decision, where, order=["created_at", "id"])
        }
        return [one for one in newest.values() if one.action == "defer"]

    def _action(self, pipeline: str) -> Retrain | None:
        found = (one for one in self.monitor.on_alarm if isinstance(one, Retrain) and one.pipeline.name == pipeline)
        return next(found, None)

    @property
    def _channels(self) -> list[str]:
        return list(dict.fromkeys(one.channel for one in self.monitor.on_alarm if isinstance(one, Notify)))

    @property
    def _subject(self) -> str:
        return f"monitor/{self.monitor.name}"
